"""Findings in their places: values that the figures, lists and cards are made of."""

import json

import numpy as np
import pytest
from canned import FROM, GAP, HOSTILE, STEPS, TO, CannedRun, CannedSession, finding

from lhexplore.diagnosis import METRICS
from lhexplore.explorer.axes import axis_of
from lhexplore.explorer.figures import heat_map, loss_plot, pack_frames, show_frame, spectrum_plot
from lhexplore.explorer.flags import ALIKE, LETTER, WIDTH, place_flags
from lhexplore.explorer.located import Located, blocks_of, hover_words, run_texts, where_words, worst

FLOAT32 = 1e-6  # frames are rounded to float32
LABELS = [f"step-{step:06d}" for step in STEPS]
NAMES = {"conv1": "conv1", "conv2": "conv2", HOSTILE: HOSTILE, "head": "head", None: "whole network"}


@pytest.fixture
def located():
    return Located(CannedRun())


def spectra(layer):
    return [CannedSession(missing=set()).cached(layer, k) for k in range(12)]


def flagged(located, layer="conv1", **settings):
    found = [located.at(layer, label) for label in LABELS]
    return spectrum_plot(spectra(layer), LABELS, layer=layer, findings=found, **settings)


# ---- at the eigenvalue


@pytest.mark.parametrize("kind", ["histogram", "density"])
@pytest.mark.parametrize("scale", ["symlog", "linear"])
def test_flags_stand_at_the_eigenvalues_in_the_frames_of_their_snapshots(located, kind, scale):
    known = spectra("conv1")
    plot = flagged(located, kind=kind, scale=scale)
    axis = axis_of(known, scale=scale)
    for k, spectrum in enumerate(known):
        places = plot.frames["flags__x"][k]
        if FROM <= k <= TO:
            expected = axis.position(np.array([spectrum.smallest, spectrum.largest, spectrum.largest]))
            np.testing.assert_allclose(np.sort(places), expected, rtol=FLOAT32)
            assert sorted(plot.words["flags__name"][k]) == [
                "note D6: D6 speaks", "warning D2: D2 speaks", "warning D7: D7 speaks",
            ]  # fmt: skip
            assert set(plot.words["flags__limit"][k]) == {"value 3.5, threshold 2"}
            assert plot.sentences[k].endswith("Flagged: D2, D7, D6.")
        else:
            assert np.isnan(places).all()
            assert not any(plot.words["flags__label"][k])


def test_findings_at_one_eigenvalue_share_one_label_and_keep_a_line_each(located):
    plot = flagged(located)
    labels = dict(zip(plot.words["flags__name"][FROM], plot.words["flags__label"][FROM], strict=True))
    assert [label for label in labels.values() if label] == ["D6", "D2 D7"]  # from left to right
    assert len(labels) == 3  # a hover box has all of them


def test_labels_never_touch_and_stay_inside_the_axis():
    axis = axis_of(spectra("conv1"))
    pixel = (axis.end - axis.start) / WIDTH
    for count in (1, 2, 5, 12):
        places = np.linspace(0.3, 1.0, count) * axis.end
        values = axis.value(places)
        found = [finding(f"D{i}", "note", "conv1", 0, eigenvalue=float(v)) for i, v in enumerate(values)]
        flags = place_flags([found], axis, 0.5, 40.0)
        boxes = []
        for i, label in enumerate(flags.words["flags__label"][0]):
            if label:
                x, y = flags.frames["flags__x"][0, i], flags.frames["flags__y"][0, i]
                sign = 1 if flags.words["flags__align"][0][i] == "left" else -1
                boxes.append((round(float(np.log10(y)), 6), *sorted([x, x + sign * LETTER * len(label) * pixel])))
                assert axis.start <= boxes[-1][1] < boxes[-1][2] <= axis.end
                assert 40.0 < y < flags.high
        assert len(boxes) == len(set(boxes)) > 0
        for one in boxes:
            for other in boxes:
                apart = one[2] < other[1] or other[2] < one[1]
                assert one is other or one[0] != other[0] or apart


def test_nearly_equal_eigenvalues_are_one_flag_and_clearly_different_ones_are_two():
    axis = axis_of(spectra("conv1"))
    pixel = (axis.end - axis.start) / WIDTH
    for gap, count in ((ALIKE - 0.5, 1), (ALIKE + 0.5, 2)):
        values = axis.value(np.array([0.0, gap * pixel]))
        found = [finding(f"D{i}", "note", "conv1", 0, eigenvalue=float(v)) for i, v in enumerate(values)]
        labels = place_flags([found], axis, 0.5, 40.0).words["flags__label"][0]
        assert sum(bool(label) for label in labels) == count


def test_axes_are_still_and_leave_room_for_flags(located):
    plot, plain = flagged(located), spectrum_plot(spectra("conv1"), LABELS, layer="conv1")
    assert plot.root.y_range.end > np.nanmax(plot.frames["flags__y"]) > plain.root.y_range.end
    assert plot.root.y_range.start == plain.root.y_range.start
    assert (plot.root.x_range.start, plot.root.x_range.end) == (plain.root.x_range.start, plain.root.x_range.end)
    before = plot.root.y_range.end
    for k in range(12):
        show_frame(plot, k)
        assert plot.root.select_one({"name": "flags"}).data["label"] == list(plot.words["flags__label"][k])
    assert plot.root.y_range.end == before


def test_words_travel_with_the_frames(located):
    _, spec = pack_frames(flagged(located))
    words = {(source, column): rows for source, column, rows in spec["words"]}
    assert [len(rows) for rows in words.values()] == [12] * len(words)
    assert words["flags", "label"][FROM].count("D2 D7") == 1
    assert json.loads(json.dumps(spec)) == spec


def test_a_finding_of_a_spectrum_that_is_not_there_is_not_drawn(located):
    known = spectra("conv1")
    known[FROM] = None
    found = [located.at("conv1", label) for label in LABELS]
    plot = spectrum_plot(known, LABELS, layer="conv1", findings=found)
    assert np.isnan(plot.frames["flags__x"][FROM]).all()


# ---- in the cell, at the step


def cells(located):
    return [[located.at(layer, label) for label in LABELS] for layer in ("conv1", "conv2", HOSTILE, "head")]


def test_marked_cells_say_which_finding_and_differ_in_shape(located):
    values = np.ones((4, 12))
    plot = heat_map(values, list(NAMES)[:4], LABELS, metric=METRICS["lambda_max"], findings=cells(located))
    marks = plot.root.select_one({"name": "heat-marks"}).data
    places = dict(zip(zip(marks["y"], marks["x"], strict=True), marks["marker"], strict=True))
    assert places == {
        **{(0, k): "triangle" for k in range(FROM, TO + 1)}, (1, 7): "triangle", (3, 7): "triangle", (2, 9): "circle",
    }  # fmt: skip
    found = plot.root.select_one({"name": "heat-cells"}).data["found"]
    assert found[FROM] == "warning D2: D2 speaks; warning D7: D7 speaks; note D6: D6 speaks"
    assert found[0] == "no finding"
    assert plot.sentences[7].endswith("Marked: conv2 (warning), head (warning).")
    assert [key.words for key in plot.legend] == ["warning", "note"]
    assert heat_map(values, list(NAMES)[:4], LABELS, metric=METRICS["lambda_max"]).legend == ()


def test_the_time_axis_is_marked_where_findings_begin(located):
    session = CannedSession()
    losses = [session.losses(k) for k in range(12)]
    found = [located.during(label) for label in LABELS]
    plot = loss_plot(session.snapshots, losses, findings=found, names=NAMES)
    marks = plot.root.select_one({"name": "loss-marks"}).data
    assert list(marks["x"]) == [FROM, 7, 9]
    assert list(marks["marker"]) == ["triangle", "triangle", "circle"]
    assert marks["words"][1] == "warning D1: D1 speaks (conv2, head)"
    assert max(max(row.values()) for row in losses) < min(marks["y"]) < plot.root.y_range.end
    assert "Marked: warning D1: D1 speaks (conv2, head)." in plot.sentences[7]
    assert "Marked" not in plot.sentences[8]


def test_many_findings_are_counted_not_listed():
    many = [finding(f"D{i}", "note", "conv1", 0) for i in range(9)]
    assert hover_words(many).endswith("; and 5 more")
    assert worst(many) == "note"
    assert worst([*many, finding("D1", "warning", "conv1", 0)]) == "warning"
    assert worst([finding("D9", "info", "conv1", 0)]) == ""


# ---- as a list


def test_the_list_leads_to_where_a_finding_begins(located):
    rows = run_texts(located, NAMES, LABELS, LABELS)
    places = {row["rule"]: (row["layer"], row["frame"]) for row in rows}
    assert places["D2"] == ("conv1", FROM)
    assert places["D1"] == ("conv2", 7)
    assert [row["rule"] for row in rows][:4] == ["D2", "D7", "D1", "D6"]  # as the run orders them
    one = rows[0]
    assert one["limit"] == "value 3.5, threshold 2"
    assert (one["record"], one["heuristic"], one["place"]) == ("right in 9 of 10 cases", True, "conv1 at step-000008")
    assert one["evidence"]
    assert one["refute"]


def test_findings_of_blocks_that_are_not_shown_are_left_out(located):
    rows = run_texts(located, {"head": "head"}, LABELS, LABELS)
    assert {(row["rule"], row["layer"]) for row in rows} == {("D1", "head"), ("D9", "head")}


def test_findings_about_the_run_as_such_lead_to_their_snapshot_only():
    run = CannedRun(findings=(finding("D1", "warning", None, 3),))
    (row,) = run_texts(Located(run), {"head": "head"}, LABELS, LABELS)
    assert (row["layer"], row["frame"], row["place"]) == ("", 3, "the run at step-000004")


def test_blocks_are_named_while_they_are_few():
    about = finding("D1", "warning", None, 0, others=("conv1", "conv2", "head", HOSTILE))
    assert where_words(about, NAMES) == "4 layers"
    assert where_words(finding("D8", "warning", None, 0, eigenvalue=3.0), NAMES) == "whole network"
    assert blocks_of(about, {"head": "head"}) == ["head"]
    assert where_words(about, {}) == "layers not shown"


def test_nothing_is_found_before_the_run_was_judged():
    nothing = Located()
    assert (nothing.findings, nothing.silent, nothing.at("conv1", LABELS[0])) == ((), [], ())


# ---- held-out data over training data


@pytest.mark.parametrize("kind", ["histogram", "density"])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_held_out_spectra_lie_over_those_of_training_on_the_same_still_axes(kind, layer):
    session = CannedSession(missing=set(), has_held_out=True)
    train = spectra(layer)
    other = [session.cached(layer, k, split="held_out") for k in range(12)]
    other[3] = None
    plot = spectrum_plot(train, LABELS, layer=layer, held_out=other, kind=kind)
    axis = axis_of([*train, *other])
    assert (plot.root.x_range.start, plot.root.x_range.end) == (axis.start, axis.end)
    ends = plot.frames["over-ends__value"]
    np.testing.assert_allclose(ends[5], GAP * plot.frames["ends__value"][5], rtol=FLOAT32)
    for key in ("over__y", "over-ends__x", "over-ends__y"):
        assert np.isnan(plot.frames[key][3]).all(), key
    assert [np.isfinite(row).all() for row in plot.frames["over-missing__x"]] == [k == 3 for k in range(12)]
    assert plot.sentences[3].endswith("On held-out data: not computed yet.")
    assert "On held-out data: from " in plot.sentences[5]
    assert np.nanmax(plot.frames["over__y"]) < plot.root.y_range.end
    words = [key.words for key in plot.legend]
    assert words[1] == "held-out, its λmin and λmax"
    assert "previous snapshot" not in words  # one outline at a time
    assert not any(key.startswith(("over", "held")) for key in spectrum_plot(train, LABELS, layer=layer).frames)


def test_the_outline_is_the_histogram_of_the_held_out_spectrum():
    session = CannedSession(missing=set(), has_held_out=True)
    other = [session.cached("conv1", k, split="held_out") for k in range(12)]
    plot = spectrum_plot(spectra("conv1"), LABELS, layer="conv1", held_out=other)
    alone = spectrum_plot(other, LABELS, layer="conv1", axis=axis_of([*spectra("conv1"), *other]))
    outline = np.nanmax(plot.frames["over__y"], axis=1)
    np.testing.assert_allclose(outline, np.nanmax(alone.frames["bars__count"], axis=1), rtol=FLOAT32)

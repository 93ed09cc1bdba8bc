"""Figures over a whole training: lines, maps and paths hold the run's numbers in their places."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from canned import FROM, STEPS, CannedRun, CannedSession, held_out, snapshots, spectrum
from drawn import frame, line, svg_texts

from lhexplore import figures
from lhexplore.diagnosis import METRICS, Course, hesd, metric_error, register_metric, unregister
from lhexplore.diagnosis import metric as form
from lhexplore.errors import ComparisonError, SettingError, UnknownLayerError
from lhexplore.figures.scales import TimeAxis
from lhexplore.layer_state import LayerState

VIEWS = {
    "evolution": lambda s: figures.evolution(s, "conv1"),
    "quantiles": lambda s: figures.evolution(s, "conv1", kind="quantiles"),
    "heat_map": figures.heat_map,
    "metric": figures.metric,
    "hesd_map": lambda s: figures.hesd_map(s, "conv1"),
    "losses": figures.losses,
    "spectra": lambda s: figures.compare(s, layer=("conv1", "head")),
    "evolutions": lambda s: figures.compare(s, view="evolution", layer=("conv1", "head")),
    "metrics": lambda s: figures.compare(s, view="metric", layer=("conv1", "head")),
    "maps": lambda s: figures.compare(s, view="hesd_map", layer=("conv1", "head")),
    "two losses": lambda s: figures.compare(s, s, view="losses"),
}
views = pytest.mark.parametrize("draw", VIEWS.values(), ids=VIEWS)


# ---- metric


@pytest.mark.parametrize("name", ["lambda_max", "trace", "negative_mass"])
def test_lines_are_the_metric_at_the_steps(session, name):
    axes = frame(figures.metric(session, name, ["conv2", "head"]))
    for layer in ("conv2", "head"):
        known = [(s, session.cached(layer, k)) for k, s in enumerate(STEPS) if session.cached(layer, k)]
        np.testing.assert_array_equal(line(axes, layer), [[s for s, _ in known], [form(name, f) for _, f in known]])


def test_bands_are_two_standard_errors(session):
    axes = frame(figures.metric(session, "trace", ["conv2"]))
    (band,) = axes.collections
    points = np.concatenate([path.vertices for path in band.get_paths()])
    found = session.cached("conv2", 5)
    here = points[points[:, 0] == STEPS[5], 1]
    ends = np.array([-2, 2]) * metric_error("trace", found) + form("trace", found)
    np.testing.assert_allclose([here.min(), here.max()], ends)
    assert not frame(figures.metric(session, "trace", ["conv1"])).collections  # exact


def test_the_layers_with_the_largest_values_are_chosen(session):
    picture = figures.metric(session, "trace")
    assert len(frame(picture).lines) == 5
    with pytest.raises(SettingError, match="At most 6"):
        figures.metric(session, layers=["conv1"] * 7)
    with pytest.raises(UnknownLayerError):
        figures.metric(session, layers=["nope"])
    with pytest.raises(SettingError, match="Did you mean 'lambda_max'"):
        figures.metric(session, "lambda_maxx")


def test_a_metric_of_ones_own_and_one_that_fails():
    @register_metric(name="halved", unit="things")
    def halved(s):
        return s.largest / 2

    @register_metric(name="broken")
    def broken(s):
        raise RuntimeError

    try:
        session = CannedSession()
        axes = frame(figures.metric(session, "halved", ["head"]))
        assert axes.get_ylabel() == "halved (things)"
        assert line(axes, "head")[1][0] == session.cached("head", 0).largest / 2
        for picture in (figures.metric(session, "broken"), figures.heat_map(session, "broken")):
            assert "nothing is known yet" in picture.caption
            picture._repr_svg_()
    finally:
        unregister("halved")
        unregister("broken")


def test_gradients_and_drift_have_lines_too():
    labels = ("a", "b")
    states = {("x", label): LayerState("x", label, 4, gradient_norm=k + 1.0) for k, label in enumerate(labels)}
    spectra = {("x", label): replace(spectrum("conv1", k, label), layer="x") for k, label in enumerate(labels)}
    course = Course(labels, spectra, states=states, losses={"a": {"lr": 0.5}, "b": {"lr": 0.25}})
    assert line(frame(figures.metric(course, "gradient_norm")), "x")[1].tolist() == [1.0, 2.0]
    assert line(frame(figures.metric(course, "drift")), "x")[0].tolist() == [1.0]
    expected = [rate * found.largest for rate, found in zip((0.5, 0.25), spectra.values(), strict=True)]
    np.testing.assert_allclose(line(frame(figures.metric(course, "stability_number")), "x")[1], expected)


# ---- heat map


@pytest.mark.parametrize("name", list(METRICS))
def test_cells_are_the_metric(session, name):
    axes = frame(figures.heat_map(session, name))
    cells = axes.collections[0].get_array()
    assert cells.shape == (5, 12)
    for i, layer in enumerate(("conv1", "conv2")):
        for k in (0, 6, 11):
            found = form(name, session.cached(layer, k))
            drawn = cells[i, k]
            assert drawn is np.ma.masked if not np.isfinite(found) else drawn == found


def test_unknown_cells_are_hatched(session):
    axes = frame(figures.heat_map(session, findings=False))
    (hatched,) = axes.patches
    assert hatched.get_hatch()
    squares = hatched.get_path().vertices.reshape(-1, 5, 2)
    middles = {tuple(square[:4].mean(axis=0)) for square in squares}
    assert middles == {(2, 0), (3, 0), (7, 1), (5, 3)}


def test_marks_are_where_something_holds(session):
    axes = frame(figures.heat_map(session))
    marks = {(found.get_xdata()[0], found.get_ydata()[0]): found.get_marker() for found in axes.lines}
    assert marks == {(4, 0): "^", (5, 0): "^", (6, 0): "^", (7, 1): "^", (7, 3): "^", (9, 2): "o"}
    assert not frame(figures.heat_map(session, findings=False)).lines


def test_the_colour_bar_names_metric_and_unit(session):
    picture = figures.heat_map(session, "lambda_max")
    assert frame(picture, 1).get_ylabel() == "λmax\n(loss / parameter²)"
    assert len([t for t in frame(picture, 1).get_yticklabels() if t.get_text()]) >= 2


def test_a_map_of_both_signs_is_centred_at_zero(session):
    norm = frame(figures.heat_map([replace(spectrum("conv1", k, f"{k}"), trace=k - 1.0) for k in range(3)], "trace"))
    norm = norm.collections[0].norm
    assert norm.vmin == -norm.vmax


def test_many_layers_and_snapshots_stay_light(tmp_path):
    found = spectrum("conv1", 0, "0")
    course = Course(
        tuple(map(str, range(60))),
        {
            (f"block.{i}", str(k)): replace(found, layer=f"block.{i}", snapshot=str(k))
            for i in range(100)
            for k in range(60)
        },
    )
    picture = figures.heat_map(course, findings=False)
    assert len(picture.save(tmp_path / "map.svg").read_bytes()) < 300_000
    assert picture.figure.get_size_inches().tolist() == pytest.approx([3.3, 9.0])


def test_long_paths_keep_what_tells_them_apart():
    layers = [f"encoder.block.{i}.attention.output" for i in (0, 1, 10)]
    found = [replace(spectrum("conv1", 0, "a"), layer=layer) for layer in layers]
    labels = [text.get_text() for text in frame(figures.heat_map(found)).get_yticklabels()]
    assert labels == ["…0", "…1", "…10"]
    legend = frame(figures.metric(found)).get_legend()
    assert {text.get_text() for text in legend.get_texts()} == set(labels)


# ---- HESD


def test_the_path_is_ct_and_kh(session):
    axes = frame(figures.hesd_map(session, "conv2"))
    read = [hesd(f) for k in range(12) if (f := session.cached("conv2", k)) is not None]
    segments = [np.asarray(found.get_data()) for found in axes.lines]
    for h, after in pairwise(read):
        assert any(s.tolist() == [[h.kh, after.kh], [h.ct, after.ct]] for s in segments)
    (dots,) = (s for s in segments if s.shape == (2, len(read)))
    np.testing.assert_array_equal(dots, [[h.kh for h in read], [h.ct for h in read]])
    for h in read:
        assert any(s.shape == (2, 2) and s[1].tolist() == list(h.interval) for s in segments)
        assert any(s.shape == (2, 2) and s[0].tolist() == list(h.kh_interval) for s in segments)


def test_the_gate_stands_at_its_limit(session):
    axes = frame(figures.hesd_map(session, "conv1"))
    assert any(list(found.get_ydata()) == [-0.6, -0.6] for found in axes.lines)
    low, high = axes.get_ylim()
    assert low < -0.6 < 0 < high
    assert {"MN: mainly negative", "MP: mainly positive"} <= set(svg_texts(figures.hesd_map(session, "conv1")))


def test_infinite_criteria_are_said():
    found = replace(spectrum("conv1", 0, "a"), nodes=-np.abs(spectrum("conv1", 0, "a").nodes) - 1, trace=float("nan"))
    only = figures.hesd_map([found], "conv1")
    assert "infinite or undefined" in only.caption
    both = figures.hesd_map([found, spectrum("conv1", 1, "b")], "conv1")
    assert "Left out: 1 snapshot with infinite or undefined criteria." in both.caption


# ---- losses


def test_losses_are_drawn_at_the_steps(session):
    axes = frame(figures.losses(session))
    np.testing.assert_allclose(line(axes, "training loss"), [STEPS, [2.3 / (1 + s / 20) for s in STEPS]])
    assert line(axes, "held-out loss").shape == (2, 12)


class Counted(CannedSession):
    def losses(self, snapshot=-1):
        known = super().losses(snapshot)
        return known | {"accuracy": 1 / (1 + known["loss"]), "held_out_accuracy": 0.5, "lr": 0.1}


@pytest.mark.parametrize("findings", [True, False])
def test_accuracies_stand_on_an_axis_from_0_to_1_in_the_colours_of_their_losses(findings):
    run = Counted(has_held_out=True)
    picture = figures.losses(run, findings=findings)
    left, right = picture.figure.axes
    assert right.get_ylabel() == "accuracy"
    assert right.get_ylim()[0] < 0 < 1 < right.get_ylim()[1]
    np.testing.assert_allclose(
        line(right, "training accuracy"), [STEPS, [run.losses(k)["accuracy"] for k in range(12)]]
    )
    drawn = {each.get_label(): each for each in left.lines}
    for each in right.lines:
        loss = drawn[each.get_label().replace("accuracy", "loss")]
        assert loss.get_markerfacecolor() == loss.get_color() == each.get_color()
        assert each.get_markerfacecolor() == "none"
    assert "Losses and accuracies over training: training loss from" in picture.caption
    assert "held-out accuracy from 0.5 to 0.5" in picture.caption
    assert {"training accuracy", "held-out accuracy", "held-out loss"} <= set(svg_texts(picture))
    assert "lr" not in picture.caption


def test_both_frames_have_one_axis_of_accuracies():
    one, two = figures.compare(Counted(), Counted(run=None), view="losses").figure.axes[2:]
    assert one.get_ylim() == two.get_ylim()


def test_accuracies_alone_are_a_picture():
    class Alone(CannedSession):
        def losses(self, snapshot=-1):
            return {"accuracy": 0.5}

    assert figures.losses(Alone()).caption.startswith("Accuracies over training: training accuracy from 0.5 to 0.5.")


def test_findings_are_marked_where_they_begin(session):
    picture = figures.losses(session)
    axes = frame(picture)
    assert line(axes, "warning")[0].tolist() == [STEPS[FROM], STEPS[7]]
    assert line(axes, "note")[0].tolist() == [STEPS[9]]
    assert {"D2 D7 D6", "D1", "D4"} <= set(svg_texts(picture))
    assert "D1 from step 64 (D1 speaks)" in picture.caption
    assert len(frame(figures.losses(session, findings=False)).lines) == 2


def test_a_run_that_cannot_be_judged_is_drawn_and_says_why(session):
    class Mixed(CannedSession):
        def findings(self, **_):
            raise ComparisonError("Two curvatures in one run.")

    for draw in (figures.losses, figures.heat_map):
        assert "Findings are not marked: Two curvatures in one run." in draw(Mixed()).caption


# ---- evolution


def test_quantiles_end_at_the_extremes(session):
    axes = frame(figures.evolution(session, "head", kind="quantiles"))
    known = [session.cached("head", k) for k in range(12) if k != 5]
    assert line(axes, "largest")[1].tolist() == [f.largest for f in known]
    assert line(axes, "smallest")[1].tolist() == [f.smallest for f in known]
    np.testing.assert_allclose(
        line(axes, "median")[1], [np.quantile(f.nodes, 0.5, method="inverted_cdf") for f in known]
    )


def test_every_snapshot_has_its_ridge_or_a_dotted_line(session):
    axes = frame(figures.evolution(session, "conv1"))
    assert len(axes.lines) == 12
    dotted = [found for found in axes.lines if found.get_linestyle() == "--" or found.is_dashed() is not False]
    bases = sorted(float(found.get_ydata().min()) for found in axes.lines)
    np.testing.assert_allclose(bases, range(12), atol=1e-9)
    assert [t.get_text() for t in axes.get_yticklabels()] == [f"{s:,}" for s in STEPS]
    assert sorted(float(found.get_ydata()[0]) for found in dotted) == [8, 9]  # the third and fourth from the top


def test_many_snapshots_are_thinned_and_said():
    found = [spectrum("conv1", k % 12, f"{k}") for k in range(100)]
    picture = figures.evolution(found, "conv1")
    assert len(frame(picture).lines) == 20
    assert frame(picture).get_yticklabels()[-1].get_text() == "99"
    assert "Every 5th snapshot is drawn." in picture.caption


# ---- compare


@pytest.mark.parametrize("view", ["spectrum", "evolution", "metric", "hesd_map", "losses"])
def test_both_frames_have_the_same_axes(session, view):
    class Scaled(CannedSession):
        def _spectrum(self, layer, k, split, curvature):
            return held_out(held_out(super()._spectrum(layer, k, split, curvature)))

        def losses(self, snapshot=-1):
            return {key: 5 * value for key, value in super().losses(snapshot).items()}

    shorter = Scaled(snapshots=snapshots(9))
    picture = figures.compare(session, shorter, view=view, layer=("conv1", "conv2"))
    a, b = frame(picture), frame(picture, 1)
    assert (a.get_xlim(), a.get_ylim()) == (b.get_xlim(), b.get_ylim())
    assert (a.get_xscale(), a.get_yscale()) == (b.get_xscale(), b.get_yscale())
    assert [t.get_text() for t in a.get_xticklabels()] == [t.get_text() for t in b.get_xticklabels()]
    assert picture.figure.get_size_inches()[0] == pytest.approx(6.9)
    picture._repr_svg_()


def test_kh_of_different_bases_is_not_compared_in_silence(session):
    of_two = figures.compare(session, view="hesd_map", layer=("conv1", "conv2")).caption
    assert of_two.endswith("K_H of exact spectra and of 20 Lanczos steps do not compare.")
    assert "do not compare" not in figures.compare(session, view="hesd_map", layer=("conv1", "head")).caption


def test_the_caption_of_two_spectra_says_what_differs(session):
    caption = figures.compare(session, layer=("conv1", "head"), names=("early", "late")).caption
    assert "late against early: λmax ratio 1 ±" in caption
    assert "Not compared in numbers" in figures.compare(session, layer=("conv1", "conv2")).caption
    assert "against" not in figures.compare(session, layer=("conv1", "head"), snapshot=2).caption  # one is not known


def test_frames_are_named(session):
    assert {"before", "after"} <= set(svg_texts(figures.compare(session, session, names=("before", "after"))))
    assert {"A", "B"} <= set(svg_texts(figures.compare(session, session, view="hesd_map", layer="conv1")))
    for wrong in ({"view": "pie"}, {"names": "AB"}, {"layer": ("conv1",)}, {"kind": "pie"}, {"scale": "pie"}):
        with pytest.raises(SettingError):
            figures.compare(session, **wrong)


# ---- little or nothing known


@views
def test_one_snapshot(draw):
    draw(CannedSession(snapshots=snapshots(1)))._repr_svg_()


@views
def test_no_snapshots(draw):
    picture = draw(CannedSession(snapshots=snapshots(0), run=None))
    assert picture.caption
    picture._repr_svg_()


@views
def test_nothing_computed(draw):
    class Empty(CannedSession):
        def cached(self, *_, **__):
            return None

        def losses(self, snapshot=-1):
            return {}

    session = Empty(run=None)
    picture = draw(session)
    assert "session." in picture.caption
    picture._repr_svg_()
    assert session.asked == []


@views
def test_unusable_snapshots_are_gaps(draw):
    rows = [
        replace(row, status="non-finite", metrics={"loss": float("nan")}) if k == 6 else row
        for k, row in enumerate(snapshots())
    ]

    class Broken(CannedSession):
        def cached(self, layer, snapshot=-1, **more):
            return None if self.snapshots[snapshot].status != "ok" else super().cached(layer, snapshot, **more)

    draw(Broken(snapshots=type(snapshots())(rows), run=CannedRun(findings=())))._repr_svg_()


@views
def test_without_steps_snapshots_stand_side_by_side(draw):
    rows = [replace(row, step=None, label=f"$epoch_{k}$ <b>") for k, row in enumerate(snapshots())]
    session = CannedSession(snapshots=type(snapshots())(rows), run=None)
    assert draw(session)._repr_svg_()


def test_time_is_logarithmic_where_steps_double():
    doubling, even = TimeAxis.of(list("abcdef"), [0, 1, 2, 4, 8, 16]), TimeAxis.of(list("abc"), [0, 50, 100])
    assert doubling.logarithmic
    assert not even.logarithmic
    assert even.at.tolist() == [0, 50, 100]
    for steps in ([0, None, 2], [0, 5, 5], [3, 2, 1], [7]):
        assert TimeAxis.of([str(s) for s in steps], steps).at.tolist() == list(range(len(steps)))

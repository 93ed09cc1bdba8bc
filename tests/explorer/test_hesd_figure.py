import json
from dataclasses import replace

import numpy as np
import pytest
from canned import HOSTILE, STEPS, CannedSession, spectrum

from lhexplore.diagnosis import hesd
from lhexplore.diagnosis.hesd.hesd import LIMIT
from lhexplore.explorer import views
from lhexplore.explorer.figures import hesd_map
from lhexplore.explorer.hesd_axes import ruler_of_ct, ruler_of_kh
from lhexplore.explorer.theme import apply_theme

PATIENCE = 20  # seconds; only a hang takes longer
LABELS = [f"step {step}" for step in STEPS]


def types_of(layer, count=len(STEPS)):
    return [hesd(spectrum(layer, k, "")) for k in range(count)]


def source(plot, name):
    return plot.root.select_one({"name": name}).data


def test_every_snapshot_stands_at_its_criteria_with_its_intervals():
    types = types_of("conv2")
    plot = hesd_map(types, LABELS, name="conv2")
    across, up = ruler_of_kh(np.array([h.kh for h in types])), ruler_of_ct(np.array([h.ct for h in types]))
    points, whiskers = source(plot, "hesd-points"), source(plot, "hesd-whiskers")
    np.testing.assert_allclose(points["x"], across.place(np.array([h.kh for h in types])))
    np.testing.assert_allclose(points["y"], up.place(np.array([h.ct for h in types])))
    np.testing.assert_allclose(whiskers["x0"][:12], across.place(np.array([h.kh_interval[0] for h in types])))
    np.testing.assert_allclose(whiskers["y1"][12:], up.place(np.array([h.interval[1] for h in types])))
    np.testing.assert_allclose(plot.frames["hesd-now__x"][:, 0], points["x"], rtol=1e-6)  # float32
    assert all(across.low < x < across.high for x in points["x"])
    assert plot.root.select_one({"name": "hesd-gate"}).location == LIMIT  # the axis is linear here


def test_the_gate_and_both_sides_are_named():
    plot = hesd_map(types_of("conv1"), LABELS, name="conv1")
    words = source(plot, "hesd-words")
    assert words["text"][:2] == ["MP: mainly positive", "MN: mainly negative"]
    assert plot.legend[0].words == "gate at −0.6 (constant of the authors' code)"
    assert words["y"][:2] == [LIMIT, LIMIT]
    assert words["text"][2:] == ["step 0", "step 1024"]


def test_a_path_joins_neighbours_of_one_basis_only():
    types = types_of("conv2", 6)
    types[2] = None
    types[4] = hesd(spectrum("conv1", 4, ""))
    steps = source(hesd_map(types, LABELS[:6], name="conv2"), "hesd-steps")
    assert len(steps["x0"]) == 1  # 0–1; not over the gap, and not to and from another basis
    points = source(hesd_map(types, LABELS[:6], name="conv2"), "hesd-points")
    assert (steps["x0"][0], steps["x1"][0]) == (points["x"][0], points["x"][1])
    assert np.isnan(points["x"][2])
    sentence = hesd_map(types, LABELS[:6], name="conv2").sentences[0]
    assert "do not compare and are not joined" in sentence
    assert "5 of 6 snapshots computed" in sentence


def test_preliminary_values_are_not_joined():
    types = types_of("conv1", 3)
    types[1] = replace(types[1], preliminary=True)
    assert len(source(hesd_map(types, LABELS[:3], name="conv1"), "hesd-steps")["x0"]) == 0


def test_undecided_points_are_hollow_and_the_legend_says_so():
    types = types_of("conv1", 3)
    decided = hesd_map(types, LABELS[:3], name="conv1")
    assert source(decided, "hesd-points")["fill"].tolist() == [1, 1, 1]
    types[1] = replace(types[1], type="undecided")
    plot = hesd_map(types, LABELS[:3], name="conv1")
    assert source(plot, "hesd-points")["fill"].tolist() == [1, 0, 1]
    assert [any("hollow" in key.words for key in each.legend) for each in (decided, plot)] == [False, True]
    assert "on neither side of the gate for certain" in plot.sentences[1]


def test_a_block_without_negative_eigenvalues_by_structure_says_that_the_map_says_nothing():
    plot = hesd_map(types_of("head"), LABELS, name="head")
    assert set(source(plot, "hesd-points")["y"]) == {0.0}
    assert "positive semi-definite by structure" in plot.sentences[3]
    assert "says nothing about training" in plot.sentences[3]


def test_infinite_criteria_are_said_and_not_drawn():
    types = types_of("conv1", 2)
    types[0] = replace(types[0], ct=-np.inf, kh=np.inf, interval=(-np.inf, -np.inf), kh_interval=(0.0, np.inf))
    plot = hesd_map(types, LABELS[:2], name="conv1")
    assert np.isnan(source(plot, "hesd-points")["x"]).tolist() == [True, False]
    assert "not drawn: a criterion is infinite" in plot.sentences[0]
    assert "not drawn" not in plot.sentences[1]


@pytest.mark.parametrize("types", [[None] * 3, [], [replace(types_of("conv1", 1)[0], ct=np.nan, kh=np.nan)]])
def test_nothing_known_is_a_figure_too(types):
    plot = hesd_map(types, LABELS[: len(types)], name="conv1")
    assert plot.count == len(types)
    assert len(source(plot, "hesd-words")["text"]) == 2


def test_far_below_the_gate_decades_are_counted():
    ruler = ruler_of_ct(np.array([-200.0, -0.1]))
    places = ruler.place(np.array([-200.0, -20.0, LIMIT, 0.0]))
    assert np.all(np.diff(places) > 0)
    assert places[1] - places[0] == pytest.approx(1.0)  # a decade
    assert ruler.low < places[0]


def test_zero_stands_left_of_all_decades():
    ruler = ruler_of_kh(np.array([0.0, 1e-3, 1.0]))
    places = ruler.place(np.array([0.0, 1e-3, 1e-1, 1.0]))
    assert np.all(np.diff(places) > 0)
    assert ruler.low < places[0]


def test_names_are_plain_text_and_colours_follow_the_theme():
    plot = hesd_map(types_of(HOSTILE), LABELS, name=HOSTILE)
    assert all("$$" not in text for text in (*plot.titles, *plot.sentences))
    mapper = plot.root.select_one({"name": "hesd-time"})
    line = plot.root.select_one({"name": "hesd-gate"})
    light = line.line_color
    apply_theme(plot.root, dark=True)
    assert line.line_color != light
    assert len(mapper.palette) > 1


# ---- the view


@pytest.fixture
def shown():
    view = views.HesdMap(CannedSession(missing={("conv1", 2)}), layer="conv1", snapshot=0)
    view.settled(PATIENCE)
    yield view
    view.close()


def test_a_click_leads_to_the_snapshot_and_another_layer_is_another_map(shown):
    shown.pane._heard(None, {"kind": "pick", "index": 7}, [])
    assert shown.snapshot == 7
    assert json.loads(shown.sentence.texts)[7].startswith("conv1 at step 64: mainly positive")
    shown.layer = "head"
    shown.settled(PATIENCE)
    assert json.loads(shown.sentence.texts)[7].startswith("head at step 64: positive semi-definite")


def test_the_whole_network_is_drawn_as_far_as_it_is_known(shown):
    session = shown.hub.session
    session.missing |= {(None, k) for k in range(12)}
    shown.block.value = "whole network"
    shown.settled(PATIENCE)
    sentence = json.loads(shown.sentence.texts)[3]
    assert sentence.startswith("whole network at step 4 is not computed yet.")
    assert "computed when you look at it in the list of layers" in sentence
    assert shown.layer == "conv1"
    shown.layer = "whole network"
    shown.settled(PATIENCE)
    assert "20 Lanczos steps" in json.loads(shown.sentence.texts)[3]

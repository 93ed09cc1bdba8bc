"""Two spectra on one pair of axes, without a browser."""

import gzip
import json
from dataclasses import replace

import ipywidgets
import numpy as np
import pytest
from bokeh.models import PanTool, WheelZoomTool
from canned import HOSTILE, LAYERS, STEPS, CannedLayer, CannedSession, CannedSnapshots, held_out, snapshots, spectrum

from lhexplore.errors import ClosedError, SettingError, UnknownLayerError
from lhexplore.explorer import Explorer, views
from lhexplore.explorer.compare_figure import NARROWEST
from lhexplore.explorer.frames import show_frame
from lhexplore.explorer.hub import Hub

WIDGETS = ipywidgets.widgets.widget._instances
PATIENCE = 20  # seconds; only a hang takes longer
THINNED = CannedSnapshots(snapshots()[k] for k in range(0, len(STEPS), 2))


class Larger(CannedSession):
    """The same run with all eigenvalues larger."""

    def _spectrum(self, layer, k, split, curvature):
        row = self.snapshots[k]
        found = held_out(spectrum(layer, STEPS.index(row.step), row.label))
        return replace(found, split="data") if split == "data" else held_out(found)


class Empty(CannedSnapshots):
    """A folder that is still empty."""

    where = "runs/b"


def complete(kind=CannedSession, **how):
    return kind(missing=set(), **how)


@pytest.fixture
def made():
    alive = []

    def make(*sources, **how):
        alive.append(views.ComparePlot(*sources, **how))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def said(plot, k=None):
    return json.loads(plot.sentence.texts)[plot.snapshot if k is None else k]


def titles(plot, k=None):
    return [texts[plot.snapshot if k is None else k] for _, texts in json.loads(plot.pane.spec)["titles"]]


def column(plot, source, name, k):
    """What the browser reads for one snapshot."""
    spec = json.loads(plot.pane.spec)
    block = gzip.decompress(plot.pane.frames)
    (row,) = (row for row in spec["columns"] if row[:2] == [source, name])
    return np.frombuffer(block, "<f4", row[4], row[3] + 4 * k * row[4])


def figures(plot):
    return plot.pane._plot.root.children


# ---- two layers of one run


def test_two_layers_stand_side_by_side_and_both_can_be_chosen(made):
    plot = made(complete(), "conv1", "head", snapshot=4)
    assert titles(plot) == ["A · conv1 · step 8 · exact", "B · head · step 8 · exact"]
    assert [each.description for each in plot.lists] == ["A", "B"]
    assert repr(plot).startswith("ComparePlot('conv1' at 'step-000008'")
    assert repr(plot).endswith("beside 'head')")
    plot.lists[0].value, plot.lists[1].value = "head", HOSTILE
    plot.settled(PATIENCE)
    assert plot.layer == "head"
    assert titles(plot)[0] == "A · head · step 8 · exact"
    assert titles(plot)[1].startswith("B · <img src=x")
    assert "$$" not in titles(plot)[1]  # Bokeh would read a formula
    assert said(plot).startswith("B against A: λmax ratio 1 ±")


def test_the_next_layer_stands_beside_where_none_was_named(made):
    session = complete()
    assert made(session, "conv1").pair.hubs[1].layer == "conv2"
    assert made(session, layer="head").pair.hubs[1].layer == "conv1"
    assert made(session, layer="whole network").pair.hubs[1].layer == "conv1"


def test_a_layer_chosen_elsewhere_is_that_of_a_and_only_one_slider_moves_both(made):
    session = complete()
    plot, badge = made(session, "conv1", "head"), views.HesdBadge(session)
    badge.layer, badge.snapshot, badge.scale = "conv2", 3, "linear"
    plot.settled(PATIENCE)
    assert titles(plot)[0].startswith("A · conv2 · step 4")
    assert titles(plot)[1].startswith("B · head · step 4")
    assert plot.lists[0].value == "conv2"
    assert plot.pane.clock is badge.hub.clock
    assert plot.pair.hubs[1].snapshot == 3
    badge.layers = ["conv1", "head"]
    assert [value for _, value in plot.lists[1].options] == ["conv1", "head"]
    badge.close()


def test_only_what_is_shown_is_computed(made):
    session = CannedSession(missing={(row.name, k) for row in LAYERS[:4] for k in range(12)})
    plot = made(session, "conv1", "head")
    assert set(session.asked) == {(name, k) for name in ("conv1", "head") for k in range(12)}
    assert len(session.asked) == 24
    assert said(plot, 0).startswith("B against A")


# ---- one pair of axes


@pytest.mark.parametrize(
    ("kind", "scale"),
    [
        ("histogram", "symlog"),
        ("histogram", "linear"),
        ("density", "loglog"),
        ("cumulative", "symlog"),
        ("rug", "loglog"),
    ],
)
def test_both_figures_share_their_ranges_and_every_part_is_drawn_to_them(made, kind, scale):
    plot = made(complete(), complete(Larger), layer="conv2", view=kind, scale=scale, snapshot=5)
    left, right = figures(plot)
    assert left.x_range is right.x_range
    assert left.y_range is right.y_range
    assert left.xaxis[0].ticker.ticks == right.xaxis[0].ticker.ticks
    assert left.yaxis[0].major_label_overrides == right.yaxis[0].major_label_overrides
    for source in ("a-ends", "b-ends"):
        x = np.concatenate([column(plot, source, "x", k) for k in range(12)])
        assert ((x >= left.x_range.start) & (x <= left.x_range.end)).all()
    np.testing.assert_array_equal(column(plot, "a-ends", "y", 5), column(plot, "b-ends", "y", 5))
    for figure in (left, right):
        assert {type(tool) for tool in figure.tools} >= {PanTool, WheelZoomTool}
        assert f"{NARROWEST}px" in figure.stylesheets[0]
    show_frame(plot.pane._plot, 5)
    assert right.select_one({"name": "b-frame-title"}).text.startswith("B · conv2 · step 16")


def test_a_bar_of_one_side_is_that_of_the_spectrum_alone(made):
    session = complete()
    plot = made(session, "conv1", "head")
    for source, layer in (("a-bars", "conv1"), ("b-bars", "head")):
        counts = column(plot, source, "count", 4)
        assert np.nansum(counts) == pytest.approx(session.cached(layer, 4).size)


def test_autoscale_fits_both_figures_to_the_snapshot_on_show(made):
    plot = made(complete(), complete(Larger), layer="conv1", scale="linear", snapshot=0)
    before = figures(plot)[0].x_range.end
    plot.autoscale.click()
    plot.settled(PATIENCE)
    fitted = figures(plot)[0].x_range.end
    top = max(hub.session.cached("conv1", 0).largest for hub in plot.pair.hubs)
    assert top < fitted < 1.2 * top < before
    plot.snapshot = 1
    plot.settled(PATIENCE)
    assert figures(plot)[0].x_range.end == fitted
    plot.layer = "head"
    plot.settled(PATIENCE)
    assert plot.autoscale.description == "Autoscale"


# ---- two runs


def test_two_runs_are_compared_layer_by_layer_at_equal_steps(made):
    plot = made(complete(), complete(Larger, snapshots=THINNED), layer="conv1", snapshot=4)
    assert said(plot).startswith("B against A: λmax ratio 1.3 ±")
    assert said(plot, 6).startswith("B against A: λmax ratio 1.3 ±")
    assert said(plot, 5).startswith("Nothing to compare here. B: no snapshot at step 16.")
    assert titles(plot, 5)[1] == "B · conv1 · no snapshot at step 16"
    (words,) = [rows for s, c, rows in json.loads(plot.pane.spec)["words"] if (s, c) == ("b-missing", "words")]
    assert words[5] == ["no snapshot at step 16"]
    assert "6 of the 12 snapshots of A" in said(plot)
    assert "B: No snapshot at step 16." in json.loads(plot.pane.sentences)[5]
    back = made(complete(snapshots=THINNED), complete())
    assert (
        back.lacking == "6 of the 6 snapshots of A have a counterpart in B. B has 6 more; to see those, give B first."
    )


def test_bare_views_of_the_other_run_follow(made):
    a, b = complete(), complete(Larger)
    plot, badge = made(a, b), views.HesdBadge(b)
    assert plot.pair.hubs == (Hub.of(a), Hub.of(b))
    plot.layer, plot.snapshot = "head", 3
    assert (badge.layer, badge.snapshot) == ("head", 3)
    badge.layer = "conv2"
    assert plot.layer == "conv2"
    plot.close()
    plot.hub.layer = "conv1"
    assert badge.layer == "conv2"
    badge.close()


def test_explorers_may_be_compared_and_live_on(made):
    a, b = Explorer(complete()), Explorer(complete(Larger))
    plot = made(a, b, layer="head")
    assert plot.pair.hubs == (a.hub, b.hub)
    plot.close()
    assert not a.hub.ended
    assert not b.hub.ended
    a.close()
    b.close()


def test_a_layer_that_the_other_run_lacks_is_said_in_its_place(made):
    other = complete(layers=(*LAYERS[1:3], CannedLayer("other", 5)))
    plot = made(complete(), other, layer="conv1", snapshot=2)
    assert titles(plot)[1] == "B · conv1 · no such layer in this run"
    assert said(plot).startswith("Nothing to compare here. B: no such layer in this run. B stays as it is.")
    marked = {value: text for text, value in plot.lists[0].options}
    assert marked["conv1"] == "conv1 (not in B)"
    assert marked["conv2"] == "conv2"
    plot.layer = "conv2"
    plot.settled(PATIENCE)
    assert said(plot) == "A and B are the same spectrum: nothing differs."


def test_runs_without_a_common_layer_are_shown_nevertheless(made):
    plot = made(complete(layers=(LAYERS[0], LAYERS[4])), complete(layers=(LAYERS[3],)))
    assert plot.layer == "conv1"
    assert "no such layer" in said(plot)
    assert np.isfinite(column(plot, "a-ends", "x", 3)).all()


def test_spectra_that_were_not_made_alike_are_shown_and_not_compared(made):
    class Finer(CannedSession):
        def _spectrum(self, layer, k, split, curvature):
            return replace(super()._spectrum(layer, k, split, curvature), functional="logit")

    plot = made(complete(), complete(Finer), layer="conv2")
    assert said(plot).startswith("Not compared in numbers: the functional is loss in A and logit in B")
    assert np.isfinite(column(plot, "b-ends", "x", 3)).all()


def test_held_out_data_lie_over_both_or_are_said_to_be_missing(made):
    both = [complete(has_held_out=True), complete(Larger, has_held_out=True)]
    plot = made(*both, split="both", layer="conv1")
    assert np.isfinite(column(plot, "b-over-ends", "x", 4)).all()
    assert any(child.description == "Data" for child in plot.children[2].children)
    plot.split = "held_out"
    plot.settled(PATIENCE)
    assert "held-out data" in titles(plot)[0]
    assert said(plot).startswith("B against A: λmax ratio 1.3 ±")
    alone = made(both[0], complete(), layer="conv1", split="both")
    assert "B stays as it is. split cannot be 'both': this session has no held-out data" in said(alone)
    assert np.isfinite(column(alone, "b-ends", "x", 4)).all()
    assert not any(child.description == "Data" for child in alone.children[2].children)


def test_a_spectrum_that_comes_in_later_is_drawn_whichever_run_it_is_of(made):
    session = CannedSession(missing={("head", k) for k in range(12)}, pause=0.005)
    plot = views.ComparePlot(complete(), session, layer="head", snapshot=4)
    assert "B: not computed yet" in said(plot)
    plot.settled(PATIENCE)
    assert said(plot) == "A and B are the same spectrum: nothing differs."
    plot.close()


@pytest.mark.parametrize("counts", [(1, 12), (12, 1), (1, 1)])
def test_a_single_snapshot_has_its_counterpart_at_its_step(made, counts):
    plot = made(*(complete(snapshots=snapshots(count)) for count in counts), snapshot=0)
    assert said(plot).startswith("A and B are the same spectrum")


def test_a_run_without_snapshots_says_so_and_the_other_is_shown(made):
    plot = made(complete(), complete(snapshots=Empty()), layer="conv1")
    assert plot.note == "B: Waiting for the first snapshot in runs/b."
    assert "Nothing to compare here. B: no snapshot at step 1,024. 0 of the 12" in said(plot)
    assert np.isfinite(column(plot, "a-ends", "x", 3)).all()
    assert made(complete(snapshots=Empty()), complete()).note == "A: Waiting for the first snapshot in runs/b."


# ---- what cannot be


@pytest.mark.parametrize(
    ("beside", "how", "error", "says"),
    [
        (lambda: (complete(), complete()), {}, SettingError, "two runs"),
        (lambda: ("conv1", "head", "conv2"), {}, SettingError, "got 3 names"),
        (lambda: ("conv1", complete()), {}, SettingError, "two layers of one"),
        (lambda: ("conv1",), {"layer": "head"}, SettingError, "two layers of one"),
        (lambda: ("conv1", "hed"), {}, UnknownLayerError, "head"),
        (lambda: ("conv1", "old"), {}, UnknownLayerError, "integer parameters"),
        (lambda: (complete(closed=True),), {}, ClosedError, "closed"),
        (lambda: (3,), {}, SettingError, "a Session, an Explorer or another view"),
        (lambda: (), {"colour": 1}, TypeError, "ComparePlot has no 'colour'"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_nothing_behind(beside, how, error, says):
    before = set(WIDGETS)
    with pytest.raises(error, match=says):
        views.ComparePlot(complete(), *beside(), **how)
    assert set(WIDGETS) == before


def test_the_same_session_twice_and_the_same_layer_twice(made):
    session = complete()
    plot = made(session, session, layer="head")
    assert said(plot) == "A and B are the same spectrum: nothing differs."
    assert len(plot.lists) == 2
    plot.lists[1].value = "conv1"
    plot.settled(PATIENCE)
    assert said(plot).startswith("B against A")
    assert said(made(session, "conv1", "conv1")).startswith("A and B are the same")

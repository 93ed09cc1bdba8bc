import gzip
import json

import numpy as np
import pytest
from bokeh.models import GlyphRenderer
from canned import CannedSession

from lhexplore.explorer.figures import heat_map, loss_plot, spectrum_plot
from lhexplore.explorer.pane import BokehPane


@pytest.fixture
def session():
    return CannedSession()


@pytest.fixture
def pane():
    made = BokehPane(picks="heat-cells")
    made.sent = []
    made.send = lambda content, buffers=None: made.sent.append((content, buffers or []))
    made._heard(made, {"kind": "hello", "view": "v1"}, [])
    yield made
    made.close()


def plot_of(session, layer="conv1", **how):
    spectra = [session.cached(layer, k) for k in range(len(session.snapshots))]
    return spectrum_plot(spectra, session.snapshots.labels, **how)


def kinds(pane):
    return [content["kind"] for content, _ in pane.sent]


def test_all_frames_travel_once_as_bytes_with_their_table_of_contents(pane, session):
    plot = plot_of(session)
    pane.show(plot, kind="a")
    spec = json.loads(pane.spec)
    assert spec["count"] == 12
    columns = {(source, column): (offset, length) for source, column, _, offset, length, _ in spec["columns"]}
    for key, rows in plot.frames.items():
        offset, length = columns[tuple(key.split("__"))]
        sent = np.frombuffer(gzip.decompress(pane.frames), "<f4", count=rows.size, offset=offset).reshape(-1, length)
        np.testing.assert_array_equal(sent, rows)
    assert json.loads(pane.sentences) == list(plot.sentences)
    assert kinds(pane) == ["document"]


def test_as_long_as_no_view_asked_nothing_is_sent():
    pane, sent = BokehPane(), []
    pane.send = lambda content, buffers=None: sent.append(content["kind"])
    session = CannedSession()
    for layer in ("conv1", "conv2"):
        pane.show(plot_of(session, layer), kind="a")
    assert sent == []
    pane._heard(pane, {"kind": "hello", "view": "v1"}, [])
    assert sent == ["document"]
    pane.close()


def test_the_same_kind_of_figure_is_patched_and_another_one_replaced(pane, session):
    pane.show(plot_of(session, "conv1"), kind="a")
    pane.show(plot_of(session, "conv2"), kind="a")
    assert kinds(pane)[0] == "document"
    assert set(kinds(pane)[1:]) == {"patch"}  # axes and ticks differ
    pane.sent.clear()
    pane.show(plot_of(session, "conv2"), kind="a")
    assert pane.sent == []  # nothing differs
    pane.show(plot_of(session, "conv2", kind="density"), kind="b")
    assert kinds(pane) == ["document"]


def test_every_new_view_gets_the_figure_as_it_is_now(pane, session):
    pane.show(plot_of(session, "conv1"), kind="a")
    pane.show(plot_of(session, "conv2"), kind="a")
    pane.sent.clear()
    pane._heard(pane, {"kind": "hello", "view": "v2"}, [])
    ((content, _),) = pane.sent
    assert content["view"] == "v2"
    ranges = [m for m in _models(json.loads(content["document"])) if m.get("name") == "Range1d"]
    expected = plot_of(session, "conv2").root.x_range
    assert any(r["attributes"].get("start") == pytest.approx(expected.start) for r in ranges)


def test_bokehjs_comes_from_the_installed_package_on_request_only(pane):
    pane._heard(pane, {"kind": "need-bokehjs"}, [])
    ((content, (script,)),) = pane.sent
    assert content == {"kind": "bokehjs"}
    assert b"Bokeh" in script
    assert len(script) > 500_000
    assert b"cdn.bokeh.org" not in pane._esm.encode()


def test_a_click_is_handed_on_and_nonsense_is_not(session):
    picked = []
    pane = BokehPane(picks="heat-cells", on_pick=picked.append)
    pane._heard(pane, {"kind": "pick", "index": 7}, [])
    for nonsense in ({"kind": "pick"}, {"kind": "pick", "index": "7"}, {"kind": "?"}, {}):
        pane._heard(pane, nonsense, [])
    assert picked == [7]
    pane.close()


def test_markers_lie_on_a_canvas_of_their_own(pane, session):
    plot = loss_plot(list(session.snapshots), [session.losses(k) for k in range(12)])
    pane.show(plot)
    levels = {
        r.data_source.name: r.level for r in plot.root.references() if isinstance(r, GlyphRenderer)
    }  # fmt: skip
    assert levels["loss-now"] == "overlay"
    assert levels["losses"] != "overlay"


def test_closing_lets_go_of_the_figure(session):
    pane = BokehPane()

    class Metric:
        name, unit, log = "trace", "", True

    plot = heat_map(np.ones((2, 12)), ["a", "b"], session.snapshots.labels, metric=Metric())
    pane.show(plot)
    pane.close()
    assert plot.root.document is None
    pane.close()


def _models(value):
    if isinstance(value, dict):
        if value.get("type") == "object":
            yield value
        for item in value.values():
            yield from _models(item)
    elif isinstance(value, list):
        for item in value:
            yield from _models(item)

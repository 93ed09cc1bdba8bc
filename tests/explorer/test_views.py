"""Every view of the kit alone, and several linked through one state, without a browser."""

import gc
import json
import re
import subprocess
import sys
import threading
import time
import weakref

import ipywidgets
import pytest
from canned import FROM, LAYERS, MISSING, CannedSession

from lhexplore.errors import ClosedError, SettingError, UnknownLayerError
from lhexplore.explorer import Explorer, View, views
from lhexplore.explorer.hub import Hub
from lhexplore.explorer.progress_texts import CLOSED
from lhexplore.explorer.view_texts import VIEW_TEXTS

WIDGETS = ipywidgets.widgets.widget._instances
PATIENCE = 20  # seconds; only a hang takes longer
KINDS = [getattr(views, name) for name in views.__all__]
LONGEST = 260  # characters of a sentence; longer ones are not read


@pytest.fixture
def made():
    """Makes views and closes them afterwards."""
    alive = []

    def make(kind, source=None, **how):
        alive.append(kind(source or CannedSession(), **how))
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def name_of(kind):
    return kind.__name__


# ---- alone


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_view_alone_shows_something_and_leaves_nothing_behind(kind):
    before, threads = set(WIDGETS), threading.active_count()
    session = CannedSession()
    view = kind(session, layer="head", snapshot=3)
    view.settled(PATIENCE)
    assert repr(view).startswith(f"{kind.__name__}('head' at 'step-000004'")
    assert view._repr_mimebundle_()["text/plain"] == repr(view)
    assert view.note == ""
    hub = view.hub
    view.close()
    view.close()
    assert repr(view) == f"{kind.__name__}(closed)"
    assert hub.ended
    assert set(WIDGETS) == before
    until(lambda: threading.active_count() <= threads)
    references = [weakref.ref(view), weakref.ref(hub)]
    del view, hub
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_a_view_draws_and_computes_only_what_it_shows(made, monkeypatch):
    for other in ("scrubber.loss_plot", "heat_map.heat_map"):
        monkeypatch.setattr(f"lhexplore.explorer.views.{other}", lambda *_, **__: pytest.fail("not asked for"))
    session = CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)})
    plot = made(views.SpectrumPlot, session, layer="conv2")
    plot.settled(PATIENCE)
    assert plot.note == ""
    assert {name for name, _ in session.asked} == {"conv2"}
    assert len(session.asked) == 12
    assert not any("Map" in type(widget).__name__ for widget in WIDGETS.values())


@pytest.mark.parametrize("kind", [views.Progress, views.Provenance], ids=name_of)
def test_a_view_without_spectra_begins_no_work(made, kind):
    session = CannedSession()
    view = made(kind, session)
    view.layer, view.snapshot = "head", 5
    view.settled(PATIENCE)
    assert session.asked == []


def test_compute_beside_nothing_computes_all(made):
    session = CannedSession()
    progress = made(views.Progress, session)
    assert "Compute" in progress.state.text
    progress.compute.click()
    progress.settled(PATIENCE)
    assert set(session.asked) == MISSING
    assert progress.state.text == "48/48 spectra · all known"


def test_an_untouched_view_is_not_drawn_again(made):
    class Counting(View):
        wants = frozenset({"style", "choice"})
        drawn = ()

        def build(self):
            return []

        def paint(self, looking, stale):
            self.drawn = (*self.drawn, stale)

    session = CannedSession(missing=set())
    view = made(Counting, session)
    view.settled(PATIENCE)
    assert view.drawn == (frozenset({"style", "choice"}),)
    view.snapshot, view.metric = 3, "trace"
    view.settled(PATIENCE)
    assert len(view.drawn) == 1
    view.view = "density"
    view.settled(PATIENCE)
    assert view.drawn[1:] == (frozenset({"style"}),)
    view.layer = "head"
    view.settled(PATIENCE)
    assert view.drawn[2:] == (frozenset({"choice"}),)


# ---- together


def test_views_of_one_session_are_linked(made):
    session = CannedSession(missing=set())
    plot, picker = made(views.SpectrumPlot, session), made(views.LayerPicker, session)
    badge, scrubber = made(views.HesdBadge, session), made(views.Scrubber, session)
    assert plot.hub is picker.hub is badge.hub is scrubber.hub
    picker.list.selected = 4
    scrubber.hub.clock.value = 2
    plot.view = "density"
    plot.settled(PATIENCE)
    assert {(view.layer, view.snapshot, view.view) for view in (plot, picker, badge, scrubber)} == {
        ("head", 2, "density")
    }
    assert json.loads(badge.card.texts)[2]["title"].startswith("head · step 2")
    assert plot.pane.clock is scrubber.hub.clock


def test_views_of_an_explorer_share_its_state_and_outlive_it(made):
    session = CannedSession(missing=set())
    explorer = made(Explorer, session, snapshot=0)
    plot, heat = made(views.SpectrumPlot, explorer), made(views.HeatMap, explorer.views[0])
    alone = made(views.SpectrumPlot, session)
    assert plot.hub is heat.hub is explorer.hub is not alone.hub
    heat.settled(PATIENCE)
    heat.pane._heard(None, {"kind": "pick", "index": 3 * 12 + 5}, [])
    assert (explorer.layer, explorer.snapshot, plot.layer) == ("head", 5, "head")
    assert alone.layer == "conv1"
    explorer.close()
    plot.layer = "conv2"
    plot.settled(PATIENCE)
    assert json.loads(plot.sentence.texts)[5].startswith("conv2 at step 16")
    assert heat.layer == "conv2"
    assert made(views.Provenance, explorer).hub is plot.hub  # it lives on with its views
    for view in (plot, heat):
        view.close()


def test_a_hub_that_ended_is_replaced(made):
    session = CannedSession(missing=set())
    first = made(views.SpectrumPlot, session, layer="head")
    hub = first.hub
    first.close()
    second = made(views.SpectrumPlot, first)
    assert second.hub is not hub
    assert second.layer == "conv1"
    assert Hub.of(session) is second.hub


def test_a_second_view_widens_the_work(made):
    session = CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)})
    plot = made(views.SpectrumPlot, session)
    plot.settled(PATIENCE)
    heat = made(views.HeatMap, session)
    heat.settled(PATIENCE)
    assert len(session.asked) == len(set(session.asked)) == 48
    heat.close()
    assert plot.hub.look().alone


def test_a_finding_leads_every_view_there(made):
    session = CannedSession(missing=set())
    found, plot = made(views.Findings, session), made(views.SpectrumPlot, session)
    found.settled(PATIENCE)
    assert [row["rule"] for row in json.loads(found.list.texts)["rows"]][:3] == ["D2", "D7", "D1"]
    found.list._handle_custom_msg({"kind": "go", "index": 0}, [])
    assert (plot.layer, plot.snapshot) == ("conv1", FROM)
    found.layers = ["head"]
    found.settled(PATIENCE)
    assert [row["rule"] for row in json.loads(found.list.texts)["rows"]] == ["D1", "D9"]
    assert plot.layer == "head"


# ---- what goes wrong


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_a_closed_session_is_refused_and_one_closed_later_is_told(made, kind):
    widgets = set(WIDGETS)
    with pytest.raises(ClosedError, match="closed"):
        kind(CannedSession(closed=True))
    assert set(WIDGETS) == widgets
    session = CannedSession(missing=set())
    view = made(kind, session)
    view.settled(PATIENCE)
    session.close()
    view.settled(PATIENCE)
    assert view.note == CLOSED
    with pytest.raises(ClosedError, match="closed"):
        kind(view)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"layer": "conv3"}, UnknownLayerError, "conv"),
        ({"view": "pie"}, SettingError, "histogram"),
        ({"split": "both"}, SettingError, "no held-out data"),
        ({"colour": 1}, TypeError, "SpectrumPlot has no 'colour'; it has layer, snapshot"),
    ],
)
def test_choices_that_make_no_sense_are_refused(made, how, error, says):
    widgets = set(WIDGETS)
    with pytest.raises(error, match=says):
        views.SpectrumPlot(CannedSession(), **how)
    assert set(WIDGETS) == widgets
    view = made(views.SpectrumPlot)
    with pytest.raises(error, match=says):
        views.Provenance(view, **how) if error is not TypeError else views.SpectrumPlot(view, **how)
    assert (view.layer, view.view, view.split) == ("conv1", "histogram", "data")


@pytest.mark.parametrize("source", [None, 3, "runs/a", ipywidgets.HTML])
def test_a_source_that_is_none_is_refused(source):
    with pytest.raises(SettingError, match="a Session, an Explorer or another view"):
        views.HeatMap(source)


def test_a_view_that_fails_says_so_and_the_others_go_on(made, monkeypatch):
    session = CannedSession(missing=set())
    plot, badge, progress = (made(kind, session) for kind in (views.SpectrumPlot, views.HesdBadge, views.Progress))
    monkeypatch.setattr("lhexplore.explorer.views.spectrum_plot.spectrum_plot", lambda *_, **__: 1 / 0)
    plot.layer = "head"
    plot.settled(PATIENCE)
    assert "ZeroDivisionError" in plot.note
    assert "ZeroDivisionError" in progress.state.problem
    assert json.loads(badge.card.texts)[0]["title"].startswith("head")


# ---- running a cell again


@pytest.mark.parametrize("kind", [*KINDS, Explorer], ids=name_of)
def test_a_cell_that_is_run_ten_times_keeps_one_view(monkeypatch, kind):
    run = ["run-0"]
    monkeypatch.setattr("lhexplore.explorer.rerun._present_cell", lambda: ("cell-1", run[0]))
    before, threads, session, sizes = set(WIDGETS), threading.active_count(), CannedSession(missing=set()), []
    anchor = views.Provenance(session)  # of another cell, as far as the bookkeeping knows: it is never closed by it
    monkeypatch.setattr("lhexplore.explorer.rerun._here", {})
    for k in range(10):
        run[0] = f"run-{k}"
        view = kind(session)
        view.settled(PATIENCE)
        watchers = sum(len(each) for kinds in anchor.hub._trait_notifiers.values() for each in kinds.values())
        sizes.append((len(WIDGETS), watchers, len(anchor.hub.audience.views)))
    assert len(set(sizes)) == 1
    view.close()
    anchor.close()
    assert set(WIDGETS) == before
    until(lambda: threading.active_count() <= threads)


# ---- words


@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_every_view_explains_itself_in_three_sentences(made, kind):
    about = VIEW_TEXTS[kind.__name__]
    for sentence in about.sentences:
        assert re.fullmatch(r"[A-Z].+\.", sentence)
        assert len(sentence) < LONGEST
        assert ". " not in sentence
    view = made(kind)
    (shown,) = [child for child in view.children if "lhx-help" in child._dom_classes]
    assert (shown.title, shown.text) == (about.title, " ".join(about.sentences))


def test_a_view_of_ones_own_explains_itself_by_its_docstring(made):
    class Own(View):
        """How often somebody looked."""

        def build(self):
            return []

        def paint(self, looking, stale):
            raise AssertionError

    (shown,) = [child for child in made(Own).children if "lhx-help" in child._dom_classes]
    assert (shown.title, shown.text) == ("Own", "How often somebody looked.")


def test_widgets_are_loaded_only_for_those_who_look():
    code = (
        "import lhexplore, sys; print([name for name in ('ipywidgets', 'bokeh', 'anywidget') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

"""Two runs side by side, without a browser."""

import json
import threading
import time

import ipywidgets
import pytest
from canned import LAYERS, STEPS, CannedLayer, CannedSession, CannedSnapshot, CannedSnapshots, snapshots

from lhexplore import Session
from lhexplore.errors import ClosedError, SettingError, UnknownLayerError
from lhexplore.explorer import Explorer, views
from lhexplore.explorer.compare import Comparison, explore
from lhexplore.explorer.pair import matched
from lhexplore.explorer.progress_texts import CLOSED

WIDGETS = ipywidgets.widgets.widget._instances
PATIENCE = 20  # seconds; only a hang takes longer


@pytest.fixture
def made():
    alive = []

    def make(*sessions, **choices):
        alive.append(explore(*sessions, **choices))
        return alive[-1]

    yield make
    for page in alive:
        page.close()


def complete(**how):
    return CannedSession(missing=set(), **how)


def test_one_session_is_explored_and_two_are_compared(made):
    one = made(complete(), layer="head")
    assert isinstance(one, Explorer)
    assert one.layer == "head"
    assert isinstance(made(complete(), complete()), Comparison)
    for sessions in ((), (complete(), complete(), complete())):
        with pytest.raises(SettingError, match="one session, or two to compare"):
            explore(*sessions)


def test_snapshots_are_matched_by_step_and_by_name_where_there_is_none():
    rows = [CannedSnapshot("a", 0, None, {}), CannedSnapshot("b", 5, None, {}), CannedSnapshot("best", None, None, {})]
    others = [
        CannedSnapshot("best", None, None, {}),
        CannedSnapshot("x", 5, None, {}),
        CannedSnapshot("y", 9, None, {}),
    ]
    assert matched(rows, others) == (None, 1, 0)
    assert matched(others, rows) == (2, 1, None)
    assert matched(rows, []) == (None, None, None)
    twice = [CannedSnapshot("first", 5, None, {}), CannedSnapshot("b", 5, None, {})]
    assert matched(rows, twice) == (None, 1, None)  # of several at one step that of the same name
    assert matched(rows, [CannedSnapshot("model", None, None, {})]) == (0, 0, 0)  # a single one outside of training


def test_what_is_chosen_in_one_run_is_chosen_in_the_other(made):
    page = made(complete(), complete(), layer="head", snapshot=3, view="rug")
    first, second = page.hubs
    assert (second.layer, second.snapshot, second.view) == ("head", 3, "rug")
    second.layer, second.scale, second.snapshot = "conv1", "loglog", 7
    assert (first.layer, first.scale, first.snapshot, page.layer) == ("conv1", "loglog", 7, "conv1")
    page.settled(PATIENCE)
    assert page.note == ""
    assert [view.note for view in page.views] == [""] * 9
    assert repr(page) == "Comparison('conv1' at 'step-000064' beside 'conv1' at 'step-000064')"


def test_every_run_has_its_badge_and_its_findings_and_losses_share_a_figure(made):
    page = made(complete(), complete(), layer="head", snapshot=3)
    page.settled(PATIENCE)
    kinds = [type(view).__name__ for view in page.views]
    assert kinds == ["BothLosses", "LayerPicker", "ComparePlot", *["HesdBadge", "Findings", "Progress"] * 2]
    assert [view.hub for view in page.views] == [page.hubs[0]] * 6 + [page.hubs[1]] * 3
    words = [key[0] for key in json.loads(page.views[0].pane.spec)["legend"]]
    assert words[:4] == ["A training loss", "B training loss", "A held-out loss", "B held-out loss"]
    page.views[7].list._handle_custom_msg({"kind": "go", "index": 0}, [])
    assert (page.layer, page.snapshot) == ("conv1", 4)  # a finding of the second run leads both there


def test_a_run_with_other_steps_is_followed_where_it_has_them_and_the_rest_is_said(made):
    thinned = CannedSnapshots(snapshots()[k] for k in range(0, len(STEPS), 2))
    page = made(complete(), complete(snapshots=thinned), snapshot=4)
    first, second = page.hubs
    assert second.snapshot == 2
    first.snapshot = 5
    assert (first.snapshot, second.snapshot) == (5, 2)
    second.snapshot = 4
    assert first.snapshot == 8
    assert page.note == "6 of the 12 snapshots of A have a counterpart in B."
    page.settled(PATIENCE)
    curves = json.loads(page.views[0].pane.sentences)
    assert "B training loss" in curves[4]
    assert "B training loss" not in curves[5]


def test_a_layer_or_data_that_the_other_run_lacks_is_said_and_nothing_moves(made):
    fewer = (*LAYERS[:2], CannedLayer("other", 5))
    page = made(complete(has_held_out=True), complete(layers=fewer), layer="conv2")
    first, second = page.hubs
    first.layer = "head"
    assert (first.layer, second.layer) == ("head", "conv2")
    assert "B stays as it is. There is no layer 'head'" in page.note
    first.split = "both"
    assert second.split == "data"
    assert "no held-out data" in page.note
    first.layer = "conv1"
    assert second.layer == "conv1"
    assert "no layer" not in page.note
    assert "no held-out data" in page.note


def test_one_session_twice_is_two_layers_to_choose(made):
    session = complete()
    page = made(session, session, layer="head")
    page.plot.lists[1].value = "head"
    page.settled(PATIENCE)
    assert "A and B are the same spectrum" in json.loads(page.plot.sentence.texts)[0]
    page.plot.lists[1].value = "conv1"
    page.snapshot = 4
    page.settled(PATIENCE)
    assert [hub.layer for hub in page.hubs] == ["head", "conv1"]
    assert [hub.snapshot for hub in page.hubs] == [4, 4]
    assert "B · conv1 · step 8" in json.loads(page.plot.pane.spec)["titles"][1][1][4]


def test_two_pages_of_the_same_runs_do_not_know_each_other(made):
    a, b = complete(), complete()
    one, other = made(a, b, layer="head"), made(a, b, layer="conv1")
    one.snapshot = 2
    assert (other.layer, other.snapshot) == ("conv1", 11)
    one.close()
    other.layer = "conv2"
    other.settled(PATIENCE)
    assert other.plot.note == ""


def test_a_run_that_is_closed_while_shown_is_told(made):
    a, b = complete(), complete()
    page = made(a, b, layer="head", snapshot=3)
    page.settled(PATIENCE)
    b.close()
    page.settled(PATIENCE)
    assert page.plot.note == f"B: {CLOSED}"
    assert [view.note for view in page.views[:2]] == ["", ""]
    page.snapshot = 5
    page.settled(PATIENCE)
    assert "ratio" in json.loads(page.plot.sentence.texts)[5] or "same" in json.loads(page.plot.sentence.texts)[5]


def test_a_cell_that_is_run_ten_times_keeps_one_page(monkeypatch):
    run = ["run-0"]
    monkeypatch.setattr("lhexplore.explorer.rerun._present_cell", lambda: ("cell-1", run[0]))
    monkeypatch.setattr("lhexplore.explorer.rerun._here", {})
    before, threads, sizes = set(WIDGETS), threading.active_count(), []
    a, b = complete(), complete()
    for k in range(10):
        run[0] = f"run-{k}"
        page = explore(a, b)
        page.settled(PATIENCE)
        watchers = [
            sum(len(each) for kinds in hub._trait_notifiers.values() for each in kinds.values()) for hub in page.hubs
        ]
        sizes.append((len(WIDGETS), *watchers, len(a.heard), len(b.heard)))
    assert len(set(sizes)) == 1
    page.close()
    assert set(WIDGETS) == before
    end = time.monotonic() + PATIENCE
    while threading.active_count() > threads:
        assert time.monotonic() < end, "threads stay"
        time.sleep(0.005)


def test_closing_leaves_nothing_behind():
    before = set(WIDGETS)
    page = explore(complete(), complete())
    page.settled(PATIENCE)
    page.close()
    page.close()
    assert repr(page) == "Comparison(closed)"
    assert all(hub.ended for hub in page.hubs)
    assert set(WIDGETS) == before


@pytest.mark.parametrize(
    ("sessions", "choices", "error"),
    [
        (lambda: (complete(closed=True), complete()), {}, ClosedError),
        (lambda: (complete(), complete(closed=True)), {}, ClosedError),
        (lambda: (complete(), complete()), {"layer": "hed"}, UnknownLayerError),
        (lambda: (complete(), complete()), {"colour": 1}, TypeError),
    ],
)
def test_a_comparison_that_cannot_be_leaves_nothing_behind(sessions, choices, error):
    before = set(WIDGETS)
    with pytest.raises(error):
        explore(*sessions(), **choices)
    assert set(WIDGETS) == before


@pytest.mark.parametrize("show", [explore, Explorer, views.SpectrumPlot])
@pytest.mark.parametrize(
    ("given", "came"), [("runs/a", "str"), ([complete()], "list"), (None, "NoneType"), (Session, "the class Session")]
)
def test_what_is_no_session_is_refused_in_words(show, given, came):
    before = set(WIDGETS)
    with pytest.raises(SettingError, match=rf"shows a Session.*; got {came}\. Make a session: lh\.Session"):
        show(given)
    assert set(WIDGETS) == before


def test_a_second_run_that_is_no_session_is_refused_in_words():
    with pytest.raises(SettingError, match=r"shows a Session; got NoneType\."):
        explore(complete(), None)
    with pytest.raises(SettingError, match=r"beside the first; got None\. Leave it out"):
        views.ComparePlot(complete(), None)

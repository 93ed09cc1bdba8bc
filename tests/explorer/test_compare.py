"""Two runs side by side, without a browser."""

import ipywidgets
import pytest
from canned import LAYERS, STEPS, CannedLayer, CannedSession, CannedSnapshot, CannedSnapshots, snapshots

from lhexplore.errors import ClosedError, SettingError, UnknownLayerError
from lhexplore.explorer import Explorer
from lhexplore.explorer.compare import Comparison, explore, matched

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


def test_what_is_chosen_in_one_run_is_chosen_in_the_other(made):
    page = made(complete(), complete(), layer="head", snapshot=3, view="rug")
    first, second = page.hubs
    assert (second.layer, second.snapshot, second.view) == ("head", 3, "rug")
    second.layer, second.scale, second.snapshot = "conv1", "loglog", 7
    assert (first.layer, first.scale, first.snapshot, page.layer) == ("conv1", "loglog", 7, "conv1")
    page.overlay = ["head"]
    assert second.overlay == ("head",)
    page.settled(PATIENCE)
    assert page.note == ""
    assert repr(page) == "Comparison('conv1' at 'step-000064' beside 'conv1' at 'step-000064')"
    assert len(page.views) == 10


def test_a_run_with_other_steps_is_followed_where_it_has_them_and_the_rest_is_said(made):
    thinned = CannedSnapshots(snapshots()[k] for k in range(0, len(STEPS), 2))
    page = made(complete(), complete(snapshots=thinned), snapshot=4)
    first, second = page.hubs
    assert (second.snapshot, page.note) == (2, "")
    first.snapshot = 5
    assert (first.snapshot, second.snapshot) == (5, 2)
    assert page.note == "The other run has no snapshot at step 16 · epoch 0.25; it stays where it is."
    second.snapshot = 4
    assert (first.snapshot, page.note) == (8, "")


def test_a_layer_or_data_that_the_other_run_lacks_is_said_and_nothing_moves(made):
    fewer = (*LAYERS[:2], CannedLayer("other", 5))
    page = made(complete(has_held_out=True), complete(layers=fewer), layer="conv2")
    first, second = page.hubs
    first.layer = "head"
    assert (first.layer, second.layer) == ("head", "conv2")
    assert "stays as it is. There is no layer 'head'" in page.note
    first.split = "both"
    assert second.split == "data"
    assert "no held-out data" in page.note
    first.layer = "conv1"
    assert second.layer == "conv1"
    assert "no layer" not in page.note
    assert "no held-out data" in page.note


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

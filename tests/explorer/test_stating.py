import threading

import pytest
from canned import STEPS, CannedSession, layer_state

from lhexplore.errors import ClosedError, SnapshotError
from lhexplore.explorer import Explorer, views
from lhexplore.explorer.state import Selection, entries_of
from lhexplore.explorer.stating import Stating

PATIENCE = 20  # seconds; only a hang takes longer


def stating(session, *, snapshot=0, split="data"):
    entries = entries_of(session.layers)
    labels = session.snapshots.labels
    looking = Selection(entries, labels, labels, tuple(e.name for e in entries), "conv1", snapshot, split=split)
    came = []
    return Stating(session, look=lambda: looking, came=lambda: came.append(1)), came


def test_all_snapshots_are_fetched_the_nearest_first():
    session = CannedSession()
    asked = []

    def states(k, *, split, quick):
        asked.append((k, split, quick))
        return {"conv1": layer_state("conv1", k, split)}

    session.states = states
    found, came = stating(session, snapshot=3, split="held_out")
    assert found.of("conv1", 3, "held_out") is None
    found.wish()
    found.wish()
    found.wait(PATIENCE)
    assert [k for k, *_ in asked[:5]] == [3, 2, 4, 1, 5]
    assert len(asked) == len(STEPS)
    assert {tuple(rest) for _, *rest in asked} == {("held_out", True)}
    assert found.of("conv1", 7, "held_out").gradient_norm == layer_state("conv1", 7, "held_out").gradient_norm
    assert found.of("conv1", 7, "data") is found.of("head", 7, "held_out") is None
    assert len(came) == len(STEPS) + 1
    found.wish()  # all is there
    assert not found.busy


def test_a_snapshot_without_states_says_why_and_stops_nothing():
    session = CannedSession()

    def states(k, **_):
        if k == 1:
            raise SnapshotError("the file is cut off")
        return {"conv1": layer_state("conv1", k)}

    session.states = states
    found, _ = stating(session)
    found.wish()
    found.wait(PATIENCE)
    assert found.failure(1, "data") == "the file is cut off"
    assert [found.failure(k, "data") for k in (0, 2)] == ["", ""]
    assert [k for k in range(12) if found.of("conv1", k, "data") is None] == [1]
    session.states = CannedSession().states
    found.forgive()
    found.wish()
    found.wait(PATIENCE)
    assert found.of("conv1", 1, "data") is not None


def test_a_closed_session_ends_the_work():
    session, asked = CannedSession(), []

    def states(k, **_):
        asked.append(k)
        session.closed = True
        raise ClosedError("closed")

    session.states = states
    found, _ = stating(session)
    found.wish()
    found.wait(PATIENCE)
    assert asked == [0]


def test_stop_ends_it_after_the_snapshot_at_hand():
    session, begun, go = CannedSession(), threading.Event(), threading.Event()

    def states(k, **_):
        begun.set()
        assert go.wait(PATIENCE)
        return {}

    session.states = states
    found, came = stating(session)
    found.wish()
    assert begun.wait(PATIENCE)
    found.stop()
    go.set()
    found.wait(PATIENCE)
    assert len(came) == 1  # that it ended; nothing came


@pytest.mark.parametrize("missing", [set(), {("conv1", 2), ("head", 5)}], ids=["all cached", "some to compute"])
def test_states_come_after_the_spectra_and_the_run_is_judged_with_them(missing):
    session = CannedSession(missing=set(missing))
    told, judged = [], []
    states, findings = session.states, session.findings

    def of(k, **how):
        assert not session.missing
        told.append(k)
        return states(k, **how)

    def judging(*, split):
        judged.append(len(told))
        return findings(split=split)

    session.states, session.findings = of, judging
    explorer = Explorer(session)
    try:
        explorer.settled(PATIENCE)
        assert sorted(told) == list(range(12))
        assert judged[-1] == 12
    finally:
        explorer.close()


def test_one_layer_alone_asks_for_no_states():
    session = CannedSession()
    session.states = lambda *_, **__: pytest.fail("not asked for")
    plot = views.SpectrumPlot(session)
    try:
        plot.settled(PATIENCE)
        assert plot.hub.computing.stating.failure(0, "data") == ""
        assert not plot.hub.computing.stating.busy
    finally:
        plot.close()

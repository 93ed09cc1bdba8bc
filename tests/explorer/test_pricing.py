"""What is missing is said with its cost before it is computed, by a canned session that can plan."""

import threading

import pytest
from canned import LAYERS, CannedSession

from lhexplore.explorer import views

PATIENCE = 20


class Planning(CannedSession):
    """Foretells 2 s and 30 MB for every spectrum, once ``gate`` is open."""

    def __init__(self, **how):
        super().__init__(**how)
        self.plans, self.gate, self.failure = [], threading.Event(), None
        self.gate.set()

    def plan(self, layers, snapshots, *, split):
        self.gate.wait(PATIENCE)
        self.plans.append((tuple(layers), tuple(snapshots), split, threading.current_thread()))
        if self.failure:
            raise self.failure
        return [{"layer": name, "seconds": 2.0, "MB": 30.0, "cached": False} for name in layers]


@pytest.fixture
def shown():
    """Makes a Progress that stands alone."""
    made = []

    def make(session):
        made.append(views.Progress(session))
        return made[-1]

    yield make
    for view in made:
        view.close()


def test_a_view_that_stands_alone_says_the_cost_asked_once_beside_the_kernel(shown):
    session = Planning(missing={("conv1", 2), ("conv1", 3), ("head", 2)})
    session.gate.clear()
    view = shown(session)
    assert view.state.progress.endswith(" to go, cost not known yet")
    session.gate.set()
    view.settled(PATIENCE)
    assert view.state.progress == "45/48 spectra · 3 to go, about 6.0 s, up to 30 MB of memory"
    assert view.twin().sentence.startswith(
        "45 of 48 spectra were known. To compute the rest: about 6.0 s, up to 30 MB of memory."
    )
    view.layer, view.snapshot = "head", 3
    view.settled(PATIENCE)
    assert sorted(name for layers, *_ in session.plans for name in layers) == ["conv1", "head"]
    assert all(thread is not threading.main_thread() for *_, thread in session.plans)
    assert session.asked == []


def test_a_plan_that_fails_is_not_asked_for_again(shown):
    session = Planning(missing={("conv1", 2)})
    session.failure = ZeroDivisionError()
    view = shown(session)
    view.settled(PATIENCE)
    view.snapshot = 3
    view.settled(PATIENCE)
    assert len(session.plans) == 1
    assert view.state.progress == "47/48 spectra · 1 to go"


def test_a_session_that_cannot_plan_says_what_is_to_do(shown):
    view = shown(CannedSession(missing={(row.name, k) for row in LAYERS[:4] for k in range(12)}))
    view.settled(PATIENCE)
    assert view.state.progress == "0/48 spectra · 48 to go"


def test_what_is_known_is_not_planned_for():
    session = Planning(missing=set())
    progress, spectrum = views.Progress(session), views.SpectrumPlot(session)
    progress.compute.click()
    progress.settled(PATIENCE)
    assert session.plans == []
    assert "to go" not in progress.state.progress
    progress.close()
    spectrum.close()

import threading

import pytest
from canned import CannedRun, CannedSession

from lhexplore.explorer import judging
from lhexplore.explorer.judging import Judging, in_run

PATIENCE = 20.0


class Session(CannedSession):
    """Counts how often it is asked."""

    def __init__(self, run=CannedRun()):
        super().__init__(missing=set(), run=run)
        self.splits = []

    def findings(self, *, split):
        self.splits.append(split)
        return super().findings(split=split)


def judge_of(session):
    return Judging(session, changed=lambda: None)


def asked(judge, split, *, busy):
    found = judge.ask(split, busy=busy)
    judge.wait(PATIENCE)
    return found


def test_a_run_is_judged_again_only_when_something_came_in():
    judge = judge_of(Session())
    assert judge.stale
    assert judge.of("data") is None
    assert asked(judge, "data", busy=True)  # at first at once
    assert judge.of("data").silent == CannedRun().silent
    assert judge.news()
    assert not judge.news()  # said once
    assert not asked(judge, "data", busy=False)
    judge.outdated()
    assert judge.stale
    assert asked(judge, "data", busy=False)


def test_whoever_asks_does_not_wait_and_is_told_when_it_is_there():
    gate, told = threading.Event(), threading.Event()

    class Slow(Session):
        def findings(self, *, split):
            gate.wait(PATIENCE)
            return super().findings(split=split)

    judge = Judging(Slow(), changed=told.set)
    assert judge.ask("data", busy=False)
    assert judge.busy
    assert judge.of("data") is None
    assert not told.is_set()
    gate.set()
    judge.wait(PATIENCE)
    assert told.is_set()
    assert judge.news()


def test_every_block_has_its_type_in_the_light_of_the_run():
    session = Session()
    judge = judge_of(session)
    asked(judge, "data", busy=False)
    run = judge.of("data")
    assert len(run.course.spectra) == 5 * 12  # four layers and the whole network
    assert {judge.type_of("data", *block) for block in run.course.spectra} == {
        in_run(run, *block).hesd for block in run.course.spectra
    }
    assert judge.type_of("held_out", "conv1", "step-000000") is None
    assert in_run(run, "conv1", "elsewhere") is None


def test_what_keeps_it_from_being_judged_is_told_once():
    class Broken(Session):
        def findings(self, *, split):
            raise ValueError("no run")

    judge = judge_of(Broken())
    asked(judge, "data", busy=False)
    with pytest.raises(ValueError, match="no run"):
        judge.news()
    assert not judge.news()


def test_while_the_work_goes_on_it_is_judged_seldom(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(judging, "monotonic", lambda: now[0])
    session = Session(run=None)
    judge = judge_of(session)
    for step in range(31):  # three seconds of work
        now[0] = 0.1 * step
        judge.outdated()
        asked(judge, "data", busy=True)
    assert len(session.splits) == 1 + int(3 / judging.PAUSE)
    judge.outdated()
    assert asked(judge, "data", busy=False)  # all is known: at once


def test_other_data_are_judged_at_once_and_never_mixed_up():
    session = Session()
    judge = judge_of(session)
    asked(judge, "data", busy=False)
    assert judge.of("held_out") is None
    assert asked(judge, "held_out", busy=True)
    assert session.splits == ["data", "held_out"]
    assert judge.of("held_out") is not None
    assert judge.of("data") is None

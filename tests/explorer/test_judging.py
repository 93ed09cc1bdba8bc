from lhexplore.explorer import judging
from lhexplore.explorer.judging import Judging


class Session:
    def __init__(self):
        self.asked = []

    def findings(self, *, split):
        self.asked.append(split)
        return f"run {len(self.asked)} on {split}"


def test_a_run_is_judged_again_only_when_something_came_in():
    judge = Judging(Session())
    assert judge.stale
    assert judge.of("data") is None
    assert judge.ask("data", busy=True)  # at first at once
    assert judge.of("data") == "run 1 on data"
    assert not judge.ask("data", busy=False)
    judge.outdated()
    assert judge.stale
    assert judge.ask("data", busy=False)


def test_while_the_work_goes_on_it_is_judged_seldom(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(judging.time, "monotonic", lambda: now[0])
    session = Session()
    judge = Judging(session)
    for step in range(31):  # three seconds of work
        now[0] = 0.1 * step
        judge.outdated()
        judge.ask("data", busy=True)
    assert len(session.asked) == 1 + int(3 / judging.PAUSE)
    judge.outdated()
    assert judge.ask("data", busy=False)  # all is known: at once


def test_other_data_are_judged_at_once_and_never_mixed_up():
    session = Session()
    judge = Judging(session)
    judge.ask("data", busy=False)
    assert judge.of("held_out") is None
    assert judge.ask("held_out", busy=True)
    assert (judge.of("held_out"), judge.of("data")) == ("run 2 on held_out", None)

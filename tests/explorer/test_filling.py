import pytest
from canned import CannedSession

from lhexplore.errors import ClosedError, LossError, SnapshotError
from lhexplore.explorer.filling import News, evaluate, fill, preview, spoils_snapshot
from lhexplore.explorer.state import Cell
from lhexplore.spectrum import Step


def queue(*cells):
    left = list(cells)
    return lambda: left.pop(0) if left else None


def run(session, *cells, leave=lambda cell: False):
    return list(fill(session, queue(*(Cell(*cell) for cell in cells)), key=lambda cell: cell[0], leave=leave))


class Broken(CannedSession):
    """Fails at conv1, and ends without a value at head."""

    failure: Exception = LossError("loss is NaN")

    def steps(self, layer, snapshot=-1, **_):
        if layer == "conv1":
            yield Step(1, 10)
            raise self.failure
        yield Step(1, 10)


def test_cached_values_come_in_one_piece_and_cost_nothing():
    session = CannedSession()
    (news,) = run(session, ("conv1", 0))
    assert news.step.spectrum.complete
    assert news.seconds == 0
    assert session.asked == []


def test_missing_values_come_step_by_step_and_complete_at_last():
    session = CannedSession()
    news = run(session, ("conv1", 2), ("head", 5))
    assert session.asked == [("conv1", 2), ("head", 5)]
    assert [n.step.done for n in news if n.cell == Cell("conv1", 2)] == list(range(11))
    assert all(n.step.spectrum.complete for n in (news[10], news[21]))
    assert news[10].seconds > 0


def test_leaving_a_cell_closes_its_computation_between_two_products():
    session = CannedSession()
    closed = []

    def steps(layer, snapshot=-1, **_):
        try:
            for done in range(1, 100):
                yield Step(done, 100)
        finally:
            closed.append(layer)

    session.steps = steps
    news = run(session, ("conv1", 2), leave=lambda cell: True)
    assert len(news) == 1
    assert closed == []  # it had not begun
    items = fill(session, queue(Cell("conv1", 2)), key=lambda cell: cell[0], leave=lambda cell: False)
    for _ in range(4):
        next(items)
    items.close()
    assert closed == ["conv1"]


def test_a_failure_becomes_news_and_the_next_cell_goes_on():
    news = run(Broken(missing={("conv1", 0), ("head", 0)}), ("conv1", 0), ("head", 0), ("conv2", 0))
    failures = [n for n in news if n.failure is not None]
    assert [(n.cell[0], type(n.failure)) for n in failures] == [("conv1", LossError), ("head", RuntimeError)]
    assert news[-1].step.spectrum.layer == "conv2"


def test_a_closed_session_ends_the_work():
    session = Broken(missing={("conv1", 0)})
    session.failure = ClosedError("closed")
    news = run(session, ("conv1", 0), ("conv2", 0))
    assert isinstance(news[-1].failure, ClosedError)


@pytest.mark.parametrize(("failure", "spoils"), [(SnapshotError("x"), True), (LossError("x"), False)])
def test_only_a_bad_snapshot_spoils_its_other_layers(failure, spoils):
    assert spoils_snapshot(failure) is spoils


def test_losses_are_evaluated_only_where_none_was_recorded():
    session = CannedSession()
    assert list(evaluate(session, 3)) == []
    evaluated = []
    session.losses = lambda k: {} if k == 1 else {"val_loss": 1.0}
    session.evaluate = evaluated.append
    assert list(evaluate(session, 3)) == [News(None)] or evaluated == [1]
    assert evaluated == [1]


def test_an_evaluation_that_fails_is_news():
    session = CannedSession()
    session.losses = lambda k: {}

    def fails(k):
        raise LossError("loss is NaN")

    session.evaluate = fails
    (news,) = evaluate(session, 3)
    assert isinstance(news.failure, LossError)


def test_traces_come_first_and_end_when_somebody_looks_elsewhere():
    session = CannedSession()
    probes = [news.traces[1].probes for news in preview(session, 3, leave=lambda: False)]
    assert probes == [1, 2, 3, 4]
    assert len(list(preview(session, 3, leave=lambda: True))) == 1


def test_traces_that_fail_are_left_to_the_spectra():
    session = CannedSession()

    def stream_traces(snapshot):
        raise LossError("loss is NaN")

    session.stream_traces = stream_traces
    assert list(preview(session, 3, leave=lambda: False)) == []

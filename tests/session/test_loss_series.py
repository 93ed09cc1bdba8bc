"""Losses through a run come from one source each: a batch of training, or the frozen data."""

import pytest

from lhexplore.session.loss_series import loss_series
from lhexplore.session.reading import course_of

LABELS = ("step-0", "step-10", "step-40")


def record(session, name, values):
    for row, value in zip(session.snapshots, values, strict=True):
        if value is not None:
            row.metrics[name] = value


def series(session, name):
    return [row.get(name) for row in loss_series(session).values()]


def test_recorded_at_some_and_evaluated_at_the_others_stays_recorded(session):
    record(session, "loss", [9.0, 8.0, None])
    session.evaluate("step-40")
    assert session.losses("step-40")["loss"] < 8.0  # a person may see it
    assert series(session, "loss") == [9.0, 8.0, None]
    assert [row.get("loss") for row in course_of(session).losses.values()] == [9.0, 8.0, None]


def test_evaluated_everywhere_comes_before_recorded_at_some(session):
    record(session, "loss", [9.0, 8.0, None])
    for label in LABELS:
        session.evaluate(label)
    found = series(session, "loss")
    assert found == [session._evaluated["data", label]["loss"] for label in LABELS]
    assert max(found) < 8.0


def test_recorded_everywhere_comes_before_evaluated(session):
    record(session, "loss", [9.0, 8.0, 7.0])
    record(session, "lr", [0.1, None, 0.1])
    for label in LABELS:
        session.evaluate(label)
    assert series(session, "loss") == [9.0, 8.0, 7.0]
    assert series(session, "lr") == [0.1, None, 0.1]
    held_out = series(session, "held_out_loss")
    assert held_out == [session._evaluated["held_out", label]["loss"] for label in LABELS]


def test_snapshots_that_cannot_be_used_do_not_decide(session):
    record(session, "loss", [None, 8.0, 7.0])
    session.snapshots[0].status = "mismatch"
    for label in LABELS[1:]:
        session.evaluate(label)
    assert series(session, "loss") == [None, 8.0, 7.0]


@pytest.mark.parametrize("known", [0, 1, 3])
def test_what_nobody_recorded_is_what_was_evaluated(session, known):
    for label in LABELS[:known]:
        session.evaluate(label)
    assert [value is not None for value in series(session, "loss")] == [k < known for k in range(3)]

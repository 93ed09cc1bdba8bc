"""Which steps of a training are due to be recorded."""

import operator
from collections.abc import Callable, Collection

from ..errors import SettingError

Schedule = str | Callable[[int], bool] | Collection[int]


def due(every: int | None, schedule: Schedule | None) -> Callable[[int], bool]:
    """The function from a step to whether it is due; see :func:`lhexplore.record`.

    Raises:
        SettingError: no steps could ever be due.
    """
    if every is not None:
        if schedule is not None:
            raise SettingError(f"Give every or schedule, not both: got every={every!r} and schedule={schedule!r}.")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise SettingError(f"every must be a whole number of steps, at least 1, got {every!r}.")
        return lambda step: step % every == 0
    if schedule is None or schedule == "log":
        return lambda step: step & (step - 1) == 0  # 0 and the powers of two
    if callable(schedule):
        return schedule
    if isinstance(schedule, str) or not isinstance(schedule, Collection):
        raise SettingError(f"schedule must be 'log', a function of the step, or a list of steps, got {schedule!r}.")
    steps = frozenset(checked_step(step) for step in schedule)
    if not steps:
        raise SettingError("schedule is an empty list: no step would ever be recorded.")
    return steps.__contains__


def checked_step(step: object) -> int:
    """A step number of Python, numpy or torch.

    Raises:
        SettingError: it is none.
    """
    try:
        value = operator.index(step)  # type: ignore[arg-type]  # numpy, torch too
    except TypeError:
        value = -1
    if value < 0 or isinstance(step, bool):
        raise SettingError(f"step must be a whole number of optimiser steps, 0 or more, got {step!r}.")
    return value

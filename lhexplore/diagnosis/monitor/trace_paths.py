"""One layer's cumulative sum, point by point, and the values that come of it."""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..number_texts import short
from .healthy import Reference

Side = Literal["upper", "lower"]


@runtime_checkable
class Limits(Protocol):
    """What a path needs of the settings."""

    @property
    def h(self) -> float: ...
    @property
    def k(self) -> float: ...
    @property
    def early(self) -> int: ...
    @property
    def floor(self) -> float: ...
    @property
    def watched(self) -> tuple[Side, ...]: ...


@dataclass(frozen=True, slots=True)
class Alarm:
    """A layer's sum went above its limit at this step. It is raised again only after the sum was back at zero."""

    layer: str
    step: int
    side: Side
    s: float
    h: float

    def __str__(self) -> str:
        where = "above" if self.side == "upper" else "below"
        return (
            f"Layer {self.layer!r}, step {self.step:,}: the trace stays {where} its reference "
            f"(S = {short(self.s)}, limit {short(self.h)})."
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """A point of a layer that no sum was made of."""

    layer: str
    step: int
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class LayerPath:
    """One layer over its usable points: deviation x in healthy s.d. (NaN while a run learns its own), and the sums."""

    layer: str
    steps: Float[ndarray, " t"]
    x: Float[ndarray, " t"]
    upper: Float[ndarray, " t"]  # NaN where this side is not watched
    lower: Float[ndarray, " t"]


class GrowingPath:
    """A path while points come in; ``reference`` None learns mean and s.d. from the first ``early`` points."""

    def __init__(self, layer: str, reference: Reference | None, limits: Limits) -> None:
        self._layer, self._reference, self._limits = layer, reference, limits
        self._early: list[float] = []
        self._sums: dict[Side, float] = dict.fromkeys(limits.watched, 0.0)
        self._armed: dict[Side, bool] = dict.fromkeys(limits.watched, True)
        self._rows: list[tuple[float, float, float, float]] = []

    def add(self, step: float, log: float) -> tuple[list[Alarm], str]:
        """Take in one log-trace; returns alarms, or why the point is skipped."""
        x, reason = self._deviation(step, log)
        if reason:
            return [], reason
        raised = [] if math.isnan(x) else [alarm for side in self._sums if (alarm := self._moved(side, step, x))]
        self._rows.append((step, x, self._sums.get("upper", math.nan), self._sums.get("lower", math.nan)))
        return raised, ""

    @property
    def value(self) -> LayerPath:
        """The path so far."""
        columns = np.array(self._rows, dtype=float).reshape(-1, 4).T
        columns.setflags(write=False)
        return LayerPath(self._layer, *columns)

    def _moved(self, side: Side, step: float, x: float) -> Alarm | None:
        s = max(0.0, self._sums[side] + (x if side == "upper" else -x) - self._limits.k)
        self._sums[side] = s
        above = s > self._limits.h
        raised = Alarm(self._layer, int(step), side, s, self._limits.h) if above and self._armed[side] else None
        self._armed[side] = not above and (self._armed[side] or s == 0.0)
        return raised

    def _deviation(self, step: float, log: float) -> tuple[float, str]:
        """In s.d., with the uncertainty of the mean; NaN while it is being learnt."""
        if self._reference is None:
            if len(self._early) < self._limits.early:
                self._early.append(log)
                return math.nan, ""
            sd = max(float(np.std(self._early, ddof=1)), self._limits.floor)
            return (log - float(np.mean(self._early))) / (sd * math.sqrt(1 + 1 / len(self._early))), ""
        course = self._reference.courses[self._layer]
        if course is None:
            return math.nan, f"there is no reference: {self._reference.reasons[self._layer]}"
        known = course.at(step)
        if known is None:
            return math.nan, f"the reference has steps {course.steps[0]:g} to {course.steps[-1]:g} only"
        mean, sd = known
        return (log - mean) / (sd * self._reference.widening), ""

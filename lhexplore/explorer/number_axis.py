"""The axis of a metric: linear, in decades, or in decades either side of zero; with round ends, it seldom moves."""

from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from .axes import ValueAxis, log_ticks

DECADES = 6  # at most so many below the largest magnitude, where both signs occur
PARTS = 4  # of a linear axis, about
BELOW = 0.2  # of a step below zero stays free, where no value is negative
STEPS = 3  # round ends of a logarithmic axis per decade
AIR = 1.15  # factor that stays free at either end of a logarithmic axis


@dataclass(frozen=True, slots=True, eq=False)
class NumberAxis:
    """From where to where it reaches, as positions, with labels there; ``around`` says how values are placed."""

    kind: Literal["linear", "log", "symlog"]
    low: float
    high: float
    ticks: dict[float, str]
    around: ValueAxis | None = None  # of "symlog"

    @property
    def y_type(self) -> Literal["linear", "log"]:
        """The scale of the figure itself."""
        return "log" if self.kind == "log" else "linear"

    def position(self, values: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
        """Tell where values stand; what lies beyond, infinite ones too, stands at an end."""
        flat = np.asarray(values, dtype=float).ravel()
        places = flat if self.around is None else self.around.position(flat)
        return np.asarray(np.clip(places, self.low, self.high)).reshape(values.shape)

    def above(self, share: float) -> float:
        """The upper end of an axis that leaves a row of this share for marks."""
        if self.kind == "log":
            return self.high * float((self.high / self.low) ** share)
        return self.high + share * (self.high - self.low)

    def between(self, low: float, high: float) -> float:
        """The middle of two positions, as the eye sees it."""
        return float((low * high) ** 0.5) if self.kind == "log" else (low + high) / 2


def number_axis(values: Float[ndarray, "..."], *, log: bool) -> NumberAxis:
    """Choose an axis that holds all finite values; a logarithmic one where that is asked for, and signs allow it."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return NumberAxis("linear", 0.0, 1.0, {})
    low, high = float(finite.min()), float(finite.max())
    if not log or low == high == 0:
        return _linear(low, high)
    return _log(low, high) if low > 0 else _symlog(finite)


def _linear(low: float, high: float) -> NumberAxis:
    span = (high - low) or abs(high) or 1.0
    raw = span / PARTS
    power = 10.0 ** floor(log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    first, last = floor(low / step - 0.2), ceil(high / step + 0.2)
    bottom = first if low < 0 else max(first, -BELOW)  # no room for values that cannot be
    ticks = {k * step: short(k * step) for k in range(ceil(bottom), last + 1)}
    return NumberAxis("linear", bottom * step, last * step, ticks)


def _log(low: float, high: float) -> NumberAxis:
    bottom = 10.0 ** (floor(STEPS * log10(low / AIR)) / STEPS)
    top = 10.0 ** (ceil(STEPS * log10(high * AIR)) / STEPS)
    return NumberAxis("log", bottom, top, log_ticks(bottom, top, most=5))


def _symlog(values: Float[ndarray, " n"]) -> NumberAxis:
    sizes = np.abs(values[values != 0])
    top = floor(log10(float(sizes.max())))
    threshold = 10.0 ** min(max(floor(log10(float(sizes.min()))), top - DECADES), top - 1)
    low, high = float(values.min()), float(values.max())
    ends = [-_up(-low) if low < 0 else -threshold / 2, _up(high) if high > 0 else threshold / 2]
    around = ValueAxis("symlog", threshold, np.array(ends))
    return NumberAxis("symlog", around.start, around.end, around.ticks(), around)


def _up(size: float) -> float:
    return float(10.0 ** (ceil(STEPS * log10(size * AIR)) / STEPS))

"""The axes of C_t and of K_H: where values stand, what the ticks say."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .axes import ValueAxis
from .number_axis import number_axis

MOSTLY = (-1.06, 0.08)  # the axis of C_t holds at least this: the gate is always in sight
ROOM = 1.18  # times the lowest C_t: words stand below its point
WIDE = -3.0  # below this C_t the axis is logarithmic


@dataclass(frozen=True, slots=True, eq=False)
class Ruler:
    """Where values stand on an axis, as positions of a linear figure."""

    low: float
    high: float
    ticks: dict[float, str]
    place: Callable[[Float[ndarray, " n"]], Float[ndarray, " n"]]

    @classmethod
    def decades(cls, low: float, high: float, ticks: dict[float, str]) -> "Ruler":
        return cls(
            float(np.log10(low)),
            float(np.log10(high)),
            {float(np.log10(at)): words for at, words in ticks.items()},
            lambda values: np.log10(np.clip(values, low, high)),
        )


def ruler_of_kh(kh: Float[ndarray, " n"]) -> Ruler:
    """The axis of K_H: decades; zero, where there is no negative eigenvalue, stands to the left of them."""
    axis = number_axis(kh, log=True)
    if axis.kind == "log":
        return Ruler.decades(axis.low, axis.high, axis.ticks)
    air = 0.04 * (axis.high - axis.low)
    return Ruler(axis.low - air, axis.high, axis.ticks, axis.position)


def ruler_of_ct(ct: Float[ndarray, " n"]) -> Ruler:
    """The axis of C_t: linear, or in decades where some lie far below the gate."""
    lowest = min(ct.tolist(), default=0.0)
    if lowest >= WIDE:
        low = min(MOSTLY[0], ROOM * lowest)
        axis = number_axis(np.array([low, 0.0]), log=False)
        ticks = {at: words for at, words in axis.ticks.items() if low <= at <= MOSTLY[1]}
        return Ruler(low, MOSTLY[1], ticks, lambda values: np.clip(values, low, MOSTLY[1]))
    around = ValueAxis("symlog", 1.0, np.array([1.6 * lowest, MOSTLY[1]]))
    inside = around.start, around.end
    return Ruler(*inside, around.ticks(), lambda values: np.clip(around.position(values), *inside))

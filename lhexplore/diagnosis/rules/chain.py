"""Layers through time: each snapshot beside the ones before it, over gaps, never over a change of method."""

from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

Numbers = Float[ndarray, "layers snapshots"]
Mask = Bool[ndarray, "layers snapshots"]


class Chain:
    """Links every judged cell to the judged one before it in the same layer that was made in the same way."""

    def __init__(self, judged: Mask, basis: Int[ndarray, "layers snapshots"]) -> None:
        self.judged, self._basis = judged, basis

    @cached_property
    def _kinds(self) -> list[Mask]:
        return [self.judged & (self._basis == kind) for kind in np.unique(self._basis[self.judged])]

    @cached_property
    def _before(self) -> Int[ndarray, "layers snapshots"]:
        """Column of the cell before; −1 where there is none."""
        columns, before = np.arange(self.judged.shape[1]), np.full(self.judged.shape, -1)
        for kind in self._kinds:
            last = np.maximum.accumulate(np.where(kind, columns, -1), axis=1)
            before[:, 1:] = np.where(kind[:, 1:], last[:, :-1], before[:, 1:])
        return before

    def back(self, values: Numbers, count: int = 1) -> Numbers:
        """The value ``count`` cells before; NaN where there is none."""
        for _ in range(count):
            earlier = np.take_along_axis(values, np.maximum(self._before, 0), axis=1)
            values = np.where(self._before >= 0, earlier, np.nan)
        return values

    def recent(self, values: Numbers, count: int) -> Float[ndarray, "count layers snapshots"]:
        """The last ``count`` values of every cell, newest first; NaN where there are fewer."""
        return np.array([self.back(values, k) for k in range(count)])

    def own(self, values: Numbers) -> Numbers:
        """Divide by the largest value so far, this one included; NaN where that is not positive."""
        highest = np.full(values.shape, np.nan)
        for kind in self._kinds:
            highest[kind] = np.fmax.accumulate(np.where(kind, values, np.nan), axis=1)[kind]
        with np.errstate(all="ignore"):
            return np.where(highest > 0, values / highest, np.nan)

    def lasting(self, condition: Mask, least: int) -> Mask:
        """Where a condition holds here and at the cells before, ``least`` in all."""
        count = np.zeros(condition.shape, int)
        rows = np.arange(len(condition))
        for t in range(condition.shape[1]):
            earlier = np.where(self._before[:, t] >= 0, count[rows, self._before[:, t]], 0)
            count[:, t] = np.where(condition[:, t] & self.judged[:, t], earlier + 1, 0)
        return count >= least

    def settled(self, condition: Mask, window: int) -> Mask:
        """Like :meth:`lasting`; where a layer could be judged at fewer than ``window`` snapshots, at all of these."""
        found = self.lasting(condition, window)
        for kind in self._kinds:
            few = kind.sum(axis=1)
            for least in np.unique(few[(few > 0) & (few < window)]):
                found |= self.lasting(condition, int(least)) & kind & (few == least)[:, None]
        return found

    @cached_property
    def length(self) -> int:
        """How many cells the longest of the courses has."""
        return max((int(kind.sum(axis=1).max()) for kind in self._kinds), default=0)

    def columns(self, i: int, t: int, count: int) -> list[int]:
        """The columns of a cell and of those before it, ``count`` at most, oldest first."""
        found: list[int] = []
        while t >= 0 and len(found) < count:
            found.append(t)
            t = int(self._before[i, t])
        return found[::-1]

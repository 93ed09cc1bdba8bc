"""How fast spectra come and how long the rest will take."""

import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from math import nan
from statistics import fmean

from .state import Cell

TELLING = 0.1  # spectra; less than that says little about the pace


class Pace:
    """Counts what was really computed since the work began; what the cache gave for nothing is not in it."""

    def __init__(self, before: "Pace | None" = None) -> None:
        """``before`` counted the work up to now: what it measured of layers still holds."""
        self._start = time.monotonic()
        self._end: float | None = None
        self._finished = 0
        self._share = 0.0
        self._spent: dict[str, list[float]] = defaultdict(list, before._spent if before else {})

    @property
    def seconds(self) -> float:
        """Since the work began, up to its end."""
        return (time.monotonic() if self._end is None else self._end) - self._start

    @property
    def done(self) -> float:
        """Spectra computed, the one at hand by its share."""
        return self._finished + self._share

    def under_way(self, share: float) -> None:
        """Note how much of the spectrum at hand is done."""
        self._share = share

    def finished(self, cells: Collection[Cell], seconds: float) -> None:
        """Note that spectra are complete that the same work gave; 0 seconds: they were cached."""
        if seconds > 0:
            self._finished, self._share = self._finished + len(cells), 0.0
            for layer, *_ in cells:
                self._spent[layer].append(seconds / len(cells))

    def ended(self) -> None:
        """Note that the work ended."""
        self._end, self._share = time.monotonic(), 0.0

    @property
    def measured(self) -> bool:
        """Whether any layer's spectrum was timed."""
        return bool(self._spent)

    def left(self, missing: Iterable[Cell], *, price: Callable[[Cell], float] = lambda _: nan) -> float:
        """Seconds for what is missing, from what the same layers took before, else from what was foretold.

        Args:
            missing: the cells, that at hand first.
            price: seconds foretold of a cell, NaN where nothing was. A cell that has none counts as the typical one
                of those known, and before there are any as the one at hand. NaN while that says nothing, either.
        """
        means = {layer: fmean(spent) for layer, spent in self._spent.copy().items()}
        rest = [means[cell[0]] if cell[0] in means else price(cell) for cell in missing]
        known = [*means.values()] or [each for each in rest if each == each]
        typical = fmean(known) if known else self.seconds / self.done if self.done >= TELLING else nan
        rest = [each if each == each else typical for each in rest]
        return max(sum(rest) - self._share * (rest[0] if rest else 0.0), 0.0)

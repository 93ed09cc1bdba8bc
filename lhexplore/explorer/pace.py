"""How fast spectra come and how long the rest will take."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable

from .state import Cell


class Pace:
    """Counts what was really computed since the work began; what the cache gave for nothing is not in it."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._end: float | None = None
        self._finished = 0
        self._share = 0.0
        self._spent: dict[str, list[float]] = defaultdict(list)  # layer -> seconds of each of its spectra

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

    def left(self, missing: Iterable[Cell]) -> float:
        """Seconds for what is missing, from what the same layers took before; NaN while nothing was measured."""
        means = {layer: sum(spent) / len(spent) for layer, spent in self._spent.items()}
        if not means:
            return float("nan")
        typical = sum(means.values()) / len(means)
        rest = [means.get(layer, typical) for layer, *_ in missing]
        return max(sum(rest) - self._share * (rest[0] if rest else 0.0), 0.0)

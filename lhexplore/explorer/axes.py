"""The eigenvalue axis: where a value stands, where bins end, what the ticks say.

Positions on the symmetric logarithmic axis are computed, so the picture needs no such scale of its own and the ticks
can carry the true values. Folded at zero, the same axis shows sizes: "loglog".
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import ceil, floor, log10
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import power_of_ten, short
from ..figures import decades
from ..figures.decades import AIR, HALF, even_step, extent, lowest_decade
from ..spectrum import Spectrum

Scale = Literal["symlog", "linear", "loglog"]
SCALES = ("symlog", "linear", "loglog")

FINEST = 12  # bins per decade, at most
QUANTILE = 0.02  # share of the values outside the zero band that may fall into the zero bin
APART = 0.09  # labels stand at least this share of the axis apart


@dataclass(frozen=True, slots=True, eq=False)
class ValueAxis:
    """One axis for all snapshots, so that nothing jumps while scrubbing.

    ``edges`` are bin edges in the unit of the eigenvalues, ascending, with ``±threshold`` among them.
    """

    scale: Scale
    threshold: float
    edges: Float[ndarray, " e"]

    @property
    def folded(self) -> bool:
        """Whether values of either sign stand at their size; the edges are then symmetric."""
        return self.scale == "loglog"

    @property
    def start(self) -> float:
        """Left end, as a position."""
        return 0.0 if self.folded else float(self.position(self.edges[:1])[0])

    @property
    def end(self) -> float:
        """Right end, as a position."""
        return float(self.position(self.edges[-1:])[0])

    @property
    def label(self) -> str:
        """What stands beside it."""
        if self.scale == "linear":
            return "eigenvalue λ"
        if self.folded:
            return f"size of the eigenvalue |λ| (log scale above {short(self.threshold)})"
        return f"eigenvalue λ (log scale either side of ±{short(self.threshold)})"

    def position(self, values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Tell where values stand."""
        if self.scale == "linear":
            return np.asarray(values, dtype=np.float64)
        return decades.place(np.abs(values) if self.folded else values, self.threshold)

    def holds(self, value: float) -> bool:
        """Tell whether a value stands between the ends."""
        return bool(self.start <= self.position(np.array([value]))[0] <= self.end)

    def value(self, positions: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Tell which values stand there: the inverse of ``position``."""
        if self.scale == "linear":
            return np.asarray(positions, dtype=np.float64)
        return decades.value(positions, self.threshold)

    def edges_around(self, band: float) -> Float[ndarray, " f"]:
        """Bin edges in which everything inside ``±band`` shares one bin."""
        width = max(self.threshold, band)
        outside = self.edges[np.abs(self.edges) > width]
        return np.concatenate([outside[outside < 0], [-width, width], outside[outside > 0]])

    def ticks(self) -> dict[float, str]:
        """Positions that carry a label, with the label."""
        if self.scale == "linear":
            return _linear_ticks(self.start, self.end)
        apart = APART * (self.end - self.start)
        labels = {0.0: "0"}
        for exponent in self._exponents():
            for sign in (1.0, -1.0):
                position = float(self.position(np.array([sign * 10.0**exponent]))[0])
                free = all(abs(position - other) >= apart for other in labels)
                if free and self.start <= position <= self.end:
                    labels[position] = power_of_ten(exponent, negative=sign < 0)
        return dict(sorted(labels.items()))

    def minor_ticks(self) -> list[float]:
        """Positions of all decades."""
        if self.scale == "linear":
            return []
        powers = np.array([10.0**e for e in self._exponents()])
        places = self.position(np.concatenate([-powers, powers]))
        return [float(p) for p in np.unique(places) if self.start <= p <= self.end]

    def _exponents(self) -> range:
        """Decades outside the threshold, largest first: labels start at the values that matter most."""
        top = max(abs(self.edges[0]), abs(self.edges[-1]))
        return range(floor(log10(top) + 1e-9), ceil(log10(self.threshold) - 1e-9) - 1, -1)


def axis_of(spectra: Iterable[Spectrum | None], *, scale: Scale = "symlog", bins: int = 120) -> ValueAxis:
    """Choose one axis that holds all known spectra, with their zero bands and error bounds."""
    known = [s for s in spectra if s is not None]
    low, high = extent(known)
    if scale == "linear":
        return _linear(low, high, bins)
    threshold = lowest_decade(known, low, high)
    if scale == "loglog":
        high = max(high, -low)
        return replace(_symlog(-high, high, 2 * bins, threshold), scale="loglog")
    return _symlog(low, high, bins, threshold)


def _symlog(low: float, high: float, bins: int, threshold: float) -> ValueAxis:
    left = log10(max(-low, threshold) / threshold)  # in decades
    right = log10(max(high, threshold) / threshold)
    air = max(AIR * (left + right + 2 * HALF), 0.1)
    left, right = left + air, right + air
    per_decade = max(1, min(FINEST, floor((bins - 3) / (left + right))))
    steps_left, steps_right = ceil(left * per_decade), ceil(right * per_decade)
    negative = -threshold * 10 ** (np.arange(steps_left, -1, -1) / per_decade)
    positive = threshold * 10 ** (np.arange(steps_right + 1) / per_decade)
    return ValueAxis("symlog", threshold, np.concatenate([negative, positive]))


def _linear(low: float, high: float, bins: int) -> ValueAxis:
    air = AIR * (max(high, 0.0) - min(low, 0.0))
    low, high = min(low, 0.0) - air, max(high, 0.0) + air
    width = (high - low) / bins
    first, last = floor(low / width - 0.5), ceil(high / width + 0.5)  # zero is the middle of a bin, not an edge
    return ValueAxis("linear", width / 2, (np.arange(first, last) + 0.5) * width)


def _linear_ticks(start: float, end: float) -> dict[float, str]:
    step = even_step(start, end, 7)
    count = range(ceil(start / step), floor(end / step) + 1)
    return {float(k * step): short(k * step) for k in count}


def log_ticks(low: float, high: float, *, most: int = 6) -> dict[float, str]:
    """Label round numbers between two positive ones: 1-2-5 steps where there is room, else powers of ten, thinned."""
    powers = range(floor(log10(low) + 1e-9), ceil(log10(high) - 1e-9) + 1)
    for factors in ((1, 2, 5), (1, 3)):
        values = [m * 10.0**e for e in powers for m in factors if low <= m * 10.0**e <= high]
        if len(values) <= most:
            return {value: short(value) for value in values}
    inside = [e for e in powers if low <= 10.0**e * (1 + 1e-9) and 10.0**e <= high * (1 + 1e-9)]
    step = max(1, ceil(len(inside) / most))
    return {10.0**e: power_of_ten(e) for e in inside if e % step == 0}

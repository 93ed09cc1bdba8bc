"""The axes of all figures: eigenvalues over many decades and both signs, and the steps of a training."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import power_of_ten, short
from ..spectrum import Spectrum
from . import decades
from .decades import AIR, DECADES, HALF, even_step, extent, lowest_decade
from .names import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

Scale = Literal["symlog", "linear", "loglog"]
SCALES = ("symlog", "linear", "loglog")

PER_DECADE, BINS = 8, 80  # bins: in a decade at most, and in all about
LABELS = 7  # that fit side by side in a column


@dataclass(frozen=True, slots=True)
class ValueScale:
    """Where eigenvalues stand. Places are decades on symlog (and loglog, of |λ|), the values themselves on linear."""

    kind: Scale
    low: float
    high: float
    threshold: float

    def place(self, values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Tell where values stand."""
        if self.kind == "linear":
            return np.asarray(values, dtype=np.float64)
        if self.kind == "loglog":
            return np.asarray(np.log10(np.maximum(np.abs(values) / self.threshold, 1.0)))
        return decades.place(values, self.threshold)

    def value(self, places: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Tell which values stand there."""
        if self.kind == "linear":
            return np.asarray(places, dtype=np.float64)
        if self.kind == "loglog":
            return np.asarray(self.threshold * 10.0**places)
        return decades.value(places, self.threshold)

    def edges(self) -> Float[ndarray, " e"]:
        """Bin edges over the axis: all that has no sign or is too small to be placed shares the bin at zero."""
        start, end = self.place(np.array([self.low, self.high]))
        if self.kind == "linear":
            width = 2 * self.threshold
            first, last = floor(start / width - 0.5), ceil(end / width + 0.5)  # zero is the middle of a bin
            return np.asarray((np.arange(first, last) + 0.5) * width)
        per_decade = max(1, min(PER_DECADE, floor(BINS / (end - start))))
        reach = np.arange(ceil(max(end, -start) * per_decade) + 2) / per_decade
        if self.kind == "loglog":
            return np.asarray(self.threshold * 10.0**reach)
        places = np.concatenate([-(HALF + reach)[::-1], HALF + reach])
        first, last = np.searchsorted(places, start, "right") - 1, np.searchsorted(places, end) + 1
        return self.value(places[max(0, first) : last])

    def apply(self, axes: "Axes", which: Literal["x", "y"] = "x") -> None:
        """Set scale, limits and ticks of an axis of matplotlib."""
        axis: Axis = getattr(axes, f"{which}axis")
        settings = {} if self.kind != "symlog" else {"linthresh": self.threshold, "linscale": 0.9 * HALF}
        getattr(axes, f"set_{which}scale")({"loglog": "log"}.get(self.kind, self.kind), **settings)
        getattr(axes, f"set_{which}lim")(self.low, self.high)
        ticks, minor = self._ticks()
        axis.set_ticks(list(ticks), labels=list(ticks.values()))
        axis.set_ticks(minor, minor=True)

    def _ticks(self) -> tuple[dict[float, str], list[float]]:
        if self.kind == "linear":
            step = even_step(self.low, self.high, LABELS - 1)
            return {k * step: short(k * step) for k in range(ceil(self.low / step), floor(self.high / step) + 1)}, []
        top = max(abs(self.low), abs(self.high))
        first = ceil(log10(self.threshold) - 1e-9)
        powers = range(floor(log10(top) + 1e-9), first - 1, -1)  # labels start at the values that matter most
        start, end = (float(p) for p in self.place(np.array([self.low, self.high])))
        apart = (end - start) / LABELS
        labels: dict[float, str] = {} if self.kind == "loglog" else {0.0: "0"}
        values = [sign * 10.0**e for e in powers for sign in ((1,) if self.kind == "loglog" else (1, -1))]
        inside = [v for v in values if self.low <= v <= self.high]
        for value in inside:
            here = float(self.place(np.array([value]))[0])
            if all(abs(here - float(self.place(np.array([other]))[0])) >= apart for other in labels):
                labels[value] = power_of_ten(round(log10(abs(value))), negative=value < 0)
        return labels, inside


def scale_of(spectra: Iterable[Spectrum | None], kind: Scale = "symlog") -> ValueScale:
    """One axis that holds all known spectra, with their zero bands and error bounds."""
    known = [s for s in spectra if s is not None]
    low, high = extent(known)
    if kind == "linear":
        low, high = min(low, 0.0), max(high, 0.0)
        air = AIR * (high - low)
        return ValueScale(kind, low - air, high + air, (high - low) / BINS / 2)
    top = max(-low, high)
    threshold = max(lowest_decade(known, low, high), *(s.zero_band for s in known), 0.0)
    if kind == "loglog":
        return ValueScale(kind, threshold, max(top, 2 * threshold) * 1.5, threshold)
    blank = ValueScale(kind, low, high, threshold)
    ends = blank.place(np.array([min(low, -threshold), max(high, threshold)]))
    low, high = blank.value(ends + max(AIR * (ends[1] - ends[0]), 0.1) * np.array([-1, 1]))
    return ValueScale(kind, float(low), float(high), threshold)


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """Where snapshots stand: at their steps where all are known and rise, else side by side."""

    at: Float[ndarray, " snapshots"]
    names: tuple[str, ...]  # where they stand side by side; empty otherwise
    first: float
    last: float
    least: float = 1.0  # the first step above 0
    logarithmic: bool = False

    @classmethod
    def of(cls, labels: Sequence[str], steps: Sequence[int | None]) -> "TimeAxis":
        """Choose; steps that double from snapshot to snapshot get a logarithmic axis (with 0 on it)."""
        known = [step for step in steps if step is not None]
        if len(known) < max(2, len(steps)) or (np.diff(known) <= 0).any():
            names = [shown(a, longest=9) if b is None else str(b) for a, b in zip(labels, steps, strict=True)]
            return cls(np.arange(len(labels), dtype=float), tuple(names), 0.0, max(len(labels) - 1.0, 0.0))
        at = np.array(known, dtype=float)
        crowded = bool(np.median(at) < at[0] + 0.2 * (at[-1] - at[0]))
        return cls(at, (), at[0], at[-1], float(at[at > 0][0]), crowded)

    def beside(self, other: "TimeAxis") -> "TimeAxis":
        """The same places on an axis that holds those of another run, too."""
        if self.names or other.names:
            return self
        first, last, least = min(self.first, other.first), max(self.last, other.last), min(self.least, other.least)
        return TimeAxis(self.at, (), first, last, least, self.logarithmic or other.logarithmic)

    def apply(self, axes: "Axes") -> None:
        """Set scale, limits, ticks and label of the x axis."""
        first, last, least = self.first, self.last, self.least
        if self.names:
            every = ceil(len(self.at) / LABELS)
            axes.set_xticks(self.at[::every], labels=list(self.names[::every]))
            axes.set(xlim=(-0.5, last + 0.5), xlabel="snapshot")
            return
        axes.set_xlabel("training step")
        if not self.logarithmic:
            step = even_step(first, last, LABELS - 1)
            ticks = [k * step for k in range(ceil(first / step), floor(last / step) + 1)]
            axes.set_xlim(first - AIR * (last - first), last + AIR * (last - first))
            axes.set_xticks(ticks, labels=[short(t) for t in ticks])
            return
        axes.set_xscale("symlog", linthresh=least, linscale=0.9 * HALF)
        axes.set_xlim(first - 0.3 * least if first <= 0 else first / 1.3, 1.3 * last)
        powers = [10.0**e for e in range(ceil(log10(least)), floor(log10(last)) + 1)]
        ticks = [*([0.0] if first <= 0 else []), *powers[:: ceil(len(powers) / LABELS)]]
        axes.set_xticks(ticks, labels=[power_of_ten(round(log10(v))) if v else "0" for v in ticks])
        axes.set_xticks([], minor=True)


def number_axis(axes: "Axes", values: Float[ndarray, "..."], *, log: bool, which: Literal["x", "y"] = "y") -> None:
    """Scale an axis: linear; logarithmic where asked for and possible; symlog where there are both signs."""
    scale = axes.set_xscale if which == "x" else axes.set_yscale
    finite = values[np.isfinite(values)]
    sizes = np.abs(finite[finite != 0])
    if log and sizes.size and sizes.max() > 10 * sizes.min():
        if finite.min() > 0:
            scale("log")
        else:
            scale("symlog", linthresh=max(10.0 ** floor(log10(sizes.min())), sizes.max() * 10.0**-DECADES))
    plain_numbers(axes.xaxis if which == "x" else axes.yaxis)


def plain_numbers(axis: "Axis") -> None:
    """Write numbers as everywhere else, never as formulas; nothing at the small ticks."""
    axis.set_major_formatter(lambda value, _: short(value))
    axis.set_minor_formatter(lambda value, _: "")

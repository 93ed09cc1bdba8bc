"""The colours of a map: which number has which, and the bar beside it that says so."""

from dataclasses import dataclass
from math import ceil, floor, log10

import numpy as np
from bokeh.models import FixedTicker, LinearColorMapper
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import power_of_ten, short
from .drawing import Settings
from .escape import plain
from .theme import themed

DECADES = 6  # colours resolve at most so many decades below the largest magnitude


@dataclass(frozen=True, slots=True)
class ColourScale:
    """Where values stand on the colour bar: linear, in decades, or in decades either side of zero."""

    low: float
    high: float
    diverging: bool
    log: bool
    threshold: float

    @classmethod
    def of(cls, values: Float[ndarray, "..."], *, log: bool) -> "ColourScale":
        """Make one that holds all finite values."""
        finite = values[np.isfinite(values)]
        if not finite.size:
            return cls(0.0, 1.0, False, False, 1.0)
        diverging = bool(finite.min() < 0 < finite.max())
        sizes = np.abs(finite[finite != 0])
        log = log and bool(sizes.size)
        top = float(sizes.max()) if sizes.size else 1.0
        threshold = max(10.0 ** floor(log10(float(sizes.min()))), 10.0 ** (floor(log10(top)) - DECADES)) if log else 1.0
        blank = cls(0.0, 1.0, diverging, log, threshold)
        places = blank.position(finite)
        low, high = float(places.min()), float(places.max())
        if diverging:
            high = max(-low, high)
            low = -high
        if low == high:
            low, high = low - 0.5, high + 0.5
        return cls(low, high, diverging, log, threshold)

    def position(self, values: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
        """Where values stand."""
        if not self.log:
            return np.asarray(values, dtype=np.float64)
        ratio = np.abs(values) / self.threshold
        outside = 1 + np.log10(np.maximum(ratio, 1.0))
        return np.asarray(np.sign(values) * np.where(ratio <= 1, ratio, outside))

    def ticks(self) -> dict[float, str]:
        """Words beside the bar, by position."""
        if not self.log:
            marks = np.linspace(self.low, self.high, 5)
            return {float(m): short(float(m), digits=2) for m in marks}
        first = round(log10(self.threshold))
        last = first + ceil(max(abs(self.low), abs(self.high)))
        step = max(1, ceil((last - first) / 5))
        labels = {0.0: "0"}
        for exponent in range(first, last + 1, step):
            for sign in (1.0, -1.0):
                labels[sign * (1.0 + exponent - first)] = power_of_ten(exponent, negative=sign < 0)
        return {p: text for p, text in sorted(labels.items()) if self.low <= p <= self.high}


def colour_settings(colours: ColourScale, prefix: str) -> Settings:
    """What the colours stand for, and the words beside the bar."""
    ticks = colours.ticks()
    return {
        f"{prefix}heat-colours": {"low": colours.low, "high": colours.high},
        f"{prefix}heat-bar": {"major_label_overrides": {place: plain(text) for place, text in ticks.items()}},
        f"{prefix}heat-bar-ticks": {"ticks": list(ticks)},
    }


def add_colour_bar(plot: figure, mapper: LinearColorMapper, prefix: str) -> None:
    """Put the bar that explains the colours beside a map."""
    bar = ColorBar(
        color_mapper=mapper,
        name=f"{prefix}heat-bar",
        ticker=FixedTicker(name=f"{prefix}heat-bar-ticks", ticks=[]),
        major_label_text_font_size="11px",
        background_fill_color=None,
        width=12,
        padding=4,
    )
    themed(bar, major_label_text_color="text", major_tick_line_color="axis")
    plot.add_layout(bar, "right")

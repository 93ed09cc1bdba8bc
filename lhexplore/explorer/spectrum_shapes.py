"""The shape of a spectrum at every snapshot: bars, and others as outlines over them; and what all shapes share.

On an axis of sizes (``axis.folded``) the main shape and the outlines are those of the positive eigenvalues and of what
has no sign; the negative ones of the main spectrum are an outline of their own, ``minus``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import floor, log10

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..spectrum import Spectrum
from .axes import ValueAxis, log_ticks
from .base_figure import rows

HEADROOM = 4.0  # factor above the highest bar, where the markers of the ends stand
LEAST = 1e-3  # expected counts below this stay at the bottom
GROUND, SKY = 1e-12, 1e15  # below and above every axis: shapes are cut off at the frame

Frames = dict[str, Float[ndarray, "n _"]]
Spectra = Sequence[Spectrum | None]
Over = Mapping[str, Spectra]  # by the name of their source
NONE: Over = {}
Fit = int | Sequence[int] | None  # the rows that the axes are fitted to; None: all of them


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Columns of the bars or the curve, of the outlines of what lies over them, and the range of the axis."""

    frames: Frames
    low: float
    high: float
    label: str
    own_ticks: Mapping[float, str] = field(default_factory=dict)

    @property
    def ticks(self) -> Mapping[float, str]:
        """Round numbers, or those that the shape has of its own."""
        return self.own_ticks or log_ticks(self.low, self.high)

    @property
    def ends(self) -> float:
        """How high the markers of the ends stand."""
        return float(self.high / (self.high / self.low) ** 0.06) if self.own_ticks else self.high / HEADROOM**0.4


def histogram(spectra: Spectra, axis: ValueAxis, over: Over = NONE, fit: Fit = None) -> Canvas:
    """Bars of expected counts; the spectra laid ``over`` them are outlines on the same axis.

    The counts' axis is as high as all snapshots need, or as the one called ``fit`` does.
    """
    block = _bars(spectra, axis)
    above = {source: _bars(each, axis) for source, each in over.items()}
    if axis.folded:
        above["minus"] = _bars(spectra, axis, sign=-1)
    counts = np.concatenate([block["count"], *(each["count"] for each in above.values())], axis=1)
    low, high = count_range([*spectra, *(s for each in over.values() for s in each)], only(counts, fit))
    top = np.maximum(block["count"], 1.3 * low)  # a rare eigenvalue still shows as a stub
    spread = np.where(block["stderr"] > 0, block["stderr"], np.nan)
    frames = {
        **{f"bars__{key}": values for key, values in block.items()},
        "bars__top": top,
        "whiskers__x": (block["left"] + block["right"]) / 2,
        "whiskers__low": np.maximum(block["count"] - spread, low),
        "whiskers__high": block["count"] + spread,
    }
    for source, each in above.items():
        frames |= _outline(source, each, np.maximum(each["count"], 1.3 * low))
    if not over:  # many outlines in one picture could not be told apart: the one of the snapshot before gives way
        frames |= _outline("ghost", block, top)
    return Canvas(frames, low, high, "eigenvalues per bin")


def _bars(spectra: Spectra, axis: ValueAxis, sign: int = 1) -> Frames:
    count, bars = len(spectra), len(axis.edges) // 2 if axis.folded else len(axis.edges) - 1
    block = {key: rows(count, bars) for key in ("left", "right", "from", "to", "count", "stderr")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        edges = axis.edges_around(spectrum.zero_band)
        shares = spectrum.histogram(edges)
        mass, stderr = shares.mass, shares.stderr
        middle = len(mass) // 2  # with as many bins on either side, that of what has no sign
        if axis.folded and sign > 0:
            edges, mass, stderr = edges[middle:], mass[middle:], stderr[middle:]
        elif axis.folded:
            edges, mass, stderr = edges[middle::-1], mass[:middle][::-1], stderr[:middle][::-1]
        places, used = axis.position(edges), len(mass)
        if axis.folded and sign > 0:
            places[0] = axis.start
        counts = spectrum.size * mass
        block["left"][k, :used], block["right"][k, :used] = places[:-1], places[1:]
        block["from"][k, :used], block["to"][k, :used] = edges[:-1], edges[1:]
        block["count"][k, :used] = np.where(counts > 0, counts, np.nan)
        block["stderr"][k, :used] = np.where(counts > 0, spectrum.size * stderr, np.nan)
    return block


def only(values: Float[ndarray, "n b"], fit: Fit) -> Float[ndarray, "m b"]:
    """The rows that decide how high the axis is."""
    return values if fit is None else values[np.atleast_1d(fit)]


def count_range(spectra: Spectra, counts: Float[ndarray, "n b"]) -> tuple[float, float]:
    """From half an eigenvalue (less where estimates expect less) to some way above the highest bar."""
    if not np.isfinite(counts).any():
        return 0.5, 10.0
    least = float(np.nanmin(counts))
    exact = all(s is None or s.exact for s in spectra)
    low = 0.5 if exact else 10.0 ** max(floor(log10(min(least, 0.9))), log10(LEAST))
    return low, HEADROOM * max(float(np.nanmax(counts)), 10 * low)


def _outline(source: str, block: Frames, top: Float[ndarray, "n b"]) -> Frames:
    """The silhouette of the bars, as one line that starts at the bottom."""
    left, right = block["left"], block["right"]
    count, bars = left.shape
    x, y = rows(count, 2 * bars + 2), rows(count, 2 * bars + 2)
    x[:, 1:-1:2], x[:, 2:-1:2] = left, right
    y[:, 1:-1:2] = y[:, 2:-1:2] = np.where(np.isnan(left), np.nan, np.where(np.isnan(top), GROUND, top))
    x[:, 0], y[:, 0] = left[:, 0], np.where(np.isnan(left[:, 0]), np.nan, GROUND)
    return {f"{source}__x": x, f"{source}__y": y}


def kept_of(
    axis: ValueAxis, nodes: Float[ndarray, " m"], inside: Bool[ndarray, " m"], negative: bool
) -> Bool[ndarray, " m"]:
    """Which values a curve is of: all, or on an axis of sizes those of its sign."""
    if not axis.folded:
        return np.ones(len(nodes), dtype=bool)
    return ~inside & (nodes < 0) if negative else inside | (nodes > 0)

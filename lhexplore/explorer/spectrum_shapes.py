"""The shape of a spectrum at every snapshot: bars or a smooth curve, and the same as an outline over another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..spectrum import Spectrum
from .axes import ValueAxis
from .base_figure import rows

GRID = 201  # points of the smooth curve
FINE = 8  # cells per grid step when smoothing
WIDTH = 1 / 80  # standard deviation of the smoothing, as a share of the axis
HEADROOM = 4.0  # factor above the highest bar, where the markers of the ends stand
LEAST = 1e-3  # expected counts below this stay at the bottom
GROUND, SKY = 1e-12, 1e15  # below and above every axis: shapes are cut off at the frame

Frames = dict[str, Float[ndarray, "n _"]]


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """Columns of the bars or the curve, of the outline of what lies over them, and the range of the axis."""

    frames: Frames
    low: float
    high: float
    label: str


def histogram(spectra: Sequence[Spectrum | None], axis: ValueAxis, over: Sequence[Spectrum | None] = ()) -> Canvas:
    """Bars of expected counts; the spectra laid ``over`` them are outlines on the same axis."""
    block, above = _bars(spectra, axis), _bars(over, axis)
    low, high = _count_range([*spectra, *over], np.concatenate([block["count"], above["count"]]))
    top = np.maximum(block["count"], 1.3 * low)  # a rare eigenvalue still shows as a stub
    spread = np.where(block["stderr"] > 0, block["stderr"], np.nan)
    frames = {
        **{f"bars__{key}": values for key, values in block.items()},
        "bars__top": top,
        "whiskers__x": (block["left"] + block["right"]) / 2,
        "whiskers__low": np.maximum(block["count"] - spread, low),
        "whiskers__high": block["count"] + spread,
    }
    if over:  # two outlines in one picture could not be told apart: the one of the snapshot before gives way
        frames |= _outline("over", above, np.maximum(above["count"], 1.3 * low))
    else:
        frames |= _outline("ghost", block, top)
    return Canvas(frames, low, high, "eigenvalues per bin")


def _bars(spectra: Sequence[Spectrum | None], axis: ValueAxis) -> Frames:
    count, bars = len(spectra), len(axis.edges) - 1
    block = {key: rows(count, bars) for key in ("left", "right", "from", "to", "count", "stderr")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        edges = axis.edges_around(spectrum.zero_band)
        shares = spectrum.histogram(edges)
        places, used = axis.position(edges), len(edges) - 1
        counts = spectrum.size * shares.mass
        block["left"][k, :used], block["right"][k, :used] = places[:-1], places[1:]
        block["from"][k, :used], block["to"][k, :used] = edges[:-1], edges[1:]
        block["count"][k, :used] = np.where(counts > 0, counts, np.nan)
        block["stderr"][k, :used] = np.where(counts > 0, spectrum.size * shares.stderr, np.nan)
    return block


def _count_range(spectra: Sequence[Spectrum | None], counts: Float[ndarray, "n b"]) -> tuple[float, float]:
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


def density(spectra: Sequence[Spectrum | None], axis: ValueAxis, over: Sequence[Spectrum | None] = ()) -> Canvas:
    """The smoothed density of the same eigenvalues; the spectra laid ``over`` it are lines on the same axis."""
    count = len(spectra)
    grid = np.linspace(axis.start, axis.end, GRID)
    width = WIDTH * (axis.end - axis.start)
    peak = 1 / (width * np.sqrt(2 * np.pi))  # what one eigenvalue alone looks like
    y, spread = _curves(spectra, axis, grid, width)
    above, _ = _curves(over, axis, grid, width)
    exact = all(s is None or s.exact for s in (*spectra, *over))
    low = float(10.0 ** floor(log10((0.3 if exact else 0.03) * peak)))
    values = np.concatenate([y, above])
    high = HEADROOM * max(float(np.nanmax(values)) if np.isfinite(values).any() else 0.0, 10 * low)
    drawn = np.maximum(y, low)
    unsure = spread > 0
    frames = {
        "curve__x": np.tile(grid, (count, 1)),
        "curve__y": drawn,
        "curve__value": np.tile(axis.value(grid), (count, 1)),
        "curve__true": y,
        "spread__x": np.tile(grid, (count, 1)),
        "spread__low": np.where(unsure, np.maximum(y - spread, low), drawn),
        "spread__high": np.where(unsure, np.maximum(y + spread, low), drawn),
    }
    if over:
        frames |= {"over__x": np.tile(grid, (count, 1)), "over__y": np.maximum(above, low)}
    else:
        frames |= {"ghost__x": np.tile(grid, (count, 1)), "ghost__y": drawn}
    label = "eigenvalues per decade" if axis.scale == "symlog" else "eigenvalues per unit of λ"
    return Canvas(frames, low, high, label)


def _curves(
    spectra: Sequence[Spectrum | None], axis: ValueAxis, grid: Float[ndarray, " g"], width: float
) -> tuple[Float[ndarray, "n g"], Float[ndarray, "n g"]]:
    y, spread = rows(len(spectra), GRID), rows(len(spectra), GRID)
    for k, spectrum in enumerate(spectra):
        if spectrum is not None:
            y[k], spread[k] = _smooth(spectrum, axis, grid, width)
    return y, spread


def _smooth(
    spectrum: Spectrum, axis: ValueAxis, grid: Float[ndarray, " g"], width: float
) -> tuple[Float[ndarray, " g"], Float[ndarray, " g"]]:
    """Density in the coordinate of the axis, and its standard error over probes (NaN where one cannot tell)."""
    cells = np.linspace(axis.start, axis.end, FINE * (len(grid) - 1) + 1)
    middles = (cells[:-1] + cells[1:]) / 2
    kernel = np.exp(-(((grid[:, None] - middles) / width) ** 2) / 2) / (width * np.sqrt(2 * np.pi))
    curves = []
    for nodes, weights in spectrum.per_probe():
        inside = np.abs(nodes) <= spectrum.zero_band
        places = axis.position(np.where(inside, 0.0, nodes))  # what has no sign stands at zero
        curves.append(kernel @ np.histogram(np.clip(places, cells[0], cells[-1]), cells, weights=weights)[0])
    table = spectrum.size * np.array(curves)
    stderr = table.std(axis=0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else np.full(len(grid), np.nan)
    return table.mean(axis=0), stderr

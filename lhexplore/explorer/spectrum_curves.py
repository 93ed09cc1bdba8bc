"""Curves of a spectrum at every snapshot, smoothed or cumulative; and others as lines over it."""

from dataclasses import dataclass, field
from math import floor, log10

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .axes import ValueAxis
from .base_figure import rows
from .spectrum_shapes import GROUND, HEADROOM, NONE, Canvas, Fit, Frames, Over, Spectra, count_range, kept_of, only

GRID = 201  # points of the smooth curve
FINE = 8  # cells per grid step when smoothing
STEPS = 401  # points of the cumulative curve
WIDTH = 1 / 80  # standard deviation of the smoothing, as a share of the axis


def density(spectra: Spectra, axis: ValueAxis, over: Over = NONE, fit: Fit = None) -> Canvas:
    """The smoothed density of the same eigenvalues; the spectra laid ``over`` it are lines on the same axis."""
    smooth = _Smoothing(axis)
    y, spread = _curves(spectra, smooth, GRID)
    above = {source: _curves(each, smooth, GRID)[0] for source, each in over.items()}
    if axis.folded:
        above["minus"], _ = _curves(spectra, smooth.of_negative(), GRID)
    exact = all(s is None or s.exact for each in (spectra, *over.values()) for s in each)
    low = float(10.0 ** floor(log10((0.3 if exact else 0.03) * smooth.peak)))
    values = only(np.concatenate([y, *above.values()], axis=1), fit)
    high = HEADROOM * max(float(np.nanmax(values)) if np.isfinite(values).any() else 0.0, 10 * low)
    label = "eigenvalues per unit of λ" if axis.scale == "linear" else "eigenvalues per decade"
    drawn = {source: np.maximum(each, low) for source, each in above.items()}
    frames = _curve_frames(smooth.grid, axis, y, np.maximum(y, low), spread, low, drawn, bool(over))
    return Canvas(frames, low, high, label)


def _curve_frames(
    grid: Float[ndarray, " g"],
    axis: ValueAxis,
    true: Float[ndarray, "n g"],
    drawn: Float[ndarray, "n g"],
    spread: Float[ndarray, "n g"],
    low: float,
    above: Frames,
    beside: bool,
) -> Frames:
    """The columns of a curve, of what is uncertain about it, and of the lines beside it."""
    x, unsure = np.tile(grid, (len(true), 1)), spread > 0
    lines = above if beside else {**above, "ghost": drawn}
    return {
        "curve__x": x,
        "curve__y": drawn,
        "curve__value": np.tile(axis.value(grid), (len(true), 1)),
        "curve__true": true,
        "spread__x": x,
        "spread__low": np.where(unsure, np.maximum(true - spread, low), drawn),
        "spread__high": np.where(unsure, np.maximum(true + spread, low), drawn),
        **{f"{source}__x": x for source in lines},
        **{f"{source}__y": each for source, each in lines.items()},
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Smoothing:
    """A Gaussian along the axis; on an axis of sizes it is reflected at zero, so that nothing is lost there."""

    axis: ValueAxis
    negative: bool = False
    grid: Float[ndarray, " g"] = field(init=False)
    cells: Float[ndarray, " c"] = field(init=False)
    kernel: Float[ndarray, "g c-1"] = field(init=False)
    peak: float = field(init=False)  # what one eigenvalue alone looks like

    def __post_init__(self) -> None:
        start, end = self.axis.start, self.axis.end
        width = WIDTH * (end - start)
        grid, cells = np.linspace(start, end, GRID), np.linspace(start, end, FINE * (GRID - 1) + 1)
        middles, peak = (cells[:-1] + cells[1:]) / 2, 1 / (width * np.sqrt(2 * np.pi))
        kernel = np.exp(-(((grid[:, None] - middles) / width) ** 2) / 2)
        if self.axis.folded:
            kernel += np.exp(-(((grid[:, None] + middles) / width) ** 2) / 2)
        for name, value in (("grid", grid), ("cells", cells), ("kernel", kernel * peak), ("peak", peak)):
            object.__setattr__(self, name, value)

    def of_negative(self) -> "_Smoothing":
        """The same for the negative eigenvalues, on an axis of sizes."""
        return _Smoothing(self.axis, negative=True)

    def __call__(self, spectrum: Spectrum) -> tuple[Float[ndarray, " g"], Float[ndarray, " g"]]:
        """Density in the coordinate of the axis, and its standard error over probes (NaN where one cannot tell)."""
        curves = []
        for nodes, weights in spectrum.per_probe():
            inside = np.abs(nodes) <= spectrum.zero_band
            kept = kept_of(self.axis, nodes, inside, self.negative)
            places = self.axis.position(np.where(inside, 0.0, nodes))  # what has no sign stands at zero
            places = np.clip(places, self.cells[0], self.cells[-1])
            curves.append(self.kernel @ np.histogram(places, self.cells, weights=weights * kept)[0])
        return _over_probes(spectrum.size * np.array(curves))


def _curves(
    spectra: Spectra, curve: "_Smoothing | _Cumulative", points: int
) -> tuple[Float[ndarray, "n g"], Float[ndarray, "n g"]]:
    y, spread = rows(len(spectra), points), rows(len(spectra), points)
    for k, spectrum in enumerate(spectra):
        if spectrum is not None:
            y[k], spread[k] = curve(spectrum)
    return y, spread


def _over_probes(table: Float[ndarray, "p g"]) -> tuple[Float[ndarray, " g"], Float[ndarray, " g"]]:
    """Mean and standard error over probes; NaN where one cannot tell."""
    unknown = np.full(table.shape[1], np.nan)
    stderr = table.std(axis=0, ddof=1) / np.sqrt(len(table)) if len(table) > 1 else unknown
    return table.mean(axis=0), stderr


def cumulative(spectra: Spectra, axis: ValueAxis, over: Over = NONE, fit: Fit = None) -> Canvas:
    """The share of eigenvalues up to λ; on an axis of sizes, how many have at least that size.

    Shares stand on the logarithmic axis of the other kinds as powers of ten, so that marks need no second arithmetic.
    """
    curve = _Cumulative(axis)
    y, spread = _curves(spectra, curve, STEPS)
    above = {source: _curves(each, curve, STEPS)[0] for source, each in over.items()}
    if axis.folded:
        above["minus"], _ = _curves(spectra, _Cumulative(axis, negative=True), STEPS)
        values = only(np.concatenate([y, *above.values()], axis=1), fit)
        low, high = count_range(
            [*spectra, *(s for each in over.values() for s in each)], np.where(values, values, np.nan)
        )
        drawn = {source: np.maximum(each, GROUND) for source, each in above.items()}
        frames = _curve_frames(curve.grid, axis, y, np.maximum(y, GROUND), spread, low, drawn, bool(over))
        return Canvas(frames, low, high, "eigenvalues of at least that size")
    frames = _curve_frames(curve.grid, axis, y, y, spread, 0.0, above, bool(over))
    raised = [key for key in frames if key.split("__")[1] in ("y", "low", "high")]
    frames |= {key: 10 ** frames[key] for key in raised}
    ticks = {10**share: short(share) for share in (0, 0.25, 0.5, 0.75, 1)}
    return Canvas(frames, 10**-0.03, 10**1.17, "share of eigenvalues up to λ", ticks)


@dataclass(frozen=True, slots=True, eq=False)
class _Cumulative:
    """Counts from below (shares), or on an axis of sizes from above (numbers), at places about a pixel apart."""

    axis: ValueAxis
    negative: bool = False

    @property
    def grid(self) -> Float[ndarray, " g"]:
        return np.linspace(self.axis.start, self.axis.end, STEPS)

    def __call__(self, spectrum: Spectrum) -> tuple[Float[ndarray, " g"], Float[ndarray, " g"]]:
        at = self.axis.value(self.grid)
        table = []
        for nodes, weights in spectrum.per_probe():
            inside = np.abs(nodes) <= spectrum.zero_band
            values = np.where(inside, 0.0, np.abs(nodes) if self.axis.folded else nodes)
            kept = kept_of(self.axis, nodes, inside, self.negative)
            order = np.argsort(values, kind="stable")
            below = np.concatenate([[0.0], np.cumsum((weights * kept)[order])])
            if self.axis.folded:
                table.append(below[-1] - below[np.searchsorted(values[order], at, side="left")])
            else:
                table.append(below[np.searchsorted(values[order], at, side="right")])
        return _over_probes((spectrum.size if self.axis.folded else 1) * np.array(table))

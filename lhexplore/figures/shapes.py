"""The numbers behind the curves of a spectrum: expected counts, smoothed density, cumulative share, with their errors.

On a log-log axis positive and negative eigenvalues are curves of their own over |λ|: ``sign`` says which, 0 is both.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import metric_error
from ..spectrum import Spectrum
from .scales import ValueScale

Kind = Literal["histogram", "density", "cumulative", "rug"]
KINDS = ("histogram", "density", "cumulative", "rug")

POINTS = 257  # of a smooth curve
CELLS = 8  # per point when smoothing
WIDTH = 1 / 80  # standard deviation of the smoothing, as a share of the axis
COVER = 2.0  # standard errors of what is drawn as uncertain: 95 %


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """``y`` over ``x`` (bin edges of a histogram: one more) and how far it may be off, NaN where it cannot be told."""

    x: Float[ndarray, " n"]
    y: Float[ndarray, " m"]
    error: Float[ndarray, " m"]


def counts(spectrum: Spectrum, scale: ValueScale, sign: int = 0) -> Curve:
    """Expected number of eigenvalues between edges."""
    edges = scale.edges()
    found = spectrum.histogram(-edges[::-1] if sign < 0 else edges)
    turn = slice(None, None, -1 if sign < 0 else 1)
    return Curve(edges, spectrum.size * found.mass[turn], COVER * spectrum.size * found.stderr[turn])


def density(spectrum: Spectrum, scale: ValueScale, sign: int = 0) -> Curve:
    """Eigenvalues per decade (per unit of λ on a linear axis), smoothed along the axis."""
    start, end = scale.place(np.array([scale.low, scale.high]))
    grid = np.linspace(start, end, POINTS)
    cells = np.linspace(start, end, CELLS * (POINTS - 1) + 1)
    width = WIDTH * (end - start)
    kernel = np.exp(-(((grid[:, None] - (cells[:-1] + cells[1:]) / 2) / width) ** 2) / 2)
    rows = []
    for nodes, weights in spectrum.per_probe():
        if sign:
            here, counted = nodes, weights * (nodes * sign > scale.threshold)
        else:  # what has no sign stands at zero
            here, counted = np.where(np.abs(nodes) <= spectrum.zero_band, 0.0, nodes), weights
        places = np.clip(scale.place(here), start, end)
        rows.append(kernel @ np.histogram(places, cells, weights=counted)[0])
    table = spectrum.size * np.array(rows) / (width * np.sqrt(2 * np.pi))
    if spectrum.exact:
        error = np.zeros(POINTS)
    elif len(table) > 1:
        error = COVER * table.std(axis=0, ddof=1) / np.sqrt(len(table))
    else:
        error = np.full(POINTS, np.nan)
    return Curve(scale.value(grid), table.mean(axis=0), error)


def cumulative(spectrum: Spectrum, scale: ValueScale, sign: int = 0) -> Curve:
    """Share of eigenvalues up to λ; with a sign, the number of those whose size is at least |λ|."""
    if spectrum.exact:
        nodes, weights = spectrum.nodes, spectrum.weights
        if sign:
            kept = nodes * sign > scale.threshold
            x = np.abs(nodes[kept])
            order = np.argsort(x)
            y = spectrum.size * np.cumsum(weights[kept][order][::-1])[::-1]
            return Curve(x[order], y, np.zeros_like(y))
        x = np.concatenate([[scale.low], nodes, [scale.high]])
        y = np.concatenate([[0.0], np.cumsum(weights), [1.0]])
        return Curve(x, y, np.zeros_like(y))
    start, end = scale.place(np.array([scale.low, scale.high]))
    x = scale.value(np.linspace(start, end, POINTS // 2)[1:-1])
    beyond = 2 * max(abs(scale.low), abs(scale.high), spectrum.magnitude)
    split = [spectrum.histogram(np.array([-beyond, (sign or 1) * at, beyond])) for at in x]
    side = 1 if sign > 0 else 0
    factor = spectrum.size if sign else 1
    y = factor * np.array([found.mass[side] for found in split])
    error = COVER * factor * np.array([found.stderr[side] for found in split])
    return Curve(x, y, error)


def end_errors(spectrum: Spectrum) -> tuple[float, float]:
    """How far the smallest and the largest eigenvalue may be from what is drawn; NaN where it cannot be told."""
    if spectrum.exact:
        return spectrum.error, spectrum.error
    return COVER * metric_error("lambda_min", spectrum), COVER * metric_error("lambda_max", spectrum)


def quantile(spectrum: Spectrum, shares: Float[ndarray, " q"]) -> Float[ndarray, " q"]:
    """The eigenvalues that these shares of the spectrum do not exceed."""
    below = np.cumsum(spectrum.weights)
    at = np.searchsorted(below, shares * below[-1] * (1 - 1e-9))
    return np.asarray(spectrum.nodes[np.minimum(at, len(spectrum.nodes) - 1)])

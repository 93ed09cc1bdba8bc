"""The two shapes of a spectrum over training: ridges one above the other, and ribbons of quantiles side by side."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import Any, Literal

import numpy as np
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..figures.shapes import end_errors, quantile
from ..spectrum import Spectrum
from .axes import ValueAxis
from .base_figure import blank_figure, rows
from .drawing import DATA, axis_settings, name_axis, reach, source_of
from .frames import Key
from .ribbons import ribbon
from .theme import themed

Spectra = Sequence[Spectrum | None]
Frames = dict[str, Float[ndarray, "n _"]]
SHARES = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])

MOST = 24  # ridges that can be told apart
OVERLAP = 2.2  # height of the highest ridge, in distances between them
FRAME, RIDGE, TALLEST = 110, 20, 460  # pixels: for axis and title, per ridge, and in all
LOW = 290  # pixels of the ribbons
RIBBONS = {"wide": (1, 5, 0.25), "narrow": (2, 4, 0.45)}  # between which of the shares, and how opaque
POINTS = 161  # of a ridge; odd, so that the smoothing has a middle
WIDTH = 1 / 80  # standard deviation of the smoothing, as a share of the axis


@dataclass(frozen=True, slots=True)
class TimeTicks:
    """What stands beside the snapshots, and what that is."""

    marks: Mapping[float, str]
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """A figure without words: how it is drawn, what is put into it, the columns that move, and the rest."""

    draw: Callable[[bool, str, int], figure]  # from whether something lies over it, the prefix and the height
    height: int
    settings: dict[str, Any]
    frames: Frames
    middle: Float[ndarray, "n 2"]  # where words about a snapshot stand
    legend: tuple[Key, ...]


def ridge(spectra: Spectra, over: Spectra, axis: ValueAxis, time: TimeTicks, prefix: str, height: int | None) -> Drawn:
    """A smoothed density per snapshot on a logarithmic height, the same for all; the first one on top.

    Of many snapshots only some are drawn, and always the current one.
    """
    count = len(spectra)
    every = max(1, ceil(count / MOST))
    grid, curves, above = _grid(axis), _smooth(spectra, axis), _smooth(over, axis)
    ground = 0.3 / (WIDTH * (axis.end - axis.start) * np.sqrt(2 * np.pi))  # below the height of one eigenvalue alone
    highest = float(np.nanmax(curves)) if np.isfinite(curves).any() else ground
    decades = max(1, ceil(log10(max(highest / ground, 1.0)) - 1e-9))  # whole ones: they seldom change later
    base = np.arange(count, dtype=float)[:, None]
    unit = OVERLAP * every / decades
    tops = base - unit * np.log10(np.maximum(curves / ground, 1.0))
    tall = height or min(TALLEST, FRAME + RIDGE * max(ceil(count / every), 4))
    drawn = [k for k in range((count - 1) % every, count, every) if spectra[k] is not None]
    around = [_closed(grid, tops[k], k) for k in drawn]
    current = [_closed(grid, top, k) for k, top in enumerate(tops)]
    frames = {
        "evolution-at__y": base,
        "evolution-now__x": np.array([x for x, _ in current]).reshape(count, POINTS + 2),
        "evolution-now__y": np.array([y for _, y in current]).reshape(count, POINTS + 2),
    }
    if over:
        frames |= {
            "evolution-over__x": np.tile(grid, (count, 1)),
            "evolution-over__y": base - unit * np.log10(np.maximum(above / ground, 1.0)),
        }
    frames = {f"{prefix}{key}": block for key, block in frames.items()}
    settings = {
        **reach(prefix, (axis.start, axis.end), (count - 1 + 0.5 * every, -(OVERLAP + 0.2) * every)),
        **_common(axis, time, prefix),
        f"{prefix}evolution-ridges": {DATA: {"xs": [x for x, _ in around], "ys": [y for _, y in around]}},
    }
    return Drawn(
        _draw_ridges,
        tall,
        settings,
        frames,
        np.column_stack([np.full(count, (axis.start + axis.end) / 2), base[:, 0]]),
        (
            Key("eigenvalues at a snapshot, smoothed", (("box", "wash"), ("line", "bar"))),
            Key("on show", (("box", "bar"), ("line", "marker"))),
            *([Key("on show, held-out", (("line", "held_out"),))] if over else []),
            Key("≈ 0", (("shade", "band"),)),
        ),
    )


def quantiles(
    spectra: Spectra, over: Spectra, axis: ValueAxis, time: TimeTicks, prefix: str, height: int | None
) -> Drawn:
    """Median, the middle 50 % and 90 % as ribbons, and both ends with their errors; torn where nothing is known."""
    count = len(spectra)
    table, errors = _table(spectra, axis), _errors(spectra, axis)
    settings = {
        **reach(prefix, (-0.5, max(count - 0.5, 0.5)), (axis.start, axis.end)),
        **_common(axis, time, prefix),
        f"{prefix}evolution-lines": {DATA: _lines(table)},
        f"{prefix}evolution-errors": {
            DATA: {"x": np.tile(np.arange(count), 2), "low": errors[0].T.ravel(), "high": errors[1].T.ravel()}
        },
    }
    for name, (low, high, _) in RIBBONS.items():
        settings[f"{prefix}evolution-{name}"] = {
            DATA: dict(zip("xy", ribbon(table[:, low], table[:, high]), strict=True))
        }
    if over:
        settings[f"{prefix}evolution-over"] = {DATA: _lines(_table(over, axis))}
    places = np.arange(count, dtype=float)
    return Drawn(
        _draw_quantiles,
        height or LOW,
        settings,
        {f"{prefix}evolution-at__x": places[:, None]},
        np.column_stack([np.full(count, (count - 1) / 2), np.full(count, (axis.start + axis.end) / 2)]),
        (
            Key("λmax", (("line", "bar"), ("triangle", "bar"))),
            Key("λmin", (("line", "bar"), ("point", "bar"))),
            Key("median", (("line", "whisker"), ("circle", "whisker"))),
            Key("middle 50 % and 90 %", (("shade", "bar"),)),
            *([Key("held-out, the same lines", (("dash", "held_out"), ("diamond", "held_out")))] if over else []),
            Key("≈ 0", (("shade", "band"),)),
        ),
    )


def _grid(axis: ValueAxis) -> Float[ndarray, " g"]:
    """The middles of the cells in which eigenvalues are counted."""
    return np.linspace(axis.start, axis.end, 2 * POINTS + 1)[1::2]


def _smooth(spectra: Spectra, axis: ValueAxis) -> Float[ndarray, "n g"]:
    """Eigenvalues per unit of the axis, smoothed along it; what has no sign stands at zero."""
    found, edges = rows(len(spectra), POINTS), np.linspace(axis.start, axis.end, POINTS + 1)
    kernel = np.exp(-(((np.arange(POINTS) - POINTS // 2) / (WIDTH * POINTS)) ** 2) / 2)
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        values = np.where(np.abs(spectrum.nodes) <= spectrum.zero_band, 0.0, spectrum.nodes)
        places = np.clip(axis.position(values), axis.start, axis.end)
        mass = np.histogram(places, edges, weights=spectrum.size * spectrum.weights)[0]
        found[k] = np.convolve(mass, kernel / kernel.sum(), "same") / (edges[1] - edges[0])
    return found


def _common(axis: ValueAxis, time: TimeTicks, prefix: str) -> dict[str, Any]:
    """Both axes, and from where to where values are too small to be placed."""
    half = float(axis.position(np.array([axis.threshold]))[0])
    return {
        **axis_settings(f"{prefix}evolution-values", axis.label, axis.ticks(), axis.minor_ticks()),
        **axis_settings(f"{prefix}evolution-time", time.label, time.marks),
        f"{prefix}evolution-zero": {DATA: {"start": [-half], "end": [half]}},
    }


def _closed(x: Float[ndarray, " g"], y: Float[ndarray, " g"], base: float) -> tuple[ndarray, ndarray]:
    """A curve with its ends brought down to its base; nowhere, where nothing is known."""
    ground = base if np.isfinite(y).all() else np.nan
    outline = np.concatenate([[ground], y, [ground]])
    return np.concatenate([x[:1], x, x[-1:]]).astype(np.float32), outline.astype(np.float32)


def _table(spectra: Spectra, axis: ValueAxis) -> Float[ndarray, "n q"]:
    """Where the quantiles stand; NaN where nothing is known."""
    table = rows(len(spectra), len(SHARES))
    for k, spectrum in enumerate(spectra):
        if spectrum is not None:
            table[k] = axis.position(quantile(spectrum, SHARES))
    return table


def _errors(spectra: Spectra, axis: ValueAxis) -> Float[ndarray, "side n end"]:
    """From where to where both ends may reach; NaN where that cannot be told."""
    sides = np.full((2, len(spectra), 2), np.nan)
    for k, spectrum in enumerate(spectra):
        if spectrum is not None:
            ends, errors = np.array([spectrum.smallest, spectrum.largest]), np.array(end_errors(spectrum))
            sides[:, k] = axis.position(ends - errors), axis.position(ends + errors)
    return sides


def _lines(table: Float[ndarray, "n q"]) -> dict[str, Any]:
    """Columns of both ends and the median."""
    return {"x": np.arange(len(table)), **{f"y{q}": table[:, q] for q in (0, 3, 6)}}


def _blank(prefix: str, height: int, values: Literal["x", "y"]) -> figure:
    """Axes, of which one is of values, and a band along zero."""
    plot = blank_figure(prefix=prefix, height=height, y=(0.0, 1.0))
    (plot.ygrid if values == "x" else plot.xgrid).visible = False
    along, across = (plot.xaxis[0], plot.yaxis[0]) if values == "x" else (plot.yaxis[0], plot.xaxis[0])
    name_axis(along, f"{prefix}evolution-values")
    name_axis(across, f"{prefix}evolution-time")
    draw: Any = plot.vstrip if values == "x" else plot.hstrip
    source = source_of(f"{prefix}evolution-zero", "start", "end")
    band = draw("start", "end", source=source, fill_alpha=0.2, line_alpha=0.0, level="underlay")
    themed(band.glyph, fill_color="band")
    return plot


def _draw_ridges(over: bool, prefix: str, height: int) -> figure:
    plot = _blank(prefix, height, "x")
    ridges = plot.patches("xs", "ys", source=source_of(f"{prefix}evolution-ridges", "xs", "ys"), line_width=1)
    themed(ridges.glyph, fill_color="wash", line_color="bar")
    at = plot.hspan("y", source=source_of(f"{prefix}evolution-at", "y"), line_width=1.5, line_dash=[2, 3])
    themed(at.glyph, line_color="marker")
    now = plot.patch("x", "y", source=source_of(f"{prefix}evolution-now", "x", "y"), line_width=2)
    now.glyph.fill_alpha = 0.75
    themed(now.glyph, fill_color="bar", line_color="marker")
    if over:
        held = plot.line("x", "y", source=source_of(f"{prefix}evolution-over", "x", "y"), line_width=2)
        themed(held.glyph, line_color="held_out")
    return plot


def _draw_quantiles(over: bool, prefix: str, height: int) -> figure:
    plot = _blank(prefix, height, "y")
    for name, (_, _, alpha) in RIBBONS.items():
        source = source_of(f"{prefix}evolution-{name}", "x", "y")
        themed(plot.patch("x", "y", source=source, fill_alpha=alpha, line_alpha=0.0).glyph, fill_color="bar")
    _draw_lines(plot, f"{prefix}evolution-lines", "bar", "whisker", ("inverted_triangle", "triangle"), "solid")
    whiskers = source_of(f"{prefix}evolution-errors", "x", "low", "high")
    themed(plot.segment("x", "low", "x", "high", source=whiskers, line_width=2).glyph, line_color="bar")
    if over:
        _draw_lines(plot, f"{prefix}evolution-over", "held_out", "held_out", ("diamond", "diamond"), [5, 3])
    at = plot.vspan("x", source=source_of(f"{prefix}evolution-at", "x"), line_width=2)
    themed(at.glyph, line_color="marker")
    return plot


def _draw_lines(plot: figure, name: str, ends: str, median: str, marks: tuple[str, str], dash: Any) -> None:
    """Both ends and the median as lines with marks, told apart without colour."""
    source = source_of(name, "x", "y0", "y3", "y6")
    for q, role, mark in ((0, ends, marks[0]), (3, median, "circle"), (6, ends, marks[1])):
        line = plot.line("x", f"y{q}", source=source, line_width=1.5, line_dash=dash)
        dots = plot.scatter("x", f"y{q}", source=source, marker=mark, size=5 if q == 3 else 7)
        themed(line.glyph, line_color=role)
        themed(dots.glyph, fill_color=role, line_color=role)

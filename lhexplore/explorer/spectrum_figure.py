"""Draws the eigenvalues of one block at every snapshot: bars or a smooth curve, with what is uncertain about them."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import Literal

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .axes import Scale, ValueAxis, axis_of, log_ticks
from .base_figure import (
    add_frame_title,
    blank_figure,
    empty_source,
    label_axis,
    packed,
    rows,
    tooltip,
)
from .frames import Key, Plot
from .sentences import missing_sentence, spectrum_sentence, spectrum_title
from .theme import themed

Kind = Literal["histogram", "density"]
KINDS = ("histogram", "density")

BINS = 120  # a bar is then about 5 pixels wide
GRID = 201  # points of the smooth curve
FINE = 8  # cells per grid step when smoothing
WIDTH = 1 / 80  # standard deviation of the smoothing, as a share of the axis
HEADROOM = 4.0  # factor above the highest bar, where the markers of the ends stand
LEAST = 1e-3  # expected counts below this stay at the bottom

LEGEND = "Grey: no sign (zero band), or too small for this axis. Hollow triangles: not settled."
GROUND, SKY = 1e-12, 1e15  # below and above every axis: shapes are cut off at the frame

Frames = dict[str, Float[ndarray, "n _"]]


def spectrum_plot(
    spectra: Sequence[Spectrum | None],
    labels: Sequence[str],
    *,
    layer: str | None = None,
    kind: Kind = "histogram",
    scale: Scale = "symlog",
    bins: int = BINS,
    axis: ValueAxis | None = None,
    prefix: str = "",
    height: int = 290,
) -> Plot:
    """Draw one block's spectrum at every snapshot; None stands for one that is not computed yet.

    Args:
        spectra: one per snapshot, of the same block.
        labels: what the snapshots are called.
        layer: name of the block for the texts; taken from the spectra where one is known.
        kind: bars of expected counts, or the smoothed density of the same eigenvalues.
        scale: of the eigenvalue axis.
        bins: about how many bars.
        axis: an axis to share with other figures instead of one that fits these spectra.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels.
    """
    known = [s for s in spectra if s is not None]
    name = layer or next((s.layer or "whole network" for s in known), "this block")
    axis = axis or axis_of(spectra, scale=scale, bins=bins)
    canvas = _histogram(spectra, axis) if kind == "histogram" else _density(spectra, axis)
    frames = {
        **canvas.frames,
        **_ends(spectra, axis, canvas),
        **_band(spectra, axis),
        **_missing(spectra, axis, canvas),
    }
    plot = blank_figure(
        prefix=prefix, height=height, x=(axis.start, axis.end), y=(canvas.low, canvas.high), y_type="log"
    )
    add_frame_title(plot, f"{prefix}frame-title")
    label_axis(plot.xaxis[0], f"{prefix}x-axis", _value_label(axis), axis.ticks(), tuple(axis.minor_ticks()))
    label_axis(plot.yaxis[0], f"{prefix}y-axis", canvas.label, log_ticks(canvas.low, canvas.high))
    sources = {
        source: empty_source(
            f"{prefix}{source}",
            **{key.split("__")[1]: block.shape[1] for key, block in frames.items() if key.startswith(f"{source}__")},
        )
        for source in dict.fromkeys(key.split("__")[0] for key in frames)
    }
    _draw(plot, sources, kind)
    return Plot(
        root=plot,
        frames=packed({f"{prefix}{key}": block for key, block in frames.items()}),
        titles=tuple(spectrum_title(s, name, label) for s, label in zip(spectra, labels, strict=True)),
        sentences=tuple(
            missing_sentence(name, label) if s is None else spectrum_sentence(s, name, label)
            for s, label in zip(spectra, labels, strict=True)
        ),
        lagged=(f"{prefix}ghost",),
        title=f"{prefix}frame-title",
        legend=_legend(kind, exact=all(s.exact for s in known)),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Canvas:
    frames: Frames
    low: float
    high: float
    label: str


def _histogram(spectra: Sequence[Spectrum | None], axis: ValueAxis) -> _Canvas:
    count, bars = len(spectra), len(axis.edges) - 1
    block = {key: rows(count, bars) for key in ("left", "right", "from", "to", "count", "stderr")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        edges = axis.edges_around(spectrum.zero_band)
        histogram = spectrum.histogram(edges)
        places, used = axis.position(edges), len(edges) - 1
        counts = spectrum.size * histogram.mass
        block["left"][k, :used], block["right"][k, :used] = places[:-1], places[1:]
        block["from"][k, :used], block["to"][k, :used] = edges[:-1], edges[1:]
        block["count"][k, :used] = np.where(counts > 0, counts, np.nan)
        block["stderr"][k, :used] = np.where(counts > 0, spectrum.size * histogram.stderr, np.nan)
    low, high = _count_range(spectra, block["count"])
    top = np.maximum(block["count"], 1.3 * low)  # a rare eigenvalue still shows as a stub
    spread = np.where(block["stderr"] > 0, block["stderr"], np.nan)
    frames = {
        **{f"bars__{key}": values for key, values in block.items()},
        "bars__top": top,
        "whiskers__x": (block["left"] + block["right"]) / 2,
        "whiskers__low": np.maximum(block["count"] - spread, low),
        "whiskers__high": block["count"] + spread,
        **_outline(block["left"], block["right"], top),
    }
    return _Canvas(frames, low, high, "eigenvalues per bin")


def _count_range(spectra: Sequence[Spectrum | None], counts: Float[ndarray, "n b"]) -> tuple[float, float]:
    """From half an eigenvalue (less where estimates expect less) to some way above the highest bar."""
    if not np.isfinite(counts).any():
        return 0.5, 10.0
    least = float(np.nanmin(counts))
    exact = all(s is None or s.exact for s in spectra)
    low = 0.5 if exact else 10.0 ** max(floor(log10(min(least, 0.9))), log10(LEAST))
    return low, HEADROOM * max(float(np.nanmax(counts)), 10 * low)


def _outline(left: Float[ndarray, "n b"], right: Float[ndarray, "n b"], top: Float[ndarray, "n b"]) -> Frames:
    """The silhouette of the bars, as one line that starts at the bottom."""
    count, bars = left.shape
    x, y = rows(count, 2 * bars + 2), rows(count, 2 * bars + 2)
    x[:, 1:-1:2], x[:, 2:-1:2] = left, right
    y[:, 1:-1:2] = y[:, 2:-1:2] = np.where(np.isnan(left), np.nan, np.where(np.isnan(top), GROUND, top))
    x[:, 0], y[:, 0] = left[:, 0], np.where(np.isnan(left[:, 0]), np.nan, GROUND)
    return {"ghost__x": x, "ghost__y": y}


def _density(spectra: Sequence[Spectrum | None], axis: ValueAxis) -> _Canvas:
    count = len(spectra)
    grid = np.linspace(axis.start, axis.end, GRID)
    width = WIDTH * (axis.end - axis.start)
    peak = 1 / (width * np.sqrt(2 * np.pi))  # what one eigenvalue alone looks like
    y, spread = rows(count, GRID), rows(count, GRID)
    for k, spectrum in enumerate(spectra):
        if spectrum is not None:
            y[k], spread[k] = _smooth(spectrum, axis, grid, width)
    known = any(s is not None for s in spectra)
    exact = all(s is None or s.exact for s in spectra)
    low = float(10.0 ** floor(log10((0.3 if exact else 0.03) * peak)))
    high = HEADROOM * max(float(np.nanmax(y)) if known else 0.0, 10 * low)
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
        "ghost__x": np.tile(grid, (count, 1)),
        "ghost__y": drawn,
    }
    label = "eigenvalues per decade" if axis.scale == "symlog" else "eigenvalues per unit of λ"
    return _Canvas(frames, low, high, label)


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


def _ends(spectra: Sequence[Spectrum | None], axis: ValueAxis, canvas: _Canvas) -> Frames:
    """Largest and smallest eigenvalue with their error; hollow where the iteration has not settled them."""
    count = len(spectra)
    columns = {key: rows(count, 2) for key in ("x", "y", "low", "high", "value", "error", "fill")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        value = np.array([spectrum.smallest, spectrum.largest])
        settled = spectrum.converged()[[0, -1]]
        columns["value"][k], columns["error"][k] = value, spectrum.error
        columns["x"][k], columns["y"][k] = axis.position(value), canvas.high / HEADROOM**0.4
        columns["low"][k] = axis.position(value - spectrum.error)
        columns["high"][k] = axis.position(value + spectrum.error)
        columns["fill"][k] = settled.astype(float)
    return {f"ends__{key}": values for key, values in columns.items()}


def _band(spectra: Sequence[Spectrum | None], axis: ValueAxis) -> Frames:
    """What is shaded: the bin of the values that have no sign or are too small to place."""
    half = np.array([[np.nan if s is None else max(axis.threshold, s.zero_band)] for s in spectra]).reshape(-1, 1)
    right = axis.position(half.ravel()).reshape(-1, 1)
    return {"band__left": -right, "band__right": right, "band__half": half}


def _missing(spectra: Sequence[Spectrum | None], axis: ValueAxis, canvas: _Canvas) -> Frames:
    """Where the words for a snapshot that is not computed stand: nowhere, if it is."""
    middle = (axis.start + axis.end) / 2, np.sqrt(canvas.low * canvas.high)
    place = np.array([middle if s is None else (np.nan, np.nan) for s in spectra]).reshape(-1, 2)
    return {"missing__x": place[:, :1], "missing__y": place[:, 1:]}


def _value_label(axis: ValueAxis) -> str:
    if axis.scale == "linear":
        return "eigenvalue λ"
    return f"eigenvalue λ (log scale either side of ±{short(axis.threshold)})"


def _legend(kind: Kind, *, exact: bool) -> tuple[Key, ...]:
    bars = kind == "histogram"
    keys = (
        Key("eigenvalues" if bars else "eigenvalues, smoothed", (("box", "bar"),)),
        Key("≈ 0", (("shade", "band"),)),
        Key("previous snapshot", (("line", "ghost"),)),
        Key("λmin, λmax", (("point", "ends"),)),
    )
    return keys if exact else (*keys, Key("± standard error", (("whisker" if bars else "shade", "whisker"),)))


def _draw(plot: figure, sources: dict[str, ColumnDataSource], kind: Kind) -> None:
    """Lay the parts over each other, from the shading at the back to the words in front."""
    band = plot.quad(left="left", right="right", top=SKY, bottom=GROUND, source=sources["band"], fill_alpha=0.2)
    themed(band.glyph, fill_color="band", line_color="band").line_alpha = 0.0
    (_draw_bars if kind == "histogram" else _draw_curve)(plot, sources)
    ghost = plot.line("x", "y", source=sources["ghost"], line_width=1.2)
    themed(ghost.glyph, line_color="ghost")
    error = plot.segment("low", "y", "high", "y", source=sources["ends"], line_width=2)
    ends = plot.scatter(
        "x", "y", source=sources["ends"], marker="inverted_triangle", size=12, fill_alpha="fill", line_width=2
    )
    themed(error.glyph, line_color="ends")
    themed(ends.glyph, fill_color="ends", line_color="ends")
    words = plot.text("x", "y", text={"value": "not computed yet"}, source=sources["missing"])
    words.glyph.update(text_align="center", text_baseline="middle", text_font_size="16px")
    themed(words.glyph, text_color="text")
    ends_words = tooltip("end of the spectrum: @value", "error bound: @error", "hollow: not settled yet")
    plot.add_tools(
        HoverTool(renderers=[ends], tooltips=ends_words, visible=False),
        HoverTool(renderers=[band], tooltips=tooltip("≈ 0: |λ| up to @half"), visible=False),
    )


def _draw_bars(plot: figure, sources: dict[str, ColumnDataSource]) -> None:
    bars = plot.quad(left="left", right="right", top="top", bottom=GROUND, source=sources["bars"], line_width=0.5)
    themed(bars.glyph, fill_color="bar", line_color="halo")
    whiskers = plot.segment("x", "low", "x", "high", source=sources["whiskers"], line_width=1.2)
    themed(whiskers.glyph, line_color="whisker")
    tooltips = tooltip("λ from @from to @to", "eigenvalues: @count", "standard error: @stderr")
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips, visible=False))


def _draw_curve(plot: figure, sources: dict[str, ColumnDataSource]) -> None:
    body = plot.varea(x="x", y1=GROUND, y2="y", source=sources["curve"], fill_alpha=0.25)
    line = plot.line("x", "y", source=sources["curve"], line_width=2)
    themed(body.glyph, fill_color="bar")
    themed(line.glyph, line_color="bar")
    spread = plot.varea(x="x", y1="low", y2="high", source=sources["spread"], fill_alpha=0.35)
    themed(spread.glyph, fill_color="whisker")
    tooltips = tooltip("λ = @value", "density: @true")
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips, mode="vline", visible=False))

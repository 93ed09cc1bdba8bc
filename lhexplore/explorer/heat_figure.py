"""Draws one number for every layer and snapshot: the map on which a click jumps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any, Protocol

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, HoverTool, LinearColorMapper
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis.number_texts import power_of_ten, short
from .base_figure import add_frame_title, blank_figure, empty_source, label_axis, packed, tooltip
from .escape import plain
from .frames import Key, Plot
from .located import hover_words, mark_keys, marked_words
from .marks import draw_marks
from .theme import CLEAR, themed

ROW = 26  # pixels per layer where there is room
TALLEST = 460
NARROW = 250  # pixels that all columns of a small map share
FRAME = 96  # pixels for axis and title
DECADES = 6  # colours resolve at most so many decades below the largest magnitude


class Metric(Protocol):
    """What a map needs to know of a metric."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def log(self) -> bool: ...


def heat_map(
    values: Float[ndarray, "layers snapshots"],
    layer_names: Sequence[str],
    labels: Sequence[str],
    *,
    metric: Metric,
    layer: int = 0,
    findings: Sequence[Sequence[Sequence[Finding]]] | None = None,
    ticks: Mapping[float, str] | None = None,
    x_label: str = "snapshot",
    prefix: str = "",
    height: int | None = None,
) -> Plot:
    """Draw a metric of all layers at all snapshots; NaN stands for "not computed".

    A click gives the number of a cell of the source ``heat-cells``; ``cell_of`` tells which one it is. The frame marks
    the current snapshot in the row of ``layer``; its row is the column ``y`` of the source ``heat-now``.

    Args:
        values: one row per layer.
        layer_names: top row first.
        labels: of the snapshots.
        metric: its name, unit, and whether it spans decades.
        layer: row of the frame.
        findings: of every cell, layer by layer; warnings and notes are marked in their cells.
        ticks: labels under the map by snapshot number (see ``snapshot_ticks``); thinned ``labels`` if left out.
        x_label: what the labels under the map are.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels; chosen from the number of layers if left out.
    """
    layers, count = values.shape
    colours = _ColourScale.of(values, log=metric.log)
    tall = height or min(TALLEST, FRAME + ROW * max(layers, 2))
    plot = blank_figure(prefix=prefix, height=tall, x=(-0.5, count - 0.5), y=(layers - 0.5, -0.5), tools="")
    plot.grid.visible = False
    every = max(1, ceil(layers * 13 / max(tall - FRAME, 1)))  # a label needs 13 pixels
    rows = {float(i): plain(name, longest=24) for i, name in enumerate(layer_names) if i % every == 0}
    label_axis(plot.yaxis[0], f"{prefix}heat-y-axis", "", rows)
    label_axis(plot.xaxis[0], f"{prefix}heat-x-axis", x_label, _column_ticks(labels) if ticks is None else ticks)
    heading = f"{metric_name(metric)} [{metric.unit}]" if metric.unit else metric_name(metric)
    add_frame_title(plot, f"{prefix}heat-title")

    mapper = LinearColorMapper(low=colours.low, high=colours.high, nan_color=CLEAR, name=f"{prefix}heat-colours")
    themed(mapper, palette="diverging" if colours.diverging else "sequential")
    found = [[()] * count] * layers if findings is None else findings
    columns = cells(values, layer_names, labels, metric=metric) | {
        "found": [hover_words(each) or "no finding" for row in found for each in row]
    }
    source = ColumnDataSource(columns, name=f"{prefix}heat-cells")
    unknown = plot.rect(
        "x", "y", 1, 1, source=source, fill_alpha=0.0, line_alpha=0.0,
        hatch_pattern="right_diagonal_line", hatch_scale=7, hatch_weight=1, hatch_alpha="missing",
    )  # fmt: skip
    themed(unknown.glyph, hatch_color="unknown")
    tiles = plot.rect("x", "y", 1, 1, source=source, fill_color={"field": "colour", "transform": mapper}, line_width=1)
    themed(tiles.glyph, line_color="grid")
    size = min(9.0, max(5.0, 0.6 * NARROW / max(count, 1)))
    places = [(c, r, each) for r, row in enumerate(found) for c, each in enumerate(row)]
    levels = draw_marks(plot, places, name=f"{prefix}heat-marks", role="marker", size=size)
    now = empty_source(f"{prefix}heat-now", x=1)
    now.data = {**now.data, "y": [layer]}
    for width, role in ((6, "halo"), (3, "marker")):
        frame = plot.rect("x", "y", 1, 1, source=now, fill_alpha=0.0, line_width=width, line_join="miter")
        themed(frame.glyph, line_color=role)
    plot.add_tools(
        HoverTool(
            renderers=[tiles],
            tooltips=tooltip("@layer", "@snapshot", "@metric: @words", "@found"),
            visible=False,
        ),
    )
    _add_colour_bar(plot, mapper, colours, prefix)
    return Plot(
        root=plot,
        frames=packed({f"{prefix}heat-now__x": np.arange(count, dtype=float).reshape(-1, 1)}),
        titles=(plain(heading),) * count,
        sentences=tuple(
            _sentence(values[:, k], layer_names, label, metric) + marked_words([row[k] for row in found], layer_names)
            for k, label in enumerate(labels)
        ),
        title=f"{prefix}heat-title",
        legend=(
            *([Key("not computed", (("hatch", "unknown"),))] if np.isnan(values).any() else []),
            *mark_keys(levels, "marker"),
        ),
    )


def cell_of(index: int, snapshots: int) -> tuple[int, int]:
    """Layer and snapshot of the cell that was tapped."""
    return divmod(index, snapshots)


def cells(
    values: Float[ndarray, "layers snapshots"], layer_names: Sequence[str], labels: Sequence[str], *, metric: Metric
) -> dict[str, Any]:
    """Columns of the source ``heat-cells``: one row per cell, layer by layer."""
    layers, count = values.shape
    flat = values.ravel()
    return {
        "x": np.tile(np.arange(count, dtype=float), layers),
        "y": np.repeat(np.arange(layers, dtype=float), count),
        "colour": _ColourScale.of(values, log=metric.log).position(flat),
        "missing": np.isnan(flat).astype(float),
        "layer": [plain(name) for name in layer_names for _ in range(count)],
        "snapshot": [plain(label) for _ in range(layers) for label in labels],
        "metric": [metric_name(metric)] * flat.size,
        "words": [_words(float(value), metric) for value in flat],
    }


@dataclass(frozen=True, slots=True)
class _ColourScale:
    """Where values stand on the colour bar: linear, in decades, or in decades either side of zero."""

    low: float
    high: float
    diverging: bool
    log: bool
    threshold: float

    @classmethod
    def of(cls, values: Float[ndarray, "..."], *, log: bool) -> "_ColourScale":
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
        if not self.log:
            return np.asarray(values, dtype=np.float64)
        ratio = np.abs(values) / self.threshold
        outside = 1 + np.log10(np.maximum(ratio, 1.0))
        return np.asarray(np.sign(values) * np.where(ratio <= 1, ratio, outside))

    def ticks(self) -> dict[float, str]:
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


def _add_colour_bar(plot: figure, mapper: LinearColorMapper, colours: _ColourScale, prefix: str) -> None:
    ticks = colours.ticks()
    bar = ColorBar(
        color_mapper=mapper,
        name=f"{prefix}heat-bar",
        ticker=FixedTicker(name=f"{prefix}heat-bar-ticks", ticks=list(ticks)),
        major_label_text_font_size="11px",
        background_fill_color=None,
        width=12,
        padding=4,
    )
    bar.major_label_overrides = {place: plain(text) for place, text in ticks.items()}
    themed(bar, major_label_text_color="text", major_tick_line_color="axis")
    plot.add_layout(bar, "right")


def _column_ticks(labels: Sequence[str]) -> dict[float, str]:
    """As many labels as fit side by side on a small screen."""
    texts = [plain(label, longest=12) for label in labels]
    room = max(1, 76 // max((len(text) + 2 for text in texts), default=1))
    return {float(k): texts[k] for k in range(0, len(texts), max(1, ceil(len(texts) / room)))}


def metric_name(metric: Metric) -> str:
    """Call a metric as people do."""
    return plain(metric.name.replace("lambda_", "λ").replace("_", " "))


def _words(value: float, metric: Metric) -> str:
    if np.isnan(value):
        return "not computed"
    return f"{short(value)} {plain(metric.unit)}".strip()


def _sentence(column: Float[ndarray, " layers"], names: Sequence[str], label: str, metric: Metric) -> str:
    known = [(float(value), name) for value, name in zip(column, names, strict=True) if np.isfinite(value)]
    if not known:
        return f"{metric_name(metric)} at {plain(label)}: no layer is computed yet."
    (low, least), (high, most) = min(known), max(known)
    ends = f"from {short(low)} ({plain(least)}) to {short(high)} ({plain(most)})"
    return f"{metric_name(metric)} at {plain(label)}: {ends}; {len(known)} of {len(names)} layers computed."

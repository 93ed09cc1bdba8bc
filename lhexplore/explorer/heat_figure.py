"""Draws one number for every layer and snapshot: the map on which a click jumps."""

from collections.abc import Mapping, Sequence
from functools import partial
from math import ceil
from typing import Any, Protocol

import numpy as np
from bokeh.models import CDSView, GroupFilter, HoverTool, LinearColorMapper
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis.number_texts import short
from ..figures.numbers import NEGLIGIBLE
from .base_figure import add_frame_title, blank_figure, packed, tooltip
from .drawing import DATA, Drawing, axis_settings, name_axis, reach, source_of
from .escape import plain
from .frames import Key, Plot
from .heat_colours import ColourScale, add_colour_bar, colour_settings
from .located import hover_words, mark_keys, marked_words
from .marks import lay_marks, mark_settings
from .theme import CLEAR, themed

ROW = 26  # pixels per layer where there is room
LONGEST = 24  # characters of a label
NOWHERE = -1000  # row of the frame, far outside, where it stands around none
LEAST = 5  # pixels per layer in any case
TALLEST = 460  # pixels of the figure, unless its layers need more
LINED, MOST_LINED = 8, 60  # pixels per layer from which, and snapshots up to which, lines part the cells
NARROW = 250  # pixels that all columns of a small map share
FRAME = 96  # pixels for axis and title


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
    errors: Float[ndarray, "layers snapshots"] | None = None,
    layer: int | None = 0,
    findings: Sequence[Sequence[Sequence[Finding]]] | None = None,
    ticks: Mapping[float, str] | None = None,
    x_label: str = "snapshot",
    prefix: str = "",
    height: int | None = None,
    part: range | None = None,
) -> Plot:
    """Draw a metric of all layers at all snapshots; NaN stands for "not computed".

    A click gives the number of a cell of the source ``heat-cells``; ``cell_of`` tells which one it is. The frame marks
    the current snapshot in the row of ``layer``; its row is the column ``y`` of the source ``heat-now``.

    Args:
        values: one row per layer.
        layer_names: top row first.
        labels: of the snapshots.
        metric: its name, unit, and whether it spans decades.
        errors: one standard error of every value; NaN where it is not known.
        layer: row of the frame; None: there is none.
        findings: of every cell, layer by layer; warnings and notes are marked in their cells.
        ticks: labels under the map by snapshot number (see ``snapshot_ticks``); thinned ``labels`` if left out.
        x_label: what the labels under the map are.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels; chosen from the number of layers if left out.
        part: the rows that are drawn, where not all are: colours and sentences are those of all, and the cells are
            counted from its first row.
    """
    everything = range(len(layer_names)) if part is None else part
    colours = ColourScale.of(values, log=metric.log)
    layers, count = len(everything), values.shape[1]
    tall = height or max(min(TALLEST, FRAME + ROW * max(layers, 2)), FRAME + LEAST * layers)
    every = max(1, ceil(layers * 13 / max(tall - FRAME, 1)))  # a label needs 13 pixels
    rows = {float(i): row_label(layer_names[k]) for i, k in enumerate(everything) if i % every == 0}
    heading = f"{metric_name(metric)} [{metric.unit}]" if metric.unit else metric_name(metric)
    found = [[()] * count] * len(layer_names) if findings is None else findings
    drawn = values[everything], [layer_names[i] for i in everything]
    columns = cells(*drawn, labels, metric=metric, errors=None if errors is None else errors[everything]) | {
        "colour": colours.position(drawn[0].ravel()),
        "found": [hover_words(each) or "no finding" for i in everything for each in found[i]],
    }
    places = [(c, r, each) for r, i in enumerate(everything) for c, each in enumerate(found[i])]
    marked, levels = mark_settings(places, name=f"{prefix}heat-marks")
    row = NOWHERE if layer is None or layer not in everything else layer - everything.start
    settings = {
        **reach(prefix, (-0.5, count - 0.5), (layers - 0.5, -0.5)),
        **axis_settings(f"{prefix}heat-y-axis", "", rows),
        **axis_settings(f"{prefix}heat-x-axis", x_label, _column_ticks(labels) if ticks is None else ticks),
        f"{prefix}heat-cells": {DATA: columns},
        f"{prefix}heat-now": {DATA: {"x": [float(NOWHERE)], "y": [row]}},
        **marked,
        **colour_settings(colours, prefix),
    }
    lined = (tall - FRAME) / max(layers, 1) >= LINED and count <= MOST_LINED  # else lines would be all one sees
    size = min(9.0, max(5.0, 0.6 * NARROW / max(count, 1)))
    make = partial(_drawn, tuple(columns), colours.diverging, lined, size, prefix, tall)
    return Plot(
        picture=Drawing(make, settings),
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


def _drawn(columns: Sequence[str], diverging: bool, lined: bool, size: float, prefix: str, height: int) -> figure:
    """The figure before anything is put into it."""
    plot = blank_figure(prefix=prefix, height=height, y=(0.0, 1.0), tools="")
    plot.grid.visible = False
    name_axis(plot.xaxis[0], f"{prefix}heat-x-axis")
    name_axis(plot.yaxis[0], f"{prefix}heat-y-axis")
    add_frame_title(plot, f"{prefix}heat-title")
    mapper = LinearColorMapper(nan_color=CLEAR, name=f"{prefix}heat-colours")
    themed(mapper, palette="diverging" if diverging else "sequential")
    source = source_of(f"{prefix}heat-cells", *columns)
    unknown = plot.rect(
        "x", "y", 1, 1, source=source, fill_alpha=0.0, line_alpha=0.0,
        hatch_pattern="right_diagonal_line", hatch_scale=7, hatch_weight=1,
        view=CDSView(filter=GroupFilter(column_name="missing", group=1.0)),  # an alpha each would be a pattern each
    )  # fmt: skip
    themed(unknown.glyph, hatch_color="unknown")
    colour: Any = {"field": "colour", "transform": mapper}
    tiles = plot.rect("x", "y", 1, 1, source=source, fill_color=colour, line_color=colour, line_width=1)
    if lined:
        themed(tiles.glyph, line_color="grid")
    lay_marks(plot, name=f"{prefix}heat-marks", role="marker", size=size)
    now = source_of(f"{prefix}heat-now", "x", "y")
    for width, role in ((6, "halo"), (3, "marker")):
        around = plot.rect("x", "y", 1, 1, source=now, fill_alpha=0.0, line_width=width, line_join="miter")
        themed(around.glyph, line_color=role)
    words = tooltip("@layer", "@snapshot", "@metric: @words", "@found")
    plot.add_tools(HoverTool(renderers=[tiles], tooltips=words, visible=False))
    add_colour_bar(plot, mapper, prefix)
    return plot


def cell_of(index: int, snapshots: int) -> tuple[int, int]:
    """Layer and snapshot of the cell that was tapped."""
    return divmod(index, snapshots)


def cells(
    values: Float[ndarray, "layers snapshots"],
    layer_names: Sequence[str],
    labels: Sequence[str],
    *,
    metric: Metric,
    errors: Float[ndarray, "layers snapshots"] | None = None,
) -> dict[str, Any]:
    """Columns of the source ``heat-cells``: one row per cell, layer by layer."""
    layers, count = values.shape
    flat = values.ravel()
    off = np.full(flat.size, np.nan) if errors is None else errors.ravel()
    unit = plain(metric.unit)
    names, steps = [plain(name) for name in layer_names], [plain(label) for label in labels]
    return {
        "x": np.tile(np.arange(count, dtype=float), layers),
        "y": np.repeat(np.arange(layers, dtype=float), count),
        "missing": np.isnan(flat).astype(float),
        "layer": [name for name in names for _ in range(count)],
        "snapshot": steps * layers,
        "metric": [metric_name(metric)] * flat.size,
        "words": [cell_words(float(value), float(error), unit) for value, error in zip(flat, off, strict=True)],
    }


def _column_ticks(labels: Sequence[str]) -> dict[float, str]:
    """As many labels as fit side by side on a small screen."""
    texts = [plain(label, longest=12) for label in labels]
    room = max(1, 76 // max((len(text) + 2 for text in texts), default=1))
    return {float(k): texts[k] for k in range(0, len(texts), max(1, ceil(len(texts) / room)))}


def row_label(name: str) -> str:
    """A name beside the map: of a long path, the modules around the layer are left out."""
    path = name
    while len(path) >= LONGEST and "." in path:
        path = path.split(".", 1)[1]
    return plain(name if path == name else f"…{path}", longest=LONGEST)


def metric_name(metric: Metric) -> str:
    """Call a metric as people do."""
    return plain(metric.name.replace("lambda_", "λ").replace("_", " "))


def cell_words(value: float, error: float, unit: str) -> str:
    """Say a number with its standard error; without one where it is exact or the error is not known."""
    if np.isnan(value):
        return "not computed"
    off = f" ± {short(error, digits=2)}" if np.isfinite(error) and error > NEGLIGIBLE * abs(value) else ""
    return f"{short(value)}{off} {unit}".strip()


def _sentence(column: Float[ndarray, " layers"], names: Sequence[str], label: str, metric: Metric) -> str:
    known = [(float(value), name) for value, name in zip(column, names, strict=True) if np.isfinite(value)]
    if not known:
        return f"{metric_name(metric)} at {plain(label)}: no layer is computed yet."
    (low, least), (high, most) = min(known), max(known)
    ends = f"from {short(low)} ({plain(least)}) to {short(high)} ({plain(most)})"
    return f"{metric_name(metric)} at {plain(label)}: {ends}; {len(known)} of {len(names)} layers computed."

"""What all figures have in common: transparent, as wide as their cell, readable on light and dark pages."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
from bokeh.models import ColumnDataSource, FixedTicker, NoOverlap, Range1d
from bokeh.models.annotations import Title
from bokeh.models.axes import Axis
from bokeh.plotting import figure
from jaxtyping import Float, Float32
from numpy import ndarray

from .escape import plain
from .theme import clear_background, themed

FONT = "12px"
NARROWEST = 240  # pixels
BETWEEN = 4  # pixels between labels side by side; what does not fit is left out


def blank_figure(
    *,
    prefix: str,
    height: int,
    x: tuple[float, float] = (0.0, 1.0),
    y: tuple[float, float] = (0.1, 1.0),
    y_type: Literal["linear", "log"] = "linear",
    tools: str = "xbox_zoom,reset",
) -> figure:
    """Make an empty figure with fixed ranges (here or set later), a text line for the frame, and no ticks yet."""
    plot = figure(
        height=height,
        min_width=NARROWEST,
        sizing_mode="stretch_width",
        x_range=Range1d(start=x[0], end=x[1], name=f"{prefix}x-range"),
        y_range=Range1d(start=y[0], end=y[1], name=f"{prefix}y-range"),
        y_axis_type=y_type,
        tools=tools,
        toolbar_location="right" if tools else None,
        min_border_right=12,
    )
    plot.toolbar.logo = None
    plot.toolbar.autohide = True
    clear_background(plot)
    themed(plot, outline_line_color="grid")
    plot.xaxis.major_label_policy = NoOverlap(min_distance=BETWEEN)
    for axis in plot.axis:
        style_axis(axis)
    for grid in plot.grid:
        themed(grid, grid_line_color="grid")
    return plot


def style_axis(axis: Axis) -> None:
    """Give an axis the text and the colours of all."""
    axis.axis_label_text_font_style = "normal"
    axis.axis_label_text_font_size = axis.major_label_text_font_size = FONT
    themed(
        axis,
        axis_label_text_color="text",
        major_label_text_color="text",
        axis_line_color="axis",
        major_tick_line_color="axis",
        minor_tick_line_color="axis",
    )


def add_frame_title(plot: figure, name: str) -> None:
    """Add the line above the frame that changes with the snapshot."""
    title = Title(name=name, text="", text_font_size=FONT, text_font_style="normal", standoff=4)
    plot.add_layout(themed(title, text_color="text"), "above")


def label_axis(axis: Axis, name: str, label: str, ticks: Mapping[float, str], minor: tuple[float, ...] = ()) -> None:
    """Put labelled ticks at exactly these positions."""
    axis.name = name
    axis.axis_label = label
    axis.ticker = FixedTicker(name=f"{name}-ticks", ticks=list(ticks), minor_ticks=list(minor))
    axis.major_label_overrides = {position: plain(text) for position, text in ticks.items()}


def tooltip(*lines: str) -> list[tuple[str, str]]:
    """Make the lines of a hover box; they name columns only, so that no name from outside is read as a format.

    Lists of pairs become text nodes in the browser; the labels stay empty because their fixed colour is too pale.
    """
    return [("", line) for line in lines]


def empty_source(name: str, **columns: int) -> ColumnDataSource:
    """Make a source whose columns will come as frames; nothing is drawn until they do."""
    return ColumnDataSource(
        {key: np.full(length, np.nan, dtype=np.float32) for key, length in columns.items()}, name=name
    )


def rows(count: int, length: int) -> Float[ndarray, "count length"]:
    """Make frames in which nothing is known yet."""
    return np.full((count, length), np.nan)


def packed(frames: Mapping[str, Float[ndarray, "count _"]]) -> dict[str, Float32[ndarray, "count _"]]:
    """Round frames to the precision of the screen."""
    return {key: np.asarray(block, dtype=np.float32) for key, block in frames.items()}

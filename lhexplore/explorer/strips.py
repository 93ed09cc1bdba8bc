"""A strip for every snapshot: hatched where nothing is known, with words to hover, clicked to go there."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from bokeh.models import HoverTool
from bokeh.plotting import figure
from jaxtyping import Bool
from numpy import ndarray

from .base_figure import tooltip
from .drawing import DATA, Settings, put, source_of
from .theme import themed


def lay_strips(plot: figure, words: Sequence[str], *, name: str, along: Literal["x", "y"]) -> None:
    """Lay strips of width 1 side by side, none of which is there yet.

    Args:
        plot: where to draw.
        words: the columns that are the lines of the hover box.
        name: of the source; the number of a strip in it is that of its snapshot.
        along: the axis on which the snapshots stand.
    """
    source = source_of(name, along, "start", "end", "missing", *words)
    draw: Any = plot.vstrip if along == "x" else plot.hstrip
    strips = draw(
        "start", "end", source=source, level="underlay", fill_alpha=0.0, line_alpha=0.0,
        hatch_pattern="right_diagonal_line", hatch_scale=7, hatch_weight=1, hatch_alpha="missing",
    )  # fmt: skip
    themed(strips.glyph, hatch_color="unknown")
    lines = tooltip(*(f"@{key}" for key in words))
    plot.add_tools(HoverTool(renderers=[strips], tooltips=lines, visible=False))


def strip_settings(
    missing: Bool[ndarray, " n"],
    words: Mapping[str, Sequence[str]],
    *,
    name: str,
    along: Literal["x", "y"],
    shift: float = 0.0,
) -> Settings:
    """The columns of the source called ``name``.

    Args:
        missing: whether nothing is known of a snapshot.
        words: the lines of the hover box, per snapshot.
        name: of the source.
        along: the axis on which the snapshots stand.
        shift: of the middle of a strip from its snapshot.
    """
    middle = np.arange(len(missing), dtype=float) + shift
    places = {along: middle, "start": middle - 0.5, "end": middle + 0.5, "missing": missing.astype(float)}
    return {name: {DATA: {**places, **words}}}


def draw_strips(
    plot: figure,
    missing: Bool[ndarray, " n"],
    words: Mapping[str, Sequence[str]],
    *,
    name: str,
    along: Literal["x", "y"],
) -> None:
    """Both at once."""
    lay_strips(plot, tuple(words), name=name, along=along)
    put(plot, strip_settings(missing, words, name=name, along=along))

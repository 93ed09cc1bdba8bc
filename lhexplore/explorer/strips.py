"""A strip for every snapshot: hatched where nothing is known, with words to hover, clicked to go there."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Bool
from numpy import ndarray

from .base_figure import tooltip
from .theme import themed


def draw_strips(
    plot: figure,
    missing: Bool[ndarray, " n"],
    words: Mapping[str, Sequence[str]],
    *,
    name: str,
    along: Literal["x", "y"],
    shift: float = 0.0,
) -> None:
    """Lay strips of width 1 side by side.

    Args:
        plot: where to draw.
        missing: whether nothing is known of a snapshot.
        words: the lines of the hover box, per snapshot.
        name: of the source; the number of a strip in it is that of its snapshot.
        along: the axis on which the snapshots stand.
        shift: of the middle of a strip from its snapshot.
    """
    middle = np.arange(len(missing), dtype=float) + shift
    source = ColumnDataSource(
        {along: middle, "start": middle - 0.5, "end": middle + 0.5, "missing": missing.astype(float), **words},
        name=name,
    )
    draw: Any = plot.vstrip if along == "x" else plot.hstrip
    strips = draw(
        "start", "end", source=source, level="underlay", fill_alpha=0.0, line_alpha=0.0,
        hatch_pattern="right_diagonal_line", hatch_scale=7, hatch_weight=1, hatch_alpha="missing",
    )  # fmt: skip
    themed(strips.glyph, hatch_color="unknown")
    lines = tooltip(*(f"@{key}" for key in words))
    plot.add_tools(HoverTool(renderers=[strips], tooltips=lines, visible=False))

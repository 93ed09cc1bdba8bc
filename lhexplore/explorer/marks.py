"""Marks of findings at places of a figure: what the level is, its shape says without colour."""

from collections.abc import Mapping, Sequence
from typing import Any

from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from ..diagnosis import Finding
from .base_figure import tooltip
from .located import SHAPES, hover_words, worst
from .theme import themed

SIZE = 9.0  # pixels


def draw_marks(
    plot: figure,
    places: Sequence[tuple[float, float, Sequence[Finding]]],
    *,
    name: str,
    role: str,
    size: float = SIZE,
    names: Mapping[str | None, str] | None = None,
) -> tuple[str, ...]:
    """Draw a triangle where something is warned of, a circle where something is noted; returns the levels there are.

    Args:
        plot: where to draw.
        places: x, y and what was found there.
        name: of the source, whose column ``words`` says what was found.
        role: of the colour.
        size: in pixels.
        names: of the blocks, for the words; with them, the marks have a hover box of their own.
    """
    marks = [(x, y, level, hover_words(each, names)) for x, y, each in places if (level := worst(each))]
    xs, ys, levels, words = zip(*marks, strict=True) if marks else ((), (), (), ())
    columns: dict[str, Any] = {"x": xs, "y": ys, "marker": [SHAPES[level] for level in levels], "words": words}
    source = ColumnDataSource(columns, name=name)
    glyphs = plot.scatter("x", "y", source=source, marker="marker", size=size, line_width=1)
    themed(glyphs.glyph, fill_color=role, line_color="halo")
    if names is not None:
        plot.add_tools(HoverTool(renderers=[glyphs], tooltips=tooltip("@words"), visible=False))
    return tuple(dict.fromkeys(levels))

"""Marks of findings at places of a figure: what the level is, its shape says without colour."""

from collections.abc import Mapping, Sequence

from bokeh.models import HoverTool
from bokeh.plotting import figure

from ..diagnosis import Finding
from .base_figure import tooltip
from .drawing import DATA, Settings, put, source_of
from .located import SHAPES, hover_words, worst
from .theme import themed

SIZE = 9.0  # pixels


def lay_marks(plot: figure, *, name: str, role: str, size: float = SIZE, hover: bool = False) -> None:
    """Make room for a triangle where something is warned of, a circle where something is noted.

    Args:
        plot: where to draw.
        name: of the source, whose column ``words`` says what was found.
        role: of the colour.
        size: in pixels.
        hover: whether the marks have a hover box of their own.
    """
    source = source_of(name, "x", "y", "marker", "words")
    glyphs = plot.scatter("x", "y", source=source, marker="marker", size=size, line_width=1)
    themed(glyphs.glyph, fill_color=role, line_color="halo")
    if hover:
        plot.add_tools(HoverTool(renderers=[glyphs], tooltips=tooltip("@words"), visible=False))


def mark_settings(
    places: Sequence[tuple[float, float, Sequence[Finding]]],
    *,
    name: str,
    names: Mapping[str | None, str] | None = None,
) -> tuple[Settings, tuple[str, ...]]:
    """The columns of the source called ``name``, and the levels there are.

    Args:
        places: x, y and what was found there.
        name: of the source.
        names: of the blocks, for the words.
    """
    marks = [(x, y, level, hover_words(each, names)) for x, y, each in places if (level := worst(each))]
    xs, ys, levels, words = (list(each) for each in zip(*marks, strict=True)) if marks else ([], [], [], [])
    columns = {"x": xs, "y": ys, "marker": [SHAPES[level] for level in levels], "words": words}
    return {name: {DATA: columns}}, tuple(dict.fromkeys(levels))


def draw_marks(
    plot: figure,
    places: Sequence[tuple[float, float, Sequence[Finding]]],
    *,
    name: str,
    role: str,
    names: Mapping[str | None, str],
) -> tuple[str, ...]:
    """Both at once, with a hover box; returns the levels there are."""
    lay_marks(plot, name=name, role=role, hover=True)
    settings, levels = mark_settings(places, name=name, names=names)
    put(plot, settings)
    return levels

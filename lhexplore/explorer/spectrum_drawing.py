"""Lays the parts of a spectrum's figure over each other; its legend."""

from collections.abc import Sequence
from typing import Literal

from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from .axes import ValueAxis
from .base_figure import tooltip
from .drawing import Sources
from .flags import draw_flags
from .frames import Key
from .located import mark_keys
from .outliers import draw_outliers
from .overlays import STROKES, Overlay, overlay_keys
from .spectrum_shapes import GROUND, SKY
from .theme import themed

Kind = Literal["histogram", "density", "cumulative", "rug"]
KINDS = ("histogram", "density", "cumulative", "rug")


def legend_of(
    kind: Kind, axis: ValueAxis, *, exact: bool, beside: bool, overlays: Sequence[Overlay], levels: Sequence[str]
) -> tuple[Key, ...]:
    """What the parts mean."""
    bars, sign = kind == "histogram", ", λ > 0" if axis.folded else ""
    what = ("training" if beside else "eigenvalues") + sign
    keys = [
        Key(f"{what}, smoothed" if kind == "density" else what, (("line" if kind == "rug" else "box", "bar"),)),
        *([Key("λ < 0", (("dash", "ends"),))] if axis.folded else []),
        *(
            [Key(f"held-out{sign}, its λmin and λmax", (("line", "held_out"), ("diamond", "held_out")))]
            if beside
            else []
        ),
        *overlay_keys(overlays, sign),
        Key("≈ 0", (("shade", "band"),)),
        *([] if beside or overlays or kind == "rug" else [Key("previous snapshot", (("line", "ghost"),))]),
        Key("λmin, λmax", (("point", "ends"),)),
    ]
    if not exact:
        pale = Key("pale: less than one eigenvalue", (("shade", "bar"),))
        error = Key("± standard error", (("whisker" if bars else "shade", "whisker"),))
        keys.append(pale if kind == "rug" else error)
    return (*keys, *mark_keys(levels, "finding"))


def draw(plot: figure, sources: Sources, kind: Kind, label: str) -> None:
    """Lay the parts over each other, from the shading at the back to the words in front.

    Args:
        plot: where to draw.
        sources: by their names without a prefix.
        kind: of the shape.
        label: what the axis of counts says.
    """
    band = plot.quad(left="left", right="right", top=SKY, bottom=GROUND, source=sources["band"], fill_alpha=0.2)
    themed(band.glyph, fill_color="band", line_color="band").line_alpha = 0.0
    if kind == "histogram":
        _draw_bars(plot, sources)
    elif kind == "rug":
        _draw_rug(plot, sources)
    else:
        _draw_curve(plot, sources, label)
    if "ghost" in sources:
        ghost = plot.line("x", "y", source=sources["ghost"], line_width=1.2)
        themed(ghost.glyph, line_color="ghost")
    _draw_line(plot, sources, kind, "minus", "ends", (4, 3))
    error = plot.segment("low", "y", "high", "y", source=sources["ends"], line_width=2)
    ends = plot.scatter(
        "x", "y", source=sources["ends"], marker="inverted_triangle", size=12, fill_alpha="fill", line_width=2
    )
    themed(error.glyph, line_color="ends")
    themed(ends.glyph, fill_color="ends", line_color="ends")
    if "over" in sources:
        _draw_over(plot, sources, kind)
    for i, stroke in enumerate(STROKES, start=1):
        _draw_line(plot, sources, kind, f"over{i}", stroke.role, stroke.dash)
    draw_outliers(plot, sources["outliers"])
    draw_flags(plot, sources["flags"])
    _draw_words(plot, sources["missing"], "not computed yet", "bottom")
    ends_words = tooltip("end of the spectrum: @value", "error bound: @error", "hollow: not settled yet")
    plot.add_tools(
        HoverTool(renderers=[ends], tooltips=ends_words, visible=False),
        HoverTool(renderers=[band], tooltips=tooltip("≈ 0: |λ| up to @half"), visible=False),
    )


def _draw_line(
    plot: figure, sources: Sources, kind: Kind, name: str, role: str, dash: tuple[int, ...] | None = None
) -> None:
    """An outline in its own stroke; in a rug, the lines of its lane."""
    if name not in sources:
        return
    if kind == "rug":
        lines = plot.segment("x", "low", "x", "high", source=sources[name], line_width=1.2, line_alpha="strength")
        themed(lines.glyph, line_color=role)
        tooltips = tooltip("λ ≈ @value", "eigenvalues there: @count")
        plot.add_tools(HoverTool(renderers=[lines], tooltips=tooltips, visible=False))
        return
    outline = plot.line("x", "y", source=sources[name], line_width=1.8 if dash else 1.5, line_dash=list(dash or ()))
    themed(outline.glyph, line_color=role)


def _draw_over(plot: figure, sources: Sources, kind: Kind) -> None:
    """The held-out spectrum: an outline, and diamonds at its ends, so that it is told apart without colour."""
    _draw_line(plot, sources, kind, "over", "held_out")
    ends = plot.scatter(
        "x", "y", source=sources["over-ends"], marker="diamond", size=13, fill_alpha="fill", line_width=1.5
    )
    themed(ends.glyph, fill_color="held_out", line_color="halo")
    _draw_words(plot, sources["over-missing"], "held-out: not computed yet", "top")
    words = tooltip("held-out: end of the spectrum: @value", "error bound: @error", "hollow: not settled yet")
    plot.add_tools(HoverTool(renderers=[ends], tooltips=words, visible=False))


def _draw_words(plot: figure, source: ColumnDataSource, words: str, baseline: Literal["top", "bottom"]) -> None:
    text = plot.text("x", "y", text={"value": words}, source=source)
    text.glyph.update(text_align="center", text_baseline=baseline, text_font_size="16px", background_fill_alpha=0.8)
    themed(text.glyph, text_color="text", background_fill_color="halo")


def _draw_bars(plot: figure, sources: Sources) -> None:
    bars = plot.quad(left="left", right="right", top="top", bottom=GROUND, source=sources["bars"], line_width=0.5)
    themed(bars.glyph, fill_color="bar", line_color="halo")
    whiskers = plot.segment("x", "low", "x", "high", source=sources["whiskers"], line_width=1.2)
    themed(whiskers.glyph, line_color="whisker")
    tooltips = tooltip("λ from @from to @to", "eigenvalues: @count", "standard error: @stderr")
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips, visible=False))


def _draw_curve(plot: figure, sources: Sources, label: str) -> None:
    body = plot.varea(x="x", y1=GROUND, y2="y", source=sources["curve"], fill_alpha=0.25)
    line = plot.line("x", "y", source=sources["curve"], line_width=2)
    themed(body.glyph, fill_color="bar")
    themed(line.glyph, line_color="bar")
    spread = plot.varea(x="x", y1="low", y2="high", source=sources["spread"], fill_alpha=0.35)
    themed(spread.glyph, fill_color="whisker")
    tooltips = tooltip("λ = @value", f"{label}: @true")
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips, mode="vline", visible=False))


def _draw_rug(plot: figure, sources: Sources) -> None:
    plot.ygrid.visible = False
    _draw_line(plot, sources, "rug", "rug", "bar")

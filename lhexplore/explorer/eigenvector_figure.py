"""Draws eigenvectors as pictures of a layer's parameters: filters as tiles, matrices as maps, the rest as stems."""

from typing import Any, Protocol

import numpy as np
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, DataRange1d, FixedTicker, HoverTool, LinearColorMapper, Range1d
from bokeh.models.annotations import ColorBar, Title
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from .base_figure import blank_figure, label_axis, tooltip
from .escape import plain
from .frames import Plot
from .tensors import Shapes, Tile, tensor_names, tiles, upright
from .theme import CLEAR, themed

TALL = 230  # pixels of a picture
STEMS = 260  # pixels across a picture of stems beside a map
FLAT = 6  # flatter filters than so are stretched, or nothing would be seen of them
TENSORS = 3  # pictures per vector; a whole network has many tensors


class Pairs(Protocol):
    """Eigenvalues with their vectors and residuals, the largest first."""

    @property
    def values(self) -> Float[ndarray, " k"]: ...
    @property
    def vectors(self) -> Float[ndarray, "k n"]: ...
    @property
    def residuals(self) -> Float[ndarray, " k"]: ...


def eigenvector_plot(
    pairs: Pairs | None, shapes: Shapes, *, name: str, label: str, failed: str = "", prefix: str = ""
) -> Plot:
    """Draw eigenvectors of one block at one snapshot, a row of pictures each, all on one scale of colours.

    Every vector has length 1 and the sign with which its largest component is positive. The source ``vector-0-1`` holds
    the second tensor of the first vector.

    Args:
        pairs: None while they are not computed.
        shapes: name and shape of the block's tensors, in the order of the components.
        name: of the block.
        label: of the snapshot.
        failed: a sentence on why there are none, where computing failed.
        prefix: makes the names of sources unique where several figures share a page.
    """
    start = f"{plain(name)} at {plain(label)}"
    if pairs is None or not len(pairs.values):
        plot = blank_figure(prefix=prefix, height=90, x=(0, 1), y=(0, 1), tools="")
        plot.axis.visible = plot.grid.visible = False
        text = plot.text([0.5], [0.5], text=["eigenvectors are not computed yet"])
        text.glyph.update(text_align="center", text_baseline="middle", text_font_size="14px")
        themed(text.glyph, text_color="text")
        return _still(plot, f"{start}: {failed or 'eigenvectors are not computed yet. Press Compute.'}")
    vectors = [upright(vector) for vector in pairs.vectors]
    pictures = [_largest(tiles(vector, shapes)) for vector in vectors]
    top = max(float(np.nanmax(np.abs(tile.dots), initial=0.0)) for kept in pictures for tile in kept) or 1.0
    mapper = LinearColorMapper(low=-top, high=top, nan_color=CLEAR, name=f"{prefix}vector-colours")
    themed(mapper, palette="diverging")
    rows = []
    for i, kept in enumerate(pictures):
        heading = f"λ{_subscript(i + 1)} = {_value(pairs, i)}"
        figures = [
            _picture(
                tile,
                mapper,
                top,
                heading if j == 0 else "",
                f"{prefix}vector-{i}-{j}",
                alone=all(each.stems for each in kept),
            )
            for j, tile in enumerate(kept)
        ]
        rows.append(row(*figures, sizing_mode="stretch_width"))
    left = len(shapes) - len(pictures[0])
    words = [
        f"{start}: {len(vectors)} eigenvector{'s' * (len(vectors) > 1)} of largest |λ|.",
        *(f"λ{_subscript(i + 1)} = {_value(pairs, i)}: {_shares(v, shapes)}." for i, v in enumerate(vectors)),
        "Vectors have length 1 and the sign with which their largest component is positive.",
        f"{left} smaller tensors are not drawn." if left else "",
    ]
    return _still(column(*rows, sizing_mode="stretch_width"), " ".join(filter(None, words)))


def _picture(tile: Tile, mapper: LinearColorMapper, top: float, heading: str, name: str, *, alone: bool) -> figure:
    plot = blank_figure(prefix=f"{name}-", height=TALL, x=(0, 1), y=(0, 1), tools="")
    plot.grid.visible = False
    if tile.stems and not alone:
        plot.update(sizing_mode="fixed", width=STEMS)
    for text in (tile.words, heading):  # the heading above the words
        title = Title(text=plain(text, longest=90), text_font_size="11px", text_font_style="normal", standoff=2)
        if text == heading and heading:
            title.update(text_font_size="13px", text_font_style="bold")
        plot.add_layout(themed(title, text_color="text"), "above")
    if tile.stems:
        _draw_stems(plot, tile, top, name)
    else:
        _draw_dots(plot, tile, mapper, top, name)
    return plot


def _draw_stems(plot: figure, tile: Tile, top: float, name: str) -> None:
    values = tile.dots[0]
    at = np.arange(1.0, len(values) + 1)
    plot.update(x_range=Range1d(start=0, end=len(values) + 1), y_range=Range1d(start=-1.08 * top, end=1.08 * top))
    source = ColumnDataSource({"x": at, "y": values, "zero": 0 * at}, name=name)
    line = plot.segment("x", "zero", "x", "y", source=source, line_width=2)
    dots = plot.scatter("x", "y", source=source, size=5)
    zero = plot.hspan(0, line_width=1)
    themed(line.glyph, line_color="train")
    themed(dots.glyph, fill_color="train", line_color="train")
    themed(zero.glyph, line_color="axis")
    every = max(1, -(-len(values) // 8))
    label_axis(plot.xaxis[0], f"{name}-x-axis", tile.axes[0], {float(k): str(k) for k in at.astype(int)[::every]})
    label_axis(plot.yaxis[0], f"{name}-y-axis", "", {place: short(place, digits=2) for place in (-top, 0.0, top)})
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltip("component @x: @y"), visible=False))


def _draw_dots(plot: figure, tile: Tile, mapper: LinearColorMapper, top: float, name: str) -> None:
    high, wide = tile.dots.shape
    source = ColumnDataSource({"image": [tile.dots[::-1]]}, name=name)  # Bokeh's first row is the lowest
    if tile.square and max(high, wide) <= FLAT * min(high, wide):
        plot.update(x_range=DataRange1d(range_padding=0.02), y_range=DataRange1d(range_padding=0.02), match_aspect=True)
    else:
        plot.update(x_range=Range1d(start=0, end=wide), y_range=Range1d(start=0, end=high))
    how: Any = {"color_mapper": mapper}
    image = plot.image("image", x=0, y=0, dw=wide, dh=high, source=source, **how)
    for axis, words, side in ((plot.xaxis[0], tile.axes[0], "x"), (plot.yaxis[0], tile.axes[1], "y")):
        label_axis(axis, f"{name}-{side}-axis", words, {})
    plot.add_tools(HoverTool(renderers=[image], tooltips=tooltip("component: @image"), visible=False))
    ticks = {float(at): short(float(at), digits=2) for at in (-top, 0.0, top)}
    bar = ColorBar(
        color_mapper=mapper, ticker=FixedTicker(ticks=list(ticks)), width=10, padding=4, background_fill_color=None,
        major_label_text_font_size="11px",
    )  # fmt: skip
    bar.major_label_overrides = {at: plain(words) for at, words in ticks.items()}
    themed(bar, major_label_text_color="text", major_tick_line_color="axis")
    plot.add_layout(bar, "right")


def _largest(found: list[Tile]) -> list[Tile]:
    """The tensors that are drawn, maps before stems, the order as it was."""
    kept = sorted(range(len(found)), key=lambda i: -found[i].dots.size)[:TENSORS]
    return sorted((found[i] for i in sorted(kept)), key=lambda tile: tile.stems)


def _shares(vector: Float[ndarray, " n"], shapes: Shapes) -> str:
    """How the vector's length is spread over the tensors, the largest share first."""
    parts = np.split(vector, np.cumsum([int(np.prod(shape)) for _, shape in shapes])[:-1])
    lengths = [float(part @ part) for part in parts]
    found = sorted(zip(lengths, tensor_names(shapes), strict=True), reverse=True)
    return ", ".join(f"{short(100 * share, digits=2)} % in {name}" for share, name in found[:TENSORS])


def _value(pairs: Pairs, i: int) -> str:
    return f"{short(float(pairs.values[i]))} ± {short(float(pairs.residuals[i]), digits=1)}"


def _subscript(number: int) -> str:
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _still(root: Any, words: str) -> Plot:
    """A plot of one moment."""
    return Plot(picture=root, frames={}, titles=("",), sentences=(words,), title="vector-title")

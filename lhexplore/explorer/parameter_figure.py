"""Draws weights and gradients of one layer over training, and the singular values of its matrix."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from ..layer_state import LEVELS, LayerState
from .base_figure import add_frame_title, blank_figure, empty_source, label_axis, packed, tooltip
from .escape import plain
from .frames import Key, Plot
from .number_axis import NumberAxis, number_axis
from .strips import draw_strips
from .theme import themed

BANDS = ((0, 6, 0.2), (1, 5, 0.3), (2, 4, 0.55))  # places in LEVELS, and how dense their band is
WIDTH = 0.7  # of a band, in snapshots
UNKNOWN = "not known yet"
HATCHED = Key(UNKNOWN, (("hatch", "unknown"),))
States = Sequence[LayerState | None]


def weights_plot(states: States, labels: Sequence[str], ticks: Mapping[float, str], *, x_label: str) -> Plot:
    """Draw how the weights of a layer are distributed at every snapshot: bands of 50, 90 and 98 %, median and mean.

    A click gives the number of a snapshot of the source ``weights-cells``.
    """
    levels = np.array([[math.nan] * len(LEVELS) if not (s and s.quantiles) else s.quantiles for s in states])
    mean = _numbers(states, "mean")
    axis = number_axis(np.concatenate([levels.ravel(), mean]), log=False)
    plot = _over_training("weights", 190, axis, "weights", labels, ticks, x_label)
    at = np.arange(len(states), dtype=float)
    columns = {"x": at, "left": at - WIDTH / 2, "right": at + WIDTH / 2, "mean": mean}
    source = ColumnDataSource(columns | {f"q{i}": level for i, level in enumerate(levels.T)}, name="weights")
    for low, high, dense in BANDS:
        band = plot.quad("left", "right", f"q{high}", f"q{low}", source=source, fill_alpha=dense, line_alpha=0.0)
        themed(band.glyph, fill_color="bar")
    middle = plot.segment("left", "q3", "right", "q3", source=source, line_width=2)
    themed(middle.glyph, line_color="whisker")
    dots = plot.scatter("x", "mean", source=source, marker="diamond", size=9, line_width=1)
    themed(dots.glyph, fill_color="ends", line_color="halo")
    words = [UNKNOWN if not (s and s.quantiles) else plain(_weights(s), longest=200) for s in states]
    draw_strips(
        plot, np.isnan(levels[:, 3]), {"label": _plain(labels), "words": words}, name="weights-cells", along="x"
    )
    return _finished(
        plot, "weights", words, labels,
        (
            Key("middle 50, 90 and 98 % of the weights", (("shade", "bar"),)),
            Key("median", (("line", "whisker"),)), Key("mean", (("diamond", "ends"),)),
            *([HATCHED] if np.isnan(levels[:, 3]).any() else []),
        ),
    )  # fmt: skip


def gradient_plot(states: States, labels: Sequence[str], ticks: Mapping[float, str], *, x_label: str) -> Plot:
    """Draw the norm of the gradient of the mean loss in a layer at every snapshot.

    A click gives the number of a snapshot of the source ``gradient-cells``.
    """
    norms = _numbers(states, "gradient_norm")
    axis = number_axis(norms, log=True)
    plot = _over_training("gradient", 150, axis, "gradient norm", labels, ticks, x_label)
    words = [UNKNOWN if math.isnan(norm) else f"gradient norm {short(norm)}" for norm in norms.tolist()]
    source = ColumnDataSource(
        {"x": np.arange(len(states), dtype=float), "y": axis.position(norms), "norm": norms}, name="gradients"
    )
    line = plot.line("x", "y", source=source, line_width=2)
    dots = plot.scatter("x", "y", source=source, size=6)
    themed(line.glyph, line_color="train")
    themed(dots.glyph, line_color="train", fill_color="train")
    draw_strips(plot, np.isnan(norms), {"label": _plain(labels), "words": words}, name="gradient-cells", along="x")
    return _finished(plot, "gradient", words, labels, (HATCHED,) if np.isnan(norms).any() else ())


def singular_plot(states: States, labels: Sequence[str]) -> Plot:
    """Draw the singular values of the layer's largest matrix at the snapshot on show, falling."""
    values = [np.empty(0) if s is None else s.singular_values for s in states]
    length = max((len(each) for each in values), default=0)
    table = np.array([np.concatenate([each, np.full(length - len(each), math.nan)]) for each in values])
    axis = number_axis(table, log=True)
    plot = blank_figure(
        prefix="singular-", height=150, x=(0, max(length, 1) + 1), y=(axis.low, axis.high), y_type=axis.y_type
    )
    label_axis(plot.yaxis[0], "singular-y-axis", "singular value", axis.ticks)
    every = max(1, math.ceil(length / 10))
    label_axis(plot.xaxis[0], "singular-x-axis", "rank", {float(k): str(k) for k in range(1, length + 1, every)})
    add_frame_title(plot, "singular-title")
    source = empty_source("singular", x=length, y=length, value=length)
    dots = plot.scatter("x", "y", source=source, size=6)
    themed(dots.glyph, line_color="train", fill_color="train")
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltip("singular value @x: @value"), visible=False))
    count = len(states)
    words = [_singular(each) for each in values]
    return Plot(
        picture=plot,
        frames=packed(
            {
                "singular__x": np.tile(np.arange(1.0, length + 1), (count, 1)),
                "singular__y": axis.position(table),
                "singular__value": table,
            }
        ),
        titles=tuple("" if each.size else "singular values are not computed at this snapshot" for each in values),
        sentences=tuple(f"{plain(label)}: {each}." for label, each in zip(labels, words, strict=True)),
        title="singular-title",
    )


def state_sentence(state: LayerState | None, name: str, label: str, failure: str = "") -> str:
    """Everything known of a layer's weights and gradient at a snapshot."""
    start = f"{plain(name)} at {plain(label)}"
    if state is None:
        return f"{start}: {plain(failure, longest=300) or f'gradient and weights are {UNKNOWN}.'}"
    parts = [_weights(state) if state.quantiles else "weights not known"]
    if not math.isnan(state.moved):
        parts.append(f"moved by {short(100 * state.moved)} % of their length at the first snapshot")
    if not math.isnan(state.gradient_norm):
        data = "held-out" if state.split == "held_out" else "training"
        parts.append(f"gradient norm {short(state.gradient_norm)} on {data} data")
    parts.append(_singular(state.singular_values))
    why = f" {plain(state.reason, longest=300)}" if state.reason else ""
    return f"{start}: {'; '.join(parts)}.{why}"


def _weights(state: LayerState) -> str:
    low, _, quarter, middle, upper, _, high = (short(value) for value in state.quantiles)
    return (
        f"half of the {state.size:,} weights from {quarter} to {upper}, 98 % from {low} to {high}, median {middle}, "
        f"mean {short(state.mean)}, standard deviation {short(state.std)}"
    )


def _singular(values: Float[ndarray, " r"]) -> str:
    if not values.size:
        return "singular values not computed"
    return f"{len(values)} singular values from {short(float(values[-1]))} to {short(float(values[0]))}"


def _numbers(states: States, key: str) -> Float[ndarray, " n"]:
    return np.array([math.nan if state is None else getattr(state, key) for state in states], dtype=float)


def _plain(labels: Sequence[str]) -> list[str]:
    return [plain(label) for label in labels]


def _over_training(
    name: str,
    height: int,
    axis: NumberAxis,
    y_label: str,
    labels: Sequence[str],
    ticks: Mapping[float, str],
    x_label: str,
) -> figure:
    count = len(labels)
    plot = blank_figure(
        prefix=f"{name}-", height=height, x=(-0.5, max(count - 0.5, 0.5)), y=(axis.low, axis.high), y_type=axis.y_type,
        tools="",
    )  # fmt: skip
    label_axis(plot.xaxis[0], f"{name}-x-axis", x_label, ticks)
    label_axis(plot.yaxis[0], f"{name}-y-axis", y_label, axis.ticks)
    rule = plot.vspan("x", source=empty_source(f"{name}-now", x=1), line_width=2)
    themed(rule.glyph, line_color="marker")
    return plot


def _finished(plot: figure, name: str, words: Sequence[str], labels: Sequence[str], legend: tuple[Key, ...]) -> Plot:
    count = len(labels)
    return Plot(
        picture=plot,
        frames=packed({f"{name}-now__x": np.arange(count, dtype=float).reshape(-1, 1)}),
        titles=("",) * count,
        sentences=tuple(f"{plain(label)}: {each}." for label, each in zip(labels, words, strict=True)),
        title=f"{name}-title",
        legend=legend,
    )

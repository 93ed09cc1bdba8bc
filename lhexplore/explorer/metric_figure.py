"""Draws a metric of some layers over training, with a band for what it may be off, on which a click jumps."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from bokeh.plotting import figure
from jaxtyping import Bool, Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis.number_texts import counted, short
from ..figures.numbers import telling
from ..figures.shapes import COVER
from .base_figure import add_frame_title, blank_figure, packed
from .drawing import DATA, Drawing, axis_settings, name_axis, reach, source_of
from .escape import plain
from .frames import Key, Plot, Shape
from .heat_figure import Metric, metric_name
from .located import hover_words, mark_keys
from .marks import lay_marks, mark_settings
from .number_axis import NumberAxis, number_axis
from .ribbons import ribbon
from .strips import lay_strips, strip_settings
from .theme import themed


class Stroke(NamedTuple):
    """How one of several curves is drawn: colour, dash and mark each tell it from the others."""

    role: str
    dash: Any
    marker: Any  # as Bokeh calls it
    mark: Shape  # the same in a legend


STROKES = (
    Stroke("train", "solid", "circle", "circle"),
    Stroke("held_out", [7, 3], "square", "square"),
    Stroke("third", [2, 2], "diamond", "diamond"),
    Stroke("fourth", [8, 3, 2, 3], "triangle", "triangle"),
    Stroke("marker", [12, 4], "inverted_triangle", "point"),
    Stroke("sixth", [4, 2, 1, 2, 1, 2], "cross", "cross"),
)
ROW = 0.14  # share of the axis for a row of marks above the curves


def metric_plot(
    values: Float[ndarray, "layers snapshots"],
    errors: Float[ndarray, "layers snapshots"],
    layer_names: Sequence[str],
    labels: Sequence[str],
    *,
    metric: Metric,
    layer: int = -1,
    findings: Sequence[Sequence[Finding]] | None = None,
    names: Mapping[str | None, str] | None = None,
    more: int = 0,
    ticks: Mapping[float, str] | None = None,
    time_label: str = "snapshot",
    axis: NumberAxis | None = None,
    prefix: str = "",
    height: int = 260,
) -> Plot:
    """Draw a metric over the snapshots, a curve per layer, with bands of ± 2 standard errors.

    A click gives the number of a strip of the source ``metric-cells``, which is that of the snapshot.

    Args:
        values: one row per layer, at most six; NaN where nothing is known.
        errors: their standard errors; NaN where they are not known.
        layer_names: what the layers are called.
        labels: what the snapshots are called.
        metric: its name, unit, and whether it spans decades.
        layer: row of the layer on show, which is set off; -1 if there is none.
        findings: what is marked at every snapshot.
        names: of the blocks they are about, as shown.
        more: how many layers are left out.
        ticks: labels of snapshots by number (see ``snapshot_ticks``); all labels if left out.
        time_label: what these labels are.
        axis: one to share with other layers (see :func:`metric_axis`) instead of one that fits these.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels.
    """
    layers, count = values.shape
    found = [()] * count if findings is None else findings
    unsure = np.isfinite(telling(values, errors)).any(axis=1)
    axis = axis or metric_axis(values, errors, log=metric.log)
    high = axis.above(ROW) if any(found) else axis.high
    heading = f"{metric_name(metric)} [{plain(metric.unit)}]" if metric.unit else metric_name(metric)
    marks = {float(k): plain(label, longest=12) for k, label in enumerate(labels)} if ticks is None else ticks
    told = [value_texts(*row, metric.unit) for row in zip(values, errors, strict=True)]
    words = {
        "label": [plain(label) for label in labels],
        **{f"layer{i}": [f"{plain(layer_names[i])}: {text}" for text in told[i]] for i in range(layers)},
    }
    at = axis.position(values[layer]) if 0 <= layer < layers else np.full(count, np.nan)
    places = [(k, axis.between(axis.high, high), each) for k, each in enumerate(found)]
    marked, levels = mark_settings(places, name=f"{prefix}metric-marks", names=names or {})
    said = "" if np.isfinite(values).any() else "nothing is known of it yet"
    middle = {"x": [(count - 1) / 2], "y": [axis.between(axis.low, high)], "text": [said]}
    settings = {
        **reach(prefix, (-0.5, max(count - 0.5, 0.5)), (axis.low, high)),
        **axis_settings(f"{prefix}metric-x-axis", time_label, marks),
        **axis_settings(f"{prefix}metric-y-axis", "", axis.ticks),
        **strip_settings(np.isnan(values).all(axis=0), words, name=f"{prefix}metric-cells", along="x"),
        **_curves(values, errors, axis, prefix),
        **marked,
        f"{prefix}metric-shown": {DATA: {"x": np.arange(count), "y": at}},
        f"{prefix}metric-said": {DATA: middle},
    }
    return Plot(
        picture=Drawing(
            partial(_drawn, min(layers, len(STROKES)), tuple(words), axis.y_type, prefix, height), settings
        ),
        frames=packed({f"{prefix}metric-now__x": np.arange(count, dtype=float).reshape(-1, 1)}),
        titles=(heading,) * count,
        sentences=tuple(
            _sentence(metric_name(metric), plain(label), layer_names, [row[k] for row in told], more)
            + (f" Marked: {hover_words(found[k], names)}." if found[k] else "")
            for k, label in enumerate(labels)
        ),
        title=f"{prefix}metric-title",
        legend=(*_legend(layer_names, layer, unsure), *mark_keys(levels, "finding")),
    )


def metric_axis(
    values: Float[ndarray, "layers snapshots"], errors: Float[ndarray, "layers snapshots"], *, log: bool
) -> NumberAxis:
    """The axis on which these values with their standard errors stand; ``log`` where decades are wanted."""
    return number_axis(_reach(values, COVER * telling(values, errors)), log=log)


def value_texts(values: Float[ndarray, " snapshots"], errors: Float[ndarray, " snapshots"], unit: str) -> list[str]:
    """Every value of a layer with what it may be off by."""
    spread = COVER * telling(values, errors)
    return [value_words(float(value), float(off), unit) for value, off in zip(values, spread, strict=True)]


def value_words(value: float, spread: float, unit: str) -> str:
    """A value with its unit, and what it may be off by; NaN: nothing."""
    if np.isnan(value):
        return "not known"
    off = f" ± {short(spread, digits=2)}" if spread > 0 else ""
    return f"{short(value)}{off} {plain(unit)}".strip()


def _reach(values: Float[ndarray, "layers snapshots"], spread: Float[ndarray, "layers snapshots"]) -> ndarray:
    """All that should be seen: the values, and their bands as far as these are not much wider than they are high."""
    finite = np.abs(values[np.isfinite(values)])
    most = float(finite.max()) if finite.size else 0.0
    ups = values + np.minimum(np.nan_to_num(spread), most)
    downs = values - np.minimum(np.nan_to_num(spread), most)
    return np.concatenate([values, ups, np.where((downs > 0) | (values < 0), downs, values)])


def curve(
    values: Float[ndarray, " snapshots"], errors: Float[ndarray, " snapshots"], axis: NumberAxis
) -> tuple[Float[ndarray, " snapshots"], tuple[Float[ndarray, " m"], Float[ndarray, " m"]]]:
    """Where the curve of one layer stands, and the outline of its band."""
    spread = COVER * telling(values, errors)
    return axis.position(values), ribbon(axis.position(values - spread), axis.position(values + spread))


def _curves(values: ndarray, errors: ndarray, axis: NumberAxis, prefix: str) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for i, row in enumerate(zip(values, errors, strict=True)):
        places, (x, y) = curve(*row, axis)
        settings[f"{prefix}metric-band{i}"] = {DATA: {"x": x, "y": y}}
        settings[f"{prefix}metric-curve{i}"] = {DATA: {"x": np.arange(len(places)), "y": places}}
    return settings


def _drawn(layers: int, words: Sequence[str], y_type: Literal["linear", "log"], prefix: str, height: int) -> figure:
    """The figure before anything is put into it: bands at the back, curves in front of all of them."""
    plot = blank_figure(prefix=prefix, height=height, y_type=y_type, tools="")
    name_axis(plot.xaxis[0], f"{prefix}metric-x-axis")
    name_axis(plot.yaxis[0], f"{prefix}metric-y-axis")
    add_frame_title(plot, f"{prefix}metric-title")
    lay_strips(plot, words, name=f"{prefix}metric-cells", along="x")
    for i, stroke in enumerate(STROKES[:layers]):
        source = source_of(f"{prefix}metric-band{i}", "x", "y")
        themed(plot.patch("x", "y", source=source, fill_alpha=0.2, line_alpha=0.0).glyph, fill_color=stroke.role)
    for i, stroke in enumerate(STROKES[:layers]):
        source = source_of(f"{prefix}metric-curve{i}", "x", "y")
        line = plot.line("x", "y", source=source, line_width=2, line_dash=stroke.dash)
        dots = plot.scatter("x", "y", source=source, size=7, marker=stroke.marker, line_width=1.5)
        themed(line.glyph, line_color=stroke.role)
        themed(dots.glyph, line_color=stroke.role, fill_color=stroke.role)
    shown = source_of(f"{prefix}metric-shown", "x", "y")
    themed(plot.line("x", "y", source=shown, line_width=9, line_alpha=0.18).glyph, line_color="marker")
    rule = plot.vspan("x", source=source_of(f"{prefix}metric-now", "x"), line_width=2)
    themed(rule.glyph, line_color="marker")
    lay_marks(plot, name=f"{prefix}metric-marks", role="finding", hover=True)
    said = plot.text("x", "y", text="text", source=source_of(f"{prefix}metric-said", "x", "y", "text"))
    said.glyph.update(text_align="center", text_baseline="middle", text_font_size="14px")
    themed(said.glyph, text_color="text")
    return plot


def _legend(names: Sequence[str], layer: int, unsure: Bool[ndarray, " layers"]) -> tuple[Key, ...]:
    """A key per curve, with the halo of the one on show, and one for the bands in the colour of the first of them."""
    halo: tuple[tuple[Shape, str], ...] = (("halo", "marker"),)
    keys = [
        Key(
            plain(name, longest=32) + (" (on show)" if i == layer else ""),
            (
                *(halo if i == layer else ()),
                ("line" if stroke.dash == "solid" else "dash", stroke.role),
                (stroke.mark, stroke.role),
            ),
        )
        for i, (name, stroke) in enumerate(zip(names, STROKES, strict=False))
    ]
    bands = [stroke.role for stroke, off in zip(STROKES, unsure, strict=False) if off]
    return (*keys, *(Key("± 2 standard errors", (("shade", role), ("line", role))) for role in bands[:1]))


def _sentence(metric: str, label: str, names: Sequence[str], told: Sequence[str], more: int) -> str:
    parts = [f"{plain(name)} {text}" for name, text in zip(names, told, strict=True)]
    left = f" {counted(more, 'more layer')} {'is' if more == 1 else 'are'} not drawn." if more > 0 else ""
    return f"{metric} at {label}: {'; '.join(parts)}.{left}"

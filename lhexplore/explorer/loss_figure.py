"""Draws losses and accuracies over the snapshots, on train and held-out data, with a line at the current one."""

from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from types import MappingProxyType

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool, LinearAxis, LinearScale, Range1d
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis.number_texts import short
from ..figures.recorded import Curve, called, recorded
from .axes import log_ticks
from .base_figure import blank_figure, empty_source, label_axis, packed, style_axis, tooltip
from .escape import plain
from .frames import Key, Plot, Shape
from .located import hover_words, mark_keys
from .marks import draw_marks
from .places import axis_words, snapshot_ticks, snapshot_words
from .protocols import SnapshotLike
from .theme import themed

ROLES = ("train", "held_out", "third", "fourth")
MARKS: tuple[Shape, ...] = ("circle", "square", "diamond", "triangle")
OPEN: tuple[Shape, ...] = ("ring", "open square", "open diamond", "open triangle")  # of accuracies, in the same places
DOTS = [2, 3]  # pixels: the dashes of accuracies
SHARES = (-0.08, 1.08)  # the axis of accuracies, whatever they are
TALLER = 14  # pixels, where two axes stand
ROW = 0.17  # share of the axis for a row of marks above the curves
NAMELESS: Mapping[str | None, str] = MappingProxyType({})
PRETTY = 10.0  # from this ratio between largest and smallest loss on, decades are drawn


def loss_plot(
    snapshots: Sequence[SnapshotLike],
    losses: Sequence[Mapping[str, float]],
    *,
    findings: Sequence[Sequence[Finding]] | None = None,
    names: Mapping[str | None, str] = NAMELESS,
    prefix: str = "",
    height: int = 136,
) -> Plot:
    """Draw every recorded loss and accuracy against the snapshots, at equal distances like on the slider.

    Accuracies stand on an axis of their own at the right, from 0 to 1; each has the colour of its loss.

    Args:
        snapshots: in the order of the slider.
        losses: what is known of each; at most four losses and four accuracies are drawn, told by their names.
        findings: what is marked at every snapshot.
        names: of the blocks they are about, as shown.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels; a little more where there are accuracies.
    """
    count = len(snapshots)
    found = [()] * count if findings is None else findings
    curves, shares = recorded(losses, plain, most=len(ROLES))
    values = np.concatenate([curve.values for curve in curves]) if curves else np.empty(0)
    finite = values[np.isfinite(values)]
    logarithmic = bool(finite.size) and finite.min() > 0 and finite.max() > PRETTY * finite.min()
    low, high = _range(finite, logarithmic)
    above = _above(low, high, logarithmic) if any(found) else high
    plot = blank_figure(
        prefix=prefix, height=height + (TALLER if shares else 0), x=(-0.5, max(count - 0.5, 0.5)), y=(low, above),
        y_type="log" if logarithmic else "linear", tools="",
    )  # fmt: skip
    label_axis(plot.xaxis[0], f"{prefix}loss-x-axis", axis_words(snapshots), snapshot_ticks(snapshots))
    ticks = log_ticks(low, high, most=5) if logarithmic else _even_ticks(low, high)
    label_axis(
        plot.yaxis[0], f"{prefix}loss-y-axis", "loss" if curves or not shares else "", ticks if finite.size else {}
    )
    now = empty_source(f"{prefix}loss-now", x=1)
    rule = plot.vspan("x", source=now, line_width=2)
    themed(rule.glyph, line_color="marker")
    rule.visible = bool(curves or shares)
    source = ColumnDataSource(
        {
            "index": np.arange(count),
            "label": [snapshot_words(s) for s in snapshots],
            **{f"y{i}": curve.values for i, curve in enumerate((*curves, *shares))},
            **{f"name{i}": [curve.name] * count for i, curve in enumerate((*curves, *shares))},
        },
        name=f"{prefix}losses",
    )
    if shares:
        _add_share_axis(plot, prefix, rows=1 + ROW if any(found) else 1.0)
    for i, curve in enumerate(curves):
        _draw(plot, source, i, curve.place, share=False)
    for i, curve in enumerate(shares, len(curves)):
        _draw(plot, source, i, curve.place, share=True)
    middle = (high * above) ** 0.5 if logarithmic else (high + above) / 2
    places = [(k, middle, each) for k, each in enumerate(found)]
    levels = draw_marks(plot, places, name=f"{prefix}loss-marks", role="finding", names=names)
    if not curves and not shares:
        words = plot.text([(count - 1) / 2], [0.5], text=["no losses were recorded"])
        words.glyph.update(text_align="center", text_baseline="middle", text_font_size="14px")
        themed(words.glyph, text_color="text")
    return Plot(
        picture=plot,
        frames=packed({f"{prefix}loss-now__x": np.arange(count, dtype=float).reshape(-1, 1)}),
        titles=("",) * count,
        sentences=tuple(
            _sentence(s, k, count, (*curves, *shares))
            + (f" Marked: {hover_words(found[k], names)}." if found[k] else "")
            for k, s in enumerate(snapshots)
        ),
        title=f"{prefix}loss-title",
        legend=(
            *(_key(curve, "dash" if curve.place else "line", MARKS) for curve in curves),
            *(_key(curve, "dots", OPEN) for curve in shares),
            *mark_keys(levels, "finding"),
        ),
    )


def _add_share_axis(plot: figure, prefix: str, *, rows: float) -> None:
    """The axis at the right; ``rows`` is how much higher it is than what it shows, like the one at the left."""
    low, high = SHARES
    name = f"{prefix}accuracy-range"
    plot.extra_y_ranges = {"accuracy": Range1d(start=low, end=low + rows * (high - low), name=name)}
    plot.extra_y_scales = {"accuracy": LinearScale()}  # else that of the losses, which may be logarithmic
    axis = LinearAxis(y_range_name="accuracy")
    style_axis(axis)
    label_axis(axis, f"{prefix}accuracy-axis", "accuracy", {0.0: "0", 0.5: "0.5", 1.0: "1"})
    plot.add_layout(axis, "right")


def _draw(plot: figure, source: ColumnDataSource, i: int, place: int, *, share: bool) -> None:
    """One curve with its marks; what it is of, a hover box says."""
    on = "accuracy" if share else "default"
    dash = DOTS if share else [6, 3] if place else "solid"
    line = plot.line("index", f"y{i}", source=source, y_range_name=on, line_width=2, line_dash=dash)
    dots = plot.scatter("index", f"y{i}", source=source, y_range_name=on, size=6, marker=MARKS[place])
    themed(line.glyph, line_color=ROLES[place])
    themed(dots.glyph, line_color=ROLES[place], fill_color="halo" if share else ROLES[place])
    plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltip("@label", f"@name{i}: @y{i}"), visible=False))


def _key(curve: Curve, line: Shape, marks: Sequence[Shape]) -> Key:
    return Key(curve.name, ((line, ROLES[curve.place]), (marks[curve.place], ROLES[curve.place])))


def _above(low: float, high: float, logarithmic: bool) -> float:
    """The upper end of an axis that leaves a row for marks."""
    return high * (high / low) ** ROW if logarithmic else high + ROW * (high - low)


def loss_name(key: str) -> str:
    """Call a recorded number as people do, fit for a figure."""
    return plain(called(key))


def _range(values: Float[ndarray, " n"], logarithmic: bool) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    if logarithmic:
        return low / 1.4, high * 1.4
    pad = 0.12 * (high - low) or 0.1 * abs(high) or 1.0
    return low - pad, high + pad


def _even_ticks(low: float, high: float) -> dict[float, str]:
    raw = (high - low) / 3
    power = 10.0 ** floor(log10(raw))
    step = power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))
    return {k * step: short(k * step) for k in range(ceil(low / step), floor(high / step) + 1)}


def _sentence(snapshot: SnapshotLike, k: int, count: int, curves: Sequence[Curve]) -> str:
    known = [f"{c.name} {short(float(c.values[k]))}" for c in curves if isfinite(c.values[k])]
    return f"Snapshot {k + 1} of {count} ({snapshot_words(snapshot)}): {', '.join(known) or 'no loss recorded'}."

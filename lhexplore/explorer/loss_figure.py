"""Draws the loss over the snapshots, on train and held-out data, with a line at the current one."""

import re
from collections.abc import Mapping, Sequence
from math import ceil, floor, isfinite, log10
from types import MappingProxyType

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis.number_texts import short
from .axes import log_ticks
from .base_figure import blank_figure, empty_source, label_axis, packed, tooltip
from .escape import plain
from .frames import Key, Plot, Shape
from .located import hover_words, mark_keys
from .marks import draw_marks
from .places import axis_words, snapshot_ticks, snapshot_words
from .protocols import SnapshotLike
from .theme import themed

ROLES = ("train", "held_out", "third", "fourth")
MARKS: tuple[Shape, ...] = ("circle", "square", "diamond", "triangle")
HELD_OUT = ("held", "val", "test", "eval", "dev")
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
    """Draw every recorded loss against the snapshots, which stand at equal distances like on the slider.

    Args:
        snapshots: in the order of the slider.
        losses: what is known of each; entries whose name contains "loss" are drawn, at most four.
        findings: what is marked at every snapshot.
        names: of the blocks they are about, as shown.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels.
    """
    count = len(snapshots)
    found = [()] * count if findings is None else findings
    curves = _curves(losses)
    values = np.concatenate(list(curves.values())) if curves else np.empty(0)
    finite = values[np.isfinite(values)]
    logarithmic = bool(finite.size) and finite.min() > 0 and finite.max() > PRETTY * finite.min()
    low, high = _range(finite, logarithmic)
    above = _above(low, high, logarithmic) if any(found) else high
    plot = blank_figure(
        prefix=prefix, height=height, x=(-0.5, max(count - 0.5, 0.5)), y=(low, above),
        y_type="log" if logarithmic else "linear", tools="",
    )  # fmt: skip
    label_axis(plot.xaxis[0], f"{prefix}loss-x-axis", axis_words(snapshots), snapshot_ticks(snapshots))
    ticks = log_ticks(low, high, most=5) if logarithmic else _even_ticks(low, high)
    label_axis(plot.yaxis[0], f"{prefix}loss-y-axis", "loss", ticks if finite.size else {})
    now = empty_source(f"{prefix}loss-now", x=1)
    rule = plot.vspan("x", source=now, line_width=2)
    themed(rule.glyph, line_color="marker")
    rule.visible = bool(curves)
    source = ColumnDataSource(
        {
            "index": np.arange(count),
            "label": [snapshot_words(s) for s in snapshots],
            **{f"y{i}": curve for i, curve in enumerate(curves.values())},
            **{f"name{i}": [name] * count for i, name in enumerate(curves)},
        },
        name=f"{prefix}losses",
    )
    for i in range(len(curves)):
        line = plot.line("index", f"y{i}", source=source, line_width=2, line_dash="solid" if i == 0 else [6, 3])
        dots = plot.scatter("index", f"y{i}", source=source, size=6, marker=MARKS[i])
        themed(line.glyph, line_color=ROLES[i])
        themed(dots.glyph, line_color=ROLES[i], fill_color=ROLES[i])
        plot.add_tools(HoverTool(renderers=[dots], tooltips=tooltip("@label", f"@name{i}: @y{i}"), visible=False))
    middle = (high * above) ** 0.5 if logarithmic else (high + above) / 2
    places = [(k, middle, each) for k, each in enumerate(found)]
    levels = draw_marks(plot, places, name=f"{prefix}loss-marks", role="finding", names=names)
    if not curves:
        words = plot.text([(count - 1) / 2], [0.5], text=["no losses were recorded"])
        words.glyph.update(text_align="center", text_baseline="middle", text_font_size="14px")
        themed(words.glyph, text_color="text")
    return Plot(
        picture=plot,
        frames=packed({f"{prefix}loss-now__x": np.arange(count, dtype=float).reshape(-1, 1)}),
        titles=("",) * count,
        sentences=tuple(
            _sentence(s, k, count, curves) + (f" Marked: {hover_words(found[k], names)}." if found[k] else "")
            for k, s in enumerate(snapshots)
        ),
        title=f"{prefix}loss-title",
        legend=(
            *(Key(name, (("dash" if i else "line", ROLES[i]), (MARKS[i], ROLES[i]))) for i, name in enumerate(curves)),
            *mark_keys(levels, "finding"),
        ),
    )


def _above(low: float, high: float, logarithmic: bool) -> float:
    """The upper end of an axis that leaves a row for marks."""
    return high * (high / low) ** ROW if logarithmic else high + ROW * (high - low)


def _curves(losses: Sequence[Mapping[str, float]]) -> dict[str, Float[ndarray, " n"]]:
    """What is drawn, by what it is called: at most four losses, those on training data first."""
    keys = [key for key in dict.fromkeys(key for known in losses for key in known) if "loss" in key.lower()]
    table = {key: np.array([float(known.get(key, np.nan)) for known in losses]) for key in keys}
    known = [key for key in keys if np.isfinite(table[key]).any()]
    known.sort(key=lambda key: any(word in key.lower() for word in HELD_OUT))  # stable
    names = [loss_name(key) for key in known]
    return {
        name if names.count(name) == 1 else plain(key): table[key]
        for key, name in list(zip(known, names, strict=True))[: len(ROLES)]
    }


def loss_name(key: str) -> str:
    """Call a recorded loss as people do: ``loss`` is that of training, underscores are blanks."""
    if key.lower() in ("loss", "train_loss", "training_loss"):
        return "training loss"
    return plain(re.sub("^held_?out_", "held-out ", key, flags=re.IGNORECASE).replace("_", " "))


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


def _sentence(snapshot: SnapshotLike, k: int, count: int, curves: Mapping[str, Float[ndarray, " n"]]) -> str:
    known = [f"{name} {short(float(c[k]))}" for name, c in curves.items() if isfinite(c[k])]
    return f"Snapshot {k + 1} of {count} ({snapshot_words(snapshot)}): {', '.join(known) or 'no loss recorded'}."

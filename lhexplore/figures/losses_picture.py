"""Losses and accuracies over training, on all kinds of data, with marks where the rules found something."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnosis.number_texts import short
from .names import block, shown
from .picture import Picture
from .recorded import Curve, recorded
from .run import Run, run_of
from .scales import TimeAxis, number_axis, plain_numbers
from .style import FINDING, MARKS, STROKES, Width, canvas, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

OPEN = (0, (1, 1.2))  # the dashes of accuracies, whose marks are open
SHARES = (-0.05, 1.05)  # the axis of accuracies


def losses(source: Any, *, findings: bool = True, width: Width = "column", height: float | None = None) -> Picture:
    """Draw every recorded loss over training, and at the right every recorded accuracy.

    Args:
        source: a session or a Course.
        findings: mark where warnings (triangles) and notes (circles) begin, with the names of the rules.
        width: "column", "page" or inches.
        height: inches.

    Raises:
        SettingError: the source is none of these, or a size makes no sense.
        UnsupportedError: matplotlib is not installed.
    """
    run = run_of(source)
    with canvas(width, height, ratio=0.62) as figure:
        caption = draw(figure.subplots(), run, findings=findings)
    return Picture(figure, caption)


def draw(axes: "Axes", run: Run, *, findings: bool = True, time: TimeAxis | None = None) -> str:
    """Draw into a frame; returns the caption."""
    curves, shares = recorded([run.losses(label) for label in run.labels], shown, most=len(STROKES))
    if not curves and not shares:
        words = "No losses were recorded. session.evaluate(snapshot) computes them."
        say(axes, words)
        return words
    time = time or run.time
    for curve in curves:
        _line(axes, curve, time, ls=STROKES[curve.place].dash, mew=0)
    time.apply(axes)
    frames = [axes]
    if curves:
        number_axis(axes, np.concatenate([curve.values for curve in curves]), log=True)
        axes.set_ylabel("loss")
    else:
        axes.set_yticks([])
    if shares:
        frames.append(_accuracies(axes, shares, time))
    words = _marks(frames, run, time) if findings else ""
    legend(*frames)
    what = " and ".join(kind for kind, drawn in (("losses", curves), ("accuracies", shares)) if drawn)
    ends = []
    for curve in (*curves, *shares):
        finite = curve.values[np.isfinite(curve.values)]
        ends.append(f"{curve.name} from {short(finite[0])} to {short(finite[-1])}")
    return f"{what.capitalize()} over training: {'; '.join(ends)}. {words}".strip()


def _line(axes: "Axes", curve: Curve, time: TimeAxis, **style: Any) -> None:
    stroke, here = STROKES[curve.place], np.isfinite(curve.values)
    axes.plot(
        time.at[here], curve.values[here], label=curve.name, color=stroke.colour, marker=stroke.marker, **style
    )  # fmt: skip


def _accuracies(axes: "Axes", shares: Sequence[Curve], time: TimeAxis) -> "Axes":
    """A second axis at the right, from 0 to 1 whatever is known; colours and marks are those of the losses."""
    right = axes.twinx()
    right.spines.right.set_visible(True)
    for curve in shares:
        _line(right, curve, time, ls=OPEN, mew=0.7, mfc="none")
    right.set(ylim=SHARES, ylabel="accuracy")
    right.set_yticks([0, 0.5, 1])
    plain_numbers(right.yaxis)
    return right


def _marks(frames: Sequence["Axes"], run: Run, time: TimeAxis) -> str:
    """A mark over every snapshot at which a warning or note begins, with the rules' names above the frame."""
    axes = frames[0]
    judged, why = run.judged()
    if judged is None:
        return why
    index = {label: k for k, label in enumerate(run.labels)}
    found = [f for f in judged.findings if f.level in ("warning", "note") and f.snapshot in index]
    warned = {index[f.snapshot] for f in found if f.level == "warning"}
    for level, at in (("warning", sorted(warned)), ("note", sorted({index[f.snapshot] for f in found} - warned))):
        if at:
            axes.plot(
                time.at[at], [0.95] * len(at), MARKS[level], color=FINDING, mew=0, ms=4, label=level,
                transform=axes.get_xaxis_transform(), clip_on=False,
            )  # fmt: skip
    texts = {
        k: " ".join(dict.fromkeys(f.rule for f in found if index[f.snapshot] == k))
        for k in sorted({index[f.snapshot] for f in found})
    }
    for k, text in texts.items():
        axes.annotate(
            text, (time.at[k], 0.91), xycoords=("data", "axes fraction"), rotation=90, ha="center",
            va="top", fontsize=6, color=FINDING,
        )  # fmt: skip
    if found:
        longest = max(len(text) for text in texts.values())
        room = min(0.5, 0.15 + 0.035 * longest)
        for each in frames:
            low, high = each.get_ylim()  # room for the marks above the curves
            share = room / (1 - room)
            top = high * (high / low) ** share if each.get_yscale() == "log" else high + share * (high - low)
            each.set_ylim(low, top)
    words = [
        f"{f.rule} {'' if f.layer is None else f'of {block(f.layer)} '}from {run.place(index[f.snapshot])} "
        f"({shown(f.title, longest=60)})"
        for f in found
    ]
    return f"Marked: {'; '.join(words)}." if words else ""

"""Losses over training, on training and held-out data, with marks where the rules found something."""

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis.number_texts import short
from .names import block, shown
from .picture import Picture
from .run import Run, run_of
from .scales import TimeAxis, number_axis
from .style import FINDING, MARKS, STROKES, Width, canvas, legend, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HELD_OUT = ("held", "val", "test", "eval", "dev")


def losses(source: Any, *, findings: bool = True, width: Width = "column", height: float | None = None) -> Picture:
    """Draw every recorded loss over training.

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
    curves = _curves(run)
    if not curves:
        words = "No losses were recorded. session.evaluate(snapshot) computes them."
        say(axes, words)
        return words
    time = time or run.time
    for (name, values), stroke in zip(curves.items(), STROKES, strict=False):
        here = np.isfinite(values)
        style = {"color": stroke.colour, "ls": stroke.dash, "marker": stroke.marker, "mew": 0}
        axes.plot(time.at[here], values[here], label=name, **style)
    time.apply(axes)
    number_axis(axes, np.concatenate([*curves.values()]), log=True)
    axes.set_ylabel("loss")
    words = _marks(axes, run, time) if findings else ""
    legend(axes)
    ends = []
    for name, values in curves.items():
        finite = values[np.isfinite(values)]
        ends.append(f"{name} from {short(finite[0])} to {short(finite[-1])}")
    return f"Losses over training: {'; '.join(ends)}. {words}".strip()


def _curves(run: Run) -> dict[str, Float[ndarray, " snapshots"]]:
    """What is drawn, by what it is called; losses on training data first."""
    rows = [run.losses(label) for label in run.labels]
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if "loss" in key.lower()]
    keys.sort(key=lambda key: any(word in key.lower() for word in HELD_OUT))  # stable
    table = {key: np.array([float(row.get(key, np.nan)) for row in rows]) for key in keys}
    known = {key: values for key, values in table.items() if np.isfinite(values).any()}
    return {_called(key): values for key, values in list(known.items())[: len(STROKES)]}


def _called(key: str) -> str:
    if key.lower() in ("loss", "train_loss", "training_loss"):
        return "training loss"
    return shown(re.sub("^held_?out_", "held-out ", key, flags=re.IGNORECASE).replace("_", " "))


def _marks(axes: "Axes", run: Run, time: TimeAxis) -> str:
    """A mark over every snapshot at which a warning or note begins, with the rules' names above the frame."""
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
        low, high = axes.get_ylim()  # room for the marks above the curves
        longest = max(len(text) for text in texts.values())
        room = min(0.5, 0.15 + 0.035 * longest)
        share = room / (1 - room)
        top = high * (high / low) ** share if axes.get_yscale() == "log" else high + share * (high - low)
        axes.set_ylim(low, top)
    words = [
        f"{f.rule} {'' if f.layer is None else f'of {block(f.layer)} '}from {run.place(index[f.snapshot])} "
        f"({shown(f.title, longest=60)})"
        for f in found
    ]
    return f"Marked: {'; '.join(words)}." if words else ""

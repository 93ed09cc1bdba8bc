"""One block's spectrum over training: a ridge of densities, or ribbons of quantiles."""

from math import ceil
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..diagnosis.number_texts import counted, short
from .names import block, shown
from .picture import Picture
from .run import SPLITS, Run, run_of
from .scales import TimeAxis, ValueScale, scale_of
from .shapes import WIDTH, density, end_errors, quantile
from .style import BLUE, GREY, INK, PALE, VERMILLION, WASH, Width, canvas, legend, one_of, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("ridge", "quantiles")
MOST = 24  # ridges that can be told apart
OVERLAP = 2.2  # height of the highest ridge, in distances between them
SHARES = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])


def evolution(
    source: Any,
    layer: str | None = None,
    *,
    kind: Literal["ridge", "quantiles"] = "ridge",
    scale: Literal["symlog", "linear"] = "symlog",
    split: str = "data",
    width: Width = "column",
    height: float | None = None,
) -> Picture:
    """Draw one block's spectrum at all snapshots.

    Args:
        source: a session, a Course or a list of spectra.
        layer: None for the whole network.
        kind: "ridge", a smoothed density per snapshot on a logarithmic height; or "quantiles": median, the middle 50 %
            and 90 %, and both ends.
        scale: of the eigenvalues.
        split: "data" or "held_out".
        width: "column", "page" or inches.
        height: inches.

    Raises:
        SettingError, UnknownLayerError: with what is known.
        UnsupportedError: matplotlib is not installed.
    """
    one_of("kind", kind, KINDS)
    one_of("scale", scale, ("symlog", "linear"))
    one_of("split", split, SPLITS)
    run = run_of(source)
    layer = run.layer(layer)
    with canvas(width, height, ratio=0.95 if kind == "ridge" else 0.68) as figure:
        values = scale_of(run.spectra(layer, split), scale)
        caption = draw(figure.subplots(), run, layer, kind=kind, scale=values, split=split)
    return Picture(figure, caption)


def draw(
    axes: "Axes",
    run: Run,
    layer: str | None,
    *,
    kind: str,
    scale: ValueScale,
    split: str = "data",
    time: TimeAxis | None = None,
) -> str:
    """Draw into a frame; returns the caption."""
    known = [k for k, s in enumerate(run.spectra(layer, split)) if s is not None]
    name = block(layer, longest=60)
    if not known:
        words = f"{name} is not computed yet: {run.wanted(layer, split=split)}."
        say(axes, words)
        return words
    if kind == "ridge":
        drawn = _ridge(axes, run, layer, scale, split)
    else:
        drawn = _quantiles(axes, run, layer, scale, split, time or run.time)
    missing = len(run.labels) - len(known)
    first, last = (run.spectrum(layer, k, split) for k in (known[0], known[-1]))
    assert first is not None  # noqa: S101  both are known
    assert last is not None  # noqa: S101
    parts = [
        f"Eigenvalues of {name}, {run.place(known[0])} to {run.place(known[-1])}: from "
        f"[{short(first.smallest)}, {short(first.largest)}] to [{short(last.smallest)}, {short(last.largest)}].",
        drawn,
        f"{missing} of {counted(len(run.labels), 'snapshot')} not computed: {run.wanted(layer, split=split)}."
        if missing
        else "",
    ]
    return " ".join(filter(None, parts))


def _ridge(axes: "Axes", run: Run, layer: str | None, scale: ValueScale, split: str) -> str:
    every = ceil(len(run.labels) / MOST)
    rows = list(range(len(run.labels)))[::-1][::every][::-1]  # the last one is always there
    spectra = [run.spectrum(layer, k, split) for k in rows]
    curves = [None if s is None else density(s, scale) for s in spectra]
    start, end = scale.place(np.array([scale.low, scale.high]))
    single = 1 / (WIDTH * (end - start) * np.sqrt(2 * np.pi))  # what one eigenvalue looks like
    floor = 0.3 * single
    top = max(float(c.y.max()) for c in curves if c is not None)
    unit = OVERLAP / np.log10(max(top / floor, 10.0))
    scale.apply(axes)
    if scale.kind == "symlog":
        axes.axvspan(-scale.threshold, scale.threshold, color=PALE, lw=0, zorder=0)
    for i, curve in enumerate(curves):
        order = 2 + i * 0.01  # later snapshots stand in front, lower on the page
        base = float(len(rows) - 1 - i)
        if curve is None:
            axes.plot([scale.low, scale.high], [base, base], color=GREY, lw=0.5, ls=(0, (1, 2)), zorder=order)
            continue
        height = base + unit * np.log10(np.maximum(curve.y, floor) / floor)
        axes.fill_between(curve.x, base, height, color=WASH, alpha=0.85, lw=0, zorder=order)
        axes.plot(curve.x, height, color=BLUE, lw=0.7, zorder=order)
    names = [shown(run.labels[k], longest=14) if run.steps[k] is None else f"{run.steps[k]:,}" for k in rows]
    axes.set_yticks([len(rows) - 1 - i for i in range(len(rows))], labels=names)
    axes.set(ylim=(-0.3, len(rows) - 1 + OVERLAP + 0.2), xlabel="eigenvalue λ (loss / parameter²)")
    axes.set_ylabel("snapshot" if any(run.steps[k] is None for k in rows) else "training step")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    dotted = " Dotted: not computed." if None in curves else ""
    dropped = f" Every {every}th snapshot is drawn." if every > 1 else ""
    return f"Ridges: smoothed density on a logarithmic height, the same for all.{dotted}{dropped}"


def _quantiles(axes: "Axes", run: Run, layer: str | None, scale: ValueScale, split: str, time: TimeAxis) -> str:
    table = np.array(
        [np.full(len(SHARES), np.nan) if s is None else quantile(s, SHARES) for s in run.spectra(layer, split)]
    )
    here = np.isfinite(table[:, 0])
    at = time.at[here]
    rows = table[here].T
    axes.fill_between(at, rows[1], rows[5], color=WASH, lw=0, alpha=0.6, label="90 %")
    axes.fill_between(at, rows[2], rows[4], color=BLUE, lw=0, alpha=0.55, label="50 %")
    axes.plot(at, rows[3], color=INK, lw=1.0, label="median")
    dashed: dict[str, Any] = {"ls": (0, (4, 1.5)), "mew": 0, "ms": 2.6, "lw": 0.9}
    axes.plot(at, rows[6], marker="^", color=VERMILLION, label="largest", **dashed)
    axes.plot(at, rows[0], marker="v", color=VERMILLION, label="smallest", **dashed)
    spectra = [s for s in run.spectra(layer, split) if s is not None]
    for row, error in zip((rows[0], rows[6]), np.array([end_errors(s) for s in spectra]).T, strict=True):
        axes.vlines(at, row - error, row + error, color=VERMILLION, lw=0.7)
    time.apply(axes)
    scale.apply(axes, "y")
    axes.set_ylabel("eigenvalue λ (loss / parameter²)")
    legend(axes, most=5)
    return "Ribbons hold the middle 50 % and 90 % of the eigenvalues; the ends carry their errors."

"""C_t against K_H over training: how a spectrum moves between the types of Hessian eigenspectral densities."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Hesd, hesd
from ..diagnosis.hesd.hesd import LIMIT
from ..diagnosis.number_texts import counted, short
from .names import block
from .picture import Picture
from .run import Run, run_of
from .scales import number_axis, plain_numbers
from .style import BLUE, GREY, INK, PALE, STROKES, Stroke, Width, canvas, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SOUTH = -1e9  # below every axis
WIDE = -3.0  # below this C_t the axis is logarithmic


def hesd_map(source: Any, layer: str | None = None, *, width: Width = "column", height: float | None = None) -> Picture:
    """Draw C_t against K_H of one block at every snapshot, as a path, with the gate between the types.

    Args:
        source: a session, a Course or a list of spectra.
        layer: None for the whole network, which the criteria were made for.
        width: "column", "page" or inches.
        height: inches.

    Raises:
        SettingError, UnknownLayerError: with what is known.
        UnsupportedError: matplotlib is not installed.
    """
    run = run_of(source)
    layer = run.layer(layer)
    with canvas(width, height, ratio=0.75) as figure:
        caption = draw(figure.subplots(), run, layer)
    return Picture(figure, caption)


def draw(axes: "Axes", run: Run, layer: str | None, stroke: Stroke = STROKES[0]) -> str:
    """Draw into a frame; returns the caption."""
    read = [(k, hesd(s)) for k, s in enumerate(run.spectra(layer)) if s is not None]
    placed = [(k, h) for k, h in read if np.isfinite([h.ct, h.kh]).all()]
    name = block(layer, longest=60)
    if not placed:
        why = f"C_t and K_H of {name} are infinite or undefined at every snapshot that is known."
        words = why if read else f"{name} is not computed yet: {run.wanted(layer)}."
        say(axes, words)
        return words
    ct, kh = (np.array([getattr(h, key) for _, h in placed]) for key in ("ct", "kh"))
    for (_, h), (_, after) in pairwise(placed):  # K_H of different bases do not compare, so nothing joins them
        if (h.kh_basis, h.exponent) == (after.kh_basis, after.exponent):
            axes.plot([h.kh, after.kh], [h.ct, after.ct], "-", color=GREY, lw=0.7, zorder=2)
    _whiskers(axes, [h for _, h in placed])
    decided = np.array([h.type != "undecided" for _, h in placed])
    for which, fill in ((decided, stroke.colour), (~decided, "white")):
        axes.plot(kh[which], ct[which], stroke.marker, mfc=fill, mec=stroke.colour, mew=0.7, ms=3.4, zorder=3)
    _frame(axes, placed, kh)
    for at in dict.fromkeys((0, len(placed) - 1)):
        _name(axes, run.place(placed[at][0]), np.column_stack([kh, ct]), at)
    return _caption(run, layer, placed, len(read) - len(placed))


def _whiskers(axes: "Axes", found: list[Hesd]) -> None:
    """Intervals of both criteria, where they are finite."""
    for h in found:
        low, high = h.interval
        if np.isfinite([low, high]).all() and high > low:
            axes.plot([h.kh, h.kh], [low, high], "-", color=BLUE, lw=0.5, zorder=1.5)
        low, high = h.kh_interval
        if np.isfinite([low, high]).all() and high > low:
            axes.plot([low, high], [h.ct, h.ct], "-", color=BLUE, lw=0.5, zorder=1.5)


def _name(axes: "Axes", words: str, path: Float[ndarray, "points 2"], at: int) -> None:
    """Write beside a point of the path, on the side that is farthest from the others and inside the frame."""
    dots = axes.transData.transform(path) * 72 / axes.get_figure(root=True).dpi  # type: ignore[union-attr]
    half = 2.0 * len(words)  # points: about half the width of the words
    inside = 1 if path[at, 0] < sum(axes.get_xlim()) / 2 else -1
    sides = [(inside * 5, 6), (inside * 5, -6), (-inside * 5, 6), (-inside * 5, -6)]

    def room(side: tuple[int, int]) -> float:
        middle = dots[at] + (side[0] + np.sign(side[0]) * half, side[1])
        away = np.abs(np.delete(dots, at, axis=0) - middle) / (half + 4, 6.0)
        outside = not axes.get_xlim()[0] < axes.transData.inverted().transform(middle)[0] < axes.get_xlim()[1]
        return float(min(away.max(axis=1), default=9.0)) - 99.0 * outside

    x, y = max(sides, key=room)
    axes.annotate(
        words, path[at], xytext=(x, y), textcoords="offset points", fontsize=6.5, color=INK, va="center",
        ha="left" if x > 0 else "right", zorder=4,
    )  # fmt: skip


def _frame(axes: "Axes", placed: list[tuple[int, Hesd]], kh: Any) -> None:
    """Axes, the gate at −0.6, and what lies on either side of it."""
    low = min(min(h.ct, h.interval[0] if np.isfinite(h.interval[0]) else h.ct) for _, h in placed)
    if low < WIDE:
        axes.set_yscale("symlog", linthresh=1.0, linscale=1.0)
        axes.set_ylim(1.6 * low, 0.25)
    else:
        axes.set_ylim(min(1.08 * low, -0.85), 0.12)
    number_axis(axes, kh, log=True, which="x")
    axes.margins(x=0.12)  # room for the words beside the first and the last point
    plain_numbers(axes.yaxis)
    axes.axhspan(SOUTH, LIMIT, color=PALE, lw=0, zorder=0)
    axes.axhline(LIMIT, color=INK, lw=0.8, ls=(0, (4, 2)), zorder=1)
    # On the left, for K_H is small where little is negative: the path is rarely there so low.
    for words, side, align in (("MN: mainly negative", -3, "top"), ("MP: mainly positive", 3, "bottom")):
        axes.annotate(
            words, (0.015, LIMIT), xycoords=("axes fraction", "data"), xytext=(0, side), textcoords="offset points",
            ha="left", va=align, fontsize=6.5, color=INK, zorder=1,
        )  # fmt: skip
    power = placed[0][1].exponent
    axes.set_ylabel(r"$C_t$  (gate at −0.6)", parse_math=True)
    axes.set_xlabel(rf"$K_H^{{\,{power:g}}}$".replace("0.", "."), parse_math=True)


def bases_of(found: Iterable[Hesd]) -> list[str]:
    """What K_H was formed from, in words; it only compares where that is the same."""
    bases = sorted({h.kh_basis for h in found})
    return ["exact spectra" if basis == "exact" else f"{basis.removeprefix('m=')} Lanczos steps" for basis in bases]


def _caption(run: Run, layer: str | None, placed: list[tuple[int, Hesd]], left: int) -> str:
    (first, a), (last, b) = placed[0], placed[-1]
    bases = bases_of([h for _, h in placed])
    undecided = sum(h.type == "undecided" for _, h in placed)
    missing = sum(s is None for s in run.spectra(layer))
    parts = [
        f"{block(layer, longest=60)} from {run.place(first)} (C_t {short(a.ct)}, K_H {short(a.kh)}) to "
        f"{run.place(last)} (C_t {short(b.ct)}, K_H {short(b.kh)}); {counted(len(placed), 'snapshot')}.",
        f"K_H is that of {' and of '.join(bases)}{', which do not compare' if len(bases) > 1 else ''}.",
        "Below the gate (mainly negative, or not yet trained) K_H must not be read as quality.",
        f"Hollow: {counted(undecided, 'snapshot')} whose type is undecided." if undecided else "",
        f"Left out: {counted(left, 'snapshot')} with infinite or undefined criteria." if left else "",
        f"Not computed yet: {counted(missing, 'snapshot')}; {run.wanted(layer)}." if missing else "",
    ]
    return " ".join(filter(None, parts))

"""One number for every layer and snapshot: the map of a run."""

from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..diagnosis.number_texts import counted, power_of_ten, short
from .names import block, blocks, metric_name, shown
from .numbers import Described, described, numbers
from .picture import Picture
from .run import SPLITS, Judged, Layer, Run, run_of
from .scales import plain_numbers
from .style import BLACK, GREY, MARKS, WIDTHS, Width, canvas, diverging, inches, one_of, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

ROW = 0.17  # inches of a layer, where there is room
MOST = 60  # layers with a label each; more share labels
DECADES = 6  # colours resolve at most so many below the largest magnitude
TODO = "session.compute() computes what is missing"
VECTOR = 4000  # cells up to which the map is drawn as vectors


def heat_map(
    source: Any,
    metric: str = "lambda_max",
    *,
    split: str = "data",
    findings: bool = True,
    width: Width = "column",
    height: float | None = None,
) -> Picture:
    """Draw a metric of every layer at every snapshot; cells that are not known are hatched.

    Args:
        source: a session, a Course or a list of spectra.
        metric: of any name: those of spectra (your own too), of gradients and parameters, of drift.
        split: "data" or "held_out".
        findings: mark the cells in which warnings (triangles) and notes (circles) hold.
        width: "column", "page" or inches.
        height: inches; None for one that fits the layers.

    Raises:
        SettingError: no such metric or size.
        UnsupportedError: matplotlib is not installed.
    """
    one_of("split", split, SPLITS)
    about, run = described(metric), run_of(source)
    rows = [layer for layer in run.layers if layer is not None or any(run.spectra(None, split))]
    tall = min(9.0, 0.75 + ROW * max(len(rows), 4)) if height is None else height
    with canvas(width, tall) as figure:
        caption = draw(figure.subplots(), run, about, rows, split=split, findings=findings, wide=inches(width))
    return Picture(figure, caption)


def draw(
    axes: "Axes", run: Run, about: Described, rows: list[Layer], *, split: str, findings: bool, wide: float
) -> str:
    """Draw into a frame; returns the caption."""
    if not rows or not run.labels:
        words = "There are no layers or no snapshots to draw. Session(…, snapshots=…) takes them."
        say(axes, words)
        return words
    values = numbers(run, about.name, rows, split).value
    unknown = np.isnan(values)
    norm, colours = _colours(values, log=about.log)
    layers, count = values.shape
    mesh = axes.pcolormesh(
        np.arange(count + 1) - 0.5, np.arange(layers + 1) - 0.5, np.ma.masked_invalid(values), norm=norm, cmap=colours,
        edgecolors="face", linewidth=0.15, rasterized=values.size > VECTOR,
    )  # fmt: skip
    _hatch(axes, unknown)
    every = ceil(layers / MOST)
    called = blocks(rows, longest=14 if wide < WIDTHS["page"] else 24)
    axes.set_yticks(range(0, layers, every), labels=called[::every])
    names = [shown(label, longest=12) if step is None else f"{step:,}" for label, step in zip(run.labels, run.steps)]  # noqa: B905
    gap = ceil(count * 0.075 * max(map(len, names)) / max(0.55 * wide, 0.5))
    axes.set_xticks(range(0, count, gap), labels=names[::gap])
    axes.set(xlim=(-0.5, count - 0.5), ylim=(layers - 0.5, -0.5))
    axes.set_xlabel("training step" if all(step is not None for step in run.steps) else "snapshot")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    _bar(axes, mesh, about, values)
    judged, why = run.judged() if findings else (None, "")
    marked = [] if judged is None else _marks(axes, run, rows, judged)
    return _caption(run, about, rows, values, marked, why)


def _colours(values: Float[ndarray, "layers snapshots"], *, log: bool) -> "tuple[Normalize, Any]":
    """Linear, or in decades where the metric spans them; blue to vermillion where there are both signs."""
    from matplotlib.colors import LogNorm, Normalize, SymLogNorm

    finite = values[np.isfinite(values)]
    if not finite.size:
        return Normalize(0, 1), "viridis"
    low, high = float(finite.min()), float(finite.max())
    both, reach = low < 0 < high, float(np.abs(finite).max())
    sizes = np.abs(finite[finite != 0])
    if log and sizes.size and reach > 3 * sizes.min():
        least = max(10.0 ** floor(log10(sizes.min())), reach * 10.0**-DECADES)
        if low > 0:
            return LogNorm(max(low, least), high, clip=True), "viridis"
        ends = (-reach, reach) if both else (low, high)
        return SymLogNorm(least, vmin=ends[0], vmax=ends[1]), diverging() if both else "viridis"
    if both:
        return Normalize(-reach, reach), diverging()
    return Normalize(low, high if high > low else low + abs(low or 1.0) * 1e-3), "viridis"


def _hatch(axes: "Axes", cells: Bool[ndarray, "layers snapshots"]) -> None:
    """Stripes in every cell that is not known."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    if not cells.any():
        return
    corners = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5]])
    places = np.argwhere(cells)[:, ::-1]
    squares = (places[:, None] + corners).reshape(-1, 2)
    codes = np.tile([Path.MOVETO, *[Path.LINETO] * 3, Path.CLOSEPOLY], len(places))
    # one shape for all of them: thousands of striped ones would take seconds
    axes.add_patch(PathPatch(Path(squares, codes), facecolor="none", edgecolor=GREY, linewidth=0, hatch="//////"))


def _bar(axes: "Axes", mesh: Any, about: Described, values: Float[ndarray, "layers snapshots"]) -> None:
    bar = axes.figure.colorbar(mesh, ax=axes, pad=0.02, fraction=0.06, aspect=15)
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=2)
    bar.set_label(metric_name(about.name) + (f"\n({about.unit})" if about.unit else ""))
    kind = type(mesh.norm).__name__
    finite = np.abs(values[np.isfinite(values) & (values != 0)])
    if kind != "Normalize" and finite.size:
        low, high = mesh.norm.vmin, mesh.norm.vmax
        first = floor(log10(max(float(finite.min()), float(finite.max()) * 10.0**-DECADES)))
        powers = range(first, ceil(log10(float(finite.max()))) + 1)
        for factors in ((1,), (1, 2, 5)):  # the finer ones where there is less than a decade
            signed = [0.0, *(sign * m * 10.0**e for e in powers for m in factors for sign in (1, -1))]
            inside = sorted(v for v in signed if low <= v <= high)
            if len(inside) > 2:
                break
        thin = inside[:: ceil(len(inside) / 7)]
        bar.set_ticks(thin, labels=[short(v) if len(factors) > 1 else _power(v) for v in thin])
        bar.ax.minorticks_off()
        return
    plain_numbers(bar.ax.yaxis)


def _power(value: float) -> str:
    return power_of_ten(round(log10(abs(value))), negative=value < 0) if value else "0"


def _marks(axes: "Axes", run: Run, rows: list[Layer], judged: Judged) -> list[tuple[Layer, int, str]]:
    """A triangle where something is warned of, a circle where something is noted."""
    found = []
    for i, layer in enumerate(rows):
        for k, label in enumerate(run.labels) if layer in judged.layers else ():
            levels = {f.level for f in judged.at(layer, label)}
            level = next((one for one in ("warning", "note") if one in levels), "")
            if level:
                found.append((layer, k, level))
                size = min(3.4, 90 / len(run.labels))
                axes.plot([k], [i], MARKS[level], color=BLACK, mec="white", mew=0.5, ms=size, zorder=4)
    return found


def _caption(
    run: Run, about: Described, rows: list[Layer], values: Float[ndarray, "layers snapshots"], marked: Any, why: str
) -> str:
    finite = np.isfinite(values)
    if not finite.any():
        return f"{metric_name(about.name)}: nothing is known yet. Call session.compute()."
    low, high = (np.unravel_index(pick(values), values.shape) for pick in (np.nanargmin, np.nanargmax))
    ends = " to ".join(
        f"{short(values[at])} ({block(rows[at[0]], longest=60)} at {run.place(int(at[1]))})" for at in (low, high)
    )
    unknown = int(np.isnan(values).sum())
    infinite = int(np.isinf(values).sum())
    return " ".join(
        filter(
            None,
            [
                f"{metric_name(about.name)} of {counted(len(rows), 'block')} at "
                f"{counted(len(run.labels), 'snapshot')}, from {ends}.",
                about.meaning,
                f"Hatched: {counted(unknown, 'cell')} not known; {TODO}." if unknown else "",
                f"Blank: {counted(infinite, 'infinite value')}." if infinite else "",
                _marked_words(marked),
                why,
            ],
        )
    )


def _marked_words(marked: list[tuple[Layer, int, str]]) -> str:
    counts = {level: sum(one == level for *_, one in marked) for level in ("warning", "note")}
    words = {"warning": "Triangles: warnings", "note": "Circles: notes"}
    return " ".join(f"{words[level]} ({counted(count, 'cell')})." for level, count in counts.items() if count)

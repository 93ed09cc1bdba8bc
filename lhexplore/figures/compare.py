"""Two runs or two layers side by side: in one picture, on the same axes."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..diagnosis import Finding, hesd
from ..diagnosis.side_by_side import side_by_side
from ..errors import SettingError
from ..spectrum import Spectrum
from . import evolution_picture, hesd_picture, losses_picture, metric_picture, spectrum_picture
from .choosing import chosen
from .names import block, shown
from .numbers import described
from .picture import Picture
from .run import Run, run_of
from .scales import SCALES, Scale, plain_numbers, scale_of
from .shapes import KINDS
from .style import Width, canvas, one_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

VIEWS = ("spectrum", "evolution", "metric", "hesd_map", "losses")
Layer = str | None
Chosen = tuple[list[Spectrum], list[str], Sequence[Finding]]
Draw = Callable[["Axes", int], str]  # a frame and its number to a caption


def compare(
    a: Any,
    b: Any = None,
    *,
    view: str = "spectrum",
    layer: Layer | tuple[Layer, Layer] = None,
    snapshot: int | str = -1,
    metric: str = "lambda_max",
    kind: str = "",
    scale: Scale = "symlog",
    names: tuple[str, str] | None = None,
    width: Width = "page",
    height: float | None = None,
) -> Picture:
    """Draw two runs, or two layers of one, side by side; both frames have the same axes.

    Args:
        a: a session or a Course.
        b: the other one; None for the same.
        view: "spectrum", "evolution", "metric", "hesd_map" or "losses".
        layer: one for both, or a pair (left, right); "losses" needs none.
        snapshot: of "spectrum".
        metric: of "metric".
        kind: of "spectrum" ("histogram" if left out) or of "evolution" ("quantiles").
        scale: of eigenvalues.
        names: what stands over the frames; None for "A" and "B", or for the layers where these differ.
        width: "column", "page" or inches.
        height: inches.

    Raises:
        SettingError, UnknownLayerError, UnknownSnapshotError: with what is known.
        UnsupportedError: matplotlib is not installed.
    """
    one_of("view", view, VIEWS)
    pair = layer if isinstance(layer, tuple) else (layer, layer)
    if len(pair) != 2 or (names is not None and (isinstance(names, str) or len(names) != 2)):
        raise SettingError("layer is one layer or a pair (left, right), and names is a pair.")
    runs = [run_of(a), run_of(a if b is None else b)]
    blocks = [None if view == "losses" else run.layer(one) for run, one in zip(runs, pair, strict=True)]
    titles = names or (("A", "B") if blocks[0] == blocks[1] else tuple(block(one) for one in blocks))
    basis = ""  # what the words of both frames do not say
    if view == "spectrum":
        sides = [chosen(run, one, snapshot) for run, one in zip(runs, blocks, strict=True)]
        draw, linked, basis = _spectra(sides, kind or "histogram", scale), True, _against(sides, titles)
    elif view == "evolution":
        draw, linked = _evolutions(runs, blocks, kind or "quantiles", scale), kind != "ridge"
    else:
        draw, linked = _others(view, runs, blocks, metric), True
        basis = _basis(runs, blocks) if view == "hesd_map" else ""
    with canvas(width, height) as figure:
        frames: Sequence[Axes] = figure.subplots(1, 2)
        words = [draw(axes, i) for i, axes in enumerate(frames)]
        _link(frames, "x", air=0.06 if view == "hesd_map" else 0.0)  # room for the words beside the path
        if linked:
            _link(frames, "y")
        if view == "losses":
            _link(figure.axes[len(frames) :], "y")  # of accuracies
        if names or blocks[0] == blocks[1] or view not in ("spectrum", "metric"):  # legends name layers themselves
            for axes, title in zip(frames, titles, strict=True):
                _entitle(axes, shown(title))
        frames[1].set_ylabel("")
    caption = " ".join(f"{shown(t)}: {w}" for t, w in zip(titles, words, strict=True))
    return Picture(figure, f"{caption} {basis}".strip())


def _basis(runs: list[Run], blocks: list[Layer]) -> str:
    """Say where K_H of the two frames must not be compared."""
    known = [s for run, one in zip(runs, blocks, strict=True) for s in run.spectra(one) if s is not None]
    bases = hesd_picture.bases_of(map(hesd, known))
    return f"K_H of {' and of '.join(bases)} do not compare." if len(bases) > 1 else ""


def _against(sides: Sequence[Chosen], titles: Sequence[str]) -> str:
    """What differs in numbers, where both sides are known."""
    known = [spectra[0] for spectra, *_ in sides if spectra]
    return side_by_side(*known, names=(shown(titles[0]), shown(titles[1]))) if len(known) == 2 else ""


def _spectra(sides: Sequence[Chosen], kind: str, scale: Scale) -> Draw:
    one_of("kind", kind, KINDS)
    one_of("scale", scale, SCALES)
    values = scale_of([s for spectra, *_ in sides for s in spectra], scale)
    return lambda axes, i: spectrum_picture.draw(axes, *sides[i], kind=kind, scale=values)  # type: ignore[arg-type]


def _evolutions(runs: list[Run], blocks: list[Layer], kind: str, scale: Scale) -> Draw:
    one_of("kind", kind, evolution_picture.KINDS)
    one_of("scale", scale, ("symlog", "linear"))
    values = scale_of([s for run, one in zip(runs, blocks, strict=True) for s in run.spectra(one)], scale)
    times = _times(runs)
    return lambda axes, i: evolution_picture.draw(axes, runs[i], blocks[i], kind=kind, scale=values, time=times[i])


def _others(view: str, runs: list[Run], blocks: list[Layer], metric: str) -> Draw:
    described(metric)
    times = _times(runs)
    return {
        "metric": lambda axes, i: metric_picture.draw(axes, runs[i], metric, [blocks[i]], time=times[i]),
        "hesd_map": lambda axes, i: hesd_picture.draw(axes, runs[i], blocks[i]),
        "losses": lambda axes, i: losses_picture.draw(axes, runs[i], time=times[i]),
    }[view]


def _times(runs: list[Run]) -> list[Any]:
    a, b = (run.time for run in runs)
    return [a.beside(b), b.beside(a)]


def _link(frames: Sequence["Axes"], which: Literal["x", "y"], *, air: float = 0.0) -> None:
    """Give both frames one range, and one scale; a frame that only says what is missing is left alone."""
    drawn = [axes for axes in frames if axes.lines or axes.patches or axes.collections]
    kinds = {getattr(axes, f"get_{which}scale")() for axes in drawn}
    if len(kinds) > 1:
        lowest = min(getattr(axes.dataLim, f"{which}0") for axes in drawn)
        for axes in drawn:
            getattr(axes, f"set_{which}scale")("log" if lowest > 0 else "linear")
            plain_numbers(getattr(axes, f"{which}axis"))
    limits = [getattr(axes, f"get_{which}lim")() for axes in drawn]
    low, high = min((low for low, _ in limits), default=0.0), max((high for _, high in limits), default=1.0)
    for axes in drawn:
        log = getattr(axes, f"get_{which}scale")() == "log"
        pad = (high / low) ** air if log else air * (high - low)
        getattr(axes, f"set_{which}lim")(*((low / pad, high * pad) if log else (low - pad, high + pad)))


def _entitle(axes: "Axes", title: str) -> None:
    """Name a frame: over its legend where it has one."""
    if (legend := axes.get_legend()) is not None:
        legend.set_title(title)
        legend.get_title().set(fontweight="bold", fontsize=7)
        legend.set_alignment("left")
    else:
        axes.set_title(title, loc="left", fontweight="bold", fontsize=7)

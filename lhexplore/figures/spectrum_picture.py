"""One snapshot's eigenvalues: bars, a smooth curve, a cumulative curve or a rug, with what is uncertain about them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnosis import Finding
from ..diagnosis.number_texts import counted, short
from ..errors import SettingError
from ..spectrum import Spectrum
from . import shapes
from .choosing import chosen, names_of
from .marks import flags, found_words, outliers
from .names import block, shown
from .picture import Picture
from .scales import SCALES, Scale, ValueScale, plain_numbers, scale_of
from .shapes import KINDS, Curve, Kind
from .style import INK, PALE, STROKES, WASH, Stroke, Width, canvas, legend, one_of, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GROUND = 1e-12  # below every axis: what is filled ends at the frame
HEADROOM = 4.0  # factor above the highest bar, where the outliers are marked
MANY = 1000  # lines of a rug that are drawn as a bitmap from here on: a file of them would be too heavy


def spectrum(
    source: Any,
    layer: str | None = None,
    snapshot: int | str = -1,
    *,
    kind: Kind = "histogram",
    scale: Scale = "symlog",
    held_out: bool = False,
    overlay: Sequence[Any] = (),
    findings: bool = False,
    width: Width = "column",
    height: float | None = None,
) -> Picture:
    """Draw one block's eigenvalues at one snapshot; ± 2 standard errors (95 %) where they are estimated.

    Args:
        source: a session, a Course, a Spectrum or a list of them. Of bare spectra the first is the main one, and the
            others lie over it; ``layer`` and ``snapshot`` then say nothing.
        layer: None for the whole network.
        snapshot: position or label.
        kind: "histogram" of expected counts, smoothed "density", "cumulative" share, or "rug": a line per eigenvalue.
        scale: of the eigenvalues: "symlog", "linear", or "loglog" of |λ| with a curve for either sign.
        held_out: lay the same block's spectrum on held-out data over it.
        overlay: what else to lay over it: spectra, names of layers (at the same snapshot), or (layer, snapshot) pairs.
        findings: mark what the rules found, at its eigenvalue.
        width: "column" (3.3 in), "page" (6.9 in) or inches.
        height: inches; None for one that suits the width.

    Raises:
        SettingError, UnknownLayerError, UnknownSnapshotError: with what is known.
        UnsupportedError: matplotlib is not installed.
    """
    one_of("kind", kind, KINDS)
    one_of("scale", scale, SCALES)
    main, missing, found = chosen(source, layer, snapshot, held_out=held_out, overlay=overlay, findings=findings)
    with canvas(width, height) as figure:
        caption = draw(figure.subplots(), main, missing, found, kind=kind, scale=scale_of(main, scale))
    return Picture(figure, caption)


def draw(
    axes: "Axes",
    spectra: Sequence[Spectrum],
    missing: Sequence[str],
    found: Sequence[Finding],
    *,
    kind: Kind,
    scale: ValueScale,
) -> str:
    """Draw into a frame; returns the caption."""
    if len(spectra) > len(STROKES):
        raise SettingError(f"At most {len(STROKES)} spectra can be told apart in one frame; got {len(spectra)}.")
    todo = f"Not computed yet: {'; '.join(missing)}." if missing else ""
    if not spectra:
        say(axes, todo)
        return todo
    scale.apply(axes)
    axes.set_xlabel("eigenvalue λ (loss / parameter²)")
    if scale.kind == "loglog":
        axes.set_xlabel("size of the eigenvalue |λ| (loss / parameter²)")
    else:
        half = scale.threshold if scale.kind == "symlog" else max(s.zero_band for s in spectra)
        axes.axvspan(-half, half, color=PALE, lw=0, zorder=0)
    if kind == "rug":
        _rug(axes, spectra, scale)
    else:
        _curves(axes, spectra, scale, kind)
    outliers(axes, spectra[0], scale)
    flags(axes, found, scale)
    legend(axes)
    return " ".join(filter(None, [_caption(spectra, kind, scale), found_words(found), todo]))


def _series(spectra: Sequence[Spectrum], scale: ValueScale) -> list[tuple[Spectrum, int, Stroke, str]]:
    """Every curve with its sign, stroke and name; over |λ| each spectrum has two."""
    names = names_of(spectra)
    if scale.kind != "loglog":
        return [(s, 0, stroke, name) for s, stroke, name in zip(spectra, STROKES, names, strict=False)]
    strokes = STROKES if len(spectra) == 1 else [STROKES[i // 2] for i in range(2 * len(STROKES))]
    both = [(s, sign, name) for s, name in zip(spectra, names, strict=True) for sign in (1, -1)]
    words = {1: "λ > 0", -1: "λ < 0"}
    return [
        (s, sign, stroke if sign > 0 else stroke._replace(dash=(0, (1.5, 1))), f"{name}, {words[sign]}")
        for (s, sign, name), stroke in zip(both, strokes, strict=False)
        if sign > 0 or s.smallest < -scale.threshold
    ]


def _curves(axes: "Axes", spectra: Sequence[Spectrum], scale: ValueScale, kind: Kind) -> None:
    """Bars or curves, and the uncertainty of the first one as whiskers or as a ribbon."""
    make = {"histogram": shapes.counts, "density": shapes.density, "cumulative": shapes.cumulative}[kind]
    series = [(make(s, scale, sign), s, sign, stroke, name) for s, sign, stroke, name in _series(spectra, scale)]
    if kind == "cumulative" and scale.kind != "loglog":
        low, high = 0.0, 1.0
        axes.set(ylim=(-0.02, 1.12), ylabel="share of eigenvalues ≤ λ")
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "0.25", "0.5", "0.75", "1"])
    else:
        low, high = _range([curve for curve, *_ in series], all(s.exact for s in spectra), kind, scale)
        unit = "decade" if scale.kind != "linear" else "unit of λ"
        words = {"histogram": "eigenvalues per bin", "density": f"eigenvalues per {unit}"}
        axes.set_yscale("log")
        axes.set(ylim=(low, high * HEADROOM), ylabel=words.get(kind, "eigenvalues at least |λ|"))
        plain_numbers(axes.yaxis)
    for i, (curve, _, _, stroke, name) in enumerate(series):
        _one(axes, curve, stroke, name, kind=kind, low=low, first=i == 0, filled=len(series) == 1 or i == 0)


def _one(
    axes: "Axes", curve: Curve, stroke: Stroke, name: str, *, kind: Kind, low: float, first: bool, filled: bool
) -> None:
    line = {"color": stroke.colour, "ls": stroke.dash, "lw": 0.9, "zorder": 2.5 - first}
    sure = np.maximum(curve.y - curve.error, low and GROUND), curve.y + curve.error
    if kind == "histogram":
        if filled:
            axes.stairs(curve.y, curve.x, baseline=GROUND, fill=True, color=WASH, zorder=1.2)
        axes.stairs(curve.y, curve.x, baseline=GROUND, label=name, **line)
        drawn = (curve.error > 0) & (curve.y > low)
        middle = curve.x[:-1] + np.diff(curve.x) / 2
        if first and drawn.any():
            axes.vlines(middle[drawn], sure[0][drawn], sure[1][drawn], color=INK, lw=0.6, zorder=3)
        return
    if kind == "cumulative":
        axes.plot(curve.x, curve.y, drawstyle="steps-post" if low == 0 else "steps-pre", label=name, **line)
    else:
        if filled:
            axes.fill_between(curve.x, GROUND, np.maximum(curve.y, GROUND), color=WASH, lw=0, zorder=1.2)
        axes.plot(curve.x, curve.y, label=name, **line)
    if (curve.error > 0).any():
        axes.fill_between(curve.x, *sure, color=stroke.colour, alpha=0.3, lw=0, zorder=1.6)


def _range(curves: Sequence[Curve], exact: bool, kind: Kind, scale: ValueScale) -> tuple[float, float]:
    """From what half an eigenvalue looks like (less where estimates expect less) to the highest value."""
    tops = [float((curve.y + np.nan_to_num(curve.error)).max()) for curve in curves if curve.y.size]
    one = 1.0
    if kind == "density":
        start, end = scale.place(np.array([scale.low, scale.high]))
        one = 1 / (shapes.WIDTH * (end - start) * np.sqrt(2 * np.pi))
    low = one * (0.5 if exact else 0.05)
    return low, max([*tops, 10 * low])


def _rug(axes: "Axes", spectra: Sequence[Spectrum], scale: ValueScale) -> None:
    """A line per eigenvalue; of an estimate, a line per node, as strong as its weight."""
    rows = _series(spectra, scale)
    for i, (s, sign, stroke, name) in enumerate(rows):
        kept = s.nodes * sign > scale.threshold if sign else np.ones(len(s.nodes), bool)
        x, weights = (np.abs(s.nodes) if sign else s.nodes)[kept], s.weights[kept]
        strength = np.ones(len(x)) if s.exact else 0.25 + 0.75 * np.sqrt(weights / s.weights.max())
        lines = axes.vlines(
            x, -i - 0.4 * strength, -i + 0.4 * strength, color=stroke.colour, lw=0.5, alpha=0.8, label=name
        )
        lines.set_rasterized(len(x) > MANY)
    axes.set(ylim=(-len(rows) + 0.4, 0.7 + 0.25 * len(rows)), yticks=[])
    axes.spines["left"].set_visible(False)


def _caption(spectra: Sequence[Spectrum], kind: Kind, scale: ValueScale) -> str:
    main = spectra[0]
    how = "exact" if main.exact else f"estimated from {counted(main.probes, 'probe')} of {counted(main.steps, 'step')}"
    unsure = "" if all(s.exact for s in spectra) or kind == "rug" else " Whiskers and ribbons cover 95 %."
    grey = f" Grey: |λ| up to {short(scale.threshold, digits=2)}, without a sign or too small for the axis."
    error = short(max(shapes.end_errors(main)), digits=1)
    ends = f"from {short(main.smallest)} to {short(main.largest)} (± {error})"
    what = "Cumulative share" if kind == "cumulative" else kind.capitalize()
    over = f" Over it: {'; '.join(names_of(spectra)[1:])}." if len(spectra) > 1 else ""
    return (
        f"{what} of the {counted(main.size, 'eigenvalue')} of {block(main.layer, longest=60)} at "
        f"{shown(main.snapshot)}, {ends}, {how}.{over}{unsure}{grey if scale.kind == 'symlog' else ''}"
    )

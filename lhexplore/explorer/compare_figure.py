"""Draws two spectra side by side at every snapshot, on one pair of axes; on narrow screens one below the other."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from bokeh.models import BoxZoomTool, PanTool, Row, WheelZoomTool
from bokeh.models.renderers import GlyphRenderer

from ..diagnosis import Finding
from .axes import Scale
from .escape import plain
from .frames import Plot
from .refused import NOT_YET, refused
from .spectrum_figure import Kind, spectrum_plot
from .spectrum_shapes import Spectra

NARROWEST = 380  # pixels; with less room the second figure stands below the first
BESIDE = f":host {{ flex: 1 1 {NARROWEST}px !important; width: auto !important; }}"
WRAP = ":host { flex-wrap: wrap !important; }"


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """What one side shows at every snapshot of both.

    ``absent`` says why there can be no spectrum; empty where there is one, or where it is only not computed yet.
    ``refused`` says why a spectrum could not be computed; empty where none was tried and failed.
    """

    name: str
    layer: str
    labels: Sequence[str]
    spectra: Spectra
    held_out: Spectra | None
    findings: Sequence[Sequence[Finding]]
    absent: Sequence[str]
    refused: Sequence[str] = ()


def compare_plot(
    a: Side, b: Side, *, kind: Kind = "histogram", scale: Scale = "symlog", fit: int | None = None, height: int = 290
) -> Plot:
    """Draw both sides; what one of them does not know is said in its figure.

    Args:
        a: the left one.
        b: the right one, with as many snapshots.
        kind: as of :func:`~lhexplore.explorer.spectrum_figure.spectrum_plot`.
        scale: of the eigenvalue axis, likewise.
        fit: the snapshot to which both axes are fitted; to all of them if left out.
        height: of each, in pixels.
    """
    count, sides = len(a.spectra), (a, b)
    both: dict[str, Any] = {
        "spectra": _joined(side.spectra for side in sides),
        "labels": _joined(side.labels for side in sides),
        "findings": _joined(side.findings for side in sides),
        "held_out": None,
    }
    if any(side.held_out is not None for side in sides):
        both["held_out"] = _joined(side.held_out or [None] * count for side in sides)
    fitted = None if fit is None else (fit, count + fit)
    plots = []
    for i, side in enumerate(sides):
        # drawn from the spectra of both, so that axes, lanes and heights are the same; only its own rows are kept
        whole = spectrum_plot(
            **both, layer=side.layer, kind=kind, scale=scale, fit=fitted, prefix=f"{'ab'[i]}-", height=height
        )
        plots.append(_own(whole, side, slice(i * count, (i + 1) * count), f"{'ab'[i]}-"))
    left, right = plots
    _link(left.root, right.root)
    root = Row(
        children=[left.root, right.root], sizing_mode="stretch_width", spacing=8, stylesheets=[WRAP], name="compare"
    )
    return Plot(
        picture=root,
        frames={**left.frames, **right.frames},
        titles=left.titles,
        sentences=tuple(
            f"{a.name}: {one} {b.name}: {two}" for one, two in zip(left.sentences, right.sentences, strict=True)
        ),
        lagged=(*left.lagged, *right.lagged),
        title=left.title,
        legend=left.legend,
        words={**left.words, **right.words},
        more_titles={right.title: right.titles},
    )


def _joined(rows: Iterable[Sequence[Any]]) -> list[Any]:
    return list(chain.from_iterable(rows))


def _own(whole: Plot, side: Side, rows: slice, prefix: str) -> Plot:
    """One side's rows of a plot of both; its titles say which it is, and what it can never show."""
    name = plain(side.name)
    words = {key: list(texts[rows]) for key, texts in whole.words.items()}
    for source, start in (("missing", ""), ("over-missing", "held-out: ")):
        if f"{prefix}{source}__x" in whole.frames:
            words[f"{prefix}{source}__words"] = [[start + (why or NOT_YET)] for why in side.absent]
            _said_by_frame(whole.root, f"{prefix}{source}")
    own = replace(
        whole,
        picture=whole.root,
        frames={key: np.ascontiguousarray(block[rows]) for key, block in whole.frames.items()},
        titles=tuple(
            f"{name} · {plain(side.layer, longest=32)} · {why}" if why else f"{name} · {title}"
            for why, title in zip(side.absent, whole.titles[rows], strict=True)
        ),
        sentences=tuple(
            f"{why[:1].upper()}{why[1:]}." if why else text
            for why, text in zip(side.absent, whole.sentences[rows], strict=True)
        ),
        words=words,
    )
    return refused(own, side.refused) if side.refused else own


def _said_by_frame(root: Any, source: str) -> None:
    """Have the words in a figure come from its source: why something is missing differs from snapshot to snapshot."""
    for renderer in root.select({"type": GlyphRenderer}):
        if renderer.data_source.name == source:
            renderer.data_source.data = {**renderer.data_source.data, "words": []}
            renderer.glyph.update(text="words")


def _link(left: Any, right: Any) -> None:
    """One pair of ranges for both: whatever moves one moves the other, in the browser."""
    right.x_range, right.y_range = left.x_range, left.y_range
    for plot in (left, right):
        plot.stylesheets = [BESIDE]
        plot.toolbar.active_drag = plot.select_one(BoxZoomTool)
        plot.add_tools(PanTool(dimensions="width"), WheelZoomTool(dimensions="width"))

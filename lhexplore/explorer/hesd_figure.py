"""Draws C_t against K_H over training: how a spectrum moves between the types of Hessian eigenspectral densities."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from bokeh.models import HoverTool, LinearColorMapper
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Hesd
from ..diagnosis.hesd.hesd import EXPONENT, LIMIT
from ..diagnosis.number_texts import counted, short
from .base_figure import FONT, add_frame_title, blank_figure, packed, tooltip
from .drawing import DATA, Drawing, axis_settings, name_axis, reach, source_of
from .escape import plain
from .frames import Key, Plot
from .hesd_axes import Ruler, ruler_of_ct, ruler_of_kh
from .sentences import interval_words
from .theme import themed

GATE = f"gate at {short(LIMIT)} (constant of the authors' code)"
POINTS = "points"  # tag of a source whose points are clicked: the nearest within reach counts
SIZE = 9  # pixels of a point
BOTTOM = -100.0  # below every axis; farther away, the browser would round the other edge
NEAR = 0.15  # of the axis: points so near to the gate would lie under its words
EDGE = 0.15  # of the axis: words beside points so near to an end go to the other side
WORDS = ("x", "y", "text", "align", "baseline", "dx", "dy")  # columns of what is written in the figure
NOTHING, NOWHERE = "not computed yet", "C_t and K_H are infinite or undefined"
VISIBLE = 1e-3  # of the axis: shorter intervals cannot be seen


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    """What is drawn of every snapshot: NaN where nothing is."""

    x: Float[ndarray, " n"]
    y: Float[ndarray, " n"]
    x_ends: Float[ndarray, "n 2"]
    y_ends: Float[ndarray, "n 2"]


def hesd_map(types: Sequence[Hesd | None], labels: Sequence[str], *, name: str, prefix: str = "") -> Plot:
    """Draw C_t against K_H of one block at every snapshot, as a path with intervals and the gate between the types.

    A click gives the number of a snapshot of the source ``hesd-points``. Direct neighbours are joined, unless K_H was
    formed on different bases, which do not compare, or is still to be improved. Hollow points have no decided type.
    Infinite and undefined criteria are not drawn but said.

    Args:
        types: what is known of every snapshot.
        labels: of the snapshots.
        name: of the block.
        prefix: makes the names of sources unique where several figures share a page.
    """
    count = len(types)
    ct, kh = (np.array([np.nan if h is None else getattr(h, key) for h in types]) for key in ("ct", "kh"))
    drawn = np.isfinite(ct) & np.isfinite(kh)
    across, up = ruler_of_kh(kh[drawn]), ruler_of_ct(ct[drawn])
    path = _path(types, drawn, across, up)
    exponent = next((h.exponent for h in types if h is not None), EXPONENT)
    gate = float(up.place(np.array([LIMIT]))[0])
    joined = [k for k in range(1, count) if drawn[k - 1] and drawn[k] and _comparable(types[k - 1], types[k])]
    said = "" if drawn.any() else NOTHING if all(h is None for h in types) else NOWHERE
    settings = {
        **reach(prefix, (across.low, across.high), (up.low, up.high)),
        **axis_settings(f"{prefix}hesd-x-axis", f"K_H (exponent {exponent:g})", across.ticks),
        **axis_settings(f"{prefix}hesd-y-axis", "C_t = λmin / λmax", up.ticks),
        f"{prefix}hesd-gate": {"location": gate},
        f"{prefix}hesd-below": {DATA: {"bottom": [BOTTOM], "top": [gate]}},
        f"{prefix}hesd-steps": {DATA: _steps(path, joined)},
        f"{prefix}hesd-whiskers": {DATA: _whiskers(path)},
        f"{prefix}hesd-points": {DATA: _points(types, labels, path)},
        f"{prefix}hesd-words": {DATA: _words(path, labels, across, up)},
        f"{prefix}hesd-said": {
            DATA: {"x": [(across.low + across.high) / 2], "y": [(up.low + up.high) / 2], "text": [said]}
        },
    }
    undecided = any(h is not None and h.type == "undecided" for h, here in zip(types, drawn, strict=True) if here)
    return Plot(
        picture=Drawing(partial(_drawn, max(count - 1, 1), prefix), settings),
        frames=packed({f"{prefix}hesd-now__{key}": getattr(path, key).reshape(-1, 1) for key in ("x", "y")}),
        titles=tuple(_title(h, label, name) for h, label in zip(types, labels, strict=True)),
        sentences=tuple(_sentence(types, k, labels, name, drawn) for k in range(count)),
        title=f"{prefix}hesd-title",
        legend=(
            Key(GATE, (("dash", "text"),)),
            Key("type decided; the later, the lighter", (("circle", "bar"),)),
            *([Key("hollow: type undecided", (("ring", "marker"),))] if undecided else []),
            *([Key("intervals", (("whisker", "whisker"),))] if _has_length(path, across, up) else []),
        ),
    )


def _path(types: Sequence[Hesd | None], drawn: Any, across: Ruler, up: Ruler) -> _Path:
    path = _Path(*(np.full((len(types), *shape), np.nan) for shape in ((), (), (2,), (2,))))
    for k, h in enumerate(types):
        if h is not None and drawn[k]:
            path.x[k], path.y[k] = across.place(np.array([h.kh]))[0], up.place(np.array([h.ct]))[0]
            if np.isfinite(h.kh_interval[0]):
                path.x_ends[k] = across.place(np.array(h.kh_interval))  # an open end reaches to the edge
            if not np.isnan(h.interval[0]):
                path.y_ends[k] = up.place(np.array(h.interval))
    return path


def _comparable(a: Hesd | None, b: Hesd | None) -> bool:
    """Whether K_H of two snapshots may be compared; see :func:`lhexplore.diagnosis.compare_kh`."""
    return (
        a is not None
        and b is not None
        and (a.kh_basis, a.exponent) == (b.kh_basis, b.exponent)
        and not (a.preliminary or b.preliminary)
    )


def _drawn(last: int, prefix: str) -> figure:
    """The figure before anything is put into it."""
    plot = blank_figure(prefix=prefix, height=340, y=(0.0, 1.0))
    name_axis(plot.xaxis[0], f"{prefix}hesd-x-axis")
    name_axis(plot.yaxis[0], f"{prefix}hesd-y-axis")
    add_frame_title(plot, f"{prefix}hesd-title")
    _draw_gate(plot, prefix)
    _draw_path(plot, prefix)
    _draw_points(plot, last, prefix)
    _draw_words(plot, prefix)
    now = source_of(f"{prefix}hesd-now", "x", "y")
    for width, role in ((6, "halo"), (3, "marker")):
        ring = plot.scatter("x", "y", source=now, size=SIZE + 9, fill_alpha=0.0, line_width=width)
        themed(ring.glyph, line_color=role)
    said = plot.text("x", "y", text="text", source=source_of(f"{prefix}hesd-said", "x", "y", "text"))
    said.glyph.update(text_align="center", text_baseline="middle", text_font_size=FONT)
    themed(said.glyph, text_color="text")
    return plot


def _draw_gate(plot: figure, prefix: str) -> None:
    plot.grid.visible = False
    source = source_of(f"{prefix}hesd-below", "bottom", "top")
    below = plot.hstrip("bottom", "top", source=source, level="underlay", fill_alpha=0.12, line_alpha=0.0)
    themed(below.glyph, fill_color="band")
    line = Span(
        name=f"{prefix}hesd-gate", location=0.0, dimension="width", line_dash=[6, 3], line_width=1.5, level="underlay"
    )
    plot.add_layout(themed(line, line_color="text"))


def _words(path: _Path, labels: Sequence[str], across: Ruler, up: Ruler) -> dict[str, list[Any]]:
    """What lies on either side of the gate, and the names of the first and the last point."""
    gate = float(up.place(np.array([LIMIT]))[0])
    near = path.x[np.abs(path.y - gate) < NEAR * (up.high - up.low)]
    crowded = np.count_nonzero(near > (across.low + across.high) / 2) > near.size / 2
    side, align, shift = ((across.low, gate), "left", 6) if crowded else ((across.high, gate), "right", -6)
    rows: list[tuple[Any, ...]] = [
        (*side, "MP: mainly positive", align, "bottom", shift, -4),
        (*side, "MN: mainly negative", align, "top", shift, 5),
    ]
    known = np.flatnonzero(np.isfinite(path.x))
    for k, beside in zip(known[[0, -1]], known[[1, -2]], strict=True) if known.size > 1 else [(k, k) for k in known]:
        share = (path.x[k] - across.low) / (across.high - across.low)
        right = share < 1 - EDGE and (path.x[beside] <= path.x[k] or share < EDGE)  # away from the path
        over = path.y[beside] <= path.y[k]
        rows.append((
            path.x[k], path.y[k], plain(labels[int(k)]), "left" if right else "right", "bottom" if over else "top",
            9 if right else -9, -5 if over else 5,
        ))  # fmt: skip
    return dict(zip(WORDS, map(list, zip(*rows, strict=True)), strict=True))


def _draw_words(plot: figure, prefix: str) -> None:
    source = source_of(f"{prefix}hesd-words", *WORDS)
    how: Any = {"text_align": "align", "text_baseline": "baseline", "x_offset": "dx", "y_offset": "dy"}
    text = plot.text("x", "y", text="text", source=source, text_font_size="11px", **how)
    text.glyph.update(background_fill_alpha=0.75)
    themed(text.glyph, text_color="text", background_fill_color="halo")


def _steps(path: _Path, joined: Sequence[int]) -> dict[str, Any]:
    before, after = np.array(joined, dtype=int) - 1, np.array(joined, dtype=int)
    return {"x0": path.x[before], "y0": path.y[before], "x1": path.x[after], "y1": path.y[after]}


def _whiskers(path: _Path) -> dict[str, Any]:
    return {
        "x0": np.concatenate([path.x_ends[:, 0], path.x]),
        "x1": np.concatenate([path.x_ends[:, 1], path.x]),
        "y0": np.concatenate([path.y, path.y_ends[:, 0]]),
        "y1": np.concatenate([path.y, path.y_ends[:, 1]]),
    }


def _points(types: Sequence[Hesd | None], labels: Sequence[str], path: _Path) -> dict[str, Any]:
    decided = [h is not None and h.type != "undecided" for h in types]
    return {
        "x": path.x,
        "y": path.y,
        "time": np.arange(len(types), dtype=float),
        "fill": np.array(decided, dtype=float),
        "label": [plain(label) for label in labels],
        "words": ["" if h is None else plain(_numbers(h), longest=200) for h in types],
    }


def _draw_path(plot: figure, prefix: str) -> None:
    ends = ("x0", "y0", "x1", "y1")
    steps = plot.segment(*ends, source=source_of(f"{prefix}hesd-steps", *ends), line_width=1.5)
    themed(steps.glyph, line_color="ghost")
    whiskers = plot.segment(*ends, source=source_of(f"{prefix}hesd-whiskers", *ends), line_width=1, line_alpha=0.6)
    themed(whiskers.glyph, line_color="whisker")


def _draw_points(plot: figure, last: int, prefix: str) -> None:
    """The points, coloured from early to late."""
    source = source_of(f"{prefix}hesd-points", "x", "y", "time", "fill", "label", "words", tags=[POINTS])
    mapper = LinearColorMapper(low=0, high=last, name=f"{prefix}hesd-time")
    themed(mapper, palette="sequential")
    blank = plot.scatter("x", "y", source=source, size=SIZE, line_alpha=0.0)
    themed(blank.glyph, fill_color="halo")  # the path must not show through a hollow point
    colour: Any = {"field": "time", "transform": mapper}
    points = plot.scatter("x", "y", source=source, size=SIZE, fill_color=colour, fill_alpha="fill", line_width=1.5)
    themed(points.glyph, line_color="marker")
    plot.add_tools(HoverTool(renderers=[points], tooltips=tooltip("@label", "@words"), visible=False))


def _has_length(path: _Path, across: Ruler, up: Ruler) -> bool:
    pairs = ((path.x_ends, across), (path.y_ends, up))
    return any(np.nanmax(np.ptp(ends, axis=1), initial=0.0) > VISIBLE * (r.high - r.low) for ends, r in pairs)


def _numbers(h: Hesd) -> str:
    """Type and criteria with their intervals and basis."""
    basis = "exact" if h.kh_basis == "exact" else f"{h.kh_basis.removeprefix('m=')} Lanczos steps"
    certain = h.kh_interval == (h.kh, h.kh)
    kh = short(h.kh) if certain else interval_words(h.kh, h.kh_interval)
    return f"{h.word}: C_t {interval_words(h.ct, h.interval)}, K_H {kh}, {basis}"


def _title(h: Hesd | None, label: str, name: str) -> str:
    start = f"{plain(name, longest=32)} · {plain(label, longest=32)}"
    return f"{start} · not computed yet" if h is None else f"{start} · {h.word}"


def _sentence(types: Sequence[Hesd | None], k: int, labels: Sequence[str], name: str, drawn: Any) -> str:
    h = types[k]
    if h is None:
        text = f"{plain(name)} at {plain(labels[k])} is not computed yet."
    elif h.psd:
        text = (
            f"{plain(name)} at {plain(labels[k])}: positive semi-definite by structure, so C_t and K_H are 0 "
            "whatever the weights, and the map says nothing about training."
        )
    else:
        off = "" if drawn[k] else " (not drawn: a criterion is infinite or undefined)"
        side = {"MP": "above the gate", "MN": "below the gate"}.get(h.type, "on neither side of the gate for certain")
        text = f"{plain(name)} at {plain(labels[k])}: {_numbers(h)}; {side}{off}."
    bases = dict.fromkeys(each.kh_basis for each in types if each is not None)
    apart = " K_H comes from different bases, which do not compare and are not joined." if len(bases) > 1 else ""
    known = sum(each is not None for each in types)
    return f"{text}{apart} {known} of {counted(len(types), 'snapshot')} computed."

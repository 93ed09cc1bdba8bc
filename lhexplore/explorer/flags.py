"""Findings in the picture of a spectrum: a flag at each one's eigenvalue, none over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from .axes import ValueAxis
from .base_figure import rows, tooltip
from .located import SHAPES, limit_of, name_of
from .theme import themed

WIDTH, HEIGHT = 300, 215  # pixels inside the frame of a small figure: what fits there fits everywhere
LANE = 15  # pixels of a row of flags
LETTER, BESIDE = 7, 8  # pixels of a character, and between an eigenvalue and its label
ALIKE = 7  # pixels: flags nearer than this share one place and one label
GROUND = 1e-12  # below every axis


@dataclass(frozen=True, slots=True, eq=False)
class Flags:
    """Columns of the source ``flags``, the texts in it, and the upper end of an axis that has room for them."""

    frames: dict[str, Float[ndarray, "n _"]]
    words: dict[str, list[list[str]]]
    high: float
    levels: tuple[str, ...]  # that occur


@dataclass(slots=True)
class _Group:
    place: float
    left: float  # what the flag covers
    right: float
    findings: list[Finding]
    lane: int = 0

    @property
    def label(self) -> str:
        return " ".join(dict.fromkeys(f.rule for f in self.findings))


def place_flags(found: Sequence[Sequence[Finding]], axis: ValueAxis, low: float, high: float) -> Flags:
    """Give the findings of every snapshot a place above the spectrum; those without an eigenvalue get none."""
    groups = [_lanes(_groups([f for f in each if f.eigenvalue is not None], axis)) for each in found]
    lanes = max((group.lane + 1 for each in groups for group in each), default=0)
    share = LANE / HEIGHT
    decades = share * log10(high / low) / (1 - share * min(lanes, 8))  # of one lane, once there is room for all
    longest = max(1, *(sum(len(group.findings) for group in each) for each in groups)) if groups else 1
    frames = {key: rows(len(found), longest) for key in ("x", "y", "ground", "offset")}
    words = {key: [[""] * longest for _ in found] for key in ("label", "name", "limit")}
    words["align"], words["marker"] = ([[each] * longest for _ in found] for each in ("left", "circle"))
    for k, each in enumerate(groups):
        flat = [(group, finding) for group in each for finding in group.findings]
        for i, (group, finding) in enumerate(flat):
            rightwards = group.right > group.place
            frames["x"][k, i], frames["ground"][k, i] = group.place, GROUND
            frames["y"][k, i] = high * 10 ** (decades * (group.lane + 0.5))
            frames["offset"][k, i] = BESIDE if rightwards else -BESIDE
            words["align"][k][i] = "left" if rightwards else "right"
            words["label"][k][i] = group.label if finding is group.findings[0] else ""
            words["name"][k][i], words["limit"][k][i] = name_of(finding), limit_of(finding)
            words["marker"][k][i] = SHAPES[group.findings[0].level]
    return Flags(
        {f"flags__{key}": block for key, block in frames.items()},
        {f"flags__{key}": texts for key, texts in words.items()},
        high * 10 ** (decades * lanes),
        tuple({f.level: None for each in groups for group in each for f in group.findings[:1]}),
    )


def draw_flags(plot: figure, source: ColumnDataSource) -> None:
    """Draw a stem from the eigenvalue up, a mark whose shape is the level, and the rule's name beside it."""
    stem = plot.segment("x", "ground", "x", "y", source=source, line_width=1, line_dash=[3, 3])
    themed(stem.glyph, line_color="finding")
    marks = plot.scatter("x", "y", source=source, marker="marker", size=9, line_width=1)
    themed(marks.glyph, fill_color="finding", line_color="halo")
    label = plot.text("x", "y", text="label", source=source, x_offset="offset")
    label.glyph.update(text_align="align", text_baseline="middle", text_font_size="11px", text_font_style="bold")
    themed(label.glyph, text_color="text")
    plot.add_tools(HoverTool(renderers=[marks], tooltips=tooltip("@name", "@limit"), visible=False))


def _groups(found: Sequence[Finding], axis: ValueAxis) -> list[_Group]:
    """Findings whose eigenvalues can hardly be told apart in the picture share a flag; the weightiest names it."""
    if not found:
        return []
    pixel = (axis.end - axis.start) / WIDTH
    places = np.clip(axis.position(np.array([f.eigenvalue for f in found], dtype=float)), axis.start, axis.end)
    groups: list[_Group] = []
    for i in np.argsort(places, kind="stable"):
        if groups and places[i] - groups[-1].place <= ALIKE * pixel:
            groups[-1].findings.append(found[i])
        else:
            groups.append(_Group(float(places[i]), 0.0, 0.0, [found[i]]))
    for group in groups:
        width, mark = (BESIDE + LETTER * len(group.label)) * pixel, 0.5 * BESIDE * pixel
        rightwards = group.place + width <= axis.end
        group.left = group.place - (mark if rightwards else width)
        group.right = group.place + (width if rightwards else 0.0)
    return groups


def _lanes(groups: list[_Group]) -> list[_Group]:
    """The lowest row in which a flag touches no other."""
    for i, group in enumerate(groups):
        taken = {g.lane for g in groups[:i] if g.left <= group.right and group.left <= g.right}
        group.lane = next(lane for lane in range(i + 1) if lane not in taken)
    return groups

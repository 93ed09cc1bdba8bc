"""What is written over a spectrum: its outliers and ends by name, and what the rules found at an eigenvalue."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np

from ..diagnosis import Finding, metric
from ..diagnosis.metrics.formulas import leading
from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .names import shown
from .scales import ValueScale
from .style import FINDING, INK

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AT = 0.86  # height of the marks, as a share of the frame


def outliers(axes: "Axes", s: Spectrum, scale: ValueScale) -> None:
    """Mark the eigenvalues that stand apart at the top, and name both ends with their errors."""
    height = axes.get_xaxis_transform()
    if isfinite(count := metric("outlier_count", s)):
        top = leading(s, int(count))
        axes.plot(top, np.full(len(top), AT), "v", color=INK, ms=2.4, mew=0, transform=height, zorder=4)
        number = "" if count == 1 else f"{count:.0f} outliers, "
    else:
        number = ""
    if s.largest > max(s.zero_band, 0):
        _name(axes, s.largest, f"{number}λmax {short(s.largest)}", scale, right=0.4)
    if s.smallest < -s.zero_band and not s.psd and scale.kind != "loglog":
        axes.plot([s.smallest], [AT], "v", color=INK, ms=2.4, mew=0, transform=height, zorder=4)
        _name(axes, s.smallest, f"λmin {short(s.smallest)}", scale, right=0.6)


def _name(axes: "Axes", value: float, words: str, scale: ValueScale, *, right: float) -> None:
    """Text over a mark, to its left where the mark is farther right than this share of the frame."""
    left = _share(value, scale) > right
    axes.annotate(
        words, (value, AT + 0.04), xycoords=("data", "axes fraction"), xytext=(-3 if left else 3, 0),
        textcoords="offset points", ha="right" if left else "left", fontsize=6.5, color=INK,
    )  # fmt: skip


def flags(axes: "Axes", found: Sequence[Finding], scale: ValueScale) -> None:
    """A dotted line at the eigenvalue of every finding; what stands close together shares a name."""
    groups: list[tuple[float, float, list[str]]] = []
    for finding in found:
        value = float(finding.eigenvalue or 0.0)
        value = max(abs(value), scale.low) if scale.kind == "loglog" else value  # zero stands at the edge
        share = _share(value, scale)
        near = next((group for group in groups if abs(group[1] - share) < 0.05), None)
        if near is None:
            groups.append((value, share, [finding.rule]))
        elif finding.rule not in near[2]:
            near[2].append(finding.rule)
    for value, share, rules in groups:
        axes.axvline(value, color=FINDING, ls=(0, (1, 1.5)), lw=0.9, zorder=2.8)
        right = share > 0.5
        axes.annotate(
            ", ".join(rules), (value, 0.8), xycoords=("data", "axes fraction"), xytext=(-2 if right else 2, 0),
            textcoords="offset points", ha="right" if right else "left", va="top", rotation=90, fontsize=6.5,
            color=FINDING,
        )  # fmt: skip


def _share(value: float, scale: ValueScale) -> float:
    """Where a value stands, from 0 at the left of the frame to 1."""
    start, at, end = scale.place(np.array([scale.low, value, scale.high]))
    return float((at - start) / (end - start))


def found_words(found: Sequence[Finding]) -> str:
    """Say what is marked; nothing where nothing is."""
    if not found:
        return ""
    return "Marked: " + "; ".join(f"{f.rule}, {shown(f.title, longest=60)}" for f in found) + "."

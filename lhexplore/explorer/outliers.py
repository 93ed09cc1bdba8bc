"""The eigenvalues that stand apart above the bulk: a mark and a number for each, no number over another."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, log10

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import metric
from ..diagnosis.metrics.formulas import leading
from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .axes import ValueAxis
from .base_figure import rows, tooltip
from .flags import HEIGHT, LANE, LETTER, WIDTH
from .theme import themed

MOST = 10  # are labelled
AIR = 6  # pixels between two labels
SAID = 3  # values named in a sentence


@dataclass(frozen=True, slots=True, eq=False)
class Outliers:
    """Columns of the source ``outliers``, the texts in it, and the upper end of an axis that has room for them."""

    frames: dict[str, Float[ndarray, "n _"]]
    words: dict[str, list[list[str]]]
    high: float


@dataclass(slots=True)
class _Label:
    text: str
    first: float  # place of the outermost values it stands for
    last: float
    names: tuple[str, ...]


def outliers_of(spectrum: Spectrum | None) -> Float[ndarray, " k"]:
    """The leading eigenvalues above the bulk, downward: as many as the metric ``outlier_count`` says, 10 at most."""
    count = metric("outlier_count", spectrum) if spectrum is not None else float("nan")
    return leading(spectrum, min(int(count), MOST)) if spectrum is not None and isfinite(count) else np.empty(0)


def outlier_words(values: Float[ndarray, " k"]) -> str:
    """Say which they are."""
    if not len(values):
        return ""
    named = ", ".join(short(value) for value in values[:SAID])
    more = f" and {len(values) - SAID} more" if len(values) > SAID else ""
    return f"Above the bulk: {named}{more}."


def place_outliers(spectra: Sequence[Spectrum | None], axis: ValueAxis, low: float, high: float) -> Outliers:
    """Give the outliers of every snapshot a place above the spectrum; on an axis of sizes λmin is named there, too."""
    found = [_named(spectrum, axis) for spectrum in spectra]
    share = LANE / HEIGHT if any(found) else 0.0
    decades = share * log10(high / low) / (1 - share)
    longest = max([1, *(len(each) for each in found)])
    frames = {key: rows(len(found), longest) for key in ("x", "y", "value", "at", "size")}
    words = {key: [[""] * longest for _ in found] for key in ("label", "name")}
    for k, each in enumerate(found):
        for i, (name, value) in enumerate(each.items()):
            words["name"][k][i], frames["value"][k, i] = name, value
            frames["x"][k, i] = axis.position(np.array([value]))[0]
            frames["y"][k, i] = high * 10 ** (-decades / 4)
        for i, (place, text) in enumerate(_labels({n: frames["x"][k, i] for i, n in enumerate(each)}, axis)):
            frames["at"][k, i], frames["size"][k, i] = place, high * 10 ** (0.6 * decades)
            words["label"][k][i] = text
    return Outliers(
        {f"outliers__{key}": block for key, block in frames.items()},
        {f"outliers__{key}": texts for key, texts in words.items()},
        high * 10**decades,
    )


def draw_outliers(plot: figure, source: ColumnDataSource) -> None:
    """Draw a short stroke on top for each, and its number above."""
    marks = plot.scatter("x", "y", source=source, marker="dash", angle=np.pi / 2, size=6, line_width=2)
    themed(marks.glyph, line_color="ends")
    label = plot.text("at", "size", text="label", source=source)
    label.glyph.update(text_align="center", text_baseline="middle", text_font_size="11px", background_fill_alpha=0.8)
    themed(label.glyph, text_color="text", background_fill_color="halo")
    plot.add_tools(HoverTool(renderers=[marks], tooltips=tooltip("@name = @value"), visible=False))


def _named(spectrum: Spectrum | None, axis: ValueAxis) -> dict[str, float]:
    named = {f"λ{i}": float(value) for i, value in enumerate(outliers_of(spectrum), start=1)}
    if axis.folded and spectrum is not None and spectrum.smallest < -spectrum.zero_band and not spectrum.psd:
        named["λmin"] = spectrum.smallest
    return {name: value for name, value in named.items() if axis.holds(value)}


def _labels(places: dict[str, float], axis: ValueAxis) -> list[tuple[float, str]]:
    """Where labels stand: over their value where there is room, else one for all that would touch."""
    pixel = (axis.end - axis.start) / WIDTH
    groups = [_Label(name, at, at, (name,)) for name, at in sorted(places.items(), key=lambda pair: pair[1])]
    while True:
        spans = [_span(group, axis, pixel) for group in groups]
        touching = [i for i in range(len(groups) - 1) if spans[i][1] + AIR * pixel > spans[i + 1][0]]
        if not touching:
            return [((left + right) / 2, group.text) for (left, right), group in zip(spans, groups, strict=True)]
        i = touching[0]
        names = groups[i].names + groups[i + 1].names
        groups[i : i + 2] = [_Label(_joined(names), groups[i].first, groups[i + 1].last, names)]


def _span(group: _Label, axis: ValueAxis, pixel: float) -> tuple[float, float]:
    half = LETTER * len(group.text) * pixel / 2
    middle = min(max((group.first + group.last) / 2, axis.start + half), axis.end - half)
    return middle - half, middle + half


def _joined(names: Sequence[str]) -> str:
    """``λ1–λ4``; λmin is said apart."""
    numbers = sorted(int(name[1:]) for name in names if name != "λmin")
    text = f"λ{numbers[0]}–λ{numbers[-1]}" if len(numbers) > 1 else f"λ{numbers[0]}"
    return f"λmin, {text}" if "λmin" in names else text

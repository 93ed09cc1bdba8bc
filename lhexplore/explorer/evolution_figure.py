"""Draws one block's spectrum over training in one picture, on which a click jumps."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import numpy as np
from bokeh.plotting import figure

from ..diagnosis.number_texts import counted, short
from ..figures.shapes import quantile
from ..spectrum import Spectrum
from .axes import Scale, ValueAxis, axis_of
from .base_figure import add_frame_title, packed
from .drawing import Drawing, source_of
from .escape import plain
from .evolution_shapes import TimeTicks, quantiles, ridge
from .frames import Key, Plot
from .sentences import beside_sentence, end_words, missing_sentence, spectrum_title
from .strips import lay_strips, strip_settings
from .theme import themed

Form = Literal["ridge", "quantiles"]
FORMS = ("ridge", "quantiles")

MISSING = "not computed yet"
ABOVE = 0.4  # of a row: a ridge stands on its line, so its strip reaches further up than down
MIDDLE = np.array([0.25, 0.5, 0.75])


def evolution_plot(
    spectra: Sequence[Spectrum | None],
    labels: Sequence[str],
    *,
    layer: str | None = None,
    held_out: Sequence[Spectrum | None] | None = None,
    shape: Form = "ridge",
    scale: Scale = "symlog",
    axis: ValueAxis | None = None,
    ticks: Mapping[float, str] | None = None,
    time_label: str = "snapshot",
    prefix: str = "",
    height: int | None = None,
) -> Plot:
    """Draw one block's spectrum at all snapshots in one picture; None stands for one that is not computed yet.

    A click gives the number of a strip of the source ``evolution-cells``, which is that of the snapshot.

    Args:
        spectra: one per snapshot, of the same block.
        labels: what the snapshots are called.
        layer: name of the block for the texts; taken from the spectra where one is known.
        held_out: the same on held-out data, drawn over it; left out, there is none.
        shape: "ridge", a smoothed density per snapshot, the first on top; or "quantiles", median, the middle 50 % and
            90 %, and both ends.
        scale: of the eigenvalue axis.
        axis: an axis to share with other figures instead of one that fits these spectra.
        ticks: labels of snapshots by number (see ``snapshot_ticks``); all labels if left out.
        time_label: what these labels are.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels; chosen from the number of snapshots if left out.
    """
    over = [] if held_out is None else list(held_out)
    name = layer or next((s.layer or "whole network" for s in spectra if s is not None), "this block")
    axis = axis or axis_of([*spectra, *over], scale=scale)
    marks = {float(k): plain(label, longest=12) for k, label in enumerate(labels)} if ticks is None else ticks
    ridges = shape == "ridge"
    drawn = (ridge if ridges else quantiles)(spectra, over, axis, TimeTicks(marks, time_label), prefix, height)
    unknown = np.array([s is None for s in spectra], dtype=bool)
    words = {
        "label": [plain(label) for label in labels],
        "ends": [MISSING if s is None else f"λ {_ends(s)}" for s in spectra],
        "middle": ["" if s is None else _middle(s) for s in spectra],
        **({"beside": [beside_sentence(s) for s in over]} if over else {}),
    }
    along: Literal["x", "y"] = "y" if ridges else "x"
    strips = strip_settings(
        unknown, words, name=f"{prefix}evolution-cells", along=along, shift=-ABOVE if ridges else 0.0
    )
    place = np.where(unknown[:, None], drawn.middle, np.nan)
    missing = {f"{prefix}evolution-missing__x": place[:, :1], f"{prefix}evolution-missing__y": place[:, 1:]}
    make = partial(_drawn, drawn.draw, bool(over), tuple(words), along, prefix, drawn.height)
    return Plot(
        picture=Drawing(make, {**drawn.settings, **strips}),
        frames=packed({**drawn.frames, **missing}),
        titles=tuple(spectrum_title(s, name, label) for s, label in zip(spectra, labels, strict=True)),
        sentences=tuple(_sentence(spectra, over, k, name, labels) for k in range(len(spectra))),
        title=f"{prefix}evolution-title",
        legend=(*drawn.legend, *([Key(MISSING, (("hatch", "unknown"),))] if unknown.any() else [])),
    )


def _drawn(
    draw: Callable[[bool, str, int], figure],
    over: bool,
    words: Sequence[str],
    along: Literal["x", "y"],
    prefix: str,
    height: int,
) -> figure:
    """The figure before anything is put into it."""
    plot = draw(over, prefix, height)
    lay_strips(plot, words, name=f"{prefix}evolution-cells", along=along)
    text = plot.text("x", "y", text={"value": MISSING}, source=source_of(f"{prefix}evolution-missing", "x", "y"))
    text.glyph.update(text_align="center", text_baseline="middle", text_font_size="14px", background_fill_alpha=0.8)
    themed(text.glyph, text_color="text", background_fill_color="halo")
    add_frame_title(plot, f"{prefix}evolution-title")
    return plot


def _ends(spectrum: Spectrum) -> str:
    return f"from {end_words(spectrum.smallest, spectrum)} to {end_words(spectrum.largest, spectrum)}"


def _middle(spectrum: Spectrum) -> str:
    """Where half of the eigenvalues lie; what has no sign is called zero."""
    found = quantile(spectrum, MIDDLE)
    low, median, high = (short(v) if abs(v) > spectrum.zero_band else "0" for v in found)
    return f"half of them from {low} to {high}, median {median}"


def _sentence(
    spectra: Sequence[Spectrum | None], over: Sequence[Spectrum | None], k: int, name: str, labels: Sequence[str]
) -> str:
    """What a snapshot shows, and how its largest eigenvalue compares with the known one before."""
    here = spectra[k]
    known = sum(s is not None for s in spectra)
    if here is None:
        text = missing_sentence(name, labels[k])
    else:
        start = f"{plain(name)} at {plain(labels[k])}: eigenvalues"
        text = f"{start} {_ends(here)}, {_middle(here)}.{_since(spectra, k, labels)}"
    beside = f" {beside_sentence(over[k])}" if over else ""
    return f"{text}{beside} {known} of {counted(len(spectra), 'snapshot')} computed."


def _since(spectra: Sequence[Spectrum | None], k: int, labels: Sequence[str]) -> str:
    here = spectra[k]
    i = next((i for i in range(k - 1, -1, -1) if spectra[i] is not None), None)
    before = None if i is None else spectra[i]
    if here is None or before is None or i is None:
        return ""
    if here.largest <= here.zero_band or before.largest <= before.zero_band:
        return ""
    return f" The largest is {short(here.largest / before.largest)} times that at {plain(labels[i])}."

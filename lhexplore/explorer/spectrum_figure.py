"""Draws the eigenvalues of one block at every snapshot, with what is uncertain about them and what lies over them."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from bokeh.plotting import figure

from ..diagnosis import Finding
from .axes import Scale, ValueAxis, axis_of
from .base_figure import add_frame_title, blank_figure, packed, rows
from .drawing import Drawing, axis_settings, name_axis, reach, source_of
from .escape import plain
from .flags import place_flags
from .frames import Plot
from .outliers import outlier_words, outliers_of, place_outliers
from .overlays import Overlay, overlay_sentence, overlays_of
from .sentences import beside_sentence, missing_sentence, spectrum_sentence, spectrum_title
from .spectrum_curves import cumulative, density
from .spectrum_drawing import KINDS, Kind, draw, legend_of
from .spectrum_rug import rug
from .spectrum_shapes import Canvas, Fit, Frames, Spectra, histogram

__all__ = ["KINDS", "LEGEND", "Kind", "spectrum_plot"]

BINS = 120  # a bar is then about 5 pixels wide
SHAPES = {"histogram": histogram, "density": density, "cumulative": cumulative, "rug": rug}

LEGEND = "Grey: no sign (zero band), or too small for this axis. Hollow triangles: not settled."
NOTHING: Sequence[Finding] = ()


def spectrum_plot(
    spectra: Spectra,
    labels: Sequence[str],
    *,
    layer: str | None = None,
    held_out: Spectra | None = None,
    overlay: Mapping[str, Spectra] | None = None,
    ggn: Spectra | None = None,
    findings: Sequence[Sequence[Finding]] | None = None,
    kind: Kind = "histogram",
    scale: Scale = "symlog",
    fit: Fit = None,
    bins: int = BINS,
    axis: ValueAxis | None = None,
    prefix: str = "",
    height: int = 290,
) -> Plot:
    """Draw one block's spectrum at every snapshot; None stands for one that is not computed yet.

    Args:
        spectra: one per snapshot, of the same block.
        labels: what the snapshots are called.
        layer: name of the block for the texts; taken from the spectra where one is known.
        held_out: the same on held-out data, drawn as an outline over it; left out, there is none.
        overlay: spectra of up to 3 other blocks by name, each an outline with a stroke of its own.
        ggn: spectra of the same block of the generalised Gauss-Newton matrix, one more outline.
        findings: of every snapshot; each with an eigenvalue gets a flag there.
        kind: bars of expected counts, their smoothed density, the cumulative share, or a line per eigenvalue.
        scale: of the eigenvalue axis; "loglog" counts sizes |λ|, with the negative ones as an outline.
        fit: the snapshot, or several, to which both axes are fitted; to all of them if left out.
        bins: about how many bars.
        axis: an axis to share with other figures instead of one that fits these spectra.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels.
    """
    known = [s for s in spectra if s is not None]
    name = layer or next((s.layer or "whole network" for s in known), "this block")
    held, others = held_out or [], overlays_of(overlay or {}, ggn)
    over = {**({"over": held} if held else {}), **{each.source: each.spectra for each in others}}
    if axis is None:
        used = [spectra, *over.values()]
        rows_used = range(len(spectra)) if fit is None else np.atleast_1d(fit)
        axis = axis_of([each[k] for each in used for k in rows_used], scale=scale, bins=bins)
    canvas = SHAPES[kind](spectra, axis, over, fit)
    found = [
        each if s is not None else NOTHING
        for s, each in zip(spectra, findings or [NOTHING] * len(spectra), strict=True)
    ]
    top = place_outliers(spectra, axis, canvas.low, canvas.high)
    flags = place_flags(found, axis, canvas.low, top.high)
    frames = {
        **canvas.frames,
        **_ends(spectra, axis, canvas),
        **(_ends(held, axis, canvas, "over-ends") if held else {}),
        **_band(spectra, axis),
        **_missing(spectra, axis, canvas),
        **(_missing(held, axis, canvas, "over-missing") if held else {}),
        **top.frames,
        **flags.frames,
    }
    words = {**top.words, **flags.words}
    columns: dict[str, list[str]] = {}
    for key in (*frames, *words):
        source, column = key.split("__")
        columns.setdefault(source, []).append(column)
    make = partial(_drawn, kind, canvas.label, tuple((s, *named) for s, named in columns.items()), prefix, height)
    settings = {
        **reach(prefix, (axis.start, axis.end), (canvas.low, flags.high)),
        **axis_settings(f"{prefix}x-axis", axis.label, axis.ticks(), axis.minor_ticks()),
        **axis_settings(f"{prefix}y-axis", canvas.label, _lanes(canvas, others, bool(held), axis.folded)),
    }
    exact = all(s.exact for s in known)
    return Plot(
        picture=Drawing(make, settings),
        frames=packed({f"{prefix}{key}": block for key, block in frames.items()}),
        titles=tuple(spectrum_title(s, name, label) for s, label in zip(spectra, labels, strict=True)),
        sentences=_sentences(spectra, held, others, found, name, labels),
        lagged=(f"{prefix}ghost",),
        title=f"{prefix}frame-title",
        legend=legend_of(kind, axis, exact=exact, beside=bool(held), overlays=others, levels=flags.levels),
        words={f"{prefix}{key}": texts for key, texts in words.items()},
    )


def _drawn(kind: Kind, label: str, columns: Sequence[Sequence[str]], prefix: str, height: int) -> figure:
    """The figure before anything is put into it; ``label`` is that of the axis of counts."""
    plot = blank_figure(prefix=prefix, height=height, y_type="log")
    add_frame_title(plot, f"{prefix}frame-title")
    name_axis(plot.xaxis[0], f"{prefix}x-axis")
    name_axis(plot.yaxis[0], f"{prefix}y-axis")
    draw(plot, {source: source_of(f"{prefix}{source}", *names) for source, *names in columns}, kind, label)
    return plot


def _sentences(
    spectra: Spectra,
    held: Spectra,
    others: Sequence[Overlay],
    found: Sequence[Sequence[Finding]],
    name: str,
    labels: Sequence[str],
) -> tuple[str, ...]:
    """What each snapshot shows, what lies over it, and which rules flag something."""
    texts = []
    for k, (spectrum, label) in enumerate(zip(spectra, labels, strict=True)):
        parts = [missing_sentence(name, label) if spectrum is None else spectrum_sentence(spectrum, name, label)]
        parts.append(outlier_words(outliers_of(spectrum)))
        if held:
            parts.append(beside_sentence(held[k]))
        parts += [overlay_sentence(each, k) for each in others]
        if rules := dict.fromkeys(f.rule for f in found[k] if f.eigenvalue is not None):
            parts.append(f"Flagged: {', '.join(rules)}.")
        texts.append(" ".join(filter(None, parts)))
    return tuple(texts)


def _lanes(canvas: Canvas, others: Sequence[Overlay], held: bool, folded: bool) -> dict[float, str]:
    """The ticks of the shape; the lanes of a rug are called by what stands in them, where there are several."""
    names = {each.source: plain(each.name, longest=12) for each in others}
    main = "λ > 0" if folded else "training" if held else "on show" if others else ""
    names |= {"rug": main, "minus": "λ < 0", "over": "held-out"}
    return {at: names.get(text, text) for at, text in canvas.ticks.items()}


def _ends(spectra: Spectra, axis: ValueAxis, canvas: Canvas, source: str = "ends") -> Frames:
    """Largest and smallest eigenvalue with their error; hollow where the iteration has not settled them."""
    count = len(spectra)
    columns = {key: rows(count, 2) for key in ("x", "y", "low", "high", "value", "error", "fill")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        value = np.array([spectrum.smallest, spectrum.largest])
        settled = spectrum.converged()[[0, -1]]
        columns["value"][k], columns["error"][k] = value, spectrum.error
        columns["x"][k], columns["y"][k] = axis.position(value), canvas.ends
        columns["low"][k] = axis.position(value - spectrum.error)
        columns["high"][k] = axis.position(value + spectrum.error)
        columns["fill"][k] = settled.astype(float)
    return {f"{source}__{key}": values for key, values in columns.items()}


def _band(spectra: Spectra, axis: ValueAxis) -> Frames:
    """What is shaded: the bin of the values that have no sign or are too small to place."""
    half = np.array([[np.nan if s is None else max(axis.threshold, s.zero_band)] for s in spectra]).reshape(-1, 1)
    right = axis.position(half.ravel()).reshape(-1, 1)
    left = np.where(np.isnan(right), np.nan, axis.start) if axis.folded else -right
    return {"band__left": left, "band__right": right, "band__half": half}


def _missing(spectra: Spectra, axis: ValueAxis, canvas: Canvas, source: str = "missing") -> Frames:
    """Where the words for a snapshot that is not computed stand: nowhere, if it is."""
    middle = (axis.start + axis.end) / 2, np.sqrt(canvas.low * canvas.high)
    place = np.array([middle if s is None else (np.nan, np.nan) for s in spectra]).reshape(-1, 2)
    return {f"{source}__x": place[:, :1], f"{source}__y": place[:, 1:]}

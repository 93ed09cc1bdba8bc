"""Draws the eigenvalues of one block at every snapshot: bars or a smooth curve, with what is uncertain about them."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from bokeh.models import ColumnDataSource, HoverTool
from bokeh.plotting import figure

from ..diagnosis import Finding
from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .axes import Scale, ValueAxis, axis_of, log_ticks
from .base_figure import (
    add_frame_title,
    blank_figure,
    empty_source,
    label_axis,
    packed,
    rows,
    tooltip,
)
from .flags import draw_flags, place_flags
from .frames import Key, Plot
from .located import mark_keys
from .sentences import beside_sentence, missing_sentence, spectrum_sentence, spectrum_title
from .spectrum_shapes import GROUND, HEADROOM, SKY, Canvas, Frames, density, histogram
from .theme import themed

Kind = Literal["histogram", "density"]
KINDS = ("histogram", "density")

BINS = 120  # a bar is then about 5 pixels wide

LEGEND = "Grey: no sign (zero band), or too small for this axis. Hollow triangles: not settled."
NOTHING: Sequence[Finding] = ()


def spectrum_plot(
    spectra: Sequence[Spectrum | None],
    labels: Sequence[str],
    *,
    layer: str | None = None,
    held_out: Sequence[Spectrum | None] | None = None,
    findings: Sequence[Sequence[Finding]] | None = None,
    kind: Kind = "histogram",
    scale: Scale = "symlog",
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
        findings: of every snapshot; each with an eigenvalue gets a flag there.
        kind: bars of expected counts, or the smoothed density of the same eigenvalues.
        scale: of the eigenvalue axis.
        bins: about how many bars.
        axis: an axis to share with other figures instead of one that fits these spectra.
        prefix: makes the names of sources unique where several figures share a page.
        height: in pixels.
    """
    known = [s for s in spectra if s is not None]
    name = layer or next((s.layer or "whole network" for s in known), "this block")
    over = [] if held_out is None else list(held_out)
    axis = axis or axis_of([*spectra, *over], scale=scale, bins=bins)
    canvas = (histogram if kind == "histogram" else density)(spectra, axis, over)
    found = [
        each if s is not None else NOTHING
        for s, each in zip(spectra, findings or [NOTHING] * len(spectra), strict=True)
    ]
    flags = place_flags(found, axis, canvas.low, canvas.high)
    frames = {
        **canvas.frames,
        **_ends(spectra, axis, canvas),
        **(_ends(over, axis, canvas, "over-ends") if over else {}),
        **_band(spectra, axis),
        **_missing(spectra, axis, canvas),
        **(_missing(over, axis, canvas, "over-missing") if over else {}),
        **flags.frames,
    }
    plot = blank_figure(
        prefix=prefix, height=height, x=(axis.start, axis.end), y=(canvas.low, flags.high), y_type="log"
    )
    add_frame_title(plot, f"{prefix}frame-title")
    label_axis(plot.xaxis[0], f"{prefix}x-axis", _value_label(axis), axis.ticks(), tuple(axis.minor_ticks()))
    label_axis(plot.yaxis[0], f"{prefix}y-axis", canvas.label, log_ticks(canvas.low, canvas.high))
    sources = {
        source: empty_source(
            f"{prefix}{source}",
            **{key.split("__")[1]: block.shape[1] for key, block in frames.items() if key.startswith(f"{source}__")},
        )
        for source in dict.fromkeys(key.split("__")[0] for key in frames)
    }
    blank = {key.split("__")[1]: [""] * len(sources["flags"].data["x"]) for key in flags.words}
    sources["flags"].data = {**sources["flags"].data, **blank}
    _draw(plot, sources, kind)
    return Plot(
        root=plot,
        frames=packed({f"{prefix}{key}": block for key, block in frames.items()}),
        titles=tuple(spectrum_title(s, name, label) for s, label in zip(spectra, labels, strict=True)),
        sentences=_sentences(spectra, over, found, name, labels),
        lagged=(f"{prefix}ghost",),
        title=f"{prefix}frame-title",
        legend=_legend(kind, exact=all(s.exact for s in known), beside=bool(over), levels=flags.levels),
        words={f"{prefix}{key}": texts for key, texts in flags.words.items()},
    )


def _sentences(
    spectra: Sequence[Spectrum | None],
    over: Sequence[Spectrum | None],
    found: Sequence[Sequence[Finding]],
    name: str,
    labels: Sequence[str],
) -> tuple[str, ...]:
    """What each snapshot shows, what it shows on held-out data, and which rules flag something."""
    texts = []
    for k, (spectrum, label) in enumerate(zip(spectra, labels, strict=True)):
        parts = [missing_sentence(name, label) if spectrum is None else spectrum_sentence(spectrum, name, label)]
        if over:
            parts.append(beside_sentence(over[k]))
        if rules := dict.fromkeys(f.rule for f in found[k] if f.eigenvalue is not None):
            parts.append(f"Flagged: {', '.join(rules)}.")
        texts.append(" ".join(parts))
    return tuple(texts)


def _ends(spectra: Sequence[Spectrum | None], axis: ValueAxis, canvas: Canvas, source: str = "ends") -> Frames:
    """Largest and smallest eigenvalue with their error; hollow where the iteration has not settled them."""
    count = len(spectra)
    columns = {key: rows(count, 2) for key in ("x", "y", "low", "high", "value", "error", "fill")}
    for k, spectrum in enumerate(spectra):
        if spectrum is None:
            continue
        value = np.array([spectrum.smallest, spectrum.largest])
        settled = spectrum.converged()[[0, -1]]
        columns["value"][k], columns["error"][k] = value, spectrum.error
        columns["x"][k], columns["y"][k] = axis.position(value), canvas.high / HEADROOM**0.4
        columns["low"][k] = axis.position(value - spectrum.error)
        columns["high"][k] = axis.position(value + spectrum.error)
        columns["fill"][k] = settled.astype(float)
    return {f"{source}__{key}": values for key, values in columns.items()}


def _band(spectra: Sequence[Spectrum | None], axis: ValueAxis) -> Frames:
    """What is shaded: the bin of the values that have no sign or are too small to place."""
    half = np.array([[np.nan if s is None else max(axis.threshold, s.zero_band)] for s in spectra]).reshape(-1, 1)
    right = axis.position(half.ravel()).reshape(-1, 1)
    return {"band__left": -right, "band__right": right, "band__half": half}


def _missing(spectra: Sequence[Spectrum | None], axis: ValueAxis, canvas: Canvas, source: str = "missing") -> Frames:
    """Where the words for a snapshot that is not computed stand: nowhere, if it is."""
    middle = (axis.start + axis.end) / 2, np.sqrt(canvas.low * canvas.high)
    place = np.array([middle if s is None else (np.nan, np.nan) for s in spectra]).reshape(-1, 2)
    return {f"{source}__x": place[:, :1], f"{source}__y": place[:, 1:]}


def _value_label(axis: ValueAxis) -> str:
    if axis.scale == "linear":
        return "eigenvalue λ"
    return f"eigenvalue λ (log scale either side of ±{short(axis.threshold)})"


def _legend(kind: Kind, *, exact: bool, beside: bool, levels: Sequence[str]) -> tuple[Key, ...]:
    bars = kind == "histogram"
    what = "training" if beside else "eigenvalues"
    keys = [
        Key(what if bars else f"{what}, smoothed", (("box", "bar"),)),
        *([Key("held-out, its λmin and λmax", (("line", "held_out"), ("diamond", "held_out")))] if beside else []),
        Key("≈ 0", (("shade", "band"),)),
        *([] if beside else [Key("previous snapshot", (("line", "ghost"),))]),
        Key("λmin, λmax", (("point", "ends"),)),
    ]
    if not exact:
        keys.append(Key("± standard error", (("whisker" if bars else "shade", "whisker"),)))
    return (*keys, *mark_keys(levels, "finding"))


def _draw(plot: figure, sources: dict[str, ColumnDataSource], kind: Kind) -> None:
    """Lay the parts over each other, from the shading at the back to the words in front."""
    band = plot.quad(left="left", right="right", top=SKY, bottom=GROUND, source=sources["band"], fill_alpha=0.2)
    themed(band.glyph, fill_color="band", line_color="band").line_alpha = 0.0
    (_draw_bars if kind == "histogram" else _draw_curve)(plot, sources)
    if "ghost" in sources:
        ghost = plot.line("x", "y", source=sources["ghost"], line_width=1.2)
        themed(ghost.glyph, line_color="ghost")
    error = plot.segment("low", "y", "high", "y", source=sources["ends"], line_width=2)
    ends = plot.scatter(
        "x", "y", source=sources["ends"], marker="inverted_triangle", size=12, fill_alpha="fill", line_width=2
    )
    themed(error.glyph, line_color="ends")
    themed(ends.glyph, fill_color="ends", line_color="ends")
    if "over" in sources:
        _draw_over(plot, sources)
    draw_flags(plot, sources["flags"])
    _draw_words(plot, sources["missing"], "not computed yet", "bottom")
    ends_words = tooltip("end of the spectrum: @value", "error bound: @error", "hollow: not settled yet")
    plot.add_tools(
        HoverTool(renderers=[ends], tooltips=ends_words, visible=False),
        HoverTool(renderers=[band], tooltips=tooltip("≈ 0: |λ| up to @half"), visible=False),
    )


def _draw_over(plot: figure, sources: dict[str, ColumnDataSource]) -> None:
    """The held-out spectrum: an outline, and diamonds at its ends, so that it is told apart without colour."""
    outline = plot.line("x", "y", source=sources["over"], line_width=1.5)
    themed(outline.glyph, line_color="held_out")
    ends = plot.scatter(
        "x", "y", source=sources["over-ends"], marker="diamond", size=13, fill_alpha="fill", line_width=1.5
    )
    themed(ends.glyph, fill_color="held_out", line_color="halo")
    _draw_words(plot, sources["over-missing"], "held-out: not computed yet", "top")
    words = tooltip("held-out: end of the spectrum: @value", "error bound: @error", "hollow: not settled yet")
    plot.add_tools(HoverTool(renderers=[ends], tooltips=words, visible=False))


def _draw_words(plot: figure, source: ColumnDataSource, words: str, baseline: Literal["top", "bottom"]) -> None:
    text = plot.text("x", "y", text={"value": words}, source=source)
    text.glyph.update(text_align="center", text_baseline=baseline, text_font_size="16px", background_fill_alpha=0.8)
    themed(text.glyph, text_color="text", background_fill_color="halo")


def _draw_bars(plot: figure, sources: dict[str, ColumnDataSource]) -> None:
    bars = plot.quad(left="left", right="right", top="top", bottom=GROUND, source=sources["bars"], line_width=0.5)
    themed(bars.glyph, fill_color="bar", line_color="halo")
    whiskers = plot.segment("x", "low", "x", "high", source=sources["whiskers"], line_width=1.2)
    themed(whiskers.glyph, line_color="whisker")
    tooltips = tooltip("λ from @from to @to", "eigenvalues: @count", "standard error: @stderr")
    plot.add_tools(HoverTool(renderers=[bars], tooltips=tooltips, visible=False))


def _draw_curve(plot: figure, sources: dict[str, ColumnDataSource]) -> None:
    body = plot.varea(x="x", y1=GROUND, y2="y", source=sources["curve"], fill_alpha=0.25)
    line = plot.line("x", "y", source=sources["curve"], line_width=2)
    themed(body.glyph, fill_color="bar")
    themed(line.glyph, line_color="bar")
    spread = plot.varea(x="x", y1="low", y2="high", source=sources["spread"], fill_alpha=0.35)
    themed(spread.glyph, fill_color="whisker")
    tooltips = tooltip("λ = @value", "density: @true")
    plot.add_tools(HoverTool(renderers=[line], tooltips=tooltips, mode="vline", visible=False))

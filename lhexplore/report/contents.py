"""Gathers what a report shows: figures with all their snapshots, and every text, from cached results only."""

from collections.abc import Sequence
from typing import Any

from ..diagnosis import Diagnosis, Finding, hesd
from ..diagnosis.number_texts import short
from ..explorer.card import beside, known_card
from ..explorer.figures import evolution_plot, hesd_map, loss_plot, snapshot_ticks, spectrum_plot
from ..explorer.heat_figure import row_label
from ..explorer.located import run_texts, run_words
from ..explorer.origin import origin_rows
from ..explorer.places import axis_words, snapshot_words, step_words
from ..explorer.protocols import SnapshotLike
from ..explorer.sentences import trace_words
from ..explorer.state import requests
from ..explorer.theme import THEMES
from ..spectrum import Spectrum
from .blocks import Block, Reading, Session, left_out_words, read
from .metrics import AT_ONCE, metric_parts
from .parts import Part, Templates
from .tables import ends_table, losses_table, quantile_table, types_table

Json = dict[str, Any]


def contents(session: Session) -> tuple[Json, dict[str, str], Reading]:
    """Everything the page knows, from what is cached; what is missing is said to be missing.

    Returns:
        What the page needs at once, as JSON; its parts by name, opened when they are looked at; what was read.
    """
    reading = read(session)
    shots, blocks = reading.shots, reading.blocks
    known = sum(block.known for block in blocks)
    layer, frame = _start(blocks)
    names = {block.key: block.name for block in blocks}
    rows = run_texts(reading.located, names, [row.label for row in shots], [step_words(row) for row in shots])
    figures = Templates()
    metrics = metric_parts(reading, figures) if shots else []
    parts = {f"layer-{i}": _layer_part(block, shots, figures) for i, block in enumerate(blocks)}
    parts |= {f"metric-{i}": text for i, (_, text) in enumerate(metrics)}
    if shots:
        parts["loss"] = _loss_part(reading, names, figures)
    return (
        {
            "title": "Layer-wise Hessian spectra",
            "description": session.description,
            "extent": _extent(known, len(blocks) * len(shots)) + _held_out_words(session, blocks),
            "leftOut": left_out_words(reading.left_out),
            "layer": layer,
            "frame": frame,
            "snapshots": [_shot(row) for row in shots],
            "layers": [_row(block) for block in blocks],
            "skipped": [{"name": r.name, "size": r.size, "reason": r.reason} for r in reading.skipped],
            "findings": {"rows": rows, "silent": reading.located.silent, "words": run_words(len(rows))},
            "metrics": [entry for entry, _ in metrics],
            "most": AT_ONCE,
            "chosen": list(range(min(AT_ONCE, len(blocks)))),
            "themes": THEMES,
        },
        parts | figures.parts(),
        reading,
    )


def _held_out_words(session: Session, blocks: Sequence[Block]) -> str:
    """Say how many of the spectra are known on held-out data."""
    if not session.has_held_out:
        return ""
    known = sum(s is not None for block in blocks for s in block.held_out)
    return f" On held-out data: {known:,} of {sum(len(block.spectra) for block in blocks):,}."


def _extent(known: int, total: int) -> str:
    """Say how complete the report is."""
    if not total:
        return "There is nothing to show: no layer or no snapshot."
    if not known:
        return "No spectrum had been computed when this report was written. session.compute() computes them."
    if known == total:
        return f"All {total:,} spectra of these layers and snapshots are here."
    return f"{known:,} of {total:,} spectra are here; the others had not been computed when this report was written."


def _start(blocks: Sequence[Block]) -> tuple[int, int]:
    """Open where there is something to see: the first layer with results, at its last one."""
    for i, block in enumerate(blocks):
        if block.known:
            return i, max(k for k, s in enumerate(block.spectra) if s is not None)
    return 0, 0


def _shot(row: SnapshotLike) -> Json:
    return {"label": row.label, "words": snapshot_words(row), "problem": "" if row.status == "ok" else row.reason}


def _row(block: Block) -> Json:
    """A row of the table of all layers: its cells at every snapshot."""
    cells: list[list[Any] | None] = []
    for spectrum, diagnosis, findings in zip(block.spectra, block.diagnoses, block.findings, strict=True):
        found = "; ".join(f.title for f in findings if f.level != "info")
        if spectrum is None or diagnosis is None:
            cells.append(None)
        else:
            kind = [diagnosis.hesd.word, diagnosis.hesd.symbol, diagnosis.hesd.colour]
            cells.append([short(spectrum.largest), trace_words(spectrum), kind, found])
    return {"name": block.name, "short": row_label(block.name), "size": block.size, "kind": block.kind, "cells": cells}


def _layer_part(block: Block, shots: Sequence[SnapshotLike], figures: Templates) -> str:
    part, labels, words = Part(figures), [step_words(row) for row in shots], [snapshot_words(row) for row in shots]
    over, ticks, time_label = block.held_out or None, snapshot_ticks(shots), axis_words(shots)
    spectrum = spectrum_plot(block.spectra, labels, layer=block.name, held_out=over, findings=block.findings)
    evolution = evolution_plot(
        block.spectra, labels, layer=block.name, held_out=over, shape="quantiles", ticks=ticks, time_label=time_label
    )
    types = [None if d is None else d.hesd for d in block.diagnoses]
    return part.text(
        {
            "spectrum": part.figure(spectrum, ends_table(block.name, block.spectra, block.held_out, words)),
            "evolution": part.figure(evolution, quantile_table(block.name, block.spectra, words)),
            "hesd": part.figure(hesd_map(types, labels, name=block.name), types_table(block.name, types, words)),
            "code": [str(call) for call in requests(block.key, [row.label for row in shots])],
            "readings": [
                _missing(row) if s is None or d is None else _reading(s, d, found, other, over is not None)
                for s, d, row, found, other in zip(
                    block.spectra, block.diagnoses, shots, block.findings, over or [None] * len(shots), strict=True
                )
            ],
        }
    )


def _loss_part(reading: Reading, names: dict[str | None, str], figures: Templates) -> str:
    part = Part(figures)
    found = [reading.located.during(row.label) for row in reading.shots]
    plot = loss_plot(reading.shots, reading.losses, findings=found, names=names)
    words = [snapshot_words(row) for row in reading.shots]
    return part.text({"loss": part.figure(plot, losses_table(reading.losses, words))})


def _reading(
    spectrum: Spectrum, diagnosis: Diagnosis, findings: Sequence[Finding], held_out: Spectrum | None, both: bool
) -> Json:
    """The card beside the figure, and how the numbers came about."""
    other = None if held_out is None else hesd(held_out)
    return {
        **known_card("", spectrum, diagnosis, findings),
        "beside": beside(spectrum, diagnosis.hesd, held_out, other) if both else [],
        "provenance": origin_rows(spectrum, held_out),
    }


def _missing(row: SnapshotLike) -> Json:
    why = f"This snapshot cannot be used: {row.reason}" if row.status != "ok" else "Not computed when this was written."
    return {"state": "missing", "message": why}

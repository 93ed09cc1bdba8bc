"""Gathers what a report shows: figures with all their snapshots, and every text, from cached results only."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from bokeh.embed import json_item
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import METRICS, Diagnosis, Finding, hesd
from ..diagnosis.metrics.table import BUILT_IN
from ..diagnosis.number_texts import short
from ..explorer.card import beside, known_card
from ..explorer.figures import Plot, heat_map, loss_plot, pack_frames, spectrum_plot
from ..explorer.heat_figure import Metric, metric_name
from ..explorer.located import Located, run_texts, run_words
from ..explorer.places import axis_words, snapshot_ticks, snapshot_words, step_words
from ..explorer.protocols import Judged, LayerLike, SnapshotLike
from ..explorer.sentences import trace_words
from ..explorer.theme import THEMES
from ..spectrum import WHOLE, Spectrum

Json = dict[str, Any]
MAPS = (  # metrics offered for the map, the most telling first
    "lambda_max",
    "trace",
    "lambda_min",
    "negative_mass",
    "rank_ratio",
    "effective_rank_ratio",
    "condition_50",
    "zero_fraction",
)


class Session(Protocol):
    """The part of a session's public face that never computes."""

    @property
    def layers(self) -> Sequence[LayerLike]: ...
    @property
    def snapshots(self) -> Sequence[SnapshotLike]: ...
    @property
    def description(self) -> str: ...
    @property
    def has_held_out(self) -> bool: ...
    def cached(self, layer: str | None, snapshot: int | str = -1, *, split: str = "data") -> Spectrum | None: ...
    def findings(self) -> Judged: ...
    def known_diagnosis(self, layer: str | None, snapshot: int | str = -1) -> Diagnosis | None: ...
    def losses(self, snapshot: int | str = -1) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Block:
    """One row of the report: a layer, or the whole network, at every snapshot."""

    key: str | None  # what the session calls it
    name: str
    size: int
    kind: str
    spectra: tuple[Spectrum | None, ...]
    diagnoses: tuple[Diagnosis | None, ...]
    held_out: tuple[Spectrum | None, ...]
    findings: tuple[Sequence[Finding], ...]

    @property
    def known(self) -> int:
        """At how many snapshots it was computed."""
        return sum(s is not None for s in self.spectra)


def contents(session: Session) -> Json:
    """Everything the page knows, as JSON: only what is cached; what is missing is said to be missing."""
    shots = list(session.snapshots)
    located = Located(session.findings())
    usable = [row for row in session.layers if row.status == "ok"]
    blocks = [_block(session, located, row.name, row.name, row.size, row.kind) for row in usable]
    whole = _block(session, located, None, WHOLE, 0, "")
    if whole.known:
        blocks.append(whole)
    losses = [dict(session.losses(k)) if row.status == "ok" else {} for k, row in enumerate(shots)]
    known = sum(block.known for block in blocks)
    layer, frame = _start(blocks)
    names = {block.key: block.name for block in blocks}
    rows = run_texts(located, names, [row.label for row in shots], [step_words(row) for row in shots])
    return {
        "title": "Layer-wise Hessian spectra",
        "description": session.description,
        "extent": _extent(known, len(blocks) * len(shots)) + _held_out_words(session, blocks),
        "layer": layer,
        "frame": frame,
        "snapshots": [_shot(row) for row in shots],
        "layers": [_layer(block, shots) for block in blocks],
        "skipped": [{"name": r.name, "size": r.size, "reason": r.reason} for r in session.layers if r.status != "ok"],
        "loss": _figure(loss_plot(shots, losses, findings=[located.during(s.label) for s in shots], names=names)),
        "findings": {"rows": rows, "silent": located.silent, "words": run_words(len(rows))},
        "maps": _maps(blocks, shots),
        "themes": THEMES,
    }


def _block(session: Session, located: Located, layer: str | None, name: str, size: int, kind: str) -> Block:
    usable = [k if row.status == "ok" else None for k, row in enumerate(session.snapshots)]
    spectra = tuple(None if k is None else session.cached(layer, k) for k in usable)
    read = tuple(None if s is None else session.known_diagnosis(layer, k) for k, s in enumerate(spectra))
    beside = tuple(
        None if k is None or not session.has_held_out else session.cached(layer, k, split="held_out") for k in usable
    )
    found = tuple(located.at(layer, row.label) for row in session.snapshots)
    size = size or next((s.size for s in spectra if s is not None), 0)
    return Block(layer, name, size, kind, spectra, read, beside, found)


def _held_out_words(session: Session, blocks: Sequence[Block]) -> str:
    """Say how many of the spectra are known on held-out data."""
    known = [s is not None for block in blocks for s in block.held_out]
    return f" On held-out data: {sum(known):,} of {len(known):,}." if session.has_held_out else ""


def _extent(known: int, total: int) -> str:
    """Say how complete the report is."""
    if not known:
        return "No spectrum had been computed when this report was written."
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


def _layer(block: Block, shots: Sequence[SnapshotLike]) -> Json:
    over = block.held_out if any(block.held_out) else None
    labels = [step_words(row) for row in shots]
    plot = spectrum_plot(block.spectra, labels, layer=block.name, held_out=over, findings=block.findings)
    return {
        "name": block.name,
        "size": block.size,
        "kind": block.kind,
        "figure": _figure(plot),
        "readings": [
            _missing(row) if s is None or d is None else _reading(s, d, found, other, over is not None)
            for s, d, row, found, other in zip(
                block.spectra, block.diagnoses, shots, block.findings, block.held_out, strict=True
            )
        ],
    }


def _reading(
    spectrum: Spectrum, diagnosis: Diagnosis, findings: Sequence[Finding], held_out: Spectrum | None, both: bool
) -> Json:
    """The card beside the figure, the cells of the table, and how the numbers came about."""
    found = [f.title for f in findings if f.level != "info"]
    other = None if held_out is None else hesd(held_out)
    return {
        **known_card("", spectrum, diagnosis, findings),
        "beside": beside(spectrum, diagnosis.hesd, held_out, other) if both else [],
        "cells": [short(spectrum.largest), trace_words(spectrum), "; ".join(found)],
        "provenance": [
            ["method", f"{spectrum.method}: {spectrum.reason}" if spectrum.reason else spectrum.method],
            ["curvature", f"{spectrum.curvature} of {spectrum.functional}, split {spectrum.split}"],
            ["products", f"{spectrum.products:,} in {short(spectrum.seconds)} s"],
            ["zero band", f"|λ| ≤ {short(spectrum.zero_band)}"],
            *([["held-out", f"{held_out.method}, {held_out.products:,} products"]] if held_out is not None else []),
            ["symmetry defect", short(spectrum.symmetry_defect)],
            *([key, str(value)] for key, value in spectrum.provenance.items()),
        ],
    }


def _missing(row: SnapshotLike) -> Json:
    why = f"This snapshot cannot be used: {row.reason}" if row.status != "ok" else "Not computed when this was written."
    return {"state": "missing", "message": why}


def _maps(blocks: Sequence[Block], shots: Sequence[SnapshotLike]) -> list[Json]:
    """One map per metric that is known anywhere."""
    maps = []
    for name in (*MAPS, *(name for name in METRICS if name not in BUILT_IN)):  # one's own last
        metric = METRICS[name]
        values = np.array([[_value(d, name) for d in block.diagnoses] for block in blocks]).reshape(-1, len(shots))
        if np.isfinite(values).any():
            maps.append(_map(values, metric, blocks, shots))
    return maps


def _map(
    values: Float[ndarray, "layers snapshots"], metric: Metric, blocks: Sequence[Block], shots: Sequence[SnapshotLike]
) -> Json:
    names = [block.name for block in blocks]
    steps, ticks = [step_words(row) for row in shots], snapshot_ticks(shots)
    found = [block.findings for block in blocks]
    plot = heat_map(values, names, steps, metric=metric, findings=found, ticks=ticks, x_label=axis_words(shots))
    meaning = getattr(metric, "meaning", "")
    return {"name": metric_name(metric), "meaning": meaning, "figure": _figure(plot)}


def _value(diagnosis: Diagnosis | None, name: str) -> float:
    return float("nan") if diagnosis is None else float(diagnosis.metrics.get(name, float("nan")))


def _figure(plot: Plot) -> Json:
    """A figure with its frames, which a page can only hold as text."""
    block, spec = pack_frames(plot)
    packed = base64.b64encode(block).decode()
    return {
        "document": json_item(plot.root)["doc"],
        "height": plot.root.height,
        "frames": packed,
        "spec": spec,
        "sentences": list(plot.sentences),
    }

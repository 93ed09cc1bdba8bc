"""The numbers that each view shows, as a table: of the layer on show, or of the snapshot on show."""

import json
from collections.abc import Callable, Mapping
from math import isnan
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import METRICS
from ..diagnosis.number_texts import short
from ..figures.names import metric_name
from ..figures.numbers import numbers
from ..figures.recorded import is_accuracy, is_loss
from ..figures.run import run_of
from .escape import plain
from .located import run_texts
from .metric_figure import value_texts
from .origin import origin_rows
from .state import Cell, Selection
from .twin_compare import compare_table
from .twin_run import KnownRun
from .twin_table import SHARES, Table, quantiles

UNKNOWN = "–"


def _words(value: float | None) -> str:
    return UNKNOWN if value is None or isnan(value) else short(value)


def _estimates(values: Float[ndarray, " snapshots"], errors: Float[ndarray, " snapshots"]) -> list[str]:
    told = value_texts(values, errors, "")
    return [UNKNOWN if isnan(value) else text for value, text in zip(values, told, strict=True)]


def _losses(view: Any, looking: Selection) -> Table:
    rows = view.hub.facts.losses()
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if is_loss(name) or is_accuracy(name)]
    lines = [[step, *(_words(row.get(name)) for name in names)] for step, row in zip(_steps(view), rows, strict=True)]
    return Table.of("Losses and accuracies over training.", ["snapshot", *names], lines)


def _layers(view: Any, looking: Selection) -> Table:
    values, computing = view.hub.facts.table(looking), view.hub.computing
    lines = []
    for r, entry in enumerate(looking.shown):
        found = computing.diagnosis(Cell(entry.name, looking.snapshot, looking.main)) if looking.labels else None
        value = values[r, looking.snapshot] if looking.labels else None
        what = entry.reason if not entry.usable else UNKNOWN if found is None else found.hesd.word
        lines.append([entry.name, entry.kind, f"{entry.size:,}", _words(value), what])
    name = metric_name(METRICS[looking.metric].name)
    return Table.of(f"Layers at {_here(view, looking)}.", ["layer", "kind", "parameters", name, "type"], lines)


def _spectrum(view: Any, looking: Selection) -> Table | None:
    known = view.hub.computing.known
    drawn = [(_called(cell, looking), known.best(cell)) for cell in looking.cells] if looking.labels else []
    found = [(name, s, quantiles(s)) for name, s in drawn if s is not None]
    if not found:
        return None
    lines = [[what, *(short(at[i]) for _, _, at in found)] for i, what in enumerate(SHARES)]
    lines.append(["trace", *(_words(s.trace) for _, s, _ in found)])
    caption = f"Where the eigenvalues of {plain(looking.layer)} lie at {_here(view, looking)}."
    return Table.of(caption, ["eigenvalue", *(name for name, _, _ in found)], lines)


def _evolution(view: Any, looking: Selection) -> Table:
    known = view.hub.computing.known
    found = [known.best(cell) for cell in view.hub.facts.row(looking)]
    lines = [
        [step, *([UNKNOWN] * len(SHARES) if s is None else map(short, quantiles(s)))]
        for step, s in zip(_steps(view), found, strict=True)
    ]
    return Table.of(f"Where the eigenvalues of {plain(looking.layer)} lie over training.", ["snapshot", *SHARES], lines)


def _heat(view: Any, looking: Selection) -> Table:
    rows, values = view.hub.facts.map_rows(looking), view.hub.facts.table(looking)
    at = {entry.name: row for row, entry in enumerate(looking.shown)}
    lines = [[entry.name, *map(_words, values[at[entry.name]])] for entry in rows]
    name = metric_name(looking.metric)
    return Table.of(f"{name} of every layer at every snapshot.", ["layer", *_steps(view)], lines)


def _metric(view: Any, looking: Selection) -> Table:
    keys = [entry.key for entry in view.rows]
    found = numbers(run_of(KnownRun(view.hub, looking)), view.quantity, keys, looking.main)
    cells = [_estimates(*row) for row in zip(found.value, found.error, strict=True)]
    lines = [[step, *column] for step, *column in zip(_steps(view), *cells, strict=True)] if cells else []
    caption = f"{metric_name(view.quantity)} over training, ± 2 standard errors where it is estimated."
    return Table.of(caption, ["snapshot", *(entry.name for entry in view.rows)], lines)


def _badge(view: Any, looking: Selection) -> Table | None:
    cards = json.loads(view.card.texts)
    if looking.snapshot >= len(cards) or not cards[looking.snapshot]["numbers"]:
        return None
    card = cards[looking.snapshot]
    return Table.of(f"{card['title']}.", ["what", "value", "meaning"], card["numbers"])


def _hesd(view: Any, looking: Selection) -> Table:
    entry = view.entry(looking)
    types = [view.hub.computing.hesd(cell) for cell in view.hub.facts.row(looking, entry)]
    lines = [
        [step, *([UNKNOWN] * 3 if h is None else [_words(h.ct), _words(h.kh), h.word])]
        for step, h in zip(_steps(view), types, strict=True)
    ]
    return Table.of(f"Type of {plain(entry.name)} over training.", ["snapshot", "C_t", "K_H", "type"], lines)


def _findings(view: Any, looking: Selection) -> Table | None:
    facts = view.hub.facts
    rows = run_texts(facts.located, looking.names, looking.labels, facts.steps)
    lines = [[f"{r['level']} {r['rule']}", r["title"], r["place"], r["action"], r["limit"]] for r in rows]
    return Table.of("What the rules found.", ["rule", "finding", "where", "what to do", "why"], lines) if rows else None


def _parameters(view: Any, looking: Selection) -> Table:
    key, stating = looking.key(looking.layer), view.hub.computing.stating
    states = [stating.of(key, k, looking.main) for k in range(len(looking.labels))]
    columns = {"gradient norm": "gradient_norm", "mean": "mean", "s.d.": "std", "norm": "norm", "moved": "moved"}
    lines = [
        [step, *(UNKNOWN if state is None else _words(getattr(state, name)) for name in columns.values())]
        for step, state in zip(_steps(view), states, strict=True)
    ]
    return Table.of(f"Gradient and parameters of {plain(looking.layer)}.", ["snapshot", *columns], lines)


def _provenance(view: Any, looking: Selection) -> Table | None:
    found = view.hub.computing.known.spectrum(looking.cell) if looking.labels else None
    caption = f"How the spectrum of {plain(looking.layer)} at {_here(view, looking)} was computed."
    return None if found is None else Table.of(caption, ["what", "value"], origin_rows(found))


def _vectors(view: Any, looking: Selection) -> Table | None:
    pairs = view.pairs
    if pairs is None:
        return None
    lines = [
        [f"vector {i + 1}", short(value), short(np.abs(vector).max()), str(int(np.abs(vector).argmax()))]
        for i, (value, vector) in enumerate(zip(pairs.values, pairs.vectors, strict=True))
    ]
    caption = f"First eigenvectors of {plain(looking.layer)} at {_here(view, looking)}."
    return Table.of(caption, ["vector", "eigenvalue", "largest component", "at parameter"], lines)


TABLES: Mapping[str, Callable[[Any, Selection], Table | None]] = MappingProxyType(
    {
        "ComparePlot": compare_table,
        "Eigenvectors": _vectors,
        "Evolution": _evolution,
        "Findings": _findings,
        "HeatMap": _heat,
        "HesdBadge": _badge,
        "HesdMap": _hesd,
        "LayerPicker": _layers,
        "MetricPlot": _metric,
        "ParameterPlot": _parameters,
        "Provenance": _provenance,
        "Scrubber": _losses,
        "SpectrumPlot": _spectrum,
    }
)


def _called(cell: Cell, looking: Selection) -> str:
    """What one of the spectra over each other is called."""
    parts = [cell.layer, "held-out data" if cell.split == "held_out" else "", "Gauss–Newton" if cell.curvature else ""]
    return ", ".join(filter(None, parts))


def _steps(view: Any) -> tuple[str, ...]:
    steps: tuple[str, ...] = view.hub.facts.steps
    return steps


def _here(view: Any, looking: Selection) -> str:
    return _steps(view)[looking.snapshot] if looking.labels else "no snapshot"

"""All figures of one half of the data sets, as JSON says them."""

import math
import statistics as st
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from lhexplore.diagnosis import hesd, metrics

from . import truths
from .bundle import Record
from .datasets import REGRESSION
from .judging import (
    Case,
    Records,
    accuracy_gap,
    alarmed,
    blind,
    held_out_loss,
    judge,
    late_trace,
    memorised,
    of_layers,
    of_runs,
    plain,
    with_references,
)
from .runs import STATES
from .statistics import Answer, Counts, count, interval, ratio, spearman

LATE = 1.15  # of the later half's largest trace to the earlier half's; set on the development half
Figures = dict[str, Any]


def figures(records: Records) -> Figures:
    """Judge every run and count."""
    cases = judge(records)
    return {
        "runs": len(records),
        "runs_by_state": {state: sum(r.run.state == state for r in records.values()) for state in STATES},
        "datasets": sorted({record.run.dataset for record in records.values()}),
        "not_computed": sum(len(r.truths["failures"]) for r in records.values()),
        "rules": rules(cases, records),
        "memorisation": memorisation(records),
        "false_alarms": false_alarms(cases),
        "hesd": types(records),
        "gap": correlations(records),
    }


def rules(cases: list[Case], records: Records) -> dict[str, Figures]:
    """Confusion of every rule with a truth, in the situation it is made for."""
    return {
        "D1": confusion(of_runs(cases, "D1", truths.overfitted)),
        "D2": confusion(memorised(records)),
        "D3": confusion(of_runs(cases, "D3", truths.underparameterised)),
        "D4": confusion(of_layers(cases)),
        "D7": confusion(of_runs(cases, "D7", truths.overtrained)),
    }


def memorisation(records: Records) -> dict[str, Figures]:
    """D2 by what it has to go by, beside detectors that need no rule."""
    paired = {name: blind(record) for name, record in with_references(records).items()}
    stopped = {name: record for name, record in records.items() if record.run.stop == "fit"}
    unseen = {name: blind(record) for name, record in records.items()}
    return {
        "D2, reference run and no held-out data": confusion(memorised(paired)),
        "D2, held-out data and no reference run": confusion(memorised(records)),
        "D2, reference run and held-out data": confusion(memorised(with_references(records))),
        "D2, held-out data, against clean runs that stopped at the same accuracy": confusion(memorised(stopped)),
        "D2, neither": confusion(memorised(unseen)),
        "trace monitor (CUSUM), one clean run as its reference": confusion(alarmed(records)),
        "plain: training less held-out accuracy": confusion(plain(records, accuracy_gap)),
        "plain: held-out loss over that of the first weights": confusion(plain(records, held_out_loss)),
        "trace of the run alone rises late": confusion(plain(records, partial(late_trace, limit=LATE))),
    }


def confusion(answers: Sequence[Answer]) -> Figures:
    """Counts, precision, recall and false alarms, each with its interval."""

    def measured(read: Callable[[Counts], float]) -> list[float | None]:
        values = read(count(answers)), *interval(answers, lambda a: a.dataset, lambda some: read(count(some)))
        return [None if math.isnan(value) else round(value, 4) for value in values]

    found = count(answers)
    return {
        "hits": found.hits,
        "false": found.false,
        "missed": found.missed,
        "quiet": found.quiet,
        "precision": measured(lambda c: c.precision),
        "recall": measured(lambda c: c.recall),
        "alarms": measured(lambda c: c.alarms),
        "wrong_in": dict(sorted(Counter(answer.dataset for answer in answers if answer.said != answer.true).items())),
    }


def false_alarms(cases: list[Case]) -> Figures:
    """Healthy runs on which some rule warns, and which."""
    healthy = [case for case in cases if truths.healthy(case.record)]
    share = lambda some: ratio(sum(bool(case.warnings) for case in some), len(some))  # noqa: E731
    rate = share(healthy), *interval(healthy, lambda case: case.dataset, share)
    rules = Counter(rule for case in healthy for rule in case.warnings)
    return {
        "healthy": len(healthy),
        "alarmed": sum(bool(case.warnings) for case in healthy),
        "rate": [None if math.isnan(value) else round(value, 4) for value in rate],
        "by_rule": dict(sorted(rules.items())),
        "which": sorted(case.record.run.name for case in healthy if case.warnings),
    }


def types(records: Records) -> dict[str, dict[str, int]]:
    """HESD types of the whole network, before training and at the end, by state."""
    found: dict[str, Counter[str]] = {}
    for record in records.values():
        course = record.course
        for moment, at in (("untrained", course.snapshots[0]), (_group(record), course.snapshots[-1])):
            spectrum = course.spectra.get((None, at))
            if spectrum is not None:
                found.setdefault(moment, Counter())[hesd(spectrum).type] += 1
    return {state: dict(sorted(counts.items())) for state, counts in sorted(found.items())}


def _group(record: Record) -> str:
    run = record.run
    return f"{run.state}, {run.kind}" if run.state == "manipulated" else run.state


def correlations(records: Records) -> dict[str, dict[str, list[float | None]]]:
    """Rank correlation of every metric with the generalisation gap of the loss over runs on one data set, averaged.

    A run's metric is the median over its layers at the end; its gap that of the test loss over the training loss.
    """
    chosen = [r for r in records.values() if r.run.dataset not in REGRESSION and r.run.state not in ("idle", "slow")]
    rows = [(r.run.dataset, r.run.state, _metrics(r), _gap(r)) for r in chosen]
    found: dict[str, dict[str, list[float | None]]] = {}
    for name in rows[0][2] if rows else ():
        for group, states in (("all", STATES), ("clean", truths.CLEAN)):
            pairs: dict[str, list[tuple[float, float]]] = {}
            for dataset, state, values, gap in rows:
                if state in states:
                    pairs.setdefault(dataset, []).append((values[name], gap))
            each = [(dataset, value) for dataset, some in pairs.items() if not math.isnan(value := spearman(some))]
            numbers = (_mean(each), *interval(each, lambda pair: pair[0], _mean)) if each else (math.nan,) * 3
            found.setdefault(name, {})[group] = [None if math.isnan(v) else round(v, 3) for v in numbers]
    return found


def _mean(values: Sequence[tuple[str, float]]) -> float:
    return st.mean(value for _, value in values)


def _metrics(record: Record) -> dict[str, float]:
    course = record.course
    at = course.snapshots[-1]
    layers = [metrics(course.spectra[layer, at]) for layer in course.layers if layer is not None]
    values = {name: [row[name] for row in layers if np.isfinite(row[name])] for name in layers[0]}
    return {name: st.median(some) if some else math.nan for name, some in values.items()} | {
        "training loss": course.losses[at]["loss"]
    }


def _gap(record: Record) -> float:
    final = record.truths["final"]
    return final["test_loss"] - final["loss"]

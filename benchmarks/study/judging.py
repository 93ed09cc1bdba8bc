"""What lhexplore's rules say of every run, beside what is true."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from lhexplore.diagnosis.course import Course
from lhexplore.diagnosis.monitor.cusum import follow
from lhexplore.diagnosis.monitor.healthy import Reference
from lhexplore.diagnosis.rules.run import RunDiagnosis, diagnose_run
from lhexplore.trace_point import TracePoint

from . import truths
from .bundle import Record, with_reference
from .statistics import Answer

Records = Mapping[str, Record]
GAP_OF_ACCURACY, RISE_OF_LOSS = 0.3, 1.5  # limits of the two plain detectors, set on the development half


@dataclass(frozen=True, eq=False)
class Case:
    """One run with its diagnosis; the one with its reference run, where it has one, beside."""

    record: Record
    alone: RunDiagnosis

    @property
    def dataset(self) -> str:
        return self.record.run.dataset

    def warned(self, rule: str) -> bool:
        """Whether the rule warns somewhere in the run."""
        return any(found.rule == rule and found.level == "warning" for found in self.alone.findings)

    @property
    def warnings(self) -> set[str]:
        """Rules that warn by heuristic."""
        return {found.rule for found in self.alone.findings if found.level == "warning" and found.heuristic}


def judge(records: Records) -> list[Case]:
    """Diagnose every run by itself, with its held-out data."""
    return [Case(record, diagnose_run(record.course)) for record in records.values()]


def of_runs(cases: list[Case], rule: str, truth: Callable[[Record], truths.Truth]) -> list[Answer]:
    """One answer per run whose truth is clear: whether the rule warns anywhere."""
    known = ((case, truth(case.record)) for case in cases)
    return [Answer(case.dataset, case.warned(rule), true) for case, true in known if true is not None]


def of_layers(cases: list[Case]) -> list[Answer]:
    """One answer per layer at the end of the run: whether D4 warns there."""
    answers = []
    for case in cases:
        course = case.record.course
        for layer in course.layers:
            true = None if layer is None else truths.idle_layer(case.record, layer)
            if true is not None:
                here = case.alone.at(layer, course.snapshots[-1])
                answers.append(Answer(case.dataset, any(f.rule == "D4" and f.level == "warning" for f in here), true))
    return answers


def memorised(records: Records) -> list[Answer]:
    """Answers of D2, on every run that is fitted."""
    known = ((record, truths.memorised(record)) for record in records.values())
    return [Answer(r.run.dataset, "D2" in _warnings(r.course), true) for r, true in known if true is not None]


def with_references(records: Records) -> Records:
    """Fitted runs that have a reference, with it."""
    return {
        name: with_reference(record, records[record.run.reference])
        for name, record in records.items()
        if record.run.reference
    }


def blind(record: Record) -> Record:
    """The same run without held-out data."""
    losses = {
        label: {name: value for name, value in row.items() if not name.startswith("held_out_")}
        for label, row in record.course.losses.items()
    }
    return replace(record, course=replace(record.course, held_out={}, losses=losses))


def plain(records: Records, detector: Callable[[Course], bool]) -> list[Answer]:
    """Answers of a detector without curvature."""
    known = ((record, truths.memorised(record)) for record in records.values())
    return [Answer(record.run.dataset, detector(record.course), true) for record, true in known if true is not None]


def accuracy_gap(course: Course) -> bool:
    """Training accuracy far above held-out accuracy."""
    last = course.losses[course.snapshots[-1]]
    return last["accuracy"] - last["held_out_accuracy"] >= GAP_OF_ACCURACY


def held_out_loss(course: Course) -> bool:
    """Held-out loss above that of the first weights."""
    first, last = (course.losses[course.snapshots[k]]["held_out_loss"] for k in (0, -1))
    return last >= RISE_OF_LOSS * first


def late_trace(course: Course, limit: float) -> bool:
    """The trace of the later half of the snapshots above that of the earlier half: curvature of the run alone."""
    layers = [layer for layer in course.layers if layer is not None]
    trace = np.array([sum(course.spectra[layer, at].trace for layer in layers) for at in course.snapshots])
    middle = len(trace) // 2
    return bool(trace[middle:].max() >= limit * trace[: middle + 1].max())


def _warnings(course: Course) -> set[str]:
    return {found.rule for found in diagnose_run(course).findings if found.level == "warning"}


def alarmed(records: Records) -> list[Answer]:
    """Answers of the trace monitor whose reference is one clean run of the same network."""
    answers = []
    for record in records.values():
        true = truths.memorised(record)
        if record.run.reference and true is not None:
            reference = Reference.of([points(records[record.run.reference].course)])
            answers.append(Answer(record.run.dataset, bool(follow(points(record.course), reference).alarms), true))
    return answers


def points(course: Course) -> list[TracePoint]:
    """The traces of all layers as the monitor takes them."""
    layers = [layer for layer in course.layers if layer is not None]
    return [
        TracePoint(course.steps[at], {layer: (course.spectra[layer, at].trace, 0.0) for layer in layers})
        for at in course.snapshots
    ]

"""What a session knows, read as one run: every spectrum beside its neighbours, held-out data, losses and states."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import numpy as np

from ..diagnosis import Course, Diagnosis, RunDiagnosis, Thresholds, diagnose_run, metrics
from ..diagnosis.course import Cell
from ..diagnosis.rules.diagnose import diagnosis_in
from ..errors import SettingError
from ..layer_state import LayerState
from ..spectrum import Spectrum
from .layer_states import known_states
from .loss_series import loss_series

if TYPE_CHECKING:
    from .session import Session

_LINKED = ("shares ", "tied to")  # in what a layer says of itself: its parameters are another layer's, too


@dataclass(frozen=True, slots=True)
class _Read:
    """A course and what was said of it; good as long as the ``stamp`` of all that it was gathered from stays."""

    stamp: object
    course: Course
    runs: dict[Thresholds, RunDiagnosis] = field(default_factory=dict)
    cells: dict[tuple[Thresholds, Cell], Diagnosis] = field(default_factory=dict)


# By split and curvature. Steps are single operations on dictionaries: at worst two threads gather the same course.
_KNOWN: "WeakKeyDictionary[Session, dict[tuple[str, str], _Read]]" = WeakKeyDictionary()


def forget(session: "Session") -> None:
    """Have the run gathered anew the next time: under some labels lie other weights now."""
    _KNOWN.pop(session, None)


def course_of(
    session: "Session",
    *,
    split: str = "data",
    curvature: str | None = None,
    reference: "Session | Course | None" = None,
) -> Course:
    """Everything that is cached of a session's run; computes nothing.

    Args:
        session: whose run.
        split: "data" or "held_out": which spectra to judge.
        curvature: None for the session's own.
        reference: a healthy run to compare with.

    Raises:
        SettingError: the reference is neither a session nor a course.
    """
    course = _read(session, split, curvature).course
    if reference is None:
        return course
    if not isinstance(reference, Course):
        if not isinstance(reference, type(session)):
            raise SettingError(
                f"reference must be one session, or its course(); got {reference!r:.60} ({type(reference).__name__}). "
                "Open the healthy run with lhexplore.Session(…) and pass that."
            )
        reference = course_of(reference, split=split, curvature=curvature)
    return replace(course, reference=reference)


def findings(
    session: "Session",
    *,
    split: str = "data",
    thresholds: Thresholds = Thresholds(),
    reference: "Session | Course | None" = None,
    alarms: Mapping[str, int] | None = None,
) -> RunDiagnosis:
    """Judge the whole run by what is cached; see :func:`lhexplore.diagnosis.diagnose_run`."""
    if reference is None and alarms is None:
        return _run(_read(session, split, None), thresholds)
    return diagnose_run(course_of(session, split=split, reference=reference), thresholds, alarms=alarms)


def read(session: "Session", spectrum: Spectrum) -> Diagnosis:
    """Diagnose ``spectrum`` as a part of its run, by what is cached; computes nothing.

    The run is judged once for all cells: again only after something was computed, evaluated or set.
    """
    known, cell = _read(session, spectrum.split, spectrum.curvature), (spectrum.layer, spectrum.snapshot)
    cached = known.course.spectra.get(cell)
    if cached is None or not _same(cached, spectrum):  # it stands where the cache may have another one
        course = replace(known.course, spectra={**known.course.spectra, cell: spectrum})
        return diagnosis_in(diagnose_run(course, session.thresholds), *cell)
    found = known.cells.get((session.thresholds, cell))
    if found is None:
        found = known.cells[session.thresholds, cell] = diagnosis_in(_run(known, session.thresholds), *cell)
    return replace(found, metrics=metrics(cached))  # one's own may have been registered since


def _run(known: _Read, thresholds: Thresholds) -> RunDiagnosis:
    if thresholds not in known.runs:
        known.runs[thresholds] = diagnose_run(known.course, thresholds)
    return known.runs[thresholds]


def _read(session: "Session", split: str, curvature: str | None) -> _Read:
    """The course as it is now: gathered anew only where something may have changed."""
    courses = _KNOWN.setdefault(session, {})
    wanted = (split, curvature or session._curvature)
    stamp = _stamp(session)  # first: what changes meanwhile is then seen the next time
    known = courses.get(wanted)
    if known is None or known.stamp != stamp:
        course = _gathered(session, *wanted)
        if known is not None and _unchanged(known.course, course):  # another run's results may share the folder
            known = replace(known, stamp=stamp)
        else:
            known = _Read(stamp, course)
        courses[wanted] = known
    return known


def _unchanged(before: Course, now: Course) -> bool:
    return all(getattr(before, item.name) == getattr(now, item.name) for item in fields(Course))


def _stamp(session: "Session") -> object:
    """Changes with everything that a course is gathered from."""
    rows = [(row.status, row.step, *row.metrics.items()) for row in session.snapshots]
    return session._store.stamp, len(session._evaluated), rows


def _gathered(session: "Session", split: str, curvature: str) -> Course:
    session._request(None, 0, split=split, curvature=curvature)  # says what is wrong with split or curvature
    labels = tuple(row.label for row in session.snapshots)
    spectra = _cached(session, split, curvature)
    return Course(
        snapshots=labels,
        spectra=spectra,
        held_out=_cached(session, "held_out", curvature) if split == "data" and _has_other_data(session) else {},
        losses=loss_series(session),
        states=_states(session, spectra, split),
        steps={row.label: row.step for row in session.snapshots if row.step is not None},
        remarks={row.name: row.reason for row in session.layers if any(word in row.reason for word in _LINKED)},
    )


def _has_other_data(session: "Session") -> bool:
    """Whether there is held-out data, and not the same again: that would compare nothing, and a notice says so."""
    return session.has_held_out and len({data.digest for data in session._data.values()}) > 1


def _cached(session: "Session", split: str, curvature: str) -> dict[Cell, Spectrum]:
    wanted = session._answers.everywhere(split=split, curvature=curvature).items()
    found = ((cell, session.known(request)) for cell, request in wanted)
    return {cell: spectrum for cell, spectrum in found if spectrum is not None}


def _states(session: "Session", cells: Iterable[Cell], split: str) -> dict[Cell, LayerState]:
    """Gradients and parameters of layers, as far as they are known."""
    wanted = set(cells)
    found = ((label, known_states(session, label, split=split)) for label in dict.fromkeys(label for _, label in cells))
    return {(name, label): one for label, known in found for name, one in known.items() if (name, label) in wanted}


def _same(a: Spectrum, b: Spectrum) -> bool:
    """Whether two spectra are one, perhaps read twice."""
    return a is b or (
        (a.method, a.steps, a.probes, a.zero_band, a.complete) == (b.method, b.steps, b.probes, b.zero_band, b.complete)
        and np.array_equal(a.nodes, b.nodes)
        and np.array_equal(a.weights, b.weights)
    )

"""What a session knows, read as one run: every spectrum beside its neighbours, held-out data, losses and states."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ..diagnosis import Course, Diagnosis, RunDiagnosis, Thresholds, diagnose_cell, diagnose_run
from ..layer_state import LayerState
from ..spectrum import Spectrum

if TYPE_CHECKING:
    from .session import Session

_LINKED = ("shares ", "tied to")  # in what a layer says of itself: its parameters are another layer's, too


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
    """
    names = [layer.name for layer in session.layers if layer.status == "ok"]
    cells = [(name, row.label) for name in (*names, None) for row in session.snapshots]
    if reference is not None and not isinstance(reference, Course):
        reference = course_of(reference, split=split, curvature=curvature)
    return _course(session, cells, cells, split=split, curvature=curvature, reference=reference)


def findings(
    session: "Session",
    *,
    split: str = "data",
    thresholds: Thresholds = Thresholds(),
    reference: "Session | Course | None" = None,
    alarms: Mapping[str, int] | None = None,
) -> RunDiagnosis:
    """Judge the whole run by what is cached; see :func:`lhexplore.diagnosis.diagnose_run`."""
    return diagnose_run(course_of(session, split=split, reference=reference), thresholds, alarms=alarms)


def read(session: "Session", spectrum: Spectrum) -> Diagnosis:
    """Diagnose ``spectrum`` with what is cached around it up to its snapshot; computes nothing."""
    labels = [row.label for row in session.snapshots]
    labels = labels[: labels.index(spectrum.snapshot) + 1]
    own = [(spectrum.layer, label) for label in labels]
    others = [] if spectrum.layer is None else [row.name for row in session.layers if row.status == "ok"]
    near = labels[-session.thresholds.window :]  # no rule compares layers farther back
    beside = [(name, label) for name in others if name != spectrum.layer for label in near]
    course = _course(
        session,
        [*own, *beside],
        [(spectrum.layer, spectrum.snapshot)],
        split=spectrum.split,
        curvature=spectrum.curvature,
        given=spectrum,
    )
    return diagnose_cell(course, spectrum.layer, spectrum.snapshot, session.thresholds)


def _course(
    session: "Session",
    cells: Iterable[tuple[str | None, str]],
    held_out: Iterable[tuple[str | None, str]],
    *,
    split: str,
    curvature: str | None,
    reference: Course | None = None,
    given: Spectrum | None = None,
) -> Course:
    """A course of these cells; ``given`` stands where the cache may have another spectrum."""

    def cached(wanted: Iterable[tuple[str | None, str]], split: str) -> dict[tuple[str | None, str], Spectrum]:
        found = ((cell, session.cached(*cell, split=split, curvature=curvature)) for cell in wanted)
        return {cell: spectrum for cell, spectrum in found if spectrum is not None}

    spectra = cached(cells, split)
    if given is not None:
        spectra[given.layer, given.snapshot] = given
    labels = tuple(row.label for row in session.snapshots)
    return Course(
        snapshots=labels,
        spectra=spectra,
        held_out=cached(held_out, "held_out") if session.has_held_out and split == "data" else {},
        losses={label: session.losses(label) for label in labels},
        states=_states(session, spectra, split),
        steps={row.label: row.step for row in session.snapshots if row.step is not None},
        remarks={row.name: row.reason for row in session.layers if any(word in row.reason for word in _LINKED)},
        reference=reference,
    )


def _states(
    session: "Session", cells: Iterable[tuple[str | None, str]], split: str
) -> dict[tuple[str | None, str], LayerState]:
    """Gradients and parameters of layers, as far as they are known."""
    wanted = set(cells)
    found = ((label, session.cached_states(label, split=split)) for label in dict.fromkeys(label for _, label in cells))
    return {(name, label): one for label, known in found for name, one in known.items() if (name, label) in wanted}

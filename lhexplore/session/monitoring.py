"""The trace monitor over what a session knows: traces recorded while training, or those of its spectra."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..diagnosis.monitor.calibrate import LEAST_POINTS, Calibration, calibrate
from ..diagnosis.monitor.cusum import Monitoring, MonitorSettings, follow
from ..diagnosis.monitor.healthy import LEAST_POINTS as LEAST_OF_A_COURSE
from ..diagnosis.monitor.healthy import Reference, log_trace
from ..errors import EmptyFolderError, SettingError
from ..snapshots import Snapshots, traces_file
from ..trace_point import TracePoint
from .tracing import basis

if TYPE_CHECKING:
    from .session import Session

Points = tuple[TracePoint, ...]
Source = Literal["auto", "recorded", "spectra"]
SOURCES = ("auto", "recorded", "spectra")


def recorded_traces(session: "Session") -> Points:
    """Traces that were measured while the session's snapshots were recorded, in the order of steps; () if none."""
    return session.snapshots.recorded_traces


def spectra_traces(session: "Session") -> Points:
    """Traces of the layers' known spectra at snapshots whose step is known; computes nothing.

    They are on the session's own data: exact where the spectrum is, else with a standard error.
    """
    points = []
    for row in session.snapshots:
        known = [
            found
            for layer in session.layers
            if row.step is not None and layer.status == "ok"
            if (found := session.cached(layer.name, row.label)) is not None
        ]
        if row.step is None or not known:
            continue
        traces = {str(found.layer): (found.trace, found.trace_stderr) for found in known}
        said = known[0].provenance
        kind = basis(str(said.get("loss", "")), known[0].curvature, str(said.get("mode", "")))
        points.append(TracePoint(row.step, traces, kind, int(str(said.get("examples") or 0))))
    return traces_file.in_order(points)


def monitor(
    session: "Session",
    reference: Any = None,
    *,
    settings: MonitorSettings | None = None,
    false_alarms: float | None = None,
    source: Source = "auto",
) -> Monitoring:
    """Follow the run's traces through its snapshots, layer by layer, and say where they leave what is healthy.

    Computes no traces: it reads those recorded while training, or takes those of known spectra. Print the result.

    Args:
        session: the run.
        reference: healthy runs: a session, a folder, ``Snapshots``, points, a ``Reference``, or a list of runs. None
            takes the first points of this run, which tells only that a trace has left its early level.
        settings: limits; None takes the defaults (k = 0.5, h = 5).
        false_alarms: find the limit h by simulation, so that this share of healthy runs raises any alarm; needs three
            reference runs or more, and about a second.
        source: "recorded" (with the snapshots), "spectra" (known ones), or "auto": whichever all runs have, and of
            both the one with more points in this run.

    Raises:
        SettingError: no traces are known, or too little reference for what is asked.
        ComparisonError: other layers than in the reference, or traces of another kind.
    """
    limits = MonitorSettings() if settings is None else settings
    if source not in SOURCES:
        raise SettingError(f"source must be one of {SOURCES}, got {source!r}.")
    if isinstance(reference, Reference):
        if false_alarms is not None:
            raise SettingError("false_alarms= needs the reference runs themselves, got a Reference made of them.")
        return follow(_run(session, [], source)[0], reference, limits)
    given = [] if reference is None else _listed(reference)
    run, runs = _run(session, given, source)
    _require_long(given, runs, LEAST_OF_A_COURSE if false_alarms is None else LEAST_POINTS)
    if false_alarms is not None:
        limits = calibrate(runs, false_alarms=false_alarms, settings=limits).settings
    return follow(run, Reference.of(runs, floor=limits.floor) if runs else None, limits)


def reference_of(given: Any, *, floor: float) -> Reference:
    """Healthy runs in whatever form they are given, as a Reference; recorded traces count before those of spectra.

    Raises:
        SettingError: none of the known forms, or no traces in it.
    """
    if isinstance(given, Reference):
        return given
    listed = _listed(given)
    runs = [_any_points(one) for one in listed]
    _require_long(listed, runs, LEAST_OF_A_COURSE)
    return Reference.of(runs, floor=floor)


def calibrated(reference: Any, **settings: Any) -> Calibration:
    """:func:`lhexplore.diagnosis.calibrate.calibrate` for runs in whatever form: folders, sessions, ``Snapshots``."""
    listed = _listed(reference)
    runs = [_any_points(one) for one in listed]
    _require_long(listed, runs, LEAST_POINTS)
    return calibrate(runs, **settings)


def points_of(given: Any, source: Source = "recorded") -> Points:
    """The points of one run: a session, a folder, ``Snapshots``, or points themselves; () where it has none.

    Raises:
        SettingError: it is none of these.
    """
    if isinstance(given, Snapshots):
        return given.recorded_traces if source == "recorded" else ()
    if isinstance(given, str | os.PathLike):
        return _in_folder(given) if source == "recorded" else ()
    if isinstance(getattr(given, "snapshots", None), Snapshots):
        return recorded_traces(given) if source == "recorded" else spectra_traces(given)
    if isinstance(given, Sequence) and given and all(isinstance(point, TracePoint) for point in given):
        return tuple(given)
    raise SettingError(
        "A run to compare with must be a session, a folder of recorded snapshots, Snapshots, or points with traces; "
        f"got {type(given).__name__}."
    )


def _in_folder(path: str | os.PathLike[str]) -> Points:
    try:
        return Snapshots.of(path).recorded_traces
    except EmptyFolderError:
        if found := traces_file.read(Path(path)):  # traces may be all that was recorded so far
            return found
        raise


def _listed(given: Any) -> list[Any]:
    """One run, or a list of them."""
    one = isinstance(given, Snapshots) or not isinstance(given, list | tuple)
    return [given] if one or (given and isinstance(given[0], TracePoint)) else list(given)


def _any_points(given: Any) -> Points:
    """Recorded points, or those of spectra where there are none."""
    found = points_of(given) or points_of(given, "spectra")
    if not found:
        raise SettingError(_NOTHING.format(what=f"The reference {given!r:.80}"))
    return found


def _require_long(given: Sequence[Any], runs: Sequence[Points], least: int) -> None:
    """See that every run has enough usable traces of one layer at least; those that have not are named."""
    found = [(_called(one, k), _usable(run)) for k, (one, run) in enumerate(zip(given, runs, strict=True))]
    if short := [f"{name} has {count}" for name, count in found if count < least]:
        raise SettingError(
            f"The reference is too short: {', '.join(short)} measurements with a usable trace of one layer, and "
            f"{least} are needed. Record for longer or more often (curvature_every=), or leave such a run out."
        )


def _usable(run: Points) -> int:
    """At how many steps a run has a trace above zero, in the layer that has most."""
    steps: dict[str, set[float]] = {}
    for point in run:
        for layer, trace in point.traces.items():
            if not log_trace(*trace)[1]:
                steps.setdefault(layer, set()).add(point.step)
    return max(map(len, steps.values()), default=0)


def _called(given: Any, place: int) -> str:
    """A run by its folder where it is given by one, else by its number."""
    return repr(str(given)) if isinstance(given, str | os.PathLike) else f"run {place + 1}"


def _run(session: "Session", runs: Sequence[Any], source: Source) -> tuple[Points, list[Points]]:
    """The points of the session and of the runs to compare with, from one source."""
    wanted: list[Source] = ["recorded", "spectra"] if source == "auto" else [source]
    found = [[points_of(one, kind) for one in (session, *runs)] for kind in wanted]
    complete = [points for points in found if all(points)]
    if not complete:
        raise SettingError(_NOTHING.format(what="The run" if not runs else "The run, or one that it is compared with,"))
    best = max(complete, key=lambda points: len(points[0]))  # the first of equals: recorded
    return best[0], best[1:]


_NOTHING = (
    "{what} has no traces to follow. Record them while training, with lhexplore.record(model, path, data=loader, "
    "loss=criterion), or compute spectra at its snapshots with session.compute()."
)

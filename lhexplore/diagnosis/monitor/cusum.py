"""The trace monitor: a cumulative sum per layer that grows while its trace stays away from what is healthy.

lhexplore definition, after Page 1954. x_t is the log-trace, less its healthy mean, in healthy standard deviations;
S_t = max(0, S_{t−1} + x_t − k) with k half of the expected shift, and an alarm where S_t > h.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import ComparisonError, SettingError
from ...trace_point import TracePoint
from ..arguments import is_number
from .healthy import Reference, Run, log_trace, require_same_layers
from .texts import EARLY, MORE_POINTS, ONE_RUN, table
from .trace_paths import Alarm, GrowingPath, LayerPath, Side, Skipped

Sides = Literal["upper", "lower", "both"]

MUCH = 1.25  # more points than in the reference, in proportion, from which a designed rate is no longer claimed


@dataclass(frozen=True, slots=True)
class MonitorSettings:
    """Limits of the monitor: lhexplore's own, with the textbook's k and h. Edit with ``dataclasses.replace``."""

    shift: float = 1.0  # s.d. by which a trace is expected to be off when something is wrong
    h: float = 5.0  # s.d.; :func:`calibrate` finds one for a designed rate of false alarms
    sides: Sides = "upper"  # memorised labels keep curvature high; "lower" looks for a collapse
    early: int = 8  # first points of a run that serve as its own reference where there is no other
    floor: float = 0.05  # smallest s.d. of a log-trace: 5 % of the trace
    false_alarms: float | None = None  # share of healthy runs with any alarm that h was made for; None: not calibrated

    def __post_init__(self) -> None:
        for name in ("shift", "h", "floor"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value) and value > 0):
                raise SettingError(f"{name} must be a positive number, got {value!r}.")
        if isinstance(self.early, bool) or not isinstance(self.early, int) or self.early < 2:
            raise SettingError(f"early must be a whole number of points, at least 2, got {self.early!r}.")
        if self.sides not in ("upper", "lower", "both"):
            raise SettingError(f"sides must be 'upper', 'lower' or 'both', got {self.sides!r}.")

    @property
    def k(self) -> float:
        """What is taken off at each point, in s.d.: half of ``shift``."""
        return self.shift / 2

    @property
    def watched(self) -> tuple[Side, ...]:
        """The sides that are looked at."""
        return ("upper", "lower") if self.sides == "both" else (self.sides,)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Monitoring:
    """What the monitor saw of a run so far. Print it."""

    paths: tuple[LayerPath, ...]
    alarms: tuple[Alarm, ...]
    skipped: tuple[Skipped, ...]
    settings: MonitorSettings
    runs: int  # in the reference; 0: the run's own first points
    notes: tuple[str, ...] = ()

    @property
    def first_alarms(self) -> dict[str, int]:
        """The step of the first alarm of each layer that has one."""
        return {alarm.layer: alarm.step for alarm in reversed(self.alarms)}

    def __repr__(self) -> str:
        return table(self.paths, self.alarms, self.skipped, self.settings, self.notes)


class Monitor:
    """Follows a run point by point, while it trains or afterwards.

    Args:
        reference: healthy runs; None takes the first ``settings.early`` points of each layer, which tells only that
            its trace has left its early level. Healthy traces do so as well.
        settings: limits.
    """

    def __init__(self, reference: Any = None, settings: MonitorSettings = MonitorSettings()) -> None:
        if not isinstance(reference, Reference | None):
            raise SettingError(f"reference must be a Reference or None, got {type(reference).__name__}.")
        self.reference: Reference | None = reference
        self.settings = settings
        self._paths: dict[str, GrowingPath] = {}
        self._alarms: list[Alarm] = []
        self._skipped: list[Skipped] = []
        self._last = -1.0

    def update(self, step: Any, traces: Mapping[str, float | tuple[float, float]]) -> tuple[Alarm, ...]:
        """Take in one point; returns the alarms it raises.

        Args:
            step: optimiser steps done; more than at the last call.
            traces: by layer, the trace, or the trace and its standard error.

        Raises:
            SettingError: the step does not lie behind the last one, or a trace is no number or pair of numbers.
            ComparisonError: other layers than those of the reference, or than before.
        """
        if not is_number(step) or not self._last < step < math.inf:
            raise SettingError(f"Steps must grow from one point to the next; after {self._last:g} came {step!r}.")
        if not isinstance(traces, Mapping):
            raise SettingError(f"traces must be a dictionary from layers to traces, got {traces!r:.60}.")
        pairs = {layer: _pair(layer, value) for layer, value in traces.items()}
        if not self._paths and traces:
            if self.reference is not None:
                require_same_layers(list(traces), list(self.reference.courses), "The run and its reference")
            self._paths = {layer: GrowingPath(layer, self.reference, self.settings) for layer in traces}
        elif more := [layer for layer in traces if layer not in self._paths]:
            raise ComparisonError(f"Layers {more[:5]} were not there at the first point; monitor the same ones always.")
        self._last = step
        raised: list[Alarm] = []
        for layer, path in self._paths.items():
            log, reason = log_trace(*pairs.get(layer, (math.nan, 0.0)))
            alarms, reason = path.add(step, log) if not reason else ((), reason)
            raised += alarms
            if reason:
                self._skipped.append(Skipped(layer, int(step), reason))
        self._alarms += raised
        return tuple(raised)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """All alarms so far, in the order of steps."""
        return tuple(self._alarms)

    @property
    def result(self) -> Monitoring:
        """What was seen so far, as a value that no longer changes."""
        runs = 0 if self.reference is None else self.reference.runs
        notes = {0: (EARLY.format(early=self.settings.early),), 1: (ONE_RUN,)}.get(runs, ())
        paths = tuple(path.value for path in self._paths.values())
        return Monitoring(
            paths, self.alarms, tuple(self._skipped), self.settings, runs, (*notes, *self._density(paths))
        )

    def _density(self, paths: Sequence[LayerPath]) -> tuple[str, ...]:
        """Whether a calibrated limit meets a run that is looked at more often than the runs it was made from."""
        if self.reference is None or self.settings.false_alarms is None:
            return ()
        known = [(len(path.steps), self.reference.courses[path.layer]) for path in paths]
        counts = [(points, len(course.steps)) for points, course in known if course is not None]
        points, reference = max(counts, key=lambda pair: pair[0] / pair[1], default=(0, 1))
        return (MORE_POINTS.format(run=points, reference=reference),) if points > MUCH * reference else ()


def _pair(layer: str, value: Any) -> tuple[float, float]:
    """A trace with its standard error."""
    pair = tuple(value) if isinstance(value, tuple | list) else (value, 0.0)
    if len(pair) != 2 or not all(map(is_number, pair)):
        raise SettingError(
            f"The trace of {layer!r} must be a number, or a pair of it and its standard error; got {value!r:.60}."
        )
    return float(pair[0]), float(pair[1])


def follow(run: Run, reference: Reference | None = None, settings: MonitorSettings = MonitorSettings()) -> Monitoring:
    """Monitor a whole run at once.

    Args:
        run: its points, in the order of steps; points without any trace are passed over.
        reference: as for :class:`Monitor`.
        settings: limits.

    Raises:
        SettingError: no points, or steps out of order.
        ComparisonError: other layers than the reference, or traces of another kind.
    """
    measured = [point for point in run if point.traces]
    if not measured:
        raise SettingError("There are no traces to follow: expected points with traces, got none.")
    require_same_basis(measured[0], reference)
    monitor = Monitor(reference, settings)
    layers = dict.fromkeys(layer for point in measured for layer in point.traces)
    for point in measured:
        monitor.update(point.step, {layer: point.traces.get(layer, (math.nan, math.nan)) for layer in layers})
    return monitor.result


def require_same_basis(point: TracePoint, reference: Reference | None) -> None:
    """See that a point's traces are of the reference's kind.

    Raises:
        ComparisonError: another loss, matrix or mode.
    """
    if reference is not None and point.basis and reference.basis and point.basis != reference.basis:
        raise ComparisonError(
            f"The run's traces are of {point.basis!r}, the reference's of {reference.basis!r}: record both in one way."
        )


def at_labels(first: Mapping[str, int], labels: Mapping[str, int]) -> dict[str, str]:
    """Where on a series of snapshots the first alarms belong: at the first one not before them, else at the last.

    Args:
        first: step of the first alarm by layer, as ``Monitoring.first_alarms`` has it.
        labels: step by snapshot label, as ``Course.steps`` has it.
    """
    order: Sequence[tuple[int, str]] = sorted((step, label) for label, step in labels.items())
    if not order:
        return {}
    return {layer: next((label for at, label in order if at >= step), order[-1][1]) for layer, step in first.items()}

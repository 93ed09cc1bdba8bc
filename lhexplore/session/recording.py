"""Recording a training with the traces of its layers, and asking while it runs whether they are healthy."""

import math
import os
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from ..diagnosis.monitor.cusum import Monitor, Monitoring, MonitorSettings, follow
from ..diagnosis.monitor.healthy import Reference, require_same_layers
from ..diagnosis.monitor.trace_paths import Alarm
from ..errors import ComparisonError, SettingError
from ..snapshots import Recorder
from ..snapshots.schedule import Schedule, due
from ..trace_point import TracePoint
from .monitoring import reference_of
from .tracing import Tracer


def record(
    model: nn.Module,
    path: str | os.PathLike[str],
    *,
    every: int | None = None,
    schedule: Schedule | None = None,
    data: Any = None,
    loss: Any = None,
    curvature_every: int | None = None,
    samples: int = 32,
    probes: int = 4,
    layers: Any = None,
    mode: str = "eval",
    seed: int = 0,
    reference: Any = None,
    settings: MonitorSettings = MonitorSettings(),
    on_alarm: Callable[[Alarm], object] | None = None,
) -> "Recording":
    """Record snapshots of ``model`` into the folder ``path`` while you train; with ``data``, also traces of its layers.

    Traces are measured on a private copy and ``samples`` frozen examples, with every snapshot: one gradient and
    ``probes`` products for all layers together, 5 to 9 steps of a training with batches of 64 (measured; at least 6 ms,
    which is more steps of a tiny network). Nothing of the
    training is touched, random states included. They are kept in the snapshot's file; where ``curvature_every`` asks
    for more of them, as lines of ``traces.jsonl`` in the folder.

    Args:
        model: recorded as it is at each :meth:`Recorder.step`; wrappers (``torch.compile``, DDP) are left out.
        path: the folder; made if it is not there.
        every: record the steps divisible by this number.
        schedule: ``"log"`` (the default) for steps 0, 1, 2, 4, 8, …; a function from step to whether it is due; or a
            list of steps. Use ``every`` or ``schedule``, not both.
        data: a loader, batches or one batch; read once, now. None records no traces.
        loss: as for :class:`lhexplore.Session`.
        curvature_every: measure traces also at the steps divisible by this number, where no weights are written.
        samples: how many examples to freeze.
        probes: random vectors per point.
        layers: which layers, as for :class:`lhexplore.Session`.
        mode: "eval" or "train-frozen".
        seed: of reading the data and of the vectors.
        reference: healthy runs to compare with as training goes on: a folder, a session, ``Snapshots``, points, a
            ``Reference``, or a list of runs.
        settings: limits of the monitor; ``calibrate(…).settings`` holds a limit made for a rate of false alarms.
        on_alarm: called with each :class:`Alarm` when it is raised; what it raises ends the training.

    Raises:
        ModelError: ``model`` is no ``torch.nn.Module``.
        SettingError: no steps could ever be due, ``path`` is no path, or traces are asked for without ``data``.
        SnapshotError: the folder cannot be written.
        ComparisonError: the reference has other layers, or traces of another kind.
        LhexploreError: data and loss do not work with the model, told before training.

    Example:
        >>> with lh.record(model, "runs/b", every=1000, curvature_every=100, data=loader, loss=criterion,
        ...                reference="runs/a", on_alarm=print) as recorder:  # doctest: +SKIP
        ...     for step, (x, y) in enumerate(loader):
        ...         recorder.step(step)
        ...         ...
    """
    if not isinstance(settings, MonitorSettings):
        raise SettingError(f"settings must be MonitorSettings(…), got {settings!r:.60}.")
    is_due = due(every, schedule)
    if data is None:
        asked = {"loss": loss, "curvature_every": curvature_every, "reference": reference, "on_alarm": on_alarm}
        if given := [name for name, value in asked.items() if value is not None]:
            raise SettingError(f"{given[0]}= needs data= as well: traces are measured on a batch of it.")
        return Recording(model, path, due=is_due)
    if on_alarm is not None and reference is None:
        raise SettingError("on_alarm= needs reference= as well: without healthy runs there is nothing to compare with.")
    also = None if curvature_every is None else due(curvature_every, None)
    healthy = None if reference is None else reference_of(reference, floor=settings.floor)
    if not isinstance(model, nn.Module):
        return Recording(model, path, due=is_due)  # which says what is wrong
    tracer = Tracer(
        model, data, loss, samples=samples, probes=probes, layers=layers, mode=mode, seed=seed
    )  # fmt: skip
    if healthy is not None:
        require_same_layers(tracer.layers, list(healthy.courses), "The model and its reference")
        if healthy.basis and healthy.basis != tracer.basis:
            raise ComparisonError(f"This run's traces are of {tracer.basis!r}, the reference's of {healthy.basis!r}.")
    return Recording(
        model, path, due=is_due, tracer=tracer, also=also, reference=healthy, settings=settings, call=on_alarm
    )


class Recording(Recorder):
    """A :class:`Recorder` that keeps the traces it measured, and watches them; made by :func:`record`."""

    _depth = 5

    def __init__(
        self,
        model: nn.Module,
        path: str | os.PathLike[str],
        *,
        due: Callable[[int], bool],
        tracer: Tracer | None = None,
        also: Callable[[int], bool] | None = None,
        reference: Reference | None = None,
        settings: MonitorSettings = MonitorSettings(),
        call: Callable[[Alarm], object] | None = None,
    ) -> None:
        super().__init__(model, path, due=due, traces=tracer, traces_due=also, tell=self._take)
        self._points: list[TracePoint] = []
        self._settings, self._call = settings, call
        self._watching = None if reference is None else Monitor(reference, settings)

    @property
    def traces(self) -> tuple[TracePoint, ...]:
        """The points that were measured so far."""
        return tuple(self._points)

    @property
    def alarms(self) -> tuple[Alarm, ...]:
        """The alarms so far, against ``reference``; after a return to an earlier step, those up to there and since.

        Raises:
            SettingError: no reference was given.
        """
        if self._watching is None:
            raise SettingError(
                "There is no reference to raise alarms against. Give one: record(…, data=, loss=, reference='runs/a')."
            )
        return self._watching.alarms

    def monitor(self, reference: Any = None, *, settings: MonitorSettings | None = None) -> Monitoring:
        """What the monitor sees in the points so far; print it.

        Args:
            reference: healthy runs, as for :func:`record`; None takes those given there, else the first points of this
                run, which tells only that a trace has left its early level.
            settings: limits; None takes those given to :func:`record`.

        Raises:
            SettingError: nothing has been measured.
            ComparisonError: the reference has other layers, or traces of another kind.
        """
        limits = self._settings if settings is None else settings
        if not isinstance(limits, MonitorSettings):
            raise SettingError(f"settings must be MonitorSettings(…), got {settings!r:.60}.")
        known = self._watching.reference if reference is None and self._watching is not None else None
        healthy = known if reference is None else reference_of(reference, floor=limits.floor)
        return follow(_followed(self._points), healthy, limits)

    def _take(self, point: TracePoint) -> None:
        before = self._points[-1].step if self._points else -1
        self._points.append(point)
        if self._watching is None or point.step == before or not point.traces:  # the same step, told about again
            return
        if point.step < before:  # training went back: what it left behind is no longer part of the run
            self._watching = Monitor(self._watching.reference, self._settings)
            for earlier in _followed(self._points)[:-1]:
                self._watching.update(earlier.step, self._complete(earlier))
        for alarm in self._watching.update(point.step, self._complete(point)):
            if self._call is not None:
                self._call(alarm)

    def _complete(self, point: TracePoint) -> dict[str, tuple[float, float]]:
        """The traces of all layers of the reference; NaN where one was not measured, which the monitor passes over."""
        known = self._watching.reference if self._watching is not None else None
        return {layer: point.traces.get(layer, (math.nan, math.nan)) for layer in (known.courses if known else ())}


def _followed(points: Sequence[TracePoint]) -> list[TracePoint]:
    """The points of a run that may have gone back to earlier steps: those it left behind are dropped."""
    kept: list[TracePoint] = []
    for point in points:
        while kept and kept[-1].step >= point.step:
            kept.pop()
        kept.append(point)
    return kept

"""Recording snapshots while training: one safetensors file per step that is due, and no trace in the training."""

import json
import math
import os
import secrets
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from ..digests import ALGORITHM, digest_tensors
from ..errors import ModelError, SettingError, SnapshotError
from ..trace_point import TracePoint
from . import traces_file
from .contents import DIGEST
from .idioms import number
from .live import shared_once, state_of, untouched
from .paths import usable
from .safetensors_file import ALIASES, RUN, encode_metrics
from .schedule import Schedule, checked_step, due

Traces = Callable[[int, Mapping[str, Tensor]], TracePoint]  # of a step and the weights at it; never fails

_TEMPORARY = ".tmp-"
_STALE = 86_400.0  # seconds after which a temporary file cannot belong to a living writer


def record(
    model: nn.Module, path: str | os.PathLike[str], *, every: int | None = None, schedule: Schedule | None = None
) -> "Recorder":
    """Record snapshots of ``model`` into the folder ``path`` while you train.

    Args:
        model: recorded as it is at each :meth:`Recorder.step`; wrappers (``torch.compile``, DDP) are left out.
        path: the folder; made if it is not there.
        every: record the steps divisible by this number.
        schedule: ``"log"`` (the default) for steps 0, 1, 2, 4, 8, …; a function from step to whether it is due; or a
            list of steps. Use ``every`` or ``schedule``, not both.

    Raises:
        ModelError: ``model`` is no ``torch.nn.Module``.
        SettingError: no steps could ever be due, or ``path`` is no path.
        SnapshotError: the folder cannot be written.

    Example:
        >>> with lh.record(model, "runs/a", every=100) as recorder:  # doctest: +SKIP
        ...     for step, (x, y) in enumerate(loader):
        ...         recorder.step(step, loss=loss, held_out_loss=lambda: evaluate(model))
        ...         ...
    """
    return Recorder(model, path, due=due(every, schedule))


class Recorder:
    """Writes ``step-000128.safetensors`` for each step that is due; made by :func:`record`.

    As a context manager it also records the last step it was told about, due or not, when the block ends well.

    Args:
        model: what is recorded.
        path: the folder.
        due: whether the weights are written at a step.
        traces: measures the traces of the layers, at steps that are due and where ``traces_due``; those of steps
            without a file of weights go into a file of lines, ``traces.jsonl``.
        traces_due: whether traces are measured at a step that is not due.
        tell: called with each point when it has been written.
    """

    _depth = 4  # calls between a warning about the folder and the line that asked for a recorder

    def __init__(
        self,
        model: nn.Module,
        path: str | os.PathLike[str],
        *,
        due: Callable[[int], bool],
        traces: Traces | None = None,
        traces_due: Callable[[int], bool] | None = None,
        tell: Callable[[TracePoint], None] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise ModelError(f"Expected a torch.nn.Module to record, got {model!r:.80} ({type(model).__name__}).")
        self.path = usable(path, "the folder to record into")
        self.written: list[Path] = []
        self._model, self._due = model, due
        self._run = secrets.token_hex(4)
        self._traces, self._traces_due, self._tell = traces, traces_due, tell
        self._measured: int | None = None  # the last step with traces
        self._last: tuple[int, float | None, Mapping[str, Any], bool] | None = None
        state_of(model)  # a model that cannot be recorded is better known before training
        if _writes_here():
            _prepare(self.path)
            _warn_of_earlier_run(self.path, self._depth)

    def due(self, step: int) -> bool:
        """Whether :meth:`step` would record the weights at this step."""
        return bool(self._due(checked_step(step)))

    def step(
        self, step: int, epoch: float | None = None, *, curvature: bool | None = None, **metrics: object
    ) -> Path | None:
        """Record the weights as they are now, if the step is due; and the traces of the layers, if they are.

        Args:
            step: optimiser steps done so far; 0 before the first.
            epoch: epochs done so far.
            curvature: False leaves the traces out this time; True refuses to go on where they cannot be measured,
                because no ``data`` was given to :func:`lhexplore.record`.
            metrics: numbers (also of torch or numpy), or functions without arguments that return one. A function is
                called only when the step is recorded, so that a costly measurement is made only then; random state
                and train/eval modes are put back afterwards.

        Returns:
            The file, or None if the step is not due, if this is not the first process of a distributed run, or if
            the file could not be written (with a warning: a full disk should not end a training).
        """
        at = checked_step(step)
        if curvature and self._traces is None:
            raise SettingError(
                "curvature=True measures traces on data, and this recorder has none. Give it some: "
                "lhexplore.record(model, path, data=loader, loss=criterion)."
            )
        self._last = (at, epoch, metrics, curvature is not False)
        if not _writes_here():
            return None
        weights = self._due(at)
        also = self._traces_due is not None and self._traces_due(at)
        point = self._measure(at) if curvature is not False and (weights or also) else None
        path = self._write(at, epoch, metrics, point) if weights else None
        if point is not None:
            self._keep(point, path)
        return path

    def close(self) -> Path | None:
        """Record the last step told about, if it was not due; returns its file."""
        if self._last is None or not _writes_here():
            return None
        step, epoch, metrics, wanted = self._last
        if self._due(step):
            return None
        point = self._measure(step) if wanted and step != self._measured else None
        path = self._write(step, epoch, metrics, point)
        if point is not None:
            self._keep(point, path)
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()

    def _measure(self, step: int) -> TracePoint | None:
        if self._traces is None:
            return None
        self._measured = step
        with untouched(self._model):
            return self._traces(step, state_of(self._model))

    def _keep(self, point: TracePoint, written: Path | None) -> None:
        """See that ``point`` is on disk, in the file of its weights or else among the lines; then tell."""
        if written is None:
            try:
                traces_file.append(self.path, point)
            except OSError as error:
                _warn_of_loss(f"The traces of step {point.step}", self.path, error)
        if self._tell is not None:
            self._tell(point)

    def _write(
        self, step: int, epoch: float | None, metrics: Mapping[str, object], point: TracePoint | None = None
    ) -> Path | None:
        with untouched(self._model):
            values = {name: _measured(name, metric) for name, metric in metrics.items()}
        state = state_of(self._model)
        held, aliases = shared_once(state)
        metadata = {
            "format": "pt",  # readers of other libraries look for it
            "step": str(step),
            "metrics": encode_metrics(values),
            "wall_time": f"{time.time():.3f}",
            "writer": f"lhexplore {version('lhexplore')}",
            DIGEST: digest_tensors(state.items()),
            "lhexplore_digest_algorithm": ALGORITHM,
            RUN: self._run,
        }
        if point is not None:
            metadata[traces_file.TRACES] = traces_file.encode(point)
        if epoch is not None:
            metadata["epoch"] = str(_checked_epoch(epoch))
        if aliases:
            metadata[ALIASES] = json.dumps(aliases, sort_keys=True)
        target = self.path / f"step-{step:06d}.safetensors"
        try:
            _save(held, target, metadata)
        except OSError as error:
            _warn_of_loss(f"Step {step}", self.path, error)
            return None
        self.written.append(target)
        return target

    def __repr__(self) -> str:
        return f"Recorder({str(self.path)!r}, {len(self.written)} written)"


def _warn_of_loss(what: str, folder: Path, error: OSError) -> None:
    warnings.warn(
        f"{what} could not be recorded in {str(folder)!r}: {error.strerror or error}. Training goes on; free space or "
        "check the folder.",
        RuntimeWarning,
        stacklevel=4,
    )


def _checked_epoch(epoch: object) -> float:
    value = number(epoch)
    if value is None or not math.isfinite(value):
        raise SettingError(f"epoch must be a finite number or None, got {epoch!r}.")
    return value


def _measured(name: str, metric: object) -> float:
    value = metric() if callable(metric) else metric
    if isinstance(value, Tensor | np.ndarray) and value.ndim and math.prod(value.shape) == 1:
        value = value.reshape(())
    found = number(value)
    if found is None:
        raise SettingError(
            f"Metric {name!r} must be one number, or a function without arguments that returns one; got "
            f"{type(value).__name__} {str(value)[:60]}."
        )
    return found


def _save(tensors: dict[str, Tensor], target: Path, metadata: dict[str, str]) -> None:
    """Write aside in the same folder, then rename: readers see the whole file or none."""
    aside = target.with_name(f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}-{secrets.token_hex(4)}")
    try:
        try:
            save_file(tensors, aside, metadata=metadata)
        except Exception as error:  # safetensors has an error of its own for a full disk
            if isinstance(error, OSError) or "I/O" in str(error) or "os error" in str(error):
                raise OSError(str(error)) from error
            raise
        with aside.open("rb+") as file:
            os.fsync(file.fileno())
        aside.replace(target)
    finally:
        aside.unlink(missing_ok=True)


def _prepare(folder: Path) -> None:
    """Make the folder, see that it can be written, and clear what dead writers left."""
    probe = folder / f"{_TEMPORARY}{os.getpid()}-{secrets.token_hex(4)}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        for left in folder.glob(f"{_TEMPORARY}*"):
            if time.time() - left.stat().st_mtime > _STALE:
                left.unlink(missing_ok=True)
    except OSError as error:
        raise SnapshotError(
            f"Snapshots are to be recorded in the folder {str(folder)!r}, but it cannot be written "
            f"({error.strerror or error}). Choose another folder."
        ) from error


def _warn_of_earlier_run(folder: Path, depth: int) -> None:
    """Two trainings in one folder would look like one."""
    earlier = len(list(folder.glob("step-*.safetensors")))
    if earlier:
        warnings.warn(
            f"{str(folder)!r} already holds {earlier} snapshots of an earlier run: steps that are recorded again "
            "replace theirs, the others stay. Record each run into a folder of its own, unless it goes on with that.",
            stacklevel=depth,
        )


def _writes_here() -> bool:
    """Whether this process writes: the only one, or the first of a distributed run."""
    distributed = torch.distributed
    if not (distributed.is_available() and distributed.is_initialized()):
        return True
    return int(distributed.get_rank()) == 0

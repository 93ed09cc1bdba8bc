"""Recorded traces: as text beside a snapshot's weights, and one line per step where no weights were written.

The file of lines only grows. A line goes out in one write and ends with a newline; one that was cut off by the end of
its process is left out when reading, and the next writer starts on a line of its own.
"""

import json
import math
import os
from collections.abc import Iterable
from pathlib import Path

from ..trace_point import TracePoint
from .idioms import as_step, number

TRACES = "lhexplore_traces"  # metadata key of a snapshot's traces
NAME = "traces.jsonl"  # in the folder of the snapshots

_SPECIAL = {None: math.nan, "inf": math.inf, "-inf": -math.inf}


def encode(point: TracePoint) -> str:
    """One line of strict JSON: NaN is null, an infinity a string."""
    fields = {
        "step": point.step,
        "traces": {layer: [_plain(value), _plain(error)] for layer, (value, error) in point.traces.items()},
        "basis": point.basis,
        "examples": point.examples,
        "note": point.note,
    }
    return json.dumps(fields, allow_nan=False)


def decode(text: str) -> TracePoint | None:
    """What ``encode`` wrote; None where it is anything else."""
    try:
        found = json.loads(text)
        step = as_step(number(found["step"]))
        traces = {str(layer): (_number(value), _number(error)) for layer, (value, error) in found["traces"].items()}
        examples = as_step(number(found.get("examples", 0)))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    if step is None:
        return None
    return TracePoint(step, traces, str(found.get("basis", "")), examples or 0, str(found.get("note", "")))


def append(folder: Path, point: TracePoint) -> None:
    """Add a line to the folder's file.

    Raises:
        OSError: it cannot be written.
    """
    line = (encode(point) + "\n").encode()
    with (folder / NAME).open("ab+", buffering=0) as file:
        if end := file.seek(0, os.SEEK_END):
            file.seek(end - 1)
            if file.read(1) != b"\n":  # a writer died in the middle of its line
                line = b"\n" + line
        if file.write(line) != len(line):
            raise OSError("the disk is full")
        os.fsync(file.fileno())


def read(folder: Path) -> tuple[TracePoint, ...]:
    """The points of the folder's file in the order of steps; of several at one step the last, as of a repeated run."""
    try:
        text = (folder / NAME).read_text("utf-8", errors="replace")
    except OSError:
        return ()
    return in_order(point for line in text.splitlines() if (point := decode(line)) is not None)


def in_order(points: Iterable[TracePoint]) -> tuple[TracePoint, ...]:
    """Sorted by step, each step once: the last one wins."""
    last = {point.step: point for point in points}
    return tuple(last[step] for step in sorted(last))


def _plain(value: float) -> float | str | None:
    return value if math.isfinite(value) else None if math.isnan(value) else str(value)


def _number(value: object) -> float:
    found = _SPECIAL.get(value) if isinstance(value, str | None) else number(value)
    if found is None:
        raise ValueError(value)
    return found

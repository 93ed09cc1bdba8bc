"""The traces of all layers at one step of training: what is recorded beside a training, and what a monitor follows."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TracePoint:
    """Traces with their errors, in units of loss per squared parameter; in a layer that has none, NaN.

    Attributes:
        step: optimiser steps done.
        traces: by layer, the trace and its standard error; an error of 0 means exact.
        basis: loss, matrix and mode in words. Traces are comparable only where this is the same.
        examples: how many examples the loss was averaged over; 0 where unknown.
        note: why there are no traces, or fewer than expected.
    """

    step: int
    traces: Mapping[str, tuple[float, float]]
    basis: str = ""
    examples: int = 0
    note: str = ""

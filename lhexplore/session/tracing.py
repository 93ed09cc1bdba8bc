"""Traces of all layers beside a training: a private copy that gets the weights of the moment, and a few products."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..curvature import Replica, freeze, layer_traces
from ..errors import whole_number
from ..trace_point import TracePoint

MOST_NOTE = 300  # characters of an error that are recorded


class Tracer:
    """Measures one point per call; what goes wrong in it becomes a note of the point, never an exception.

    The copy is made once and computes in float32 (float64 for a float64 model) on the model's device. Each point costs
    one gradient whose graph is kept, and ``probes`` backward passes through it, on ``samples`` examples. The random
    vectors differ from point to point, so that their luck averages out over a run.

    Raises:
        LhexploreError: already when it is made: model, data or loss do not work together.
    """

    def __init__(
        self, model: nn.Module, data: Any, loss: Any, *, samples: int, probes: int, layers: Any, mode: str, seed: int
    ) -> None:
        self._probes, self._seed = whole_number("probes", probes), whole_number("seed", seed, least=0)
        batches = freeze(data, samples=whole_number("samples", samples), seed=seed)
        parameters = list(model.parameters())
        wide = any(parameter.dtype == torch.float64 for parameter in parameters)
        self._replica = Replica(
            model,
            loss,
            batches,
            mode=mode,
            dtype=torch.float64 if wide else torch.float32,
            device=parameters[0].device if parameters else "cpu",
            layers=layers,
        )
        self._layers = [row for row in self._replica.layers if row.status == "ok"]
        self.layers = tuple(row.name for row in self._layers)
        self.basis = basis(self._replica.loss.name, "hessian", mode)
        self._examples = batches.examples
        self._warned = False

    def __call__(self, step: int, state: Mapping[str, Tensor]) -> TracePoint:
        """Measure the traces at these weights."""
        try:
            self._replica.load(state)
            *_, found = layer_traces(self._replica, self._layers, probes=self._probes, seed=self._seed + step)
        except Exception as error:  # noqa: BLE001  whatever a measurement beside a training runs into must not end it
            why = f"{type(error).__name__}: {error}"
            self._warn(step, why)
            return TracePoint(step, {}, self.basis, self._examples, why[:MOST_NOTE])
        traces = {str(row.layer): (row.value, row.stderr) for row in found.layers}
        faults = [f"{row.layer}: {row.reason}" for row in found.layers if row.status == "error"]
        if faults:
            self._warn(step, faults[0])
        return TracePoint(step, traces, self.basis, self._examples, "; ".join(faults)[:MOST_NOTE])

    def _warn(self, step: int, why: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"Traces could not be measured at step {step}: {why} Training goes on; further points that fail are "
                "marked in the record without a warning.",
                RuntimeWarning,
                stacklevel=5,
            )


def basis(loss: str, curvature: str, mode: str) -> str:
    """What traces must have in common to be compared, in words."""
    return f"{curvature} of {loss}, {mode} mode"

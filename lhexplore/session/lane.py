"""One lane: the private copies that compute, one snapshot's weights at a time, for one thread at a time.

Whoever computes takes the lane for one product and gives it back, so a person's wish gets its turn between the
products of a long job, and closing a generator stops the work within one product.
"""

import threading
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch

from ..curvature import Batches, Layer, LayerHessian, Replica, Traces, layer_traces, measure
from ..errors import ClosedError, NondeterministicError, SecondDerivativeError, SnapshotError
from ..snapshots import Snapshot
from ..spectrum import Step
from .request import Request

# Rows of the self-check that concern every block; a missing second derivative concerns the layers that need it only.
MEASURED = ("symmetry", "linearity", "difference")
DOUBTFUL = ("side effects", "symmetry", "linearity")


class Lane:
    """Computes requests on private copies of ``model``: one copy per split of the data."""

    def __init__(self, model: torch.nn.Module, loss: Any, data: Mapping[str, Batches], **settings: Any) -> None:
        """``settings`` go to :class:`Replica`: mode, dtype, device."""
        self._data = data
        self._replicas: dict[str, Replica] = {}
        self._loaded: dict[str, str] = {}  # split -> label of the weights in its copy
        self._lock = threading.RLock()
        self._suspect: dict[str, bool] = {}  # split -> whether some second derivative is wrong
        self._checked: dict[str, str] = {}  # split -> the numbers of the self-check
        self._doubts: dict[str, tuple[str, ...]] = {}  # split -> what the self-check found, in sentences
        self.closed = False
        for split in data:  # at once: the person's model may train on, and their criterion change
            self._replicas[split] = Replica(model, loss, data[split], **settings)
        self.replica = self._replicas["data"]
        self._outputs = self._count_outputs()

    def require_open(self) -> None:
        """Raise ClosedError once :meth:`close` was called."""
        if self.closed:
            raise ClosedError("This session was closed. Make a new Session: cached results are found again.")

    @contextmanager
    def at(self, split: str, snapshot: Snapshot) -> Iterator[Replica]:
        """Hold the lane with the weights of ``snapshot`` in place and every switch set that computing needs.

        Raises:
            ClosedError: the session was closed.
            SnapshotError: the weights cannot be read or do not fit.
        """
        with self._lock:
            self.require_open()
            replica = self._replicas[split]
            if self._loaded.get(split) != snapshot.label:
                state, _ = snapshot.fitted(replica.model)
                self._loaded.pop(split, None)
                replica.load(state)
                self._loaded[split] = snapshot.label
            with replica.guard():
                yield replica

    def steps(self, request: Request, layer: Layer, snapshot: Snapshot, *, seed: int) -> Generator[Step, None, None]:
        """Compute one request, a product at a time."""
        items: Any = None
        try:
            while True:
                with self.at(request.split, snapshot) as replica:
                    if items is None:
                        self._examine(request, replica, layer)
                        items = measure(
                            replica,
                            layer,
                            label=request.layer,
                            snapshot=request.snapshot,
                            method=request.method,
                            curvature=request.curvature or "hessian",
                            split=request.split,
                            steps=request.steps,
                            probes=request.probes,
                            seed=seed,
                        )
                    step = next(items, None)
                if step is None:
                    return
                yield self._signed(step, snapshot, request.split)
        finally:
            if items is not None:
                items.close()

    def traces(
        self, split: str, snapshot: Snapshot, layers: Sequence[Layer], **settings: Any
    ) -> Generator[Traces, None, None]:
        """Estimate the traces of ``layers`` together, one random vector at a time."""
        items: Any = None
        while True:
            with self.at(split, snapshot) as replica:
                if items is None:
                    items = layer_traces(replica, layers, **settings)
                traces = next(items, None)
            if traces is None:
                return
            yield traces

    def _examine(self, request: Request, replica: Replica, layer: Layer) -> None:
        """Try once per split, on a few examples, what every later number relies on.

        Raises:
            NondeterministicError: the loss is no fixed function.
            SecondDerivativeError: Hessian products of this layer are not the slope of its gradient.
        """
        split = request.split
        if split not in self._doubts:
            rows = replica.check()
            wrong = {name: detail for name, verdict, detail in rows if verdict == "error"}
            if "determinism" in wrong:
                raise NondeterministicError(
                    f"A Hessian needs a fixed function, but {wrong['determinism']}. Look for own randomness."
                )
            self._checked[split] = "; ".join(f"{name}: {detail}" for name, _, detail in rows if name in MEASURED)
            self._doubts[split] = tuple(f"Self-check, {name}: {wrong[name]}" for name in DOUBTFUL if name in wrong)
            self._suspect[split] = "difference" in wrong
        # Somewhere in the model: layers behind it may be right, and a Gauss-Newton block needs first derivatives only.
        if self._suspect[split] and request.curvature != "ggn":
            _, verdict, detail = replica.difference(layer.parameters)
            if verdict == "error":
                raise SecondDerivativeError(f"{layer.name!r} has no trustworthy Hessian: {detail}")

    def _signed(self, step: Step, snapshot: Snapshot, split: str) -> Step:
        """Write into a value what it was computed from, and what the self-check doubts."""
        if step.spectrum is None:
            return step
        notes = (*step.spectrum.notes, *self._doubts[split])
        replica, batches = self._replicas[split], self._data[split]
        provenance = {
            **step.spectrum.provenance,
            "snapshot_digest": snapshot.digest,
            "data_digest": batches.digest,
            "examples": batches.examples,
            "outputs": self._outputs,
            "loss": replica.loss.name,
            "mode": replica.mode,
            "tf32": False,
            "self_check": self._checked[split],
            "torch": torch.__version__,
        }
        return replace(step, spectrum=replace(step.spectrum, notes=notes, provenance=provenance))

    def evaluate(self, split: str, snapshot: Snapshot) -> dict[str, float]:
        """Loss, and accuracy of a classifier, on one split; one forward pass each."""
        with self.at(split, snapshot) as replica:
            accuracy = replica.accuracy()
            return {"loss": replica.value(), **({} if accuracy is None else {"accuracy": accuracy})}

    def product_seconds(self, layer: Layer, snapshot: Snapshot) -> float:
        """Seconds of one product with ``layer``, without the graph that all its products share."""
        with self.at("data", snapshot) as replica:
            op = LayerHessian(replica, layer)
            vector = torch.ones(op.size, dtype=op.dtype, device=op.device)
            op.matvec(vector)
            began = time.perf_counter()
            op.matvec(vector)
            return time.perf_counter() - began

    def fits(self, snapshot: Snapshot) -> bool:
        """Whether the weights of ``snapshot`` can be read and fit the model; if not, its row says why."""
        try:
            with self.at("data", snapshot):
                return True
        except SnapshotError:
            return False

    def wait(self, timeout: float | None = None) -> None:
        """Block until no product is under way."""
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(f"Still computing after {timeout} s.")
        self._lock.release()

    def close(self) -> None:
        """Let go of copies and data."""
        self.closed = True
        with self._lock:
            for replica in self._replicas.values():
                replica.release()

    def _count_outputs(self) -> int | None:
        """Outputs per example (classes, for a classifier); None where the loss does not show them."""
        replica = self.replica
        if not replica.loss.splits:
            return None
        with replica.guard(), torch.no_grad():
            outputs = replica.batch_outputs(0)
        return outputs[0].numel() if outputs.dim() > 1 else 1

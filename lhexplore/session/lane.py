"""One lane: the private copies that compute, one snapshot's weights at a time, for one thread at a time.

Whoever computes takes the lane for one product and gives it back, so a person's wish gets its turn between the
products of a long job, and closing a generator stops the work within one product.
"""

import math
import threading
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from typing import Any, TypeVar

import torch

from ..curvature import (
    MOST_OUTPUTS,
    Agreement,
    Asked,
    Batches,
    Choice,
    Eigenpairs,
    Factor,
    Layer,
    LayerGGN,
    LayerHessian,
    Replica,
    StateStep,
    Trace,
    Traces,
    agreements,
    factor_eigenvectors,
    fits,
    layer_states,
    layer_traces,
    measure,
    measure_layers,
    top_eigenvectors,
)
from ..curvature.functional import Grouping, groups, local_objective
from ..curvature.functional.functionals import as_functional
from ..curvature.functional.measure import measure_functional
from ..curvature.precision import DEFECT_LIMIT, noise_decides, product_noise
from ..digests import digest_json
from ..errors import (
    ClosedError,
    LhexploreError,
    NondeterministicError,
    SecondDerivativeError,
    SnapshotError,
    TooLargeError,
    UnsupportedError,
)
from ..snapshots import Snapshot
from ..spectrum import Spectrum, Step
from .request import Request

Item = TypeVar("Item")
FACTOR_BYTES = 2**29  # of a layer's rows; eigenvectors of layers with more come from products

# Rows of the self-check that concern every block; a missing second derivative concerns the layers that need it only.
MEASURED = ("symmetry", "linearity", "difference")
DOUBTFUL = ("side effects", "symmetry", "linearity")


class Lane:
    """Computes requests on private copies of ``model``: one copy per split of the data."""

    def __init__(
        self, model: torch.nn.Module, loss: Any, data: Mapping[str, Batches], *, functional: Any, **settings: Any
    ) -> None:
        """``settings`` go to :class:`Replica`: mode, dtype, device."""
        self._functional = functional
        self._groups: dict[str, Grouping] | None = None  # structure: the same at every snapshot
        self._open_dtype = settings.get("dtype") is None
        self._verdicts: dict[tuple[str, str, str], dict[str, Agreement]] = {}  # split, weights, curvature -> layers
        self._data = data
        self._replicas: dict[str, Replica] = {}
        self._loaded: dict[str, Snapshot] = {}  # split -> whose weights are in its copy
        self._lock = threading.RLock()
        self._suspect: dict[str, bool] = {}  # split -> whether some second derivative is wrong
        self._checked: dict[str, str] = {}  # split -> the numbers of the self-check
        self._doubts: dict[str, tuple[str, ...]] = {}  # split -> what the self-check found, in sentences
        self._first: tuple[str, Mapping[str, torch.Tensor]] | None = None  # a snapshot's label and its parameters
        self.closed = False
        for split in data:  # at once: the person's model may train on, and their criterion change
            self._replicas[split] = Replica(model, loss, data[split], **settings)
        self.replica = self._replicas["data"]
        if functional != "loss":  # a private copy at once, like the criterion's
            self._functional = as_functional(functional).to(self.replica.device, self.replica.dtype)
        self._outputs = self._count_outputs()

    @property
    def may_widen(self) -> bool:
        """Whether a result may be computed again in float64."""
        return self._open_dtype and self.replica.dtype == torch.float32

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
            if self._loaded.get(split) is not snapshot:
                state, _ = snapshot.fitted(replica.model)
                self._loaded.pop(split, None)
                replica.load(state)
                self._loaded[split] = snapshot
            with replica.guard():
                yield replica

    def factor_shape(self, split: str) -> Factor | str:
        """The shape of the Gauss-Newton factor on this data, or why there is none."""
        if self._functional != "loss":
            return "a local functional has no outputs of the network"
        if not self.replica.loss.splits:
            return "the loss does not show the network's outputs apart"
        if self.replica.mode != "eval":
            return "batch statistics couple the examples"
        if self._outputs is None or self._outputs > MOST_OUTPUTS:
            return f"{self._outputs or 0:,} outputs per example are more than {MOST_OUTPUTS}"
        return Factor(self._outputs, self._outputs * self._data[split].examples)

    def factored(
        self, request: Request, layers: Mapping[str | None, Layer], choice: Choice, snapshot: Snapshot
    ) -> Generator[Step, None, str]:
        """Compute exact spectra of ``layers``, the requested one among them, from one set of backward passes.

        Returns why the factor does not give what was asked for; empty where it did.
        """
        split, curvature, mine = request.split, request.curvature or "hessian", layers[request.layer]
        with self.at(split, snapshot) as replica:
            self._examine(request, replica, mine)
            if self._suspect[split] and curvature != "ggn":
                layers = {request.layer: mine}
            verdicts = self._judge(replica, list(layers.values()), split, snapshot, curvature)
        if not fits(verdicts[mine.name], curvature=curvature):
            return verdicts[mine.name].reason
        usable = {label: layer for label, layer in layers.items() if fits(verdicts[layer.name], curvature=curvature)}

        def make(replica: Replica) -> Iterator[Step]:
            return measure_layers(
                replica,
                list(usable.values()),
                labels={layer.name: label for label, layer in usable.items()},
                choice=choice,
                verdicts=verdicts,
                snapshot=snapshot.label,
                curvature=curvature,
                split=split,
            )

        answered = False
        try:
            with closing(self._driven(split, snapshot, make)) as items:
                for step in items:
                    answered |= step.spectrum is not None and step.spectrum.layer == request.layer
                    yield self._signed(step, snapshot, split)
        except UnsupportedError as error:  # of the loss: seen on all examples only
            lost = [replace(verdicts[layer.name], verdict="unusable", reason=str(error)) for layer in usable.values()]
            self._verdicts[split, snapshot.label, curvature].update({verdict.layer: verdict for verdict in lost})
            return "" if answered else str(error)
        except TooLargeError:
            if not answered and len(usable) == 1:
                raise
            if not answered:  # it may be another layer's
                return (yield from self.factored(request, {request.layer: mine}, choice, snapshot))
        return ""

    def _judge(
        self, replica: Replica, layers: Sequence[Layer], split: str, snapshot: Snapshot, curvature: str
    ) -> Mapping[str, Agreement]:
        """Whether the factor may stand for the curvature, layer by layer; tried once per layer and snapshot."""
        known = self._verdicts.setdefault((split, snapshot.label, curvature), {})
        if new := [layer for layer in layers if layer.name not in known]:
            known.update(agreements(replica, new, curvature=curvature))
        return known

    def judge(self, layers: Sequence[Layer], split: str, snapshot: Snapshot, curvature: str) -> None:
        """Try on a few examples which layers the factor can answer for: costs about two gradients for all of them."""
        if layers and not self._suspect.get(split):
            with self.at(split, snapshot) as replica, suppress(LhexploreError):  # computing meets it again, and says it
                self._judge(replica, layers, split, snapshot, curvature)

    def refusal(self, layer: Layer, split: str, curvature: str) -> str:
        """Why the factor did not fit a layer where that was tried last; empty where it fitted, or was never tried."""
        tried = [
            known[layer.name]
            for (on, _, kind), known in self._verdicts.items()
            if (on, kind) == (split, curvature) and layer.name in known
        ]
        return "" if not tried or fits(tried[-1], curvature=curvature) else tried[-1].reason

    def steps(
        self, request: Request, layer: Layer, snapshot: Snapshot, *, seed: int, refused: str = ""
    ) -> Generator[Step, None, None]:
        """Compute one request, a product at a time; ``refused`` says why not by the factor, if that was tried.

        Where the rounding of float32 would decide what is said of the result, and the dtype was left open, it is
        computed again in float64.
        """
        split = request.split
        with self.at(split, snapshot) as replica:
            self._examine(request, replica, layer)
        why = ""

        def make(replica: Replica) -> Iterator[Step]:
            objective, start = (replica, measure) if self._functional == "loss" else self._local(replica, layer)
            return start(
                objective,
                layer,
                label=request.layer,
                snapshot=request.snapshot,
                method=request.method,
                curvature=request.curvature or "hessian",
                split=split,
                steps=request.steps,
                probes=request.probes,
                seed=seed,
            )

        def fine(replica: Replica) -> Iterator[Step]:
            wide = replica.widened()
            return iter(()) if wide is None else make(wide)

        rough: Spectrum | None = None
        with closing(self._driven(split, snapshot, make)) as items:
            for step in items:
                found, value = step.spectrum, step
                if found is not None and found.complete and self._open_dtype:
                    with self.at(split, snapshot) as replica:
                        why = self._noise(replica, layer, found)
                    if why:
                        rough = replace(found, complete=False)
                        value = replace(step, spectrum=rough)
                yield self._signed(_because(value, refused), snapshot, split)
        if rough is None:
            return
        final: Spectrum | None = None
        with closing(self._driven(split, snapshot, fine)) as items:
            for step in items:
                final = step.spectrum or final
                yield self._signed(_because(step, refused, f"Computed again in float64: {why}."), snapshot, split)
        if final is None:  # there is no float64 copy
            kept = Step(1, 1, replace(rough, complete=True))
            yield self._signed(_because(kept, refused, f"float64 would tell more: {why}."), snapshot, split)

    def _noise(self, replica: Replica, layer: Layer, found: Spectrum) -> str:
        """Why float32 is not enough for this result; empty where it is."""
        if replica.dtype != torch.float32 or replica.device.type == "mps" or found.psd or self._functional != "loss":
            return ""
        noise = product_noise(replica, layer)
        if noise > DEFECT_LIMIT:  # symmetric noise, or numbers that float32 has not
            return f"products in float32 are {noise:.1g} of their size away from those in float64"
        return noise_decides(found, noise=noise)

    def _local(self, replica: Replica, layer: Layer) -> tuple[Any, Any]:
        """The layer's own scalar in place of the loss, and what measures it."""
        if self._groups is None:
            self._groups = groups(replica, replica.layers)
        return local_objective(replica, layer, self._functional, self._groups.get(layer.name)), measure_functional

    def traces(
        self, request: Request, snapshot: Snapshot, layers: Sequence[Layer], **settings: Any
    ) -> Generator[Traces, None, None]:
        """Estimate the traces of ``layers`` together, one random vector at a time; a refused one has no number."""
        split, kind = request.split, request.curvature or "hessian"
        refused: dict[str, Trace] = {}
        with self.at(split, snapshot) as replica:
            for layer in layers:
                try:
                    self._examine(request, replica, layer)
                except SecondDerivativeError as error:
                    refused[layer.name] = Trace(layer.name, layer.size, math.nan, math.nan, "error", str(error))
        rest = [layer for layer in layers if layer.name not in refused]
        if not rest:
            raise SecondDerivativeError(next(iter(refused.values())).reason)
        with closing(
            self._driven(split, snapshot, lambda replica: layer_traces(replica, rest, curvature=kind, **settings))
        ) as items:
            for found in items:
                rows, total = {row.layer: row for row in found.layers} | refused, found.total
                if refused:
                    reason = f"no trace of {', '.join(map(repr, refused))}"
                    total = Trace(None, sum(layer.size for layer in layers), math.nan, math.nan, "error", reason)
                yield replace(found, layers=tuple(rows[layer.name] for layer in layers), total=total)

    def eigenvectors(
        self, request: Request, snapshot: Snapshot, layer: Layer, k: int, **settings: Any
    ) -> Generator[Eigenpairs, None, None]:
        """Compute top eigenvectors of one block, block product by block product."""
        split, curvature = request.split, request.curvature or "hessian"
        kind = LayerGGN if curvature == "ggn" else LayerHessian
        with self.at(split, snapshot) as replica:
            self._examine(request, replica, layer)
            verdict = self._rows_verdict(request, replica, layer, snapshot)

        def make(replica: Replica) -> Iterator[Eigenpairs]:
            if verdict is not None and fits(verdict, curvature=curvature):
                return iter([factor_eigenvectors(replica, layer, k, verdict=verdict, seed=settings["seed"])])
            return top_eigenvectors(kind(replica, layer), k, **settings)

        yield from self._driven(split, snapshot, make)

    def _rows_verdict(self, request: Request, replica: Replica, layer: Layer, snapshot: Snapshot) -> Agreement | None:
        """Whether eigenvectors may come from the rows of the factor; None where these are too many, or of no use."""
        shape, curvature = self.factor_shape(request.split), request.curvature or "hessian"
        small = isinstance(shape, Factor) and shape.rows * layer.size * replica.dtype.itemsize <= FACTOR_BYTES
        if not small or (request.layer is None and curvature != "ggn"):
            return None
        return self._judge(replica, [layer], request.split, snapshot, curvature)[layer.name]

    def states(
        self,
        requests: Mapping[Request, Layer],
        snapshot: Snapshot,
        first: Snapshot,
        *,
        share_of: int,
        quick: bool,
        seed: int,
    ) -> Generator[StateStep, None, None]:
        """Measure gradients and parameters of the requested layers; ``first`` is where the parameters started."""
        split, curvature = next((request.split, request.curvature or "hessian") for request in requests)
        start = self._parameters_at(split, first)
        refused, verdicts = dict[str, str](), dict[str, Agreement]()
        with self.at(split, snapshot) as replica:
            for request, layer in requests.items():
                try:
                    self._examine(request, replica, layer)
                except SecondDerivativeError as error:
                    refused[layer.name] = str(error)
                    continue
                if share_of and (verdict := self._rows_verdict(request, replica, layer, snapshot)) is not None:
                    verdicts[layer.name] = verdict
        asked = Asked(
            labels={layer.name: request.layer for request, layer in requests.items()},
            snapshot=snapshot.label,
            split=split,
            curvature=curvature,
            share_of=share_of,
            seed=seed,
            start=start,
            refused=refused,
            verdicts=verdicts,
            quick=quick,
        )
        layers = list(requests.values())
        yield from self._driven(split, snapshot, lambda replica: layer_states(replica, layers, asked))

    def _parameters_at(self, split: str, snapshot: Snapshot) -> Mapping[str, torch.Tensor] | None:
        """The parameters of a snapshot, in main memory, read once; None where it cannot be used."""
        known = self._first
        if known is None or known[0] != snapshot.label:
            try:
                with self.at(split, snapshot) as replica:
                    known = snapshot.label, {name: tensor.cpu() for name, tensor in replica.tensors.items()}
            except SnapshotError:
                return None
            self._first = known
        return known[1]

    def _driven(
        self, split: str, snapshot: Snapshot, make: Callable[[Replica], Iterator[Item]]
    ) -> Generator[Item, None, None]:
        """Drive what ``make`` starts, taking the lane for one item at a time."""
        items: Any = None
        try:
            while True:
                with self.at(split, snapshot) as replica:
                    if items is None:
                        items = make(replica)
                    item = next(items, None)
                if item is None:
                    return
                yield item
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()

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
            "loss_digest": digest_json(replica.loss.identity),
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

    def fits(self, snapshot: Snapshot) -> bool:
        """Whether the weights of ``snapshot`` can be read and fit the model; if not, its row says why."""
        try:
            with self.at("data", snapshot):
                return True
        except SnapshotError:
            return False

    def forget(self, labels: Collection[str]) -> None:
        """Let go of what is known of these snapshots: other weights lie under their labels now."""
        if not labels:
            return
        with self._lock:
            self._verdicts = {place: known for place, known in self._verdicts.items() if place[1] not in labels}
            if self._first is not None and self._first[0] in labels:
                self._first = None

    def wait(self, timeout: float | None = None) -> None:
        """Block until no product is under way."""
        if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
            raise TimeoutError(f"Still computing after {timeout} s.")
        self._lock.release()

    def close(self) -> None:
        """Let go of copies and data."""
        self.closed = True
        with self._lock:
            self._first = None
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


def _because(step: Step, refused: str, note: str = "") -> Step:
    """Add to a value why it does not come from the factor, and a note."""
    found = step.spectrum
    if found is None or not (refused or note):
        return step
    reason = f"{found.reason} (not from its factor: {refused})" if refused else found.reason
    return replace(step, spectrum=replace(found, reason=reason, notes=(*found.notes, *([note] if note else []))))

"""The private copy on which everything is computed, so that nothing of the user's is ever touched.

The copy's weights are swapped in for single calls: a snapshot is a dictionary of tensors, and a block's tensors are
handed in by whoever differentiates. Micro-batches carry their share of the loss, so they add up however they are cut.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.parameter import is_lazy

from ..errors import ClosedError, DataError, LhexploreError, LossError, ModelError, SecondDerivativeError
from . import causes, checks, second
from .batches import Batches
from .copies import cast, cast_loose_tensors, private_copy, private_swap
from .early import import_early
from .graphs import once_differentiable
from .guard import Attention, guarded, has_recurrent
from .layers import DIFFERENTIABLE, list_layers
from .lean import Lean
from .losses import FORMS, CriterionLoss, Loss, as_loss, pair
from .micro import count_terms, has_masked_labels, micro_batches
from .placement import choose_device, choose_dtype, choose_threads, set_mode
from .rebind import rebind
from .states import Draws, forked_states
from .trees import tree_map
from .weights import Weights, refuse_meta

FORWARD_SEED = 0  # a forward that draws random numbers draws the same ones every time
NUDGE = 1e-2  # relative move that shows whether parameters matter at all
WIDE_OUTPUTS = 2**25  # outputs up to this many numbers meet the criterion in float64 (256 MiB)
CRITERION = 1e-4  # by which a criterion may differ between float32 and float64, of its value or of 1
ROUNDING = 32  # epsilons by which a loss may differ between two ways of computing it
WIDE_SIZE = 50_000_000  # parameters of which a float64 copy is made to judge float32 by (400 MB)
WIDE_EXAMPLES = 64
ATTENTION = "attention runs in its plain form (math kernel): the fused kernels have no second derivative"
NOTHING: Mapping[str, Tensor] = MappingProxyType({})

Override = Mapping[str, Tensor]

# Multiply-adds of a forward pass below which more threads only wait for each other: on small networks two threads were
# no faster than one, and with every core taken by something else 30 times slower (measured).
ONE_THREAD = 1e8


class Replica:
    """A model at one set of weights, with frozen data: the loss as a function of any of its parameters.

    Args:
        model: Copied; compiled and data-parallel wrappers are looked through, hooks left out.
        loss: A criterion, ``loss(model, batch)``, or None for ``model(**batch).loss``.
        batches: From :func:`freeze`.
        mode: ``"eval"``, or ``"train-frozen"``: batch norms use the statistics of the whole frozen data (one batch),
            dropout stays off, running statistics stay as they are.
        dtype: None is float64 up to 1e6 parameters on a CPU, else float32.
        device: ``"auto"`` is CUDA where there is one.
        batch_size: Micro-batches of at most this many examples; None keeps the batches as they were read.
        layers: Which layers are selected, as in :func:`list_layers`.
        threads: torch threads while computing; None is one for small work, and otherwise leaves one core free.

    Raises:
        ModelError: The model cannot be copied, has no weights, or its forward is cut off from them.
        DataError: The model or loss fails on the first batch, or a label is out of range.
        LossError: The loss is no scalar, has no graph, or does not use the model.
        SettingError: A setting makes no sense.
    """

    loss: Loss
    _weights: Weights
    _fine_criterion: Loss | None = None  # the same criterion in float64, for a replica in float32

    def __init__(
        self,
        model: Any,
        loss: Any,
        batches: Batches,
        *,
        mode: Any = "eval",
        dtype: Any = None,
        device: Any = "auto",
        batch_size: Any = None,
        layers: Any = None,
        threads: Any = None,
    ) -> None:
        import_early()
        self.batches, self.mode = batches, mode
        self.device, self.threads = choose_device(device), choose_threads(threads)
        self.model, notes, part = private_copy(model)
        self._notes, self._closed = list(notes), False
        set_mode(self.model, mode)
        self._recurrent, self._random = has_recurrent(self.model), True
        if self._recurrent and self.device.type == "cuda":
            self._notes.append("recurrent layers run without cuDNN, whose kernels have no second derivative")
        self._suspect = False  # whether a function is differentiable only once; such are looked for in every graph
        self._default_dtype: torch.dtype | None = None
        self.dtype = torch.get_default_dtype()
        self._initialise_lazy(batches.batches[0])
        self.layers = list_layers(self.model, layers)
        refuse_meta(self.model)
        self._runner = _Runner(self.model)
        whole = mode == "train-frozen"
        pieces = micro_batches(batches, batch_size, whole=whole)
        wished = choose_dtype(dtype, sum(p.numel() for p in self.model.parameters()), self.device)
        self._open(loss, part, pieces, wished, flexible=dtype is None)
        if len(pieces) > len(batches.batches) and checks.couples(self, self._placed(batches.batches[0])):
            self._notes.append("batch_size= is not used: the loss couples the examples of a batch")
            pieces = micro_batches(batches, None, whole=whole)
        terms = count_terms(batches, pieces, self.loss)
        self._fed = [self._placed(piece) for piece, count in zip(pieces, terms, strict=True) if count]
        self._shares = [count / sum(terms) for count in terms if count]
        self._note(terms, pieces, batch_size)
        self._note_coupling(pieces)
        if threads is None and self.device.type == "cpu" and self._work() < ONE_THREAD:
            self.threads = 1
        self._fine_criterion = self._refined()

    # ---- what is held

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The parameters that can be differentiated: detached, in the replica's dtype and on its device.

        Further names of a tied tensor are found as well, and give the same tensor; iteration lists each tensor once.
        """
        return self._weights.tensors

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters in ``tensors``, in the model's order."""
        return tuple(self._weights.tensors)

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know: hooks left out, casts, sums turned into means."""
        return tuple(dict.fromkeys((*self._notes, *self.loss.notes)))

    @property
    def count(self) -> int:
        """How many micro-batches make up the loss."""
        return len(self._fed)

    @property
    def shares(self) -> tuple[float, ...]:
        """What each micro-batch's mean contributes to the loss; they sum to 1."""
        return tuple(self._shares)

    def _refined(self) -> Loss | None:
        """The criterion in float64, where the replica is in float32 and the criterion can be had in both.

        Where a network interpolates its data, what is wrong with second derivatives in float32 comes from the criterion
        (p − y cancels), not from the network: with this, a defect of symmetry of 5e-2 became 7e-8 (measured).
        """
        if not self.loss.splits or self.dtype != torch.float32 or self.device.type == "mps":
            return None
        try:
            fine = self.loss.to(self.device, torch.float64)
            with self.guard(), torch.no_grad():
                outputs = self._run(0, NOTHING, self.loss.outputs)
                batch = tree_map(lambda leaf: _placed(leaf, self.device, torch.float64), self._fed[0])
                there = float(fine.of_outputs(outputs.double(), batch))
                here = float(self.loss.of_outputs(outputs, self._fed[0]))
        except Exception:  # noqa: BLE001  a criterion that holds float32 tensors of its own stays in float32
            return None
        return fine if abs(there - here) <= CRITERION * max(abs(here), 1.0) else None

    def _work(self) -> float:
        """Multiply-adds of a forward pass on the first micro-batch, as far as weighted modules tell."""
        total = 0.0

        def count(name: str, module: nn.Module, args: Any, output: Any) -> None:
            nonlocal total
            weight = getattr(module, "weight", None)
            if isinstance(weight, Tensor) and isinstance(output, Tensor) and weight.dim() > 0 and weight.shape[0]:
                total += output.numel() * weight.numel() / weight.shape[0]

        with self.guard(), torch.no_grad(), causes.watched(self.model, after=count):
            self._run(0, NOTHING, self.loss.value)  # not batch_loss: whether the number is finite is asked later
        return total

    def batch(self, i: int) -> Any:
        """Micro-batch ``i`` as it is fed: on the device, floats in the replica's dtype."""
        return self._fed[i]

    def load(self, state: Mapping[str, Any]) -> None:
        """Put a snapshot's weights and buffers in place; tensors handed out earlier stay what they were.

        Raises:
            MismatchError: A parameter is missing, unknown, or has another shape.
            NotFiniteError: NaN or infinity in the weights.
        """
        self._require_open()
        self._weights = self._weights.of(state)

    def release(self) -> None:
        """Let go of weights and data; the replica cannot be used afterwards."""
        self._fed, self._closed = [], True
        self._weights.release()

    # ---- the loss as a function of some parameters

    def batch_loss(self, i: int, override: Override = NOTHING) -> Tensor:
        """Micro-batch ``i``'s part of the loss; over all ``i`` they sum to the loss. Call with the guard held.

        ``override`` replaces parameters by name; the result is differentiable in those that require a gradient, and
        all others are constants.

        Raises:
            LossError: The loss is no scalar tensor.
            NotFiniteError: It is NaN or infinite; says whether weights, inputs, labels or the computation are to blame.
        """
        if self._fine_criterion:
            outputs = self.batch_outputs(i, override)
            if outputs.numel() <= WIDE_OUTPUTS:
                return self.loss_of_outputs(i, outputs.double()).to(self.dtype)
        return self._weighed(i, self._twice(i, self._run(i, override, self.loss.value)))

    def batch_outputs(self, i: int, override: Override = NOTHING) -> Tensor:
        """The network's outputs on micro-batch ``i``, differentiable in ``override``; only if ``loss.splits``."""
        outputs: Tensor = self._twice(i, self._run(i, override, self.loss.outputs))
        return outputs

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        """Micro-batch ``i``'s part of the loss from its outputs, computed in the dtype of ``outputs``."""
        loss, batch = self.loss, self._fed[i]
        if outputs.dtype != self.dtype:
            loss = self._fine_criterion or self.loss.to(self.device, outputs.dtype)
            batch = tree_map(lambda leaf: _placed(leaf, self.device, outputs.dtype), batch)
        with self._own_draws():
            return self._weighed(i, self._twice(i, loss.of_outputs(outputs, batch)))

    def loss_on(self, batch: Any, override: Override = NOTHING) -> Tensor:
        """The mean loss on any batch that was placed like ``self.batch(i)``."""
        return self._scalar(self._twice(0, self._named(0, batch, override, self.loss.value)), 0)

    def call(self, override: Override, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Call ``function(model, batch)`` with the current weights and ``override`` in their place.

        Always with gradients switched on, because models and losses may differentiate inside (gradient penalties,
        physics-informed networks); where they were off outside, the result comes back without its graph.
        """
        self._require_open()
        with torch.enable_grad(), self._own_draws(), Lean():
            result = functional_call(self._runner, self._weights.swapped(override), (function, batch))
        return result.detach() if isinstance(result, Tensor) and not torch.is_grad_enabled() else result

    def blame(self, i: int, error: BaseException) -> SecondDerivativeError:
        """Say which operation of micro-batch ``i`` cannot be differentiated twice, and in which layer it stands."""
        return second.of_second_derivative(self, self._fed[i], error)

    def guard(self) -> AbstractContextManager[None]:
        """Hold the process-wide switches of exact second derivatives; entering again on the same thread is cheap."""
        return guarded(self.device, self._default_dtype, threads=self.threads, recurrent=self._recurrent)

    # ---- numbers about the whole data

    def value(self) -> float:
        """The loss on all frozen data; one forward pass."""
        with self.guard(), torch.no_grad():
            return sum(float(self.batch_loss(i)) for i in range(self.count))

    def accuracy(self) -> float | None:
        """Share of examples whose largest output is their label; None where outputs are not ``[N, C]`` classes."""
        if not self.loss.splits:
            return None
        right = total = 0
        with self.guard(), torch.no_grad():
            for i, batch in enumerate(self._fed):
                outputs, target = self.batch_outputs(i), pair(batch)[1]
                if not _are_classes(outputs, target):
                    return None
                judged = (target >= 0) & (target < outputs.shape[1])  # leaves out ignored labels
                right += int((outputs.argmax(1) == target)[judged].sum())
                total += int(judged.sum())
        return right / total if total else None

    def moves_loss(self, names: Iterable[str]) -> bool:
        """Whether the loss changes when these parameters do; at most two forward passes.

        What autograd reports as unused may merely be cut off from the graph (``detach``, reentrant checkpoints).
        """
        generator = torch.Generator().manual_seed(0)
        moved = {}
        for name in names:
            value = self.tensors[name]
            scale = value.square().mean().sqrt()
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
            moved[name] = value + NUDGE * (scale if float(scale) > 0 else 1.0) * noise
        with self.guard(), torch.no_grad():
            for i in range(self.count):
                here, there = float(self.batch_loss(i)), float(self.batch_loss(i, moved))
                if abs(here - there) > ROUNDING * torch.finfo(self.dtype).eps * abs(here):
                    return True
        return False

    def check(self) -> tuple[checks.Row, ...]:
        """Try on little what computing relies on: rows of (name, "ok" | "note" | "error", detail)."""
        with self.guard():
            return checks.check(self)

    def difference(self, names: Iterable[str]) -> checks.Row:
        """The row "difference" of `check` for some parameters: "error" where their second derivative is wrong."""
        with self.guard():
            return checks.difference_of(self, tuple(dict.fromkeys(map(self._weights.tensors.canonical, names))))

    def widened(self, batch: Any = None) -> "Replica | None":
        """The same model, weights and loss in float64, on ``batch`` alone or on all data; None where that fails."""
        if sum(p.numel() for p in self.model.parameters()) > WIDE_SIZE:
            return None
        device = "cpu" if self.device.type == "mps" else self.device
        data = self.batches
        if batch is not None:
            data = replace(data, batches=(batch,), weights=(1.0,), examples=1, notes=())
        try:
            twin = Replica(
                self.model,
                self.loss,
                data,
                mode=self.mode,
                dtype=torch.float64,
                device=device,
                threads=self.threads,
            )
            twin.load(self._weights.state())
        except LhexploreError:
            return None
        return twin

    def wide_batch(self, i: int) -> "Replica | None":
        """`widened` on the first examples of micro-batch ``i``."""
        return self.widened(checks.head(self._fed[i], WIDE_EXAMPLES))

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Let a forward draw from the states as they are, to see whether it does; the caller forks them."""
        before, self._random = self._random, False
        try:
            yield
        finally:
            self._random = before

    # ---- inside

    def _run(self, i: int, override: Override, function: Callable[[nn.Module, Any], Any]) -> Any:
        return self._named(i, self._fed[i], override, function)

    def _named(self, i: int, batch: Any, override: Override, function: Callable[[nn.Module, Any], Any]) -> Any:
        try:
            return self.call(override, function, batch)
        except SecondDerivativeError as error:
            raise causes.of_forward(self, i, error) from error
        except LhexploreError:
            raise
        except Exception as error:
            raise causes.of_forward(self, i, error) from error

    def _weighed(self, i: int, value: Any) -> Tensor:
        value = self._scalar(value, i)
        if not bool(torch.isfinite(value)):
            raise causes.of_not_finite(self, i, float(value.detach()))
        weighed: Tensor = value * self._shares[i]
        return weighed

    def _twice(self, i: int, value: Any) -> Any:
        """See that no operation behind ``value`` would silently drop its second derivative."""
        if self._suspect and isinstance(value, Tensor) and (name := once_differentiable(value)) is not None:
            raise second.of_once_differentiable(self, self._fed[i], name)
        return value

    def _scalar(self, value: Any, i: int) -> Tensor:
        if not isinstance(value, Tensor):
            came = "None" if value is None else f"the {type(value).__name__} {value!r:.40}"
            hint = (
                "Does it return its result?"
                if value is None
                else "Return the tensor itself: float() and .item() cut it off from the weights."
            )
            raise LossError(f"{self.loss.name} returned {came} on batch {i}; expected a scalar tensor. {hint}")
        if value.numel() != 1 or value.is_complex():
            raise LossError(
                f"{self.loss.name} returned a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')} "
                f"on batch {i}; expected one real number, the mean over the batch. Use .mean()."
            )
        return value.reshape(())

    def _own_draws(self) -> AbstractContextManager[None]:
        """Random numbers of a forward never come out of the user's states; they are the same in every pass."""
        return forked_states(FORWARD_SEED) if self._random else nullcontext()

    def _placed(self, batch: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return tree_map(lambda leaf: _placed(leaf, self.device, self.dtype), batch)

    def _open(self, loss: Any, part: Any, pieces: list[Any], dtype: torch.dtype, *, flexible: bool) -> None:
        """Find a way to run model and loss on the first batch: as it should be, else as some models need it.

        A forward may make tensors of the default dtype itself, or cast its inputs to float32, which a model in another
        dtype cannot mix with. The first failure is the one to report.
        """
        ways: list[tuple[torch.dtype, torch.dtype | None]] = [(dtype, None)]
        if dtype != torch.get_default_dtype():
            ways.append((dtype, dtype))
        if flexible and dtype != torch.float32:
            ways.append((torch.float32, None))
        first: Exception | None = None
        for self.dtype, self._default_dtype in ways:
            cast_loose_tensors(self.model, self.device, self.dtype)
            usable = (name for layer in self.layers for name in layer.parameters)
            self._weights = Weights(self.model, usable, self.device, self.dtype, {})
            self._fed = [self._placed(pieces[0])]
            try:
                swap = private_swap(part, self.device, self.dtype)
                self._try(loss, loss.rebound(swap) if isinstance(loss, FORMS) else rebind(loss, swap), pieces)
            except (DataError, LossError) as error:
                first = first or error
                continue
            if self.dtype != dtype:
                self._notes.append("computed in float32: the model's forward does not run in float64")
            return
        if first is not None:
            raise first

    def _try(self, loss: Any, private: Any, pieces: list[Any]) -> None:
        """Find the loss's form on the first batch and see that it gives a scalar that depends on the weights."""
        self._random = False  # so that what the forward draws is seen here
        with self.guard(), forked_states(FORWARD_SEED):
            draws = Draws()
            with torch.no_grad(), Attention() as attention:
                found: Loss = self.call({}, lambda model, batch: as_loss(loss, model, batch, private), self._fed[0])
            self.loss = found.to(self.device, self.dtype)
            if isinstance(self.loss, CriterionLoss):
                with torch.no_grad():
                    outputs = self._run(0, {}, self.loss.outputs)
                self.loss.check_labels(outputs, pieces)
                if not (isinstance(outputs, Tensor) and outputs.is_floating_point()):
                    self.loss = replace(self.loss, splits=False)
                    self._notes.append("the model's outputs are no single tensor, so there is no GGN")
            live = causes.live(self)
            with attention:
                value = self._scalar(self._run(0, live, self.loss.value), 0)
            if attention.seen and ATTENTION not in self._notes:
                self._notes.append(ATTENTION)
            causes.require_graph(self, value, live)
            self._suspect = once_differentiable(value) is not None
            self._random = bool(draws)

    def _initialise_lazy(self, batch: Any) -> None:
        """Lazy modules get their weights from one forward of the private copy."""
        held = (*self.model.parameters(), *self.model.buffers())
        if not any(is_lazy(tensor) for tensor in held):
            return
        self.model.to(self.device)
        batch = self._placed(batch)
        with self.guard(), torch.no_grad(), forked_states(FORWARD_SEED):
            try:
                self.model(**dict(batch)) if isinstance(batch, Mapping) else self.model(pair(batch)[0])
            except Exception as error:
                raise ModelError(
                    f"{type(self.model).__name__} has lazy modules without weights, and running one batch through it "
                    f"failed ({type(error).__name__}: {error}). Run model(x) once before giving it to lhexplore."
                ) from error
        self._notes.append("lazy modules got their weights on the private copy, from the first batch")

    def _note(self, terms: list[float], pieces: list[Any], batch_size: int | None) -> None:
        wide = str(self.dtype).removeprefix("torch.")
        kinds = {p.dtype for p in self.model.parameters() if p.dtype in DIFFERENTIABLE}
        low = sorted(str(kind).removeprefix("torch.") for kind in kinds & {torch.float16, torch.bfloat16})
        if low:
            self._notes.append(f"{', '.join(low)} weights are up-cast exactly: this is the {wide} function at them")
        if empty := sum(count == 0 for count in terms):
            self._notes.append(f"{empty} batch{'es' * (empty > 1)} without a loss term (all labels ignored) left out")
        if self.mode == "train-frozen" and batch_size is not None:
            self._notes.append('batch_size= is not used in mode="train-frozen": batch norms need all data at once')
        if self._random:
            self._notes.append("the forward draws random numbers: the same ones are drawn in every pass")
        if self.batches.weighting == "samples" and len(pieces) > 1 and has_masked_labels(pieces):
            self._notes.append('labels are partly masked and batches weigh by examples; weight="tokens" counts labels')

    def _note_coupling(self, pieces: list[Any]) -> None:
        """Say so where batches are averaged although the loss is no mean over their examples."""
        known = all(self.loss.terms(piece) is not None for piece in pieces[:1])
        if len(self._fed) < 2 or known or self._random or self.mode == "train-frozen":
            return
        if doubt := checks.coupled(self, self._fed[0]):
            self._notes.append(doubt)

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("This replica was released. Make a new Session: cached results are found again.")


class _Runner(nn.Module):
    """Runs any function of the model while its tensors are swapped: losses may use parts of the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        return function(self.model, batch)


def _placed(leaf: Any, device: torch.device, dtype: torch.dtype) -> Any:
    return cast(leaf, device, dtype) if isinstance(leaf, Tensor) else leaf


def _are_classes(outputs: Tensor, target: Any) -> bool:
    return (
        isinstance(target, Tensor)
        and not (target.is_floating_point() or target.is_complex() or target.dtype == torch.bool)
        and outputs.dim() == 2
        and outputs.shape[1] > 1
        and target.shape == outputs.shape[:1]
    )

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

from ..errors import ClosedError, DataError, LossError, MismatchError, ModelError, NotFiniteError
from . import causes, checks, second
from .batches import Batches
from .copies import cast, cast_loose_tensors, private_copy, private_swap
from .graphs import once_differentiable
from .guard import guarded, has_recurrent
from .layers import DIFFERENTIABLE, list_layers
from .losses import CriterionLoss, Loss, as_loss, pair
from .micro import count_terms, has_masked_labels, micro_batches
from .placement import choose_device, choose_dtype, choose_threads, set_mode
from .rebind import rebind
from .states import Draws, forked_states
from .trees import tree_map

FORWARD_SEED = 0  # a forward that draws random numbers draws the same ones every time
NUDGE = 1e-2  # relative move that shows whether parameters matter at all
ROUNDING = 32  # epsilons by which a loss may differ between two ways of computing it
NOTHING: Mapping[str, Tensor] = MappingProxyType({})

Override = Mapping[str, Tensor]


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
        threads: torch threads while computing; None leaves one core free.

    Raises:
        ModelError: The model cannot be copied, has no weights, or its forward is cut off from them.
        DataError: The model or loss fails on the first batch, or a label is out of range.
        LossError: The loss is no scalar, has no graph, or does not use the model.
        SettingError: A setting makes no sense.
    """

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
        self.batches, self.mode = batches, mode
        self.device, self.threads = choose_device(device), choose_threads(threads)
        self.model, notes, part = private_copy(model)
        self._notes, self._closed = list(notes), False
        set_mode(self.model, mode)
        self._recurrent, self._random = has_recurrent(self.model), True
        self._suspect = False  # whether a function is differentiable only once; such are looked for in every graph
        self._default_dtype: torch.dtype | None = None
        self._base: dict[str, Tensor] = {}
        self._buffers: dict[str, Tensor] = {}
        self.dtype = torch.get_default_dtype()
        self._initialise_lazy(batches.batches[0])
        self.layers = list_layers(self.model, layers)
        self.dtype = choose_dtype(dtype, sum(p.numel() for p in self.model.parameters()), self.device)
        self._refuse_meta()
        cast_loose_tensors(self.model, self.device, self.dtype)
        self._runner = _Runner(self.model)
        self._take(self._known())
        pieces = micro_batches(batches, batch_size, whole=mode == "train-frozen")
        self._fed = [self._placed(piece) for piece in pieces]
        self.loss = self._understood(loss, rebind(loss, private_swap(part, self.device, self.dtype)), pieces)
        terms = count_terms(batches, pieces, self.loss)
        self._fed = [batch for batch, count in zip(self._fed, terms, strict=True) if count]
        self._shares = [count / sum(terms) for count in terms if count]
        self._note(terms, pieces, batch_size)

    # ---- what is held

    @property
    def tensors(self) -> Mapping[str, Tensor]:
        """The parameters that can be differentiated: detached, in the replica's dtype and on its device.

        Further names of a tied tensor are found as well, and give the same tensor; iteration lists each tensor once.
        """
        return self._tensors

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the parameters in ``tensors``, in the model's order."""
        return tuple(self._tensors)

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
        known = self._known()
        given = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        differences = [f"{n} is missing" for n, names in self._aliases.items() if not any(a in given for a in names)]
        differences += [f"{name} is unknown" for name in given if name not in known]
        differences += [
            f"{name} is {list(value.shape)}, expected {list(known[name].shape)}"
            for name, value in given.items()
            if name in known and value.shape != known[name].shape
        ]
        if differences:
            raise MismatchError(
                f"The weights do not fit {type(self.model).__name__}: {'; '.join(differences[:5])}. "
                "Give the state_dict of a model built in the same way."
            )
        bad = [n for n, t in given.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
        if bad:
            raise NotFiniteError(
                f"NaN or infinity in {', '.join(map(repr, bad[:5]))}. Look at an earlier snapshot: here is no Hessian."
            )
        first = {name: next(given[a] for a in names if a in given) for name, names in self._aliases.items()}
        self._take({**known, **given, **first})

    def release(self) -> None:
        """Let go of weights and data; the replica cannot be used afterwards."""
        self._fed, self._base, self._buffers = [], {}, {}
        self._tensors = _Tensors({}, {})
        self._closed = True

    # ---- the loss as a function of some parameters

    def batch_loss(self, i: int, override: Override = NOTHING) -> Tensor:
        """Micro-batch ``i``'s part of the loss; over all ``i`` they sum to the loss. Call with the guard held.

        ``override`` replaces parameters by name; the result is differentiable in those that require a gradient, and
        all others are constants.

        Raises:
            LossError: The loss is no scalar tensor.
            NotFiniteError: It is NaN or infinite; says whether weights, inputs, labels or the computation are to blame.
        """
        return self._weighed(i, self._twice(i, self._run(i, override, self.loss.value)))

    def batch_outputs(self, i: int, override: Override = NOTHING) -> Tensor:
        """The network's outputs on micro-batch ``i``, differentiable in ``override``; only if ``loss.splits``."""
        outputs: Tensor = self._twice(i, self._run(i, override, self.loss.outputs))
        return outputs

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        """Micro-batch ``i``'s part of the loss from its outputs, computed in the dtype of ``outputs``."""
        loss, batch = self.loss, self._fed[i]
        if outputs.dtype != self.dtype:
            loss = self.loss.to(self.device, outputs.dtype)
            batch = tree_map(lambda leaf: _placed(leaf, self.device, outputs.dtype), batch)
        with self._own_draws():
            return self._weighed(i, self._twice(i, loss.of_outputs(outputs, batch)))

    def loss_on(self, batch: Any, override: Override = NOTHING) -> Tensor:
        """The mean loss on any batch that was placed like ``self.batch(i)``."""
        return self._scalar(self._twice(0, self.call(override, self.loss.value, batch)), 0)

    def call(self, override: Override, function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Call ``function(model, batch)`` with the current weights and ``override`` in their place."""
        self._require_open()
        state = dict(self._base)
        state.update((f"model.{name}", value.clone()) for name, value in self._buffers.items())
        state.update((f"model.{self._tensors.canonical(name)}", value) for name, value in override.items())
        with self._own_draws():
            return functional_call(self._runner, state, (function, batch))

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
        for name in {self._tensors.canonical(name): None for name in names}:
            value = self._tensors[name]
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
        try:
            return self.call(override, function, self._fed[i])
        except causes.CAUSED as error:
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

    def _known(self) -> dict[str, Tensor]:
        """Everything the private copy holds, under all its names."""
        return {**dict(self.model.named_parameters(remove_duplicate=False)), **dict(self.model.named_buffers())}

    def _take(self, state: Mapping[str, Tensor]) -> None:
        """Make fresh tensors of ``state``: kept graphs of earlier weights stay true to those."""
        first: dict[int, str] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        for name, parameter in self.model.named_parameters(remove_duplicate=False):
            canonical = first.setdefault(id(parameter), name)
            self._aliases[canonical] = (*self._aliases.get(canonical, ()), name)
        fresh = {name: self._own(state[name]) for name in self._aliases}
        usable = {name for layer in self.layers for name in layer.parameters}
        tied = {alias: name for name, aliases in self._aliases.items() for alias in aliases}
        self._tensors = _Tensors({name: value for name, value in fresh.items() if name in usable}, tied)
        self._base = {f"model.{name}": value for name, value in fresh.items()}
        self._buffers = {name: self._own(state[name]) for name, _ in self.model.named_buffers()}

    def _own(self, tensor: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return cast(tensor.detach().clone(), self.device, self.dtype)

    def _placed(self, batch: Any) -> Any:
        with torch.inference_mode(False), torch.no_grad():
            return tree_map(lambda leaf: _placed(leaf, self.device, self.dtype), batch)

    def _understood(self, loss: Any, private: Any, pieces: list[Any]) -> Loss:
        """Find the loss's form on the first batch and see that it gives a scalar that depends on the weights."""
        try:
            return self._tried(loss, private, pieces)
        except (DataError, LossError):
            if torch.get_default_dtype() == self.dtype:
                raise
            # A forward may make tensors of its own in the default dtype, which a cast model cannot mix with.
            self._default_dtype = self.dtype
            try:
                return self._tried(loss, private, pieces)
            except (DataError, LossError):
                self._default_dtype = None
            raise

    def _tried(self, loss: Any, private: Any, pieces: list[Any]) -> Loss:
        first = self._fed[0]
        self._random = False  # so that what the forward draws is seen here
        with self.guard(), forked_states(FORWARD_SEED):
            draws = Draws()
            with torch.no_grad():
                found: Loss = self.call({}, lambda model, batch: as_loss(loss, model, batch, private), first)
            self.loss = found = found.to(self.device, self.dtype)
            if isinstance(found, CriterionLoss):
                with torch.no_grad():
                    outputs = self._run(0, {}, found.outputs)
                found.check_labels(outputs, pieces)
                if not (isinstance(outputs, Tensor) and outputs.is_floating_point()):
                    self.loss = found = replace(found, splits=False)
                    self._notes.append("the model's outputs are no single tensor, so there is no GGN")
            live = causes.live(self)
            value = self._scalar(self._run(0, live, found.value), 0)
            causes.require_graph(self, value, live)
            self._suspect = once_differentiable(value) is not None
            self._random = bool(draws)
        return found

    def _initialise_lazy(self, batch: Any) -> None:
        """Lazy modules get their weights from one forward of the private copy."""
        held = (*self.model.parameters(), *self.model.buffers())
        if not any(is_lazy(tensor) for tensor in held):
            return
        with self.guard(), torch.no_grad(), forked_states(FORWARD_SEED):
            try:
                self.model(**dict(batch)) if isinstance(batch, Mapping) else self.model(pair(batch)[0])
            except Exception as error:
                raise ModelError(
                    f"{type(self.model).__name__} has lazy modules without weights, and running one batch through it "
                    f"failed ({type(error).__name__}: {error}). Run model(x) once before giving it to lhexplore."
                ) from error
        self._notes.append("lazy modules got their weights on the private copy, from the first batch")

    def _refuse_meta(self) -> None:
        meta = [name for name, tensor in self._known().items() if tensor.is_meta]
        if meta:
            raise ModelError(
                f"{', '.join(map(repr, meta[:3]))} {'is' if len(meta) == 1 else 'are'} on the meta device and hold no "
                'numbers. Build the model on a real device (model.to_empty(device="cpu"), then load_state_dict).'
            )

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

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("This replica was released. Make a new Session: cached results are found again.")


class _Tensors(dict[str, Tensor]):
    """Parameters by their first name; further names of tied ones are found too."""

    def __init__(self, found: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
        super().__init__(found)
        self._tied = tied

    def canonical(self, name: str) -> str:
        return self._tied.get(name, name)

    def __missing__(self, name: str) -> Tensor:
        first = self.canonical(name)
        if first == name:
            raise KeyError(name)
        return self[first]


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

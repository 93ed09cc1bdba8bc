"""The private copy on which everything is computed, so that nothing of the user's is ever touched.

The copy's weights are swapped in for single calls: a snapshot is a dictionary of tensors, and a block's tensors are
handed in by whoever differentiates. Micro-batches carry their share of the loss, so they add up however they are cut.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import ClosedError, LossError, MismatchError, ModelError, NotFiniteError, SettingError
from . import causes, checks
from .batches import Batches
from .copies import cast, cast_loose_tensors, private_copy
from .guard import guarded, has_recurrent
from .layers import DIFFERENTIABLE, Layer, Select, list_layers
from .losses import Loss, as_loss, pair
from .states import forked_states
from .trees import count_examples, cut, join, tensors, tree_map

Mode = Literal["eval", "train-frozen"]
DOUBLE_UP_TO = 1_000_000  # parameters on a CPU: float64 costs little there and ends all questions of rounding
FORWARD_SEED = 0  # a forward that draws random numbers draws the same ones every time
NUDGE = 1e-2  # relative move that shows whether parameters matter at all
DTYPES = (torch.float64, torch.float32)


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
        batch_size: Micro-batches of this many examples; None keeps them as they were read.
        layers: Which layers are selected, as in :func:`list_layers`.
        threads: torch threads while computing; None leaves one core free.

    Raises:
        ModelError, DataError, LossError, SettingError: What cannot be used, and what to do.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        batches: Batches,
        *,
        mode: Mode = "eval",
        dtype: torch.dtype | None = None,
        device: str | torch.device = "auto",
        batch_size: int | None = None,
        layers: Select = None,
        threads: int | None = None,
    ) -> None:
        if mode not in ("eval", "train-frozen"):
            raise SettingError(f'mode= takes "eval" or "train-frozen", got {mode!r}.')
        self.batches, self.mode = batches, mode
        self.device = _device(device)
        self.threads = _threads(threads)
        self.model, notes = private_copy(model)
        self._notes = list(notes)
        self.recurrent = has_recurrent(self.model)
        _set_mode(self.model, mode)
        self.dtype = _dtype(self.model, dtype, self.device)
        self._initialise_lazy(batches.batches[0])
        self.layers = list_layers(self.model, layers)
        cast_loose_tensors(self.model, self.device, self.dtype)
        self._take({**dict(self.model.named_parameters(remove_duplicate=False)), **dict(self.model.named_buffers())})
        self._note_cast()
        cpu_batches = self._micro_batches(batch_size)
        self._fed = [self._placed(batch) for batch in cpu_batches]
        self._runner = _Runner(self.model)
        self.loss = self._understood(loss)
        self._weights = self._shares(cpu_batches)
        self._notes += self.loss.notes

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
        return tuple(dict.fromkeys(self._notes))

    @property
    def count(self) -> int:
        """How many micro-batches make up the loss."""
        return len(self._fed)

    @property
    def shares(self) -> tuple[float, ...]:
        """The part of the loss that each micro-batch's mean contributes; they sum to 1."""
        return tuple(self._weights)

    def load(self, state: Mapping[str, Any]) -> None:
        """Put a snapshot's weights and buffers in place; earlier tensors stay what they were.

        Raises:
            MismatchError: A parameter is missing, unknown, or has another shape.
            NotFiniteError: NaN or infinity in the weights.
        """
        self._require_open()
        known = {**dict(self.model.named_parameters(remove_duplicate=False)), **dict(self.model.named_buffers())}
        given = {name: value for name, value in state.items() if isinstance(value, Tensor)}
        unknown = sorted(given.keys() - known.keys())
        missing = sorted(name for name in self._tensors if not any(alias in given for alias in self._aliases[name]))
        shapes = [
            f"{name} is {list(given[name].shape)}, expected {list(known[name].shape)}"
            for name in given.keys() & known.keys()
            if given[name].shape != known[name].shape
        ]
        if unknown or missing or shapes:
            differences = [f"{n} is missing" for n in missing] + [f"{n} is unknown" for n in unknown] + sorted(shapes)
            raise MismatchError(
                f"The weights do not fit {type(self.model).__name__}: {'; '.join(differences[:5])}. "
                "Give the state_dict of a model built in the same way."
            )
        bad = [n for n, t in given.items() if t.is_floating_point() and not bool(torch.isfinite(t).all())]
        if bad:
            raise NotFiniteError(f"NaN or infinity in the weights {', '.join(map(repr, sorted(bad)[:5]))}.")
        first = {name: next((given[a] for a in names if a in given), None) for name, names in self._aliases.items()}
        self._take({**known, **given, **{name: value for name, value in first.items() if value is not None}})

    def release(self) -> None:
        """Let go of weights and data; the replica cannot be used afterwards."""
        self._fed, self._constants, self._buffers = [], {}, {}
        self._tensors = _Tensors({}, {})
        self._closed = True

    # ---- the loss as a function of some parameters

    def batch_loss(self, i: int, override: Mapping[str, Tensor] = {}) -> Tensor:  # noqa: B006 (never changed)
        """Micro-batch ``i``'s part of the loss; over all ``i`` they sum to the loss. Call with the guard held.

        ``override`` replaces parameters by name; the result is differentiable in those that require a gradient, and
        all others are constants.

        Raises:
            LossError: The loss is no scalar tensor.
            NotFiniteError: It is NaN or infinite; says whether weights, inputs, labels or the computation are to blame.
        """
        value = self._run(i, override, self.loss.value)
        return self._weighted(i, self._scalar(value, i))

    def batch_outputs(self, i: int, override: Mapping[str, Tensor] = {}) -> Tensor:  # noqa: B006
        """The network's outputs on micro-batch ``i``, differentiable in ``override``; only if ``loss.splits``."""
        outputs: Tensor = self._run(i, override, self.loss.outputs)
        return outputs

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        """Micro-batch ``i``'s part of the loss from its outputs, in the dtype of ``outputs``."""
        loss, batch = self.loss, self._fed[i]
        if outputs.dtype != self.dtype:
            loss = self.loss.to(self.device, outputs.dtype)
            batch = tree_map(lambda leaf: _cast_leaf(leaf, self.device, outputs.dtype), batch)
        with forked_states(FORWARD_SEED):
            value = loss.of_outputs(outputs, batch)
        return self._weighted(i, self._scalar(value, i))

    def guard(self) -> AbstractContextManager[None]:
        """Hold the process-wide switches of exact second derivatives; entering again on the same thread is cheap."""
        return guarded(self.device, self.dtype, threads=self.threads, recurrent=self.recurrent)

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
                classes = (
                    isinstance(target, Tensor)
                    and target.dtype in (torch.int64, torch.int32, torch.int16, torch.uint8)
                    and outputs.dim() == 2
                    and outputs.shape[1] > 1
                    and target.shape == outputs.shape[:1]
                )
                if not classes:
                    return None
                judged = (target >= 0) & (target < outputs.shape[1])  # leaves out ignored labels
                right += int((outputs.argmax(1) == target)[judged].sum())
                total += int(judged.sum())
        return right / total if total else None

    def moves_loss(self, names: Iterable[str]) -> bool:
        """Whether the loss changes when these parameters do; two forward passes.

        What autograd reports as unused may merely be cut off from the graph (``detach``, reentrant checkpoints).
        """
        names = [self._tensors.canonical(name) for name in names]
        generator = torch.Generator().manual_seed(0)
        moved = {}
        for name in names:
            value = self._tensors[name]
            scale = value.abs().mean() + value.new_tensor(1e-3)
            noise = torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value)
            moved[name] = value + NUDGE * scale * noise
        with self.guard(), torch.no_grad():
            return any(float(self.batch_loss(i, moved)) != float(self.batch_loss(i)) for i in range(self.count))

    def check(self) -> tuple[tuple[str, str, str], ...]:
        """Try on one micro-batch what computing needs: rows of (name, "ok" | "note" | "error", detail)."""
        with self.guard():
            return checks.check(self)

    # ---- inside

    def batch(self, i: int) -> Any:
        """Micro-batch ``i`` as it is fed."""
        return self._fed[i]

    @contextmanager
    def swapped(self, override: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
        """All tensors for one call: constants, copies of the buffers, parameters with ``override`` in their place."""
        self._require_open()
        canonical = {self._tensors.canonical(name): value for name, value in override.items()}
        buffers = {name: value.clone() for name, value in self._buffers.items()}
        with forked_states(FORWARD_SEED):
            yield {**self._constants, **buffers, **self._tensors, **canonical}

    def _run(self, i: int, override: Mapping[str, Tensor], function: Any) -> Any:
        with self.swapped(override) as state:
            named = {f"model.{name}": value for name, value in state.items()}
            try:
                return functional_call(self._runner, named, (function, self._fed[i]))
            except causes.CAUSED as error:
                raise causes.of_forward(self, i, error) from error

    def _weighted(self, i: int, value: Tensor) -> Tensor:
        return value * self._weights[i]

    def _scalar(self, value: Any, i: int) -> Tensor:
        if not isinstance(value, Tensor):
            came = "None" if value is None else f"{type(value).__name__} {value!r:.40}"
            hint = (
                "Did it forget to return?"
                if value is None
                else "Return the tensor itself: .item() and float() cut the graph."
            )
            raise LossError(f"{self.loss.name} returned {came} on batch {i}; expected a scalar tensor. {hint}")
        if value.numel() != 1:
            raise LossError(
                f"{self.loss.name} returned a tensor of shape {list(value.shape)} on batch {i}; expected one number, "
                "the mean over the batch. Add .mean()."
            )
        value = value.reshape(())
        if not bool(torch.isfinite(value)):
            raise causes.of_not_finite(self, i, float(value.detach()))
        return value

    def _take(self, state: Mapping[str, Tensor]) -> None:
        """Make fresh tensors of ``state``: kept graphs of earlier weights stay true to those."""
        parameters = dict(self.model.named_parameters(remove_duplicate=False))
        first: dict[int, str] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        for name, parameter in parameters.items():
            canonical = first.setdefault(id(parameter), name)
            self._aliases[canonical] = (*self._aliases.get(canonical, ()), name)
        fresh = {
            name: cast(state[name].detach().clone(), self.device, self.dtype) for name in self._aliases if name in state
        }
        usable = {name for layer in self.layers for name in layer.parameters}
        tied = {alias: name for name, aliases in self._aliases.items() for alias in aliases}
        self._tensors = _Tensors({name: value for name, value in fresh.items() if name in usable}, tied)
        self._constants = {name: value for name, value in fresh.items() if name not in usable}
        buffers = dict(self.model.named_buffers())
        self._buffers = {name: cast(state[name].detach().clone(), self.device, self.dtype) for name in buffers}
        self._closed = False

    def _understood(self, loss: Any) -> Loss:
        """Find the loss's form on the first batch, and see that it gives a finite scalar there."""
        with self.guard(), torch.no_grad(), self.swapped({}) as state:
            named = {f"model.{name}": value for name, value in state.items()}
            found: Loss = functional_call(self._runner, named, (lambda m, b: as_loss(loss, m, b), self._fed[0]))
        return found.to(self.device, self.dtype)

    def _placed(self, batch: Any) -> Any:
        return tree_map(lambda leaf: _cast_leaf(leaf, self.device, self.dtype), batch)

    def _micro_batches(self, batch_size: int | None) -> list[Any]:
        batches = list(self.batches.batches)
        if self.mode == "train-frozen":  # statistics of all data couple its examples: it must stay in one piece
            if batch_size is not None:
                self._notes.append('batch_size= is not used in mode="train-frozen": batch norms need all data at once')
            return [join(batches)]
        if batch_size is None:
            return batches
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise SettingError(f"batch_size= takes a whole number of at least 1 or None, got {batch_size!r}.")
        return [
            cut(batch, start, min(start + batch_size, size)) if size > batch_size else batch
            for batch in batches
            for size in (count_examples(batch),)
            for start in range(0, size, batch_size)
        ]

    def _shares(self, cpu_batches: list[Any]) -> list[float]:
        """What each micro-batch's mean weighs; batches without a single term are left out."""
        custom = self.batches.weighting not in ("samples", "tokens")
        weights = []
        for batch in cpu_batches:
            terms = None if custom else self.loss.terms(batch)
            weights.append(self.batches.weigh(batch) if terms is None else terms)
        total = float(sum(weights))
        if total <= 0:
            raise LossError(
                f"{self.loss.name} has no terms in all {len(weights)} batches: every label is ignored or weighs 0."
            )
        empty = [i for i, weight in enumerate(weights) if weight == 0]
        if empty:
            self._notes.append(f"{len(empty)} batches without a loss term (all labels ignored) left out")
            self._fed = [batch for i, batch in enumerate(self._fed) if i not in set(empty)]
        return [float(weight) / total for weight in weights if weight != 0]

    def _initialise_lazy(self, batch: Any) -> None:
        if not any(nn.parameter.is_lazy(p) for p in (*self.model.parameters(), *self.model.buffers())):
            return
        with self.guard(), torch.no_grad(), forked_states(FORWARD_SEED):
            try:
                inputs = batch if isinstance(batch, Mapping) else pair(batch)[0]
                self.model(**dict(inputs)) if isinstance(batch, Mapping) else self.model(inputs)
            except Exception as error:
                raise ModelError(
                    f"{type(self.model).__name__} has lazy modules without weights, and running one batch through it "
                    f"failed ({type(error).__name__}: {error}). Run model(x) once before giving it to lhexplore."
                ) from error
        self._notes.append("lazy modules were initialised on the private copy with the first batch")

    def _note_cast(self) -> None:
        kinds = {p.dtype for p in self.model.parameters() if p.dtype in DIFFERENTIABLE}
        low = sorted(str(kind).removeprefix("torch.") for kind in kinds & {torch.float16, torch.bfloat16})
        if low:
            wide = str(self.dtype).removeprefix("torch.")
            self._notes.append(f"{', '.join(low)} weights are up-cast exactly: this is the {wide} function at them")

    def _require_open(self) -> None:
        if self._closed:
            raise ClosedError("This replica was released. Make a new Session: cached results are found again.")


class _Tensors(dict[str, Tensor]):
    """Parameters by their first name; further names of tied ones are found too."""

    def __init__(self, tensors: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
        super().__init__(tensors)
        self._tied = tied

    def canonical(self, name: str) -> str:
        return self._tied.get(name, name)

    def __missing__(self, name: str) -> Tensor:
        if (first := self._tied.get(name, name)) != name and first in self:
            return self[first]
        raise KeyError(name)


class _Runner(nn.Module):
    """Runs any function of the model while its tensors are swapped: losses may use parts of the model."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, function: Any, batch: Any) -> Any:
        return function(self.model, batch)


def _cast_leaf(leaf: Any, device: torch.device, dtype: torch.dtype) -> Any:
    return cast(leaf, device, dtype) if isinstance(leaf, Tensor) else leaf


def _set_mode(model: nn.Module, mode: Mode) -> None:
    model.eval()
    if mode == "train-frozen":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()


def _device(device: str | torch.device) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SettingError(f'device= takes "auto", "cpu", "cuda" or a torch.device, got {device!r}.') from error
    if found.type == "cuda" and not torch.cuda.is_available():
        raise SettingError('device="cuda" was asked for, but torch sees no CUDA device here. Use device="auto".')
    return found


def _dtype(model: nn.Module, dtype: torch.dtype | None, device: torch.device) -> torch.dtype:
    if dtype is None:
        lazy = any(nn.parameter.is_lazy(p) for p in model.parameters())
        size = 0 if lazy else sum(p.numel() for p in model.parameters())
        return torch.float64 if device.type == "cpu" and size <= DOUBLE_UP_TO else torch.float32
    if dtype not in DTYPES:
        raise SettingError(
            f"dtype= takes torch.float64, torch.float32 or None, got {dtype!r}: second derivatives need their digits."
        )
    return dtype


def _threads(threads: int | None) -> int:
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise SettingError(f"threads= takes a whole number of at least 1 or None, got {threads!r}.")
    free = max(1, (len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2) - 1)
    return threads or min(torch.get_num_threads(), free)

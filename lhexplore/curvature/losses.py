"""Three ways to say what the loss is, behind one face: the mean over the loss terms of a batch.

1. ``criterion(model(x), y)`` for pairs: an ``nn.Module`` or a function of outputs and targets.
2. ``loss(model, batch)``: a function of anything; it must return the mean over the batch's terms.
3. ``model(**batch).loss`` for mappings, when no loss is given.

A criterion that sums or keeps single terms is asked for its mean instead, and its number of terms is known, so that
class weights, masked labels and ragged batches come out as on the whole data at once.
"""

import copy
import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from ..errors import DataError, LossError
from .identity import identify
from .rebind import Swap, rebind
from .terms import ignored_label, term_counter, torch_function
from .trees import describe

ModelCall = Callable[..., Any]
_GENERAL_NAMES = ("model", "net", "network", "module")
_MEANS = {"sum": "mean", "none": "mean"}


@runtime_checkable
class Loss(Protocol):
    """The mean loss of one batch, and what identifies it."""

    @property
    def name(self) -> str: ...
    @property
    def identity(self) -> dict[str, Any]: ...
    @property
    def splits(self) -> bool: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    def value(self, model_call: ModelCall, batch: Any) -> Any: ...
    def outputs(self, model_call: ModelCall, batch: Any) -> Any: ...
    def of_outputs(self, outputs: Any, batch: Any) -> Any: ...
    def terms(self, batch: Any) -> float | None: ...
    def to(self, device: torch.device, dtype: torch.dtype) -> "Loss": ...


def as_loss(loss: Any, model: ModelCall, batch: Any, private: Any = None) -> Loss:
    """Decide which of the three forms ``loss`` has.

    An ``nn.Module`` and torch's own loss functions are criteria; None stands for ``model(**batch).loss``. Any other
    callable of two arguments is read as ``loss(model, batch)`` if its first argument is called model, net, network or
    module or its second is called batch, or if the batch is no pair. What remains is tried on ``batch``: first as
    ``loss(model, batch)``, then as ``criterion(model(x), y)``.

    Args:
        loss: What the user gave, or the loss of another copy.
        model: Called during the trial; must not be the user's own module.
        batch: One batch on the device and in the dtype of ``model``.
        private: Called in place of ``loss``: the same function with copies of what it captured.

    Raises:
        LossError: None of the forms works; what was tried and how it failed.
    """
    if isinstance(loss, FORMS):
        return loss if private is None else private
    if loss is None:
        if isinstance(batch, Mapping):
            return ModelLoss()
        raise LossError(
            "No loss was given. Without one, batches must be mappings for model(**batch).loss, but this batch is "
            f"{describe(batch)}. Give loss=nn.CrossEntropyLoss() or loss=f(model, batch) -> scalar."
        )
    if isinstance(loss, nn.Module):
        return _criterion(loss, batch)
    if isinstance(loss, type):
        raise LossError(f"loss= got the class {loss.__name__} itself; give an instance of it: {loss.__name__}().")
    if not callable(loss):
        raise LossError(f"loss= takes a criterion, f(model, batch) -> scalar or None; got {type(loss).__name__}.")
    if torch_function(loss) is not None:
        return _criterion(loss, batch)
    names = _positional(loss)
    if names is not None and len(names) < 2:
        raise LossError(
            f"{_name(loss)} takes {len(names)} argument{'s' * (len(names) != 1)}; a loss takes two: "
            "(outputs, targets) or (model, batch)."
        )
    private = loss if private is None else private
    if _is_general(names) or not _is_pair(batch):
        return _general(loss, private)
    return _tried(loss, private, model, batch)


@dataclass(frozen=True, slots=True, eq=False)
class CriterionLoss:
    """``criterion(model(x), y)``; outputs and criterion can be looked at apart."""

    criterion: Callable[[Any, Any], Any]
    name: str
    identity: dict[str, Any]
    count: Callable[[Any], float] | None = None  # loss terms of the targets, where the criterion is known
    ignored: int | None = None  # the label that is left out; None where labels are no classes
    notes: tuple[str, ...] = ()
    splits: bool = True

    def value(self, model_call: ModelCall, batch: Any) -> Any:
        return self.of_outputs(self.outputs(model_call, batch), batch)

    def outputs(self, model_call: ModelCall, batch: Any) -> Any:
        return model_call(pair(batch)[0])

    def of_outputs(self, outputs: Any, batch: Any) -> Any:
        return self.criterion(outputs, pair(batch)[1])

    def terms(self, batch: Any) -> float | None:
        """Count what the criterion divides by; None where only the user's rule can tell."""
        target = pair(batch)[1]
        return None if self.count is None or not isinstance(target, Tensor) else self.count(target)

    def rebound(self, swap: Swap) -> "CriterionLoss":
        """The same with what its function captured replaced."""
        return replace(self, criterion=rebind(self.criterion, swap))

    def to(self, device: torch.device, dtype: torch.dtype) -> "CriterionLoss":
        criterion = self.criterion
        if isinstance(criterion, nn.Module):
            criterion = copy.deepcopy(criterion).to(device=device, dtype=dtype).requires_grad_(False)
        elif isinstance(criterion, functools.partial):
            moved = {
                key: value.to(device=device, dtype=dtype if value.is_floating_point() else None)
                if isinstance(value, Tensor)
                else value
                for key, value in criterion.keywords.items()
            }
            criterion = functools.partial(criterion.func, *criterion.args, **moved)
        return replace(self, criterion=criterion)

    def check_labels(self, outputs: Any, batches: Sequence[Any]) -> None:
        """Compare class labels with the number of outputs, on the CPU: on a GPU a bad label ends the process.

        Raises:
            DataError: A label without an output.
        """
        if self.ignored is None or not isinstance(outputs, Tensor) or outputs.dim() == 0:
            return
        classes = outputs.shape[1] if outputs.dim() > 1 else outputs.shape[0]
        for index, batch in enumerate(batches):
            target = pair(batch)[1]
            if not isinstance(target, Tensor) or target.is_floating_point():
                continue
            labels = target[target != self.ignored]
            if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= classes):
                raise DataError(
                    f"Labels in batch {index} run from {int(labels.min())} to {int(labels.max())}, but the model has "
                    f"{classes} outputs (labels 0 to {classes - 1}). Is ignore_index missing?"
                )


@dataclass(frozen=True, slots=True, eq=False)
class GeneralLoss:
    """``loss(model, batch)``, taken as the mean over the batch's terms."""

    function: Callable[[Any, Any], Any]
    name: str
    identity: dict[str, Any]
    notes: tuple[str, ...] = ()
    splits: bool = False

    def value(self, model_call: ModelCall, batch: Any) -> Any:
        return self.function(model_call, batch)

    def outputs(self, model_call: ModelCall, batch: Any) -> Any:
        raise LossError(f"{self.name} does not show the model's outputs, so there is no Gauss-Newton matrix.")

    def of_outputs(self, outputs: Any, batch: Any) -> Any:
        raise LossError(f"{self.name} does not show the model's outputs, so there is no Gauss-Newton matrix.")

    def terms(self, batch: Any) -> float | None:
        return None

    def rebound(self, swap: Swap) -> "GeneralLoss":
        """The same with what its function captured replaced."""
        return replace(self, function=rebind(self.function, swap))

    def to(self, device: torch.device, dtype: torch.dtype) -> "GeneralLoss":
        return self


@dataclass(frozen=True, slots=True, eq=False)
class ModelLoss:
    """``model(**batch).loss``: the model brings its loss along."""

    name: str = "the model's own loss"
    identity: dict[str, Any] = field(default_factory=lambda: {"form": "model(**batch).loss"})
    notes: tuple[str, ...] = ()
    splits: bool = False

    def value(self, model_call: ModelCall, batch: Any) -> Any:
        result = model_call(**dict(batch))
        loss = result.get("loss") if isinstance(result, Mapping) else getattr(result, "loss", None)
        if loss is None:
            raise LossError(
                f"model(**batch) returned {type(result).__name__} without a loss; the batch has the keys "
                f"{', '.join(map(str, batch))}. Models of this kind return a loss only when the batch has labels; "
                "otherwise give loss=f(model, batch) -> scalar."
            )
        return loss

    def outputs(self, model_call: ModelCall, batch: Any) -> Any:
        raise LossError("model(**batch).loss does not show its criterion, so there is no Gauss-Newton matrix.")

    def of_outputs(self, outputs: Any, batch: Any) -> Any:
        raise LossError("model(**batch).loss does not show its criterion, so there is no Gauss-Newton matrix.")

    def terms(self, batch: Any) -> float | None:
        return None

    def rebound(self, swap: Swap) -> "ModelLoss":
        """The same: it captured nothing."""
        return self

    def to(self, device: torch.device, dtype: torch.dtype) -> "ModelLoss":
        return self


FORMS = (CriterionLoss, GeneralLoss, ModelLoss)


def pair(batch: Any) -> tuple[Any, Any]:
    """Take ``(x, y)`` out of a tuple, list or named tuple of two.

    Raises:
        LossError: Anything else.
    """
    if _is_pair(batch):
        return batch[0], batch[1]
    raise LossError(
        f"A criterion needs batches (x, y), but this batch is {describe(batch)}. "
        "Give loss=f(model, batch) -> scalar, which may take the batch apart as it likes."
    )


def _is_general(names: Sequence[str] | None) -> bool:
    """Whether the arguments' names say ``loss(model, batch)``."""
    return names is not None and len(names) >= 2 and (names[0].lower() in _GENERAL_NAMES or names[1].lower() == "batch")


def _is_pair(batch: Any) -> bool:
    return isinstance(batch, tuple | list) and len(batch) == 2


def _criterion(loss: Any, batch: Any) -> CriterionLoss:
    if isinstance(loss, nn.Module) and _is_general(names := _positional(loss.forward)):
        raise LossError(
            f"{_name(loss)} is an nn.Module, and modules are read as criterion(outputs, targets), but its forward "
            f"takes ({', '.join(names or ())}). Wrap it in a function: loss=lambda model, batch: my_loss(model, batch)."
        )
    pair(batch)
    identity = {"form": "criterion(model(x), y)", "loss": identify(loss)}
    name, notes = _name(loss), list[str]()
    count, ignored = term_counter(loss), ignored_label(loss)
    if isinstance(loss, nn.Module):
        loss = copy.deepcopy(loss).requires_grad_(False).eval()
        if any(True for _ in loss.parameters()):
            notes.append(f"{name} has parameters of its own: they are constants here")
        if getattr(loss, "reduction", None) in _MEANS:
            notes.append(f"{name} has reduction={loss.reduction!r}: the mean over its terms is used")
            loss.reduction = "mean"
    elif isinstance(loss, functools.partial) and loss.keywords.get("reduction") in _MEANS:
        notes.append(f"{name} has reduction={loss.keywords['reduction']!r}: the mean over its terms is used")
        loss = functools.partial(loss.func, *loss.args, **{**loss.keywords, "reduction": "mean"})
    return CriterionLoss(loss, name, identity, count, ignored, tuple(notes))


def _general(loss: Any, private: Any) -> GeneralLoss:
    return GeneralLoss(private, _name(loss), {"form": "loss(model, batch)", "loss": identify(loss)})


def _tried(loss: Any, private: Any, model: ModelCall, batch: Any) -> Loss:
    failures = list[str]()
    candidates: list[tuple[str, Callable[[], Loss]]] = [
        ("loss(model, batch)", lambda: _general(loss, private)),
        ("criterion(model(x), y)", lambda: replace(_criterion(loss, batch), criterion=private)),
    ]
    for form, make in candidates:
        candidate = make()
        try:
            candidate.value(model, batch)
        except Exception as error:  # noqa: BLE001 (the user's code: whatever it raises tells that the form is another)
            failures.append(f"as {form}: {type(error).__name__}: {(str(error).splitlines() or [''])[0]}")
        else:
            return candidate
    raise LossError(
        f"{_name(loss)} works neither way on a batch that is {describe(batch)}: {'; '.join(failures)}. "
        "Name its arguments (model, batch) to say which form it has."
    )


def _positional(loss: Callable[..., Any]) -> list[str] | None:
    try:
        parameters = inspect.signature(loss).parameters.values()
    except (TypeError, ValueError):  # built-in functions have none
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return None
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _name(loss: Any) -> str:
    if isinstance(loss, functools.partial):
        return _name(loss.func)
    if isinstance(loss, nn.Module):
        return type(loss).__name__
    return getattr(loss, "__name__", type(loss).__name__)

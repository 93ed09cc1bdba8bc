"""Which scalar of a block's output is differentiated: what a person may ask for, read into one form."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import LossError, SettingError, suggest
from ..copies import private_swap
from ..identity import identify
from ..rebind import rebind

NAMED = {"sum": "the sum of the block's outputs", "half_square": "half the squared norm of the block's outputs"}
_TRIED = 8  # examples on which the batched way of a callable is compared with one call per example
# Batched and single evaluation order their sums differently.
_ROUNDING = {torch.float64: 1e-12, torch.float32: 1e-5}


@dataclass(frozen=True, slots=True, eq=False)
class Functional:
    """One example's scalar, as a function of the block's output or of the model; averaged over examples.

    ``form`` is "sum", "half_square", "block" for a callable of one example's block output, or "model" for
    ``f(model, batch)``, which is the mean over the batch and not local to a block.
    """

    name: str
    form: Literal["sum", "half_square", "block", "model"]
    identity: Mapping[str, Any]
    note: str = ""
    function: Callable[..., Any] | None = field(default=None, repr=False)
    batched: bool = False  # whether the callable may be applied to all examples at once

    def to(self, device: torch.device, dtype: torch.dtype) -> "Functional":
        """The same with private copies, on ``device`` and in ``dtype``, of the tensors and modules it captured."""
        if self.function is None:
            return self
        swap = private_swap(lambda part: part, device, dtype)
        whole = isinstance(self.function, nn.Module)
        return replace(self, function=swap(self.function) if whole else rebind(self.function, swap))

    def total(self, outputs: Tensor, examples: int, layer: str) -> Tensor:
        """Sum over the examples of a micro-batch.

        Args:
            outputs: of one call of the block, of any shape; of ``examples`` examples along the first axis where it is a
                callable's.
            examples: in the micro-batch.
            layer: for messages.

        Raises:
            LossError: a callable gave no real number with a graph, or the outputs cannot be told apart by example.
        """
        if self.form == "sum":
            return outputs.sum()
        if self.form == "half_square":
            return outputs.square().sum() / 2
        self._require_examples(outputs, examples, layer)
        if self.batched:
            values: Float[Tensor, " b"] = torch.vmap(self._one)(outputs)
            return values.sum()
        return torch.stack([self._value(example) for example in outputs]).sum()

    def tried(self, outputs: Tensor, examples: int, layer: str) -> "Functional":
        """The same after trying it on the first examples of ``outputs``: in one batched call where that agrees.

        Raises:
            LossError: as for `total`.
        """
        if self.form != "block":
            return self
        self._require_examples(outputs, examples, layer)
        single, count = replace(self, batched=False), min(examples, _TRIED)
        given = outputs[:count].detach().clone().requires_grad_()
        value = single.total(given, count, layer)
        try:
            together = replace(self, batched=True)
            same = _close(value, given, together.total(given, count, layer))
        except Exception:  # noqa: BLE001 (branches on values, custom functions: many things cannot be batched)
            return single
        return together if same else single

    def _require_examples(self, outputs: Tensor, examples: int, layer: str) -> None:
        if outputs.ndim == 0 or len(outputs) != examples:
            raise LossError(
                f"{self.name} takes the block output of one example, but layer {layer!r} gives {list(outputs.shape)} "
                f"for {examples} examples: its first axis does not run over examples. Use 'sum', 'half_square' or a "
                "function f(model, batch)."
            )

    def _one(self, example: Tensor) -> Tensor:
        value: Tensor = self._called(example)
        return value.reshape(())

    def _called(self, *args: Any) -> Any:
        if self.function is None:
            raise SettingError(f"functional={self.name!r} is no callable.")
        return self.function(*args)

    def _value(self, example: Tensor) -> Tensor:
        try:
            value = self._called(example)
        except (LossError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise LossError(
                f"{self.name} failed on one example's block output {list(example.shape)}: {type(error).__name__}: "
                f"{error}. It is called as f(block_output) for one example at a time, without the batch axis."
            ) from error
        return real_number(value, self.name, "one example", graph=example.requires_grad)


def as_functional(functional: Any) -> Functional:
    """Read what was asked for.

    A callable of one (required) argument takes one example's block output; of two, ``(model, batch)``. An ``nn.Module``
    and functions whose arguments cannot be seen (built-in ones) take a block output.

    Raises:
        SettingError: neither a known name nor such a callable.
    """
    if isinstance(functional, Functional):
        return functional
    if functional == "sum":
        return Functional("sum", "sum", {"functional": "sum"})
    if functional == "half_square":
        return Functional("half_square", "half_square", {"functional": "half_square"})
    if isinstance(functional, str):
        if functional == "loss":
            raise SettingError("functional='loss' is the loss itself, not a local functional: ask the replica for it.")
        raise SettingError(
            f"functional must be 'loss', 'sum', 'half_square' or a callable; got {functional!r}. "
            f"{suggest(functional, ('loss', *NAMED))}"
        )
    if isinstance(functional, type) or not callable(functional):
        came = f"the class {functional.__name__} itself" if isinstance(functional, type) else repr(functional)
        raise SettingError(
            "functional must be 'loss', 'sum', 'half_square', f(block_output) -> scalar or f(model, batch) -> scalar; "
            f"got {came:.80}."
        )
    name = _name(functional)
    names = _required(functional)
    if names is not None and len(names) not in (1, 2):
        raise SettingError(
            f"{name} takes {len(names)} arguments; a functional takes one (the block output of one example) or two "
            "(model, batch)."
        )
    if names is not None and len(names) == 2:
        note = f"{name} is read as f(model, batch), the mean over a batch: a functional of the network, for research"
        return Functional(
            name, "model", {"functional": "f(model, batch)", "of": identify(functional)}, note, functional
        )
    note = f"{name} is read as a function of one example's block output, averaged over examples"
    return Functional(name, "block", {"functional": "f(block output)", "of": identify(functional)}, note, functional)


def real_number(value: Any, name: str, where: str, *, graph: bool = True) -> Tensor:
    """See that a callable gave one real number with a graph.

    Raises:
        LossError: something else.
    """
    if not isinstance(value, Tensor):
        came = "None" if value is None else f"the {type(value).__name__} {value!r:.40}"
        hint = "Does it return its result?" if value is None else "float() and .item() cut it off from the weights."
        raise LossError(f"{name} returned {came} for {where}; expected a scalar tensor. {hint}")
    if value.numel() != 1 or not value.is_floating_point():
        raise LossError(
            f"{name} returned a tensor {list(value.shape)} of {str(value.dtype).removeprefix('torch.')} for {where}; "
            "expected one real number. Use .sum() or .mean()."
        )
    if graph and not value.requires_grad:
        raise LossError(
            f"{name} returned a tensor without a graph for {where}, so it cannot be differentiated. Look for detach(), "
            ".item(), no_grad, argmax or torch.tensor(...) in it."
        )
    return value.reshape(())


def _close(value: Tensor, given: Tensor, other: Tensor) -> bool:
    (one,) = torch.autograd.grad(value, given)
    (two,) = torch.autograd.grad(other, given)
    limit = _ROUNDING.get(given.dtype, 1e-5)
    return all(bool((a - b).abs().max() <= limit * b.abs().max()) for a, b in ((value, other), (one, two)))


def _required(function: Callable[..., Any]) -> list[str] | None:
    """Names of the positional arguments without a default; None where they cannot be seen."""
    try:
        parameters = inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters
    except (TypeError, ValueError):  # built-in functions have none
        return None
    if any(p.kind is p.VAR_POSITIONAL for p in parameters.values()):
        return None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    places = [p for p in parameters.values() if p.kind in kinds]
    needed = [p.name for p in places if p.default is p.empty]
    return needed or [p.name for p in places[:1]]


def _name(function: Any) -> str:
    while hasattr(function, "func"):  # functools.partial
        function = function.func
    if isinstance(function, nn.Module):
        return type(function).__name__
    return getattr(function, "__name__", type(function).__name__)

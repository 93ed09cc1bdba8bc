"""A private copy of a model: its own tensors, none of the user's hooks, no graph."""

import copy
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedBuffer, is_lazy

from ..errors import ModelError
from .rebind import rebind
from .wrappers import unwrap

_HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
# torch's own re-parametrisations compute weights in a hook: without it the weight would not follow its originals
_NEEDED_HOOKS = ("torch.nn.utils.",)


Twin = Callable[[Any], Any]


def private_copy(model: Any) -> tuple[nn.Module, tuple[str, ...], Twin]:
    """Copy a model so that nothing done to the copy reaches the original.

    Returns:
        The copy, notes, and a function from parts of the original (modules, tensors) to their twins in the copy;
        what is no part of it comes back as it is.

    Raises:
        ModelError: The model holds something that cannot be copied.
    """
    original, model = model, unwrap(model)
    memo: dict[int, Any] = {}
    needed: list[tuple[OrderedDict[int, Any], OrderedDict[int, Any]]] = []  # filled once the copy is there
    stripped = 0
    for module in model.modules():
        for name in _HOOKS:
            hooks = getattr(module, name, None)
            if hooks:
                kept = OrderedDict((key, hook) for key, hook in hooks.items() if _needed(hook))
                stripped += len(hooks) - len(kept) if "state_dict" not in name else 0
                memo[id(hooks)] = OrderedDict()
                needed.append((memo[id(hooks)], kept))
        for tensor in _loose_tensors(module):
            memo[id(tensor)] = _own(tensor)
    try:
        with torch.inference_mode(False), torch.no_grad():
            twin = copy.deepcopy(model, memo)
            for fresh, kept in needed:
                fresh.update(copy.deepcopy(kept, memo))
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and lhexplore computes on a "
            "private copy only. Remove open files, locks or generators from the module, or keep them outside it."
        ) from error
    notes = (f"{stripped} hook{'s' * (stripped > 1)} left out on the private copy",) if stripped else ()
    memo[id(original)] = twin  # a compiled or data-parallel wrapper stands for the model inside

    def part(value: Any) -> Any:
        return memo.get(id(value), value)

    for module in twin.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, types.FunctionType):
                vars(module)[name] = rebind(value, part)
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.sparse:
            module.sparse = False  # how a gradient is stored, not what it is; sparse ones have no second derivative
            notes = (*notes, "embeddings with sparse=True give dense gradients on the private copy: the same function")
    return twin, tuple(dict.fromkeys(notes)), part


def private_swap(part: Twin, device: torch.device, dtype: torch.dtype) -> Twin:
    """For what a loss function captured: parts of the model become their twins, all else a private, cast copy."""
    copies: dict[int, tuple[Any, Any]] = {}  # the original too, so that its id stays taken

    def swap(value: Any) -> Any:
        if (twin := part(value)) is not value:
            return twin
        if id(value) not in copies:
            copies[id(value)] = (value, _private(value, device, dtype))
        return copies[id(value)][1]

    return swap


def _private(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    if isinstance(value, Tensor):
        return cast(value.detach().clone(), device, dtype)
    fresh, _, _ = private_copy(value)
    fresh.eval().requires_grad_(False)
    for module in fresh.modules():
        for held in (module._parameters, module._buffers):
            for tensor in held.values():
                if tensor is not None:
                    tensor.data = cast(tensor.data, device, dtype)
    cast_loose_tensors(fresh, device, dtype)
    return fresh


def cast_loose_tensors(model: nn.Module, device: torch.device, dtype: torch.dtype) -> None:
    """Move tensors kept as plain attributes (neither parameter nor buffer) of a private copy."""
    for module in model.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                vars(module)[name] = cast(value, device, dtype)


def cast(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Move a tensor; only floating and complex ones change their dtype, to the same precision."""
    if tensor.is_complex():
        return tensor.to(device, torch.complex128 if dtype == torch.float64 else torch.complex64)
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)


def _loose_tensors(module: nn.Module) -> Iterator[Tensor]:
    for name, value in vars(module).items():
        if name in ("_parameters", "_modules"):
            continue
        items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else (value,)
        for item in items:
            if isinstance(item, Tensor) and not isinstance(item, nn.Parameter):
                yield item


def _own(tensor: Tensor) -> Tensor:
    """Copy what deepcopy refuses: tensors that carry a graph, and buffers that a lazy module has yet to fill."""
    if is_lazy(tensor):
        make: Any = UninitializedBuffer  # its stub lacks the arguments
        fresh: Tensor = make(requires_grad=False, device=tensor.device, dtype=tensor.dtype)
        return fresh
    return tensor.detach().clone()


def _needed(hook: Any) -> bool:
    """Hooks of torch itself without which a module is not what it was: old weight norms, lazy modules."""
    return type(hook).__module__.startswith(_NEEDED_HOOKS) or isinstance(
        getattr(hook, "__self__", None), nn.modules.lazy.LazyModuleMixin
    )

"""A private copy of a model: its own tensors, none of the user's hooks, no graph."""

import copy
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ModelError
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


def private_copy(model: nn.Module) -> tuple[nn.Module, tuple[str, ...]]:
    """Copy a model so that nothing done to the copy reaches the original; returns the copy and notes.

    Raises:
        ModelError: The model holds something that cannot be copied.
    """
    model = unwrap(model)
    memo: dict[int, Any] = {}
    stripped = 0
    for module in model.modules():
        for name in _HOOKS:
            hooks = getattr(module, name, None)
            if hooks:
                kept = OrderedDict((key, hook) for key, hook in hooks.items() if _needed(hook))
                stripped += len(hooks) - len(kept) if "state_dict" not in name else 0
                memo[id(hooks)] = kept
        for tensor in _loose_tensors(module):
            memo[id(tensor)] = tensor.detach().clone()  # deepcopy refuses tensors that carry a graph
    try:
        with torch.inference_mode(False), torch.no_grad():
            twin = copy.deepcopy(model, memo)
    except Exception as error:
        raise ModelError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}), and lhexplore computes only on "
            "a private copy. Remove open files, locks or generators from the module, or keep them outside it."
        ) from error
    notes = (f"{stripped} hook{'s' * (stripped > 1)} left out on the private copy",) if stripped else ()
    return twin, notes


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


def _needed(hook: Any) -> bool:
    return type(hook).__module__.startswith(_NEEDED_HOOKS)

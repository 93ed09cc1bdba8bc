"""A model while it trains: its tensors as they are now, and everything that must be as it was afterwards."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import UnsupportedError
from .fit import unwrapped


def state_of(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the unwrapped model's state_dict, contiguous on the CPU; sharing is kept where possible.

    Raises:
        UnsupportedError: there are none, or some that no file can hold.
    """
    state = {name: value.detach() for name, value in unwrapped(model).state_dict().items() if isinstance(value, Tensor)}
    odd = [
        name for name, value in state.items() if value.is_meta or value.is_quantized or value.layout != torch.strided
    ]
    if odd or not state:
        what = f"meta, quantised or sparse tensors ({', '.join(map(repr, odd[:5]))})" if odd else "no tensors"
        raise UnsupportedError(f"The state_dict of {type(model).__name__} holds {what}: there is nothing to record.")
    return {name: value.resolve_conj().resolve_neg().cpu().contiguous() for name, value in state.items()}


def shared_once(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Split into tensors to write, none of which share memory, and names that are the same tensor as another."""
    first: dict[tuple[object, ...], str] = {}
    used: set[int] = set()
    held: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name, tensor in state.items():
        place = (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape)) if tensor.numel() else (name,)
        if place in first:
            aliases[name] = first[place]
            continue
        first[place] = name
        memory = tensor.untyped_storage().data_ptr()
        held[name] = tensor.clone() if memory in used else tensor
        used.add(memory)
    return held, aliases


@contextmanager
def untouched(model: nn.Module) -> Iterator[None]:
    """Put back train/eval modes and all random state: a plain pass over a loader moves torch's."""
    modes = [(module, module.training) for module in model.modules()]
    cpu, plain, legacy = torch.get_rng_state(), random.getstate(), np.random.get_state()  # noqa: NPY002 - the user's
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        torch.set_rng_state(cpu)
        random.setstate(plain)
        np.random.set_state(legacy)  # noqa: NPY002
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)

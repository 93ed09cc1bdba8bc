"""Snapshots of weights that are in memory: copied at once, so that training can go on."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..errors import FormatError, SettingError, UnsupportedError
from . import names
from .contents import Contents, Look
from .fit import unwrapped
from .idioms import as_step, contents_of, number
from .snapshot import Snapshot


def held(label: str, state: Mapping[str, Any], *, step: int | None = None) -> Snapshot:
    """Copy a state_dict (or a dictionary that holds one) to the CPU, as it is now; its own fields overrule ``step``."""
    found = contents_of(state, where=f"snapshot {label!r}")
    meta = [name for name, tensor in found.state.items() if tensor.is_meta]
    if meta:
        raise UnsupportedError(
            f"Snapshot {label!r} holds meta tensors, which have no values: {', '.join(map(repr, meta[:5]))}. "
            "Materialise them first (model.to_empty and load, or build the model without the meta device)."
        )
    copied = {name: _copy(tensor) for name, tensor in found.state.items()}
    named = names.parse(label) if step is None else names.Named(step)
    look = Look(
        "memory",
        sum(tensor.nbytes for tensor in copied.values()),
        step=named.step if found.step is None else found.step,
        epoch=named.epoch if found.epoch is None else found.epoch,
        metrics=found.metrics,
    )

    def read() -> Contents:
        return Contents({name: tensor.clone() for name, tensor in copied.items()}, notes=found.notes)

    return Snapshot(label, read, look=look)


def held_all(states: Iterable[tuple[object, object]], *, numbers_are_steps: bool) -> list[Snapshot]:
    """Copy several, in the order given.

    Args:
        states: labels and state_dicts.
        numbers_are_steps: whether a label that is a whole number is a step, or only a position.

    Raises:
        FormatError: one of them is not a state_dict.
        SettingError: two labels read alike, such as 1 and "1".
    """
    rows: list[Snapshot] = []
    given: dict[str, object] = {}
    for label, state in states:
        if str(label) in given:
            raise SettingError(
                f"The keys {given[str(label)]!r} and {label!r} would both be the label {str(label)!r}. Rename one."
            )
        given[str(label)] = label
        plain = unwrapped(state).state_dict() if isinstance(state, nn.Module) else state
        if not isinstance(plain, Mapping):
            raise FormatError(
                f"Snapshot {label!r} should be a state_dict (names to tensors), got {type(plain).__name__}. Hand over "
                "model.state_dict()."
            )
        step = as_step(number(label)) if numbers_are_steps and isinstance(label, int | np.integer) else None
        rows.append(held(str(label), plain, step=step))
    return rows


def _copy(tensor: Tensor) -> Tensor:
    copied = tensor.detach().cpu()
    return copied.clone() if copied.data_ptr() == tensor.data_ptr() else copied

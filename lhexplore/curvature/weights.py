"""One set of weights for a private copy: fresh tensors per snapshot, swapped in for single calls."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MismatchError, ModelError, NotFiniteError
from .copies import cast

_PLACE = "model."  # the replica runs functions of its model through a module that holds it under this name


class Tensors(dict[str, Tensor]):
    """Parameters by their first name; further names of tied ones are found too, iteration lists each tensor once."""

    def __init__(self, found: Mapping[str, Tensor], tied: Mapping[str, str]) -> None:
        super().__init__(found)
        self.tied = tied

    def canonical(self, name: str) -> str:
        return self.tied.get(name, name)

    def __missing__(self, name: str) -> Tensor:
        first = self.canonical(name)
        if first == name:
            raise KeyError(name)
        return self[first]


class Weights:
    """Parameters and buffers of one snapshot on the replica's device and in its dtype.

    Every load makes new tensors, so graphs that were built on earlier ones stay true to them.
    """

    def __init__(
        self,
        model: nn.Module,
        usable: Iterable[str],
        device: torch.device,
        dtype: torch.dtype,
        state: Mapping[str, Any],
    ) -> None:
        first: dict[int, str] = {}
        self._aliases: dict[str, tuple[str, ...]] = {}
        for name, parameter in model.named_parameters(remove_duplicate=False):
            canonical = first.setdefault(id(parameter), name)
            self._aliases[canonical] = (*self._aliases.get(canonical, ()), name)
        self._model, self._usable, self._device, self._dtype = model, frozenset(usable), device, dtype
        known = held(model)
        found = {name: next((state[a] for a in names if a in state), None) for name, names in self._aliases.items()}
        full = {**known, **state, **{name: value for name, value in found.items() if value is not None}}
        fresh = {name: self._own(full[name]) for name in self._aliases}
        tied = {alias: name for name, aliases in self._aliases.items() for alias in aliases}
        self.tensors = Tensors({name: value for name, value in fresh.items() if name in self._usable}, tied)
        self.buffers = {name: self._own(full[name]) for name, _ in model.named_buffers()}
        self._base = {_PLACE + name: value for name, value in fresh.items()}

    def of(self, state: Mapping[str, Any]) -> "Weights":
        """Make the same of another snapshot.

        Raises:
            MismatchError: A parameter is missing, unknown, or has another shape.
            NotFiniteError: NaN or infinity in the weights.
        """
        known = held(self._model)
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
                f"The weights do not fit {type(self._model).__name__}: {'; '.join(differences[:5])}. "
                "Give the state_dict of a model built in the same way."
            )
        bad = [name for name, value in given.items() if value.is_floating_point() and not _finite(value)]
        if bad:
            raise NotFiniteError(
                f"NaN or infinity in {', '.join(map(repr, bad[:5]))}. Look at an earlier snapshot: here is no Hessian."
            )
        return Weights(self._model, self._usable, self._device, self._dtype, given)

    def state(self) -> dict[str, Tensor]:
        """All tensors by name, as `of` takes them."""
        return {name.removeprefix(_PLACE): value for name, value in self._base.items()} | self.buffers

    def swapped(self, override: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """All tensors for one call: parameters with ``override`` in their place, and buffers that may be written to."""
        state = dict(self._base)
        state.update((_PLACE + name, value.clone()) for name, value in self.buffers.items())
        state.update((_PLACE + self.tensors.canonical(name), value) for name, value in override.items())
        return state

    def release(self) -> None:
        """Let go of the numbers; names and shapes stay."""
        self.tensors = Tensors({name: value.to("meta") for name, value in self.tensors.items()}, self.tensors.tied)
        self.buffers, self._base = {}, {}

    def _own(self, tensor: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            return cast(tensor.detach().clone(), self._device, self._dtype)


def held(model: nn.Module) -> dict[str, Tensor]:
    """Everything a model holds, under all its names."""
    return {**dict(model.named_parameters(remove_duplicate=False)), **dict(model.named_buffers())}


def _finite(tensor: Tensor) -> bool:
    """Whether all entries are; the sum tells sooner, unless it overflows."""
    return bool(torch.isfinite(tensor.sum())) or bool(torch.isfinite(tensor).all())


def refuse_meta(model: nn.Module) -> None:
    """See that all tensors of a model hold numbers.

    Raises:
        ModelError: Some are on the meta device.
    """
    meta = [name for name, tensor in held(model).items() if tensor.is_meta]
    if meta:
        raise ModelError(
            f"{', '.join(map(repr, meta[:3]))} {'is' if len(meta) == 1 else 'are'} on the meta device and hold no "
            'numbers. Build the model on a real device (model.to_empty(device="cpu"), then load_state_dict).'
        )

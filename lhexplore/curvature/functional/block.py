"""A layer's block with its inputs held fixed: module, batch norm and activation at one set of weights.

The rest of the network runs once per micro-batch, to find out what the block was given; from then on only the block
does. What is kept belongs to the weights that the replica held when the block was made, whatever it loads later.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ...errors import LhexploreError, SettingError, UnsupportedError, suggest
from .. import causes
from ..layers import Layer
from ..trees import tensors, tree_map
from .bound import NOTHING, Bound
from .grouping import Grouping, path_of

if TYPE_CHECKING:
    from ..replica import Replica

INPUT_BYTES = 2**30  # block inputs kept; those of further micro-batches are computed anew when they are needed


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What one call of the block was given, detached and cloned."""

    args: Any
    kwargs: Any
    written: bool  # whether the block writes into it

    def fresh(self) -> tuple[Any, Any]:
        """The arguments, safe to be used again."""
        return _map(torch.clone, self.args, self.kwargs) if self.written else (self.args, self.kwargs)


class LocalBlock:
    """One layer's block on the replica's data, as a function of its own parameters.

    Args:
        replica: holds model, data and weights.
        layer: whose block.
        grouping: what belongs to it.
        input_bytes: most bytes of recorded inputs to keep.

    Raises:
        UnsupportedError: the layer has no block.
        SettingError: the grouping names modules that the model does not have, or is another layer's.
    """

    def __init__(self, replica: "Replica", layer: Layer, grouping: Grouping, *, input_bytes: int = INPUT_BYTES) -> None:
        if grouping.reason:
            raise UnsupportedError(f"Layer {layer.name!r} has no local functional: {grouping.reason}.")
        if grouping.layer != layer.name:
            raise SettingError(f"The grouping is that of layer {grouping.layer!r}, not of {layer.name!r}.")
        self.layer, self.grouping, self.path = layer, grouping, path_of(layer)
        modules = dict(replica.model.named_modules())
        for name in (self.path, grouping.batch_norm, None if grouping.function else grouping.activation):
            if name is not None and name not in modules:
                raise SettingError(f"The model has no module {name!r}. {suggest(name, modules)}")
        self.replica, self.module, self.bound = replica, modules[self.path], Bound(replica)
        self._left, self._kept = input_bytes, dict[int, list[Given]]()
        with replica.guard():
            for i in range(replica.count if input_bytes else 0):
                self.inputs(i)
                if i not in self._kept:
                    break

    def inputs(self, i: int) -> list[Given]:
        """What the block is given on micro-batch ``i``, one entry per call; a forward where it is not kept."""
        if i in self._kept:
            return self._kept[i]
        found = self._recorded(i)
        size = sum(t.numel() * t.element_size() for given in found for _, t in tensors((given.args, given.kwargs)))
        if size <= self._left or not self._kept:
            self._left -= size
            self._kept[i] = found
        return found

    def outputs(self, i: int, override: Mapping[str, Tensor] = NOTHING, *, tail: bool = True) -> list[Tensor]:
        """The block's outputs on micro-batch ``i``, one per call, differentiable in ``override``.

        Without ``tail`` those of the module alone.
        """
        return [self._output(given, override, tail) for given in self.inputs(i)]

    def tail(self, h: Tensor) -> Tensor:
        """Batch norm and activation of a module output."""
        result: Tensor = self.bound.call(NOTHING, self._tail, h)
        return result

    def _output(self, given: Given, override: Mapping[str, Tensor], tail: bool) -> Tensor:
        def run(model: nn.Module, _: Any) -> Tensor:
            args, kwargs = given.fresh()
            output = model.get_submodule(self.path)(*args, **kwargs)
            h: Tensor = output if isinstance(output, Tensor) else output[0]
            return self._tail(model, h) if tail else h

        result: Tensor = self.bound.call(override, run, None)
        return result

    def _tail(self, model: nn.Module, h: Tensor) -> Tensor:
        if self.grouping.batch_norm is not None:
            h = model.get_submodule(self.grouping.batch_norm)(h)
        if self.grouping.function is not None:
            h = self.grouping.function(h)
        elif self.grouping.activation is not None:
            h = model.get_submodule(self.grouping.activation)(h)
        return h

    def _recorded(self, i: int) -> list[Given]:
        found = list[Given]()

        def run(model: nn.Module, batch: Any) -> Any:
            with _noting(model.get_submodule(self.path), found):
                self.replica.loss.value(model, batch)

        try:
            self.bound.call(NOTHING, run, self.replica.batch(i))
        except LhexploreError:
            raise
        except Exception as error:
            raise causes.of_forward(self.replica, i, error) from error
        if not found:
            raise UnsupportedError(
                f"Layer {self.layer.name!r} is not called on micro-batch {i}, so it has no block there."
            )
        return found


@contextmanager
def _noting(module: nn.Module, found: list[Given]) -> Iterator[None]:
    """Note what a module is given, before it or anything after it can write into that."""
    open_ = list[tuple[list[Tensor], list[int], Any, Any]]()

    def enter(_: nn.Module, args: Any, kwargs: Any) -> None:
        taken = [tensor for _, tensor in tensors((list(args), dict(kwargs)))]
        open_.append((taken, [t._version for t in taken], *_map(_copied, args, kwargs)))

    def leave(_: nn.Module, __: Any, ___: Any) -> None:
        taken, before, args, kwargs = open_.pop()
        found.append(Given(args, kwargs, [t._version for t in taken] != before))

    handles = (module.register_forward_pre_hook(enter, with_kwargs=True), module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _map(function: Callable[[Tensor], Tensor], args: Any, kwargs: Any) -> tuple[Any, Any]:
    def each(leaf: Any) -> Any:
        return function(leaf) if isinstance(leaf, Tensor) else leaf

    return tuple(tree_map(each, item) for item in args), {name: tree_map(each, item) for name, item in kwargs.items()}


def _copied(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()

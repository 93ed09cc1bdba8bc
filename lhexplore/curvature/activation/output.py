"""The loss as a function of one layer's output: the layer's input is recorded, its output put in as a variable.

A Linear layer or a convolution is linear in its parameters, so everything else about the loss is in this function.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn

from ...errors import SecondDerivativeError, UnsupportedError
from ..layers import Layer
from ..operators import Block, Objective

OUTPUT = "output"
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True)
class Site:
    """The module whose parameters form a block, and which of them do."""

    name: str
    module: Any
    bias: bool  # whether the block has the module's bias

    @property
    def outputs(self) -> int:
        """Length d of an output vector."""
        return int(self.module.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Length p of an input vector, with the 1 for the bias."""
        return int(self.module.weight[0].numel()) + self.bias

    def rows(self, x: Float[Tensor, "*batch"]) -> Float[Tensor, "*lead p"]:
        """The vectors that the weights multiply, with a 1 appended for the bias."""
        found = _patches(x, self.module) if isinstance(self.module, CONVOLUTIONS) else x
        return torch.cat([found, found.new_ones((*found.shape[:-1], 1))], dim=-1) if self.bias else found

    def vectors(self, z: Tensor) -> Tensor:
        """Output tensors with their vectors on the last axis."""
        return z.movedim(1, -1) if isinstance(self.module, CONVOLUTIONS) else z


def find_site(objective: Objective, layer: Block) -> Site:
    """Find the module of a block.

    Raises:
        UnsupportedError: its parameters are not the weight (and bias) of one Linear or ungrouped convolution alone.
    """
    model = getattr(objective, "model", None)
    owners = {name.rpartition(".")[0] for name in layer.parameters}
    local = {name.rpartition(".")[2] for name in layer.parameters}
    if not isinstance(model, nn.Module):
        raise UnsupportedError("the objective shows no module to listen to")
    if len(owners) != 1:
        raise UnsupportedError("its parameters belong to several modules or are shared between names")
    module = model.get_submodule(owners.pop())
    if not isinstance(module, (nn.Linear, *CONVOLUTIONS)):
        raise UnsupportedError(f"{type(module).__name__} is neither a Linear layer nor a convolution")
    if not {"weight"} <= local <= {"weight", "bias"}:
        raise UnsupportedError(f"its parameters are {', '.join(sorted(local))}, not weight and bias themselves")
    if getattr(module, "groups", 1) != 1:
        raise UnsupportedError("a grouped convolution has another structure")
    return Site(layer.name, module, "bias" in local)


class OutputObjective:
    """One micro-batch's part of the loss, as an `Objective` whose only tensor is a layer's output.

    Raises:
        UnsupportedError: the layer is not called exactly once in a forward, on one tensor.
    """

    def __init__(self, objective: Objective, i: int, site: Site) -> None:
        self._objective, self._i, self._site = objective, i, site
        self.loss, self.count = objective.loss, 1
        calls = list[tuple[Any, Any]]()

        def note(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            calls.append((args[0] if args else kwargs.get("input"), output))

        with self._hooked(note), torch.no_grad():
            objective.batch_loss(i, {})
        if len(calls) != 1:
            how = f"is called {len(calls)} times in one forward" if calls else "is not called as a module"
            raise UnsupportedError(f"it {how}, so the loss is no function of one output")
        x, z = calls[0]
        if not (isinstance(x, Tensor) and isinstance(z, Tensor) and x.ndim == z.ndim):
            raise UnsupportedError("its input or output is not one plain tensor")
        if isinstance(site.module, CONVOLUTIONS) and x.ndim != site.module.weight.ndim:
            raise UnsupportedError("its input has no axis for examples")
        self._input = x.detach()
        self.tensors: Mapping[str, Tensor] = {OUTPUT: z.detach()}

    @property
    def block(self) -> Layer:
        """The layer's output as a block of "parameters"."""
        return Layer(f"the output of {self._site.name}", (OUTPUT,), self.tensors[OUTPUT].numel(), "output")

    @property
    def lead(self) -> tuple[int, ...]:
        """Axes of the layer's calls: examples, positions."""
        return tuple(self._site.vectors(self.tensors[OUTPUT]).shape[:-1])

    @property
    def rows(self) -> Float[Tensor, "rows p"]:
        """All input vectors, in the order of the calls."""
        return self._site.rows(self._input).reshape(-1, self._site.inputs)

    def order(self, axes: tuple[int, ...]) -> Int[Tensor, "units width"]:
        """Where in the flat output the entries of each unit stand."""
        z = self.tensors[OUTPUT]
        index = torch.arange(z.numel(), device=z.device).reshape(z.shape)
        return by_unit(self._site.vectors(index), axes).flatten(1)

    def batch_loss(self, i: int, override: Mapping[str, Tensor]) -> Tensor:
        with self._put(override):
            return self._objective.batch_loss(self._i, {})

    def batch_outputs(self, i: int, override: Mapping[str, Tensor]) -> Tensor:
        with self._put(override):
            return self._objective.batch_outputs(self._i, {})

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        return self._objective.loss_of_outputs(self._i, outputs)

    def blame(self, i: int, error: BaseException) -> SecondDerivativeError:
        return self._objective.blame(self._i, error)

    def wide_batch(self, i: int) -> None:
        """None: this is about one recorded input."""

    def guard(self) -> AbstractContextManager[Any]:
        return self._objective.guard()

    def _put(self, override: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        z = override.get(OUTPUT, self.tensors[OUTPUT])
        return self._hooked(lambda *_: z.clone())  # what follows may work in place

    @contextmanager
    def _hooked(self, hook: Callable[..., Any]) -> Iterator[None]:
        handle = self._site.module.register_forward_hook(hook, with_kwargs=True)
        try:
            yield
        finally:
            handle.remove()


def by_unit(table: Shaped[Tensor, "*lead c"], axes: tuple[int, ...]) -> Shaped[Tensor, "units positions c"]:
    """Bring the axes that count units to the front; the others count positions. Without axes all is one unit."""
    moved = table.movedim(axes, tuple(range(len(axes))))
    units = math.prod(moved.shape[: len(axes)])
    return moved.reshape(units, -1, table.shape[-1])


def _patches(x: Float[Tensor, "n c *space"], module: Any) -> Float[Tensor, "n *positions p"]:
    """What a convolution's kernel sees at each position, in the order of its weights."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, module._reversed_padding_repeated_twice, mode=mode)
    for axis, (size, step, gap) in enumerate(zip(module.kernel_size, module.stride, module.dilation, strict=True)):
        x = x.unfold(2 + axis, (size - 1) * gap + 1, step)[..., ::gap]
    return x.movedim(1, len(module.kernel_size) + 1).flatten(len(module.kernel_size) + 1)

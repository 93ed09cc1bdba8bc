"""A few examples that stand for the data, and one forward pass on them to pull vectors back through."""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import DataError, SecondDerivativeError
from ..checks import head
from ..layers import Layer
from ..operators import _Vectors
from ..replica import Replica
from ..trees import count_examples, cut, join


def few(objective: Replica, examples: int) -> Replica:
    """The same loss on a few examples: in float64, or in the replica's own dtype where there is no such copy."""
    with objective.guard():
        batch = _sample(objective, examples)
        if (wide := objective.widened(batch)) is not None:
            return wide
    return narrowed(objective, batch)


def narrowed(objective: Replica, batch: Any) -> Replica:
    """The same loss and the same tensors on one batch alone, which was placed like ``objective.batch(i)``."""
    narrow = copy.copy(objective)
    narrow._fed, narrow._shares = [batch], [1.0]
    return narrow


def _sample(objective: Replica, examples: int) -> Any:
    """A batch of examples from as many micro-batches as can be; the first ones where batches cannot be cut and joined.

    Examples without a loss term (an ignored label) show nothing.
    """
    if objective.mode == "train-frozen":
        return head(objective.batch(0), examples)
    count = min(objective.count, examples)
    parts = []
    try:
        for k in range(count):
            batch = objective.batch(k * objective.count // count)
            size, wanted = count_examples(batch), examples // count + (k < examples % count)
            order = [(2 * j + 1) * size // (2 * wanted) for j in range(wanted)] + list(range(size))
            singles = (cut(batch, j, j + 1) for j in dict.fromkeys(order))
            telling = (single for single in singles if objective.loss.terms(single) != 0)
            parts += [single for _, single in zip(range(wanted), telling, strict=False)]
        return join(parts)
    except DataError:
        return head(objective.batch(0), examples)


class Pass:
    """A forward pass on one micro-batch, differentiable once in the parameters of some layers."""

    def __init__(self, objective: Replica, i: int, layers: Sequence[Layer]) -> None:
        self._vectors = {layer.name: _Vectors(objective, layer) for layer in layers}
        self._leaves: dict[int, Tensor] = {}
        self._tensors = objective.tensors
        override = {}
        for name in (name for layer in layers for name in layer.parameters):
            tensor = self._tensors[name]
            override[name] = self._leaves.setdefault(id(tensor), tensor.detach().clone().requires_grad_())
        try:
            self.outputs = objective.batch_outputs(i, override)
        except SecondDerivativeError:  # a function that is differentiable once, which is all that is needed here
            self.outputs = objective.call(override, objective.loss.outputs, objective.batch(i))
        at = self.outputs.detach().clone().requires_grad_()
        (self.slope,) = torch.autograd.grad(objective.loss_of_outputs(i, at), at)
        found = self._pull(self.slope)
        self.gradient = self._joined(found)  # of the loss, by layer
        self.unused = {  # tensors to which autograd finds no way, by layer
            name: [group[0] for group in mine.names.values() if found[self._key(group)] is None]
            for name, mine in self._vectors.items()
        }

    def pull(self, cotangent: Tensor) -> dict[str, Float[Tensor, " _"]]:
        """The gradients of outputs · cotangent, by layer; costs a backward pass."""
        return self._joined(self._pull(cotangent))

    def _pull(self, cotangent: Tensor) -> dict[int, Tensor | None]:
        if not self.outputs.requires_grad:
            return dict.fromkeys(self._leaves)
        leaves = list(self._leaves.values())
        found = torch.autograd.grad(self.outputs, leaves, cotangent, retain_graph=True, allow_unused=True)
        return dict(zip(self._leaves, found, strict=True))

    def _joined(self, found: dict[int, Tensor | None]) -> dict[str, Float[Tensor, " _"]]:
        return {
            name: mine.join([found[self._key(group)] for group in mine.names.values()], ())
            for name, mine in self._vectors.items()
        }

    def _key(self, group: list[str]) -> int:
        return id(self._tensors[group[0]])

"""Rows for layers of any kind: one example after the other through the whole network, vectorised where torch can.

Only first derivatives in reverse mode are taken; those agree with plain autograd also where torch vectorises them.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import DataError, LhexploreError, UnsupportedError
from ..operators import translated
from ..replica import Replica
from ..trees import cut, first_line, tree_map

ROUNDING = {torch.float64: 1e-10, torch.float32: 1e-4}  # between an example alone and in its batch, of the outputs
MOST = 32  # examples at a time: enough to keep a processor busy


class ByExample:
    """The rows of some tensors in micro-batch ``i``, from the gradients of single examples.

    Args:
        objective: the loss over frozen data.
        i: the micro-batch.
        names: the tensors.
        outputs: of the whole micro-batch: what single examples give is compared with it.
        factor: ``[r, *outputs]``, what the passes start from.
        budget: bytes of rows at a time.
    """

    def __init__(
        self,
        objective: Replica,
        i: int,
        names: list[str],
        outputs: Tensor,
        factor: Float[Tensor, "r ..."],
        *,
        budget: int,
    ) -> None:
        self._objective, self._i, self._outputs, self._factor = objective, i, outputs, factor
        self._at = {name: objective.tensors[name].detach() for name in names}
        each = sum(t.numel() * t.element_size() for t in self._at.values()) * max(1, len(factor))
        self._step = max(1, min(MOST, budget // max(1, each)))
        self._vectorised = True

    def __len__(self) -> int:
        """How many times `run` yields."""
        return -(-len(self._outputs) // self._step) if self._at and len(self._factor) else 0

    def run(self, into: Mapping[str, Float[Tensor, "examples passes ..."]]) -> Iterator[None]:
        """Fill ``into``; yields after some examples each.

        Raises:
            UnsupportedError: the batch cannot be taken apart, or its examples depend on each other.
        """
        for number in range(len(self)):
            first = number * self._step
            self._fill(first, min(first + self._step, len(self._outputs)), into)
            yield

    def _fill(self, first: int, last: int, into: Mapping[str, Tensor]) -> None:
        if self._vectorised:
            try:
                self._together(first, last, into)
            except LhexploreError:
                raise
            except Exception:  # noqa: BLE001 (whatever torch cannot vectorise; if that is not it, the next line says so)
                self._vectorised = False
            else:
                return
        for n in range(first, last):
            self._alone(n, into)

    def _together(self, first: int, last: int, into: Mapping[str, Tensor]) -> None:
        batch = self._piece(first, last)
        values: list[Tensor] = []
        tree_map(lambda leaf: values.append(leaf) if _runs(leaf) else None, batch)
        frame = self._piece(first, first + 1)

        def rows(values: list[Tensor], factor: Tensor) -> tuple[Tensor, list[dict[str, Tensor]]]:
            remaining = iter(values)
            single = tree_map(lambda leaf: next(remaining).unsqueeze(0) if _runs(leaf) else leaf, frame)
            outputs, pull, *_ = torch.func.vjp(lambda at: self._call(at, single), self._at)
            return outputs[0], [pull(column.unsqueeze(0))[0] for column in factor]

        outputs, found = torch.func.vmap(rows, in_dims=(0, 1))(values, self._factor[:, first:last])
        self._compare(outputs, first, last)
        for c, gradients in enumerate(found):
            for name, gradient in gradients.items():
                into[name][first:last, c].copy_(gradient.reshape(into[name][first:last, c].shape))

    def _alone(self, n: int, into: Mapping[str, Tensor]) -> None:
        leaves = {name: value.detach().requires_grad_() for name, value in self._at.items()}
        try:
            outputs = self._call(leaves, self._piece(n, n + 1))
        except LhexploreError:
            raise
        except Exception as error:  # (the model's own code)
            raise UnsupportedError(
                "Some layers need the factor's rows example by example, and the network does not run on one example "
                f"alone ({type(error).__name__}: {first_line(error)}). Use method='dense' or 'lanczos' for them."
            ) from error
        self._compare(outputs.detach(), n, n + 1)
        for c, column in enumerate(self._factor[:, n : n + 1]):
            with translated(", ".join(self._at), self._objective, self._i):
                gradients = torch.autograd.grad(
                    outputs, list(leaves.values()), column, retain_graph=True, allow_unused=True, materialize_grads=True
                )
            for name, gradient in zip(leaves, gradients, strict=True):
                into[name][n, c].copy_(gradient.reshape(into[name][n, c].shape))

    def _call(self, override: Mapping[str, Tensor], batch: Any) -> Tensor:
        outputs: Tensor = self._objective.call(override, self._objective.loss.outputs, batch)
        return outputs

    def _piece(self, first: int, last: int) -> Any:
        try:
            return cut(self._objective.batch(self._i), first, last)
        except DataError as error:
            raise UnsupportedError(
                f"Some layers need the factor's rows example by example, and the batch cannot be taken apart: {error} "
                "Use method='dense' or 'lanczos' for them."
            ) from error

    def _compare(self, outputs: Tensor, first: int, last: int) -> None:
        there = self._outputs[first:last]
        limit = ROUNDING.get(there.dtype, 1e-3) * float(self._outputs.abs().max())
        if outputs.shape != there.shape or bool((outputs - there).abs().max() > limit):
            raise UnsupportedError(
                "The network's outputs for an example depend on the other examples of its batch (batch norm in "
                "training mode, attention over the batch, random numbers), so a Gauss-Newton matrix has no factor with "
                "rows per example. Use method='dense' or 'lanczos'."
            )


def _runs(leaf: Any) -> bool:
    """Whether a leaf runs over the examples."""
    return isinstance(leaf, Tensor) and leaf.dim() > 0

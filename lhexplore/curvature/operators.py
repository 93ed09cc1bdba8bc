"""Blocks of second derivatives as operators: things that multiply a vector, and nothing more.

The algorithms know only `SymmetricOperator`; a plain matrix will do in tests. The trap of this file: autograd answers
``None`` both where a derivative is zero and where it was cut off on the way, so a missing gradient is believed only
after the parameters were moved and the loss stayed where it was.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import LhexploreError, LossError, SecondDerivativeError, TooLargeError, UnsupportedError
from .memory import out_of_memory

GRAPH_BYTES = 512 * 2**20  # gradient graphs kept between products; micro-batches beyond it are differentiated anew
WIDE_OUTPUTS = 2**25  # outputs up to this many numbers are differentiated in float64 (256 MiB)
NUDGE = 1e-2  # relative move of parameters that seem to be unused: a used one changes the loss far beyond rounding
FINE_NUDGES = (1e-7, 1e-8)  # of those with a constant gradient, float64 only: too small to cross a kink twice by chance
COARSE_NUDGES = (1e-2, 2e-2)  # the same in float32, where smaller ones drown in rounding
LIMIT = {torch.float64: 1e3 * torch.finfo(torch.float64).eps, torch.float32: 1e3 * torch.finfo(torch.float32).eps}


@runtime_checkable
class SymmetricOperator(Protocol):
    """What the Lanczos and dense code need, and nothing more."""

    @property
    def size(self) -> int: ...
    @property
    def dtype(self) -> torch.dtype: ...
    @property
    def device(self) -> torch.device: ...
    @property
    def products(self) -> int:
        """How many vectors were multiplied so far."""
        ...

    def matvec(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]: ...
    def matmat(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]: ...


@runtime_checkable
class Objective(Protocol):
    """A loss over frozen micro-batches that is a function of chosen parameters: what a replica offers.

    The values of all micro-batches are weighted already: they add up to the loss.
    """

    @property
    def tensors(self) -> Mapping[str, Tensor]: ...
    @property
    def count(self) -> int: ...
    @property
    def loss(self) -> Any:
        """The loss adapter; ``loss.splits`` says whether outputs and criterion can be had apart."""
        ...

    def batch_loss(self, i: int, override: Mapping[str, Tensor]) -> Tensor: ...
    def batch_outputs(self, i: int, override: Mapping[str, Tensor]) -> Tensor: ...
    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor: ...
    def blame(self, i: int, error: BaseException) -> SecondDerivativeError:
        """Say which operation of micro-batch ``i`` cannot be differentiated twice, and where it stands."""
        ...

    def wide_batch(self, i: int) -> "Objective | None":
        """The same in float64 on a few examples of micro-batch ``i``; None where that cannot be had."""
        ...

    def guard(self) -> AbstractContextManager[Any]:
        """Hold the process-wide switches that exact second derivatives need."""
        ...


@runtime_checkable
class Block(Protocol):
    """A named set of parameters."""

    @property
    def name(self) -> str: ...
    @property
    def parameters(self) -> tuple[str, ...]: ...


class _Vectors:
    """Flat vectors and the block's tensors, in the order of ``block.parameters``."""

    def __init__(self, objective: Objective, block: Block) -> None:
        found = {name: objective.tensors[name].detach() for name in block.parameters}
        # Tied names share one tensor: it is one set of coordinates.
        self.names: dict[int, list[str]] = {}
        for name, tensor in found.items():
            self.names.setdefault(id(objective.tensors[name]), []).append(name)
            del tensor
        self.leaves = [found[names[0]].clone().requires_grad_() for names in self.names.values()]
        self.override = {
            name: leaf for leaf, names in zip(self.leaves, self.names.values(), strict=True) for name in names
        }
        self.size = sum(leaf.numel() for leaf in self.leaves)

    def labels(self, indices: Sequence[int]) -> str:
        names = list(self.names.values())
        return ", ".join(repr(name) for i in indices for name in names[i])

    def split(self, vectors: Float[Tensor, "*k n"]) -> list[Tensor]:
        """Cut the last axis into the tensors' shapes; leading axes stay."""
        parts = torch.split(vectors, [leaf.numel() for leaf in self.leaves], dim=-1)
        lead = vectors.shape[:-1]
        return [part.reshape((*lead, *leaf.shape)) for part, leaf in zip(parts, self.leaves, strict=True)]

    def join(self, parts: Sequence[Tensor | None], lead: tuple[int, ...]) -> Float[Tensor, "*k n"]:
        """Inverse of `split`; a missing part is zero."""
        flat = [
            (torch.zeros((*lead, leaf.numel()), dtype=leaf.dtype, device=leaf.device))
            if part is None
            else part.detach().reshape((*lead, leaf.numel()))
            for part, leaf in zip(parts, self.leaves, strict=True)
        ]
        return torch.cat(flat, dim=-1)

    def moved(self, indices: Sequence[int], step: float) -> dict[str, Tensor]:
        """Parameters with some tensors nudged by alternating signs, relative to their size."""
        override = {}
        for i, (leaf, names) in enumerate(zip(self.leaves, self.names.values(), strict=True)):
            value = leaf.detach()
            if i in indices:
                signs = 1 - 2 * (torch.arange(value.numel(), device=value.device) % 2).to(value.dtype)
                scale = value.abs() + value.square().mean().sqrt() + torch.finfo(value.dtype).tiny
                scale = torch.where(value.abs().max() > 0, scale, torch.ones_like(scale))
                value = value + step * scale * signs.reshape(value.shape)
            override.update({name: value.clone().requires_grad_() for name in names[:1]})
            override.update(dict.fromkeys(names[1:], override[names[0]]))
        return override


class _Product:
    """What both kinds of block share: sizes, counting, micro-batches, one or many vectors at a time."""

    def __init__(self, objective: Objective, block: Block, *, graph_bytes: int) -> None:
        self.name = block.name
        self._objective, self._block = objective, block
        self._vectors = _Vectors(objective, block)
        first = self._vectors.leaves[0]
        self.size, self.dtype, self.device = self._vectors.size, first.dtype, first.device
        self.products = 0
        self.column_by_column = False  # True once batched columns failed (GroupNorm, custom functions)
        self._graphs: dict[int, Any] = {}
        self._checked: set[int] = set()
        self._graph_bytes = graph_bytes
        self._bytes_of_one: int | None = None

    def matvec(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Multiply once; costs a second backward pass, and building the graph the first time."""
        self._require(v.shape == (self.size,), tuple(v.shape))
        self.products += 1
        with self._objective.guard():
            return self._multiply(v, batched=False)

    def matmat(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Multiply all columns in one batched backward pass, or one by one where an operation cannot be batched."""
        self._require(vectors.ndim == 2 and vectors.shape[0] == self.size, tuple(vectors.shape))
        self.products += vectors.shape[1]
        with self._objective.guard():
            if not self.column_by_column and vectors.shape[1] > 1:
                try:
                    return self._multiply(vectors.T.contiguous(), batched=True).T
                except (SecondDerivativeError, RuntimeError) as error:
                    if out_of_memory(error) is not None:
                        raise
                    self.column_by_column = True  # if it was no matter of batching, the next line says so
            return torch.stack([self._multiply(v, batched=False) for v in vectors.T], dim=1)

    @property
    def graph_bytes(self) -> int:
        """Bytes that one micro-batch's gradient graph keeps alive; measured once, for the price of a gradient."""
        with self._objective.guard():
            return self._bytes()

    def _bytes(self) -> int:
        if self._bytes_of_one is None:
            seen: dict[int, int] = {}

            def note(tensor: Tensor) -> Tensor:
                storage = tensor.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
                self._build(0)
            self._bytes_of_one = sum(seen.values())
        return self._bytes_of_one

    def _graph(self, i: int) -> Any:
        """The graph of one micro-batch, kept as long as all kept ones fit into memory."""
        if i in self._graphs:
            return self._graphs[i]
        graph = self._build(i)
        # A single micro-batch is in memory during its product anyway: only further ones need counting.
        if not self._graphs or (len(self._graphs) + 1) * self._bytes() <= self._graph_bytes:
            self._graphs[i] = graph
        return graph

    def _multiply(self, vectors: Float[Tensor, "*k n"], *, batched: bool) -> Float[Tensor, "*k n"]:
        parts = self._vectors.split(vectors.detach())
        lead = tuple(vectors.shape[:-1])
        total: Tensor | None = None
        for i in range(self._objective.count):
            graph = self._graph(i)
            # What fails in a batch is tried again vector by vector, so only then is it worth a search for the reason.
            with nullcontext() if batched else translated(self.name, self._objective, i):
                products = self._product(graph, parts, batched=batched)
                if products is not None:
                    joined = self._vectors.join(products, lead)
                    total = joined if total is None else total.add_(joined)
        return torch.zeros_like(vectors) if total is None else total

    def _check_unused(self, i: int, indices: list[int]) -> None:
        """Believe that the loss does not depend on some tensors only after moving them.

        Raises:
            SecondDerivativeError: it does.
        """
        if not indices:
            return
        with torch.no_grad():
            here = float(self._objective.batch_loss(i, {}))
            moved = float(self._objective.batch_loss(i, self._vectors.moved(indices, NUDGE)))
        if abs(moved - here) > 32 * torch.finfo(self.dtype).eps * abs(here):
            self._refuse(indices, "autograd sees no way from the loss to them, yet moving them moves the loss")

    def _refuse(self, indices: list[int], why: str) -> None:
        raise SecondDerivativeError(
            f"The second derivative of {self._vectors.labels(indices)} is cut off: {why}. Look for detach(), .data, "
            "no_grad or reentrant activation checkpointing (use_reentrant=False works) in the model."
        )

    def _require(self, fits: bool, shape: tuple[int, ...]) -> None:
        if not fits:
            raise UnsupportedError(f"{self.name!r} has {self.size} parameters; it cannot multiply shape {shape}.")

    def _build(self, i: int) -> Any:
        raise NotImplementedError

    def _product(self, graph: Any, parts: list[Tensor], *, batched: bool) -> list[Tensor | None] | None:
        raise NotImplementedError


@final
class LayerHessian(_Product):
    r"""The block :math:`\nabla^2_{\theta_\ell} L` for one layer's parameters; all others are constants.

    Only the layer's parameters require a gradient, so no graph reaches back before the layer. The gradient is
    differentiated once per micro-batch and its graph kept: a product is then one backward pass through it.
    """

    def __init__(self, objective: Objective, block: Block, *, graph_bytes: int = GRAPH_BYTES) -> None:
        super().__init__(objective, block, graph_bytes=graph_bytes)

    @property
    def zero(self) -> str:
        """Why the block is exactly zero, in words; empty where it is not known to be.

        Raises:
            SecondDerivativeError: autograd found no dependence, but the loss does move with the parameters.
        """
        unused, live = True, False
        with self._objective.guard():
            for i in range(self._objective.count):
                gradients = self._graph(i)
                unused = unused and all(g is None for g in gradients)
                live = live or any(g is not None and g.requires_grad for g in gradients)
        if live:
            return ""
        if unused:
            return "the loss does not use these parameters (moving them left it unchanged)"
        return "the loss is linear in these parameters, so their gradient is constant"

    def _build(self, i: int) -> list[Tensor | None]:
        leaves = self._vectors.leaves
        loss = self._objective.batch_loss(i, self._vectors.override)
        gradients: list[Tensor | None] = [None] * len(leaves)
        if loss.requires_grad:
            with translated(self.name, self._objective, i):
                gradients = list(torch.autograd.grad(loss, leaves, create_graph=True, allow_unused=True))
        if i not in self._checked:
            self._checked.add(i)
            self._check_unused(i, [j for j, g in enumerate(gradients) if g is None])
            self._check_constant(i, gradients)
        return gradients

    def _product(self, graph: list[Tensor | None], parts: list[Tensor], *, batched: bool) -> list[Tensor | None] | None:
        live = [(g, part) for g, part in zip(graph, parts, strict=True) if g is not None and g.requires_grad]
        if not live:
            return None
        return list(
            torch.autograd.grad(
                [g for g, _ in live],
                self._vectors.leaves,
                [part for _, part in live],
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=batched,
            )
        )

    def _check_constant(self, i: int, gradients: list[Tensor | None]) -> None:
        """Believe that gradients are constant only after moving the parameters.

        In float64 a tiny move tells; float32 has too few digits for one, so a float64 copy is asked on a few examples.

        Raises:
            SecondDerivativeError: moving them changes the gradients.
        """
        constant = [j for j, g in enumerate(gradients) if g is not None and not g.requires_grad]
        if not constant:
            return
        if self.dtype == torch.float64:
            changes = all(self._change(i, constant, gradients, step) > LIMIT[self.dtype] for step in FINE_NUDGES)
        elif (wide := self._objective.wide_batch(i)) is not None:
            with wide.guard():
                LayerHessian(wide, self._block)._graph(0)
            return
        else:
            small, large = (self._change(i, constant, gradients, step) for step in COARSE_NUDGES)
            ratio = COARSE_NUDGES[1] / COARSE_NUDGES[0]
            # The change of a smooth gradient goes with the step; that of rounding, or of a single kink, does not.
            changes = small > LIMIT[self.dtype] and abs(large / small - ratio) <= ratio / 4
        if changes:
            self._refuse(constant, "autograd takes their gradient for a constant, yet moving them changes it")

    def _change(self, i: int, indices: list[int], gradients: list[Tensor | None], step: float) -> float:
        """How much some gradients change when their parameters move, relative to the gradients."""
        override = self._vectors.moved(indices, step)
        leaves = [override[names[0]] for names in self._vectors.names.values()]
        there = torch.autograd.grad(self._objective.batch_loss(i, override), leaves, allow_unused=True)
        largest = 0.0
        for j in indices:
            here, moved = gradients[j], there[j]
            if here is not None and moved is not None:
                difference, size = float((moved - here).norm()), float(here.detach().norm())
                largest = max(largest, difference / size if size else math.inf if difference else 0.0)
        return largest


@final
class LayerGGN(_Product):
    r"""The generalised Gauss-Newton block :math:`\sum_b J_b^\top \Lambda_b J_b` of one layer.

    Λ, the Hessian of the loss in the network's outputs, comes from two backward passes in float64 at the outputs: its
    usual float32 form p⊙u − p(pᵀu) cancels where a network is confident, long before the outputs themselves are
    inexact. J v is the derivative of Jᵀ u in u, so no forward-mode differentiation is needed.
    """

    def __init__(self, objective: Objective, block: Block, *, graph_bytes: int = GRAPH_BYTES) -> None:
        if not objective.loss.splits:
            raise UnsupportedError(
                "The GGN needs the network's outputs and the criterion apart, but this loss only gives a number. "
                "Pass a criterion for (outputs, targets), or use curvature='hessian'."
            )
        super().__init__(objective, block, graph_bytes=graph_bytes)

    @property
    def zero(self) -> str:
        """Why the block is exactly zero, in words; empty where it is not known to be.

        Raises:
            SecondDerivativeError: autograd found no dependence, but the loss does move with the parameters.
        """
        with self._objective.guard():
            if any(self._graph(i) is not None for i in range(self._objective.count)):
                return ""
        return "the outputs do not depend on these parameters, or the loss is linear in the outputs"

    def _build(self, i: int) -> "_Outputs | None":
        outputs = self._objective.batch_outputs(i, self._vectors.override)
        if not outputs.requires_grad:
            self._check_missing(i, range(len(self._vectors.leaves)))
            return None
        curve = OutputCurvature(self._objective, i, outputs.detach(), name=self.name)
        if curve.gradient is None:
            return None
        seed = torch.zeros_like(outputs, requires_grad=True)
        with translated(self.name, self._objective, i):
            pulled = torch.autograd.grad(outputs, self._vectors.leaves, seed, create_graph=True, allow_unused=True)
        self._check_missing(i, [j for j, g in enumerate(pulled) if g is None])
        return _Outputs(outputs, seed, pulled, curve)

    def _check_missing(self, i: int, indices: Sequence[int]) -> None:
        if i not in self._checked:
            self._checked.add(i)
            self._check_unused(i, list(indices))

    def _product(self, graph: "_Outputs | None", parts: list[Tensor], *, batched: bool) -> list[Tensor | None] | None:
        if graph is None:
            return None
        live = [(g, part) for g, part in zip(graph.pulled, parts, strict=True) if g is not None and g.requires_grad]
        (pushed,) = torch.autograd.grad(
            [g for g, _ in live],
            graph.seed,
            [part for _, part in live],
            retain_graph=True,
            is_grads_batched=batched,
        )
        curved = graph.curve.multiply(pushed, batched=batched)
        return list(
            torch.autograd.grad(
                graph.outputs,
                self._vectors.leaves,
                curved,
                retain_graph=True,
                allow_unused=True,
                is_grads_batched=batched,
            )
        )


class _Outputs:
    """One micro-batch of a GGN: outputs f, the seed u, Jᵀu, and the curvature of the loss at f."""

    def __init__(
        self, outputs: Tensor, seed: Tensor, pulled: tuple[Tensor | None, ...], curve: "OutputCurvature"
    ) -> None:
        self.outputs, self.seed, self.pulled, self.curve = outputs, seed, pulled, curve


@final
class OutputCurvature:
    """Λ of one micro-batch: the Hessian of the (weighted) loss in the outputs, in float64 where it can be had."""

    def __init__(self, objective: Objective, i: int, outputs: Tensor, *, name: str) -> None:
        self._place, self.dtype = (name, objective, i), outputs.dtype
        wide = outputs.device.type != "mps" and outputs.numel() <= WIDE_OUTPUTS
        self.at = outputs.to(torch.float64 if wide else outputs.dtype, copy=True).requires_grad_()
        try:
            loss = objective.loss_of_outputs(i, self.at)
        except RuntimeError:
            if self.at.dtype == self.dtype:
                raise
            # A criterion with float32 tensors of its own (class weights) takes float32 outputs only.
            self.at = outputs.detach().clone().requires_grad_()
            loss = objective.loss_of_outputs(i, self.at)
        self.gradient: Tensor | None = None
        if not loss.requires_grad:
            raise LossError("The loss does not depend on the network's outputs, so it has no curvature in them.")
        with translated(*self._place):
            (gradient,) = torch.autograd.grad(loss, self.at, create_graph=True)
        if gradient.requires_grad:
            self.gradient = gradient

    def multiply(self, vectors: Tensor, *, batched: bool = False) -> Tensor:
        """Multiply output-shaped vectors with Λ."""
        if self.gradient is None:
            return torch.zeros_like(vectors)
        with nullcontext() if batched else translated(*self._place):
            (product,) = torch.autograd.grad(
                self.gradient,
                self.at,
                vectors.to(self.at.dtype),
                retain_graph=True,
                is_grads_batched=batched,
            )
        return product.to(self.dtype)


@contextmanager
def translated(name: str, objective: Objective, i: int) -> Iterator[None]:
    """Say what torch's errors in a backward pass through micro-batch ``i`` mean for the layer ``name``.

    Raises:
        TooLargeError: out of memory.
        SecondDerivativeError: anything else; names the operation and the place where it stands.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, LhexploreError):
            raise
        if out_of_memory(error) is not None:
            raise _out_of_memory(name) from error
        raise objective.blame(i, error) from error


def _out_of_memory(name: str) -> TooLargeError:
    return TooLargeError(
        f"The second backward pass for {name!r} ran out of memory. Use smaller micro-batches (the result stays the "
        "same, they are weighted), fewer samples, or another device."
    )

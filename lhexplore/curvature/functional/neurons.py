r"""Exact spectra of local functionals in closed form: one small eigenproblem per output neuron.

Where the scalar adds up over output elements and every element is f(wᵀx + b), the Hessian is block-diagonal over the
neurons, :math:`H_j = \frac1B \sum_b c_{bj} \tilde x_b \tilde x_b^\top` with c = f″ at the neuron's own argument; a
convolution adds up its positions as well. No block is differentiated: c comes from the activation alone.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor, nn

from ...errors import NotFiniteError, TooLargeError
from ..layers import Layer
from ..operators import LayerHessian
from ..planner import MEMORY
from .elementwise import second_derivative
from .facts import has_elementwise_tail, has_tail, is_affine
from .grouping import Grouping
from .objective import LocalObjective, ModelObjective, local_objective
from .patches import CONVOLUTIONS, by_example, input_rows, is_known, output_rows

if TYPE_CHECKING:
    from ..replica import Replica

CHUNK_BYTES = 32 * 2**20  # products of rows with c that are formed at a time
FEWEST_ROWS = 256  # of such a product: a matrix product over fewer wastes its loads
COPIES = 3  # blocks, their symmetric half in the solver, its workspace
_AGREE = {torch.float64: 1e-10, torch.float32: 1e-4}  # rounding of a product in two ways, with a wide margin
ROUNDINGS = 100  # of all terms of a product: what may be missing from one that cancels
SOLVER = 4  # multiply-adds of a symmetric eigenvalue solver, in parts of n³
_SAFETY = 8  # of the error bound, in roundings of c


@dataclass(frozen=True, slots=True, eq=False)
class NeuronBlocks:
    """The exact spectrum of a block that falls apart into its neurons.

    ``eigenvalues`` are those that may differ from zero, ascending; the other ``size - len(eigenvalues)`` are zero by
    rank. ``residual`` bounds the rounding of each of them.
    """

    layer: str
    size: int
    neurons: int
    eigenvalues: Float[ndarray, " k"]
    trace: float
    residual: float
    gap: float  # how far a product by this formula is from autograd's, relative
    psd: bool  # no negative eigenvalue by structure: a half square of something straight wherever the data are


@dataclass(frozen=True, slots=True)
class NeuronStep:
    """One item of the work: how many neurons are done, of how many; the last one holds the result."""

    done: int
    total: int
    result: NeuronBlocks | None = None


def neuron_blocks(
    replica: "Replica", layer: Layer, functional: Any, grouping: Grouping | None = None, *, memory: int = MEMORY
) -> NeuronBlocks | str:
    """Compute the exact spectrum neuron by neuron, or say why that way is closed.

    Costs q eigenproblems of size r = min(d + 1, rows), for q neurons with d inputs, and q · rows · r² multiply-adds,
    where rows are examples times positions. One product is compared with autograd's.

    Args:
        replica: holds model, data and weights.
        layer: a Linear or a convolution.
        functional: "sum" or "half_square".
        grouping: what belongs to the block; left out, `groups` finds it.
        memory: most bytes for matrices and rows.

    Raises:
        TooLargeError: a single neuron's block, or all rows, do not fit into ``memory``.
        NotFiniteError: NaN or infinity in c.
        SecondDerivativeError: the activation cannot be differentiated twice.
    """
    objective = local_objective(replica, layer, functional, grouping)
    if why := why_not(objective):
        return why
    assert isinstance(objective, LocalObjective)  # noqa: S101  # why_not has told
    *_, last = neuron_steps(objective, memory=memory)
    return last if isinstance(last, str) else last.result or ""


def why_not(objective: LocalObjective | ModelObjective) -> str:
    """Why the Hessian does not fall apart into neurons that have a closed form; empty where it does."""
    if not isinstance(objective, LocalObjective) or objective.functional.form == "block":
        return "only 'sum' and 'half_square' add up over neurons; a function of one's own may couple them"
    block = objective.block
    if not is_known(block.module) or not is_affine(block):
        kind = block.layer.kind
        return f"{kind} has no neurons in closed form: only Linear and Conv1d, Conv2d and Conv3d with plain weights"
    with objective.guard():
        if not has_elementwise_tail(block):
            return f"{block.grouping.activation or block.grouping.batch_norm} is not elementwise"
    return ""


def neuron_flops(objective: LocalObjective) -> float:
    """Multiply-adds of `neuron_steps`, from shapes alone; only where `why_not` has nothing to say."""
    block, module = objective.block, objective.block.module
    with objective.guard(), torch.no_grad():
        (*_, h) = block.outputs(0, tail=False)
    weight = module.get_parameter("weight")
    neurons, inputs = weight.shape[0], weight[0].numel() + 1
    rows = h.numel() / neurons * objective.bound.examples / objective.bound.sizes[0]
    rank = min(rows, inputs)
    return float(neurons * (rows * rank**2 + SOLVER * rank**3))


def neuron_steps(objective: LocalObjective, *, memory: int = MEMORY) -> Iterator[NeuronStep | str]:
    """`neuron_blocks` in steps, a few neurons each; to be asked only where `why_not` has nothing to say.

    The last item is the result, or in words why a product by the formula is not autograd's.
    """
    with objective.guard():
        system = _Neurons(objective, memory=memory)
        gap = system.gap()
    if not gap <= _AGREE.get(objective.dtype, 1e-4):
        yield f"a product by the neurons' formula is not autograd's (relative gap {gap:.1e})"
        return
    values, done = list[Tensor](), 0
    for count, found in system.solve():
        values += found
        done += count
        yield NeuronStep(done, system.neurons)
    joined = torch.cat(values).cpu().numpy() if values else np.zeros(1)
    result = NeuronBlocks(
        layer=objective.block.layer.name,
        size=system.size,
        neurons=system.neurons,
        eigenvalues=np.sort(joined),
        trace=system.trace,
        residual=system.residual,
        gap=gap,
        psd=system.psd,
    )
    yield NeuronStep(done, system.neurons, result)


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Some rows x̃ of a block's inputs and the c / B that go with them, in float64."""

    x: Float[Tensor, "p g d"]
    c: Float[Tensor, "p g q"]


class _Neurons:
    """All rows of one block: ``groups`` times ``width`` neurons with ``inputs`` parameters each."""

    def __init__(self, objective: LocalObjective, *, memory: int) -> None:
        self._objective, self._memory, layer = objective, memory, objective.block.layer
        unique = {id(objective.tensors[name]): name for name in reversed(layer.parameters)}
        self._names = [name for name in layer.parameters if unique[id(objective.tensors[name])] == name]
        self._parts = [key for key in ("weight", "bias") if key in map(_short, self._names)]
        self.psd = True
        self.trace, self._terms, self._largest, self._rows, self._constant = 0.0, 0.0, 0.0, 0, True
        kept, held, first = list[Piece](), 0, None
        for piece in self._made():
            x, c = piece.x, piece.c
            first = c[:1] if first is None else first
            self._constant = self._constant and bool((c == first).all())
            lengths = x.square().sum(2, keepdim=True)
            self.trace += float((lengths * c).sum())
            self._terms += float((lengths * c.abs()).sum())
            self._largest, self._rows = max(self._largest, float(c.abs().amax())), self._rows + len(x)
            held += 8 * (x.numel() + c.numel())
            kept = [*kept, piece] if held <= memory // 2 else []
            self.groups, self.inputs, self.width = x.shape[1], x.shape[2], c.shape[2]
        self._kept, self._whole = kept, held <= memory // 2
        self.neurons = self.groups * self.width
        self.size, rank = self.neurons * self.inputs, min(self._rows, self.inputs)
        if 8 * COPIES * rank**2 > memory // 2 or (rank < self.inputs and not self._whole):
            raise TooLargeError(
                f"A neuron of {layer.name!r} has {self.inputs} inputs, from {self._rows} rows: its block, or the rows, "
                f"do not fit into {memory / 2**30:.1f} GiB. Use method='lanczos', fewer samples or more memory."
            )

    def gap(self) -> float:
        """How far a product by the formula is from autograd's beyond rounding: relative, along random signs."""
        op = LayerHessian(self._objective, self._objective.block.layer)
        generator = torch.Generator().manual_seed(0)
        v = (torch.randint(0, 2, (op.size,), generator=generator) * 2.0 - 1).to(op.device, op.dtype)
        expected = _wide(op.matvec(v))
        sizes = [self._objective.tensors[name].numel() for name in self._names]
        given = dict(zip(map(_short, self._names), torch.split(_wide(v), sizes), strict=True))
        columns = [given[key].reshape(self.groups, self.width, -1) for key in self._parts]
        joined = torch.cat(columns, dim=2)
        product = torch.zeros_like(joined)
        for piece in self._pieces():
            curved = piece.c * torch.einsum("pgd,gqd->pgq", piece.x, joined)
            product += torch.einsum("pgd,pgq->gqd", piece.x, curved)
        back = dict(zip(self._parts, torch.split(product, [part.shape[2] for part in columns], dim=2), strict=True))
        found = torch.cat([back[_short(name)].reshape(-1) for name in self._names])
        rounding = ROUNDINGS * torch.finfo(op.dtype).eps * self._terms
        off, size = float((found - expected).norm()), max(float(found.norm()), float(expected.norm()))
        return (off - rounding) / size if off > rounding else 0.0

    def solve(self) -> Iterator[tuple[int, list[Tensor]]]:
        """Yield how many more neurons are done and their eigenvalues; neurons without curvature have none."""
        with self._objective.guard():
            if self._rows < self.inputs:
                self._kept = self._compressed()
            moments = self._moments()
            spread = torch.linalg.eigvalsh(moments)
        epsilon = torch.finfo(self._objective.dtype).eps
        self.residual = _SAFETY * epsilon * self.inputs**0.5 * self._largest * float(spread.amax())
        rank = moments.shape[1]
        together = min(CHUNK_BYTES // (8 * rank * FEWEST_ROWS), self._memory // (16 * COPIES * rank**2))
        for group in range(self.groups):
            for first in range(0, self.width, max(1, together)):
                some = slice(first, min(first + max(1, together), self.width))
                with self._objective.guard():
                    found = self._eigenvalues(group, some, spread[group])
                yield some.stop - first, found

    def _eigenvalues(self, group: int, some: slice, spread: Float[Tensor, " r"]) -> list[Tensor]:
        if self._constant:
            c = next(iter(self._pieces())).c[0, group, some]
            return [spread * value for value in c if bool(value)]
        rank = len(spread)
        alive = [piece.c[:, group, some].any(0) for piece in self._pieces()]
        live = torch.stack(alive).any(0)
        count = int(live.sum())
        if not count:
            return []
        blocks = torch.zeros((count, rank, rank), dtype=torch.float64, device=live.device)
        most = max(1, CHUNK_BYTES // (8 * rank * count))
        for piece in self._pieces():
            for x, c in zip(
                torch.split(piece.x[:, group], most), torch.split(piece.c[:, group, some][:, live], most), strict=True
            ):
                blocks += ((c[:, :, None] * x[:, None, :]).flatten(1).T @ x).reshape(blocks.shape)
        return list(torch.linalg.eigvalsh((blocks + blocks.mT) / 2))

    def _moments(self) -> Float[Tensor, "g r r"]:
        """Σ x̃ x̃ᵀ of every group."""
        total: Tensor | None = None
        for piece in self._pieces():
            part = torch.einsum("pgd,pge->gde", piece.x, piece.x)
            total = part if total is None else total + part
        assert total is not None  # noqa: S101  # a replica has a micro-batch
        return total

    def _compressed(self) -> list[Piece]:
        """Rows in an orthonormal basis of their span: fewer columns, and the same blocks apart from zeros."""
        x, c = (torch.cat([getattr(piece, name) for piece in self._kept]) for name in ("x", "c"))
        triangles = [torch.linalg.qr(x[:, g].T, mode="r").R for g in range(self.groups)]
        return [Piece(torch.stack([r.T for r in triangles], dim=1), c)]

    def _pieces(self) -> Iterable[Piece]:
        return self._kept if self._whole else self._made()

    def _made(self) -> Iterator[Piece]:
        """Rows and c, a few examples at a time: what they take grows with the kernel, so they are not all held."""
        objective, block = self._objective, self._objective.block
        half_square = objective.functional.form == "half_square"

        def activated(h: Tensor) -> Tensor:
            return block.tail(h) if has_tail(block) else h

        def halved(h: Tensor) -> Tensor:
            return activated(h).square() / 2

        for i in range(objective.count):
            for given, h in zip(block.inputs(i), block.outputs(i, tail=False), strict=True):
                z = given.args[0] if given.args else next(iter(given.kwargs.values()))
                c = second_derivative(halved if half_square else activated, h)
                self.psd = self.psd and half_square and not bool(second_derivative(activated, h).any())
                if not bool(torch.isfinite(c).all()):
                    raise NotFiniteError(
                        f"The second derivative of {objective.functional.name} in {block.grouping} is not finite on "
                        f"batch {i}: look at its activation."
                    )
                z, c = by_example(block.module, z, c)
                yield from self._cut(block.module, z, c)

    def _cut(self, module: nn.Module, z: Tensor, c: Tensor) -> Iterator[Piece]:
        places = max(1, c[0].numel() // c.shape[1])  # of one example
        width = z.shape[1] * prod(module.kernel_size if isinstance(module, CONVOLUTIONS) else ())
        most = max(1, self._memory // 8 // (8 * places * width))
        for z_part, c_part in zip(torch.split(z, most), torch.split(c, most), strict=True):
            x = _wide(input_rows(module, z_part))
            ones = x.new_ones((*x.shape[:2], 1))
            columns = [x if key == "weight" else ones for key in self._parts]
            yield Piece(torch.cat(columns, dim=2), _wide(output_rows(module, c_part)) / self._objective.bound.examples)


def _wide(tensor: Tensor) -> Tensor:
    """In float64, on a device that has it."""
    return tensor.detach().to("cpu" if tensor.device.type == "mps" else tensor.device).to(torch.float64)


def _short(name: str) -> str:
    return name.rpartition(".")[2]

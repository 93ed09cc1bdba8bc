"""One layer's block as plain matrix products, without autograd, and the same block in the few dimensions it lives in.

A construction of lhexplore's, not of a paper. A Linear layer that is called once has outputs z = W x̃ (x̃ = [x; 1] with
a bias) that are linear in its parameters, so whatever follows, its exact block is H = (I ⊗ X̃)ᵀ B (I ⊗ X̃), with B the
full second derivative of the loss in the outputs: block-diagonal where examples do not couple. With X̃ = S Vᵀ, V
orthonormal, P = I ⊗ V: H = P K Pᵀ with K = (I ⊗ S)ᵀ B (I ⊗ S), so that K has all of H's non-zero eigenvalues.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ..dense import Exact, columns, eigenvalues
from ..lanczos import Quadrature
from ..operators import Objective
from ..planner import LARGEST_CHUNK
from .inputs import Span
from .middle import Graph, Matrices

AT_ONCE = 128  # units whose outer products are formed together


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Units with equally many positions: their input coordinates and their second derivatives."""

    coordinates: Float[Tensor, "units positions rank"]
    middle: Matrices | Graph


@final
class Compressed:
    """K, in coordinates ordered (input direction, output): the symmetric operator of size ``outputs · rank``."""

    def __init__(self, name: str, objective: Objective, groups: Sequence[Group], *, outputs: int) -> None:
        first = groups[0].coordinates
        self.name, self._objective, self._groups, self.outputs = name, objective, tuple(groups), outputs
        self.size, self.dtype, self.device = first.shape[2] * outputs, first.dtype, first.device
        self.products = 0

    def matvec(self, v: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
        return self.matmat(v[:, None])[:, 0]

    def matmat(self, vectors: Float[Tensor, "m k"]) -> Float[Tensor, "m k"]:
        """Multiply all columns: three matrix products per group; many columns cost little more than one."""
        k = vectors.shape[1]
        self.products += k
        total: Tensor | None = None
        with self._objective.guard():
            flat = vectors.reshape(-1, self.outputs * k)
            for group in self._groups:
                units, positions, rank = group.coordinates.shape
                rows = group.coordinates.reshape(-1, rank)
                u = (rows @ flat).reshape(units, positions * self.outputs, k)
                part = rows.T @ group.middle(u).reshape(-1, self.outputs * k)
                total = part if total is None else total + part
        assert total is not None  # noqa: S101  # there is at least one micro-batch
        return total.reshape(self.size, k)

    @property
    def explicit(self) -> bool:
        """Whether products need no autograd."""
        return all(isinstance(group.middle, Matrices) for group in self._groups)

    def trace(self) -> float | None:
        """The exact trace Σ tr B[t,t'] x̃_t·x̃_t'; None where B is only known by its products."""
        total = 0.0
        for group in self._groups:
            if not isinstance(group.middle, Matrices):
                return None
            units, positions, _ = group.coordinates.shape
            blocks = group.middle.matrices.reshape(units, positions, self.outputs, positions, self.outputs)
            traces = blocks.diagonal(dim1=2, dim2=4).sum(-1)
            total += float((traces * (group.coordinates @ group.coordinates.mT)).double().sum())
        return total

    def dense(self) -> Float[Tensor, "m m"]:
        """The matrix K in float64 on the CPU.

        With one position per unit it is Σ (s sᵀ) ⊗ B, one matrix product of units·size² multiply-adds; otherwise a
        product per column.
        """
        if not all(isinstance(g.middle, Matrices) and g.coordinates.shape[1] == 1 for g in self._groups):
            *_, (_, matrix) = columns(self, chunk=LARGEST_CHUNK)
            return matrix
        rank, d = self.size // self.outputs, self.outputs
        total = torch.zeros((rank**2, d**2), dtype=self.dtype, device=self.device)
        with self._objective.guard():
            for group in self._groups:
                assert isinstance(group.middle, Matrices)  # noqa: S101  # seen above
                pairs = zip(
                    torch.split(group.coordinates[:, 0], AT_ONCE),
                    torch.split(group.middle.matrices, AT_ONCE),
                    strict=True,
                )
                for s, b in pairs:
                    total.addmm_((s[:, :, None] * s[:, None, :]).flatten(1).T, b.flatten(1))
        whole = total.reshape(rank, rank, d, d).permute(0, 2, 1, 3).reshape(self.size, self.size)
        return whole.to("cpu").to(torch.float64)


@final
class ActivationBlock:
    """A layer's block as a `SymmetricOperator` in the order of its parameters, without autograd where B is explicit.

    Attributes:
        compressed: the operator K of size ``rank``.
        rank: outputs × numerical rank of the inputs; at most ``rank`` eigenvalues are not zero.
        zeros: how many eigenvalues are exact zeros by structure.
        dropped: bound of the norm of what the cut of the numerical rank takes away, ‖B‖(‖X̃‖‖E‖ + ‖E‖²): no eigenvalue
            moves by more (Weyl; the cross terms X̃ᵀBE stand off the diagonal, so they count once). An estimate of it
            where B is only known by its products. To be added to every residual.
        defect: ‖B − Bᵀ‖ / ‖B‖ (Frobenius) before B was made symmetric: rounding of the backward passes.
        gap: relative difference between one product and double backward, as measured at construction.
        products: double-backward products spent: at construction, and later ones where B is not explicit.
    """

    def __init__(
        self, compressed: Compressed, span: Span, *, shape: tuple[int, int], bias: bool, norm: float, defect: float
    ) -> None:
        self.compressed, self.name = compressed, compressed.name
        self.dtype, self.device, self.rank = compressed.dtype, compressed.device, compressed.size
        self._basis, self._shape, self._bias = span.basis, shape, bias
        self.size = shape[0] * shape[1]
        self.zeros = self.size - self.rank
        self.dropped = norm * (span.norm * span.rest + span.rest**2)
        self.defect, self.gap, self.spent = defect, float("nan"), 0

    @property
    def products(self) -> int:
        return self.spent + (0 if self.compressed.explicit else self.compressed.products)

    @property
    def trace(self) -> float | None:
        """The exact trace, at no product; None where B is not explicit."""
        return self.compressed.trace()

    def matvec(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        return self.matmat(v[:, None])[:, 0]

    def matmat(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Multiply all columns at once."""
        return self.lift(self.compressed.matmat(self.reduce(vectors)))

    def reduce(self, vectors: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        """Pᵀ v: coordinates in the span of the inputs."""
        (d, p), k = self._shape, vectors.shape[1]
        inner = p - self._bias
        table = vectors[: d * inner].reshape(d, inner, k).transpose(0, 1).reshape(inner, d * k)
        if self._bias:
            table = torch.cat([table, vectors[d * inner :].reshape(1, d * k)])
        if self._basis is not None:
            table = self._basis.T @ table
        return table.reshape(self.rank, k)

    def lift(self, vectors: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        """P c: back to the order of the parameters; also takes eigenvectors of ``compressed`` to those of the block."""
        (d, p), k = self._shape, vectors.shape[1]
        inner = p - self._bias
        table = vectors.reshape(-1, d * k)
        if self._basis is not None:
            table = self._basis @ table
        weight = table[:inner].reshape(inner, d, k).transpose(0, 1).reshape(d * inner, k)
        return torch.cat([weight, table[inner:].reshape(d * self._bias, k)])

    def start(self, v: Float[Tensor, " n"]) -> tuple[Float[Tensor, " m"], float]:
        """Split a start vector of length 1: the direction of Pᵀv, and the share ‖Pᵀv‖² of its weight.

        With c = Pᵀv and r = v − P c, Hr = 0: the spectral measure of v is that of c under K, of mass ‖c‖², and a point
        mass 1 − ‖c‖² at 0. m Lanczos steps from c/‖c‖ integrate the first part exactly up to degree 2m − 1, and the
        second is known: all moments vᵀHʲv that m steps in full space have (vᵀv = ‖c‖² + ‖r‖² and vᵀHʲv = cᵀKʲc). It is
        better than those: no node is spent on the zeros, which in full space is a Ritz value near 0 with a sign; and
        the Rayleigh quotients are those of c alone, so that both ends lie at least as far out.
        """
        inside = self.reduce(v[:, None])[:, 0]
        share = float(inside.double().square().sum())
        return inside / share**0.5 if share else inside, min(share, 1.0)

    def whole(self, found: Quadrature, share: float) -> Quadrature:
        """The measure of a start vector from that of its part inside: the zeros' weight goes to a node at 0."""
        if not self.zeros:
            return found
        at = int(np.searchsorted(found.nodes, 0.0))
        return Quadrature(
            np.insert(found.nodes, at, 0.0),
            np.insert(found.weights * share, at, 1 - share),
            np.insert(found.residuals, at, 0.0) + self.dropped,
        )

    def eigenvalues(self) -> Exact:
        """All eigenvalues but the exact zeros, from the dense K; their residual covers what the cut dropped."""
        exact = eigenvalues(self.compressed.dense(), epsilon=torch.finfo(self.dtype).eps)
        return Exact(exact.eigenvalues, exact.residual + self.dropped, max(exact.defect, self.defect), exact.trace)

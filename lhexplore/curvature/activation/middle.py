"""The second derivative of the loss in a layer's output: one small matrix per example, or backward passes."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..batching import suitable
from ..operators import LayerGGN, LayerHessian

LEAK = 1e3  # epsilons: what one half of the examples may seem to do to the other half by rounding
SYMMETRISED = 4  # units at once: their matrices stay in the processor's cache
PROBES = 4  # random vectors that the norm of a graph's second derivative is estimated from

Operator = LayerHessian | LayerGGN


class Matrices:
    """One symmetric matrix B per unit."""

    def __init__(self, matrices: Float[Tensor, "units width width"]) -> None:
        self.matrices = matrices
        norms = torch.linalg.vector_norm(matrices, dim=(1, 2))  # Frobenius: no less than spectral
        self.norm, self.frobenius = float(norms.max()), float(torch.linalg.vector_norm(norms))

    def __call__(self, u: Float[Tensor, "units width k"]) -> Float[Tensor, "units width k"]:
        return torch.bmm(self.matrices, u)


class Graph:
    """All of a micro-batch as one unit, multiplied by a backward pass through the kept graph of its gradient."""

    def __init__(self, op: Operator, order: Int[Tensor, " width"]) -> None:
        self._op, self._order, self._back = op, order, order.argsort()
        generator = torch.Generator(device="cpu").manual_seed(0)
        signs = (
            torch.randint(0, 2, (op.size, PROBES), generator=generator, device="cpu").to(op.device, op.dtype) * 2 - 1
        )
        # E‖Bz‖² is the squared Frobenius norm for random signs z; the largest of a few, doubled, is rarely below it.
        self.norm = 2 * float(op.matmat(signs).norm(dim=0).max())

    def __call__(self, u: Float[Tensor, "1 width k"]) -> Float[Tensor, "1 width k"]:
        return self._op.matmat(u[0][self._back])[self._order][None]


def decoupled(op: Operator, order: Int[Tensor, "units width"]) -> bool:
    """Whether moving the outputs of a random half of the units leaves the other half's gradients alone; one product."""
    if len(order) < 2:
        return True
    generator = torch.Generator(device="cpu").manual_seed(0)
    shuffled = order[torch.randperm(len(order), generator=generator, device="cpu").to(order.device)]
    moved, other = shuffled[: len(order) // 2].flatten(), shuffled[len(order) // 2 :].flatten()
    vector = torch.zeros(op.size, dtype=op.dtype, device=op.device)
    vector[moved] = torch.randn(len(moved), generator=generator, dtype=op.dtype, device="cpu").to(op.device)
    product = op.matvec(vector)
    return bool(product[other].norm() <= LEAK * torch.finfo(op.dtype).eps * product.norm())


def fill(found: Float[Tensor, "units width width"], op: Operator, order: Int[Tensor, "units width"]) -> float:
    """Write every unit's matrix, from one product per column for all units at once.

    Returns:
        ‖B − Bᵀ‖ (Frobenius) before they were made symmetric.
    """
    units, width = order.shape
    straight = bool((order.flatten() == torch.arange(op.size, device=order.device)).all())
    chunk = suitable(op, most=width)
    for first in range(0, width, chunk):
        last = min(first + chunk, width)
        rows = torch.zeros((last - first, op.size), dtype=op.dtype, device=op.device)
        for j in range(first, last):
            rows[j - first, order[:, j]] = 1
        # B is symmetric: what is computed as columns is written as rows, without strides. One alone needs no batch.
        products = op.matvec(rows[0])[None] if len(rows) == 1 else op.matmat(rows.T).T
        products = products.reshape(-1, units, width) if straight else products[:, order]
        found[:, first:last] = products.transpose(0, 1)
    asymmetry = 0.0
    for some in torch.split(found, SYMMETRISED):
        half = (some - some.mT).div_(2)
        some.sub_(half)
        asymmetry = math.hypot(asymmetry, 2 * float(torch.linalg.vector_norm(half)))
    return asymmetry

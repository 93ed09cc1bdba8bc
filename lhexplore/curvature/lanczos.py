"""From products to nodes: Lanczos with full reorthogonalisation, one start vector at a time.

A run is a generator, one item per product: whoever drives it may stop after any of them and keep what is known.
Stochastic Lanczos quadrature is nothing but several runs from random signs, pooled by the caller.

Departures from the textbook recurrence, each with its reason:

1. Every new vector is made orthogonal to *all* earlier ones, twice. Without it converged eigenvalues come back as
   ghosts; one pass leaves errors near √ε (Paige 1976; Parlett, The Symmetric Eigenvalue Problem, section 6.9).
2. Breakdown is judged against the norm of the tridiagonal matrix, never against an absolute number, so that c·H gives
   c times the nodes of H after the same number of steps.
3. Rounding may carry a run past an invariant subspace (a β of 2e4 ε‖T‖ was seen after the last distinct eigenvalue)
   and split one node into several almost equal ones: nodes that rounding cannot tell apart are merged and their
   weights added.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..errors import NotFiniteError
from .operators import SymmetricOperator

BREAKDOWN = 100  # × ε‖T‖: a smaller β is rounding; a thin bulk (1e-4 of λmax wide) stays above 400 ε in float32
MERGE = 100  # × ε‖T‖: nodes closer than this are one
FLOOR = 10  # × ε‖T‖: no residual is claimed to be smaller than the rounding of T itself
PASSES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Quadrature:
    """The discrete measure one run knows: ``weights`` sum to 1, ``residuals[j]`` bounds the way to an eigenvalue."""

    nodes: Float[ndarray, " k"]
    weights: Float[ndarray, " k"]
    residuals: Float[ndarray, " k"]


@dataclass(frozen=True, slots=True, eq=False)
class Tridiagonal:
    """What a run has collected so far: ``diagonal`` (α) and ``off_diagonal`` (β); the last β leads out of T."""

    diagonal: Float[ndarray, " k"]
    off_diagonal: Float[ndarray, " k"]
    epsilon: float  # of the arithmetic the products were done in
    finished: bool

    @property
    def steps(self) -> int:
        return len(self.diagonal)

    @property
    def norm(self) -> float:
        """A bound of ‖T‖, at most three times too large: its largest absolute row sum."""
        above = np.append(self.off_diagonal[:-1], 0.0)
        below = np.concatenate([[0.0], self.off_diagonal[:-1]])
        return float((np.abs(self.diagonal) + above + below).max())

    @property
    def broken_down(self) -> bool:
        """Whether the start vector's invariant subspace is exhausted: T is then exact for that vector."""
        return bool(self.off_diagonal[-1] <= BREAKDOWN * self.epsilon * self.norm)

    def quadrature(self) -> Quadrature:
        """Nodes, weights and residuals; costs no product.

        The residual of a node is |β s| with s the last component of its vector in T (Parlett, section 13.2), plus a
        floor for rounding.
        """
        from scipy.linalg import eigh_tridiagonal  # scipy is slow to import, and only computing needs it

        norm = self.norm
        # A power of two takes the scale out without rounding, so that tiny and huge operators are treated alike.
        unit = 2.0 ** np.frexp(norm)[1] if norm else 1.0
        inner = self.off_diagonal[:-1] / unit
        values, vectors = eigh_tridiagonal(self.diagonal / unit, inner, lapack_driver="stev")
        weights = vectors[0] ** 2
        found = Quadrature(
            values * unit,
            weights / weights.sum(),
            np.abs(self.off_diagonal[-1] * vectors[-1]) + FLOOR * self.epsilon * norm,
        )
        return merge(found, distance=MERGE * self.epsilon * norm)


def merge(found: Quadrature, *, distance: float) -> Quadrature:
    """Make one node of neighbours (ascending) that lie within ``distance`` of each other; weights add up."""
    group = np.concatenate([[0], np.cumsum(np.diff(found.nodes) > distance)])
    weights = np.bincount(group, found.weights)
    centres = np.bincount(group, found.nodes) / np.bincount(group)  # where all weights underflow to 0
    heavy = weights > 0
    centres[heavy] = np.bincount(group, found.weights * found.nodes)[heavy] / weights[heavy]
    residuals = np.full(len(centres), np.inf)
    # The eigenvalue near one of the merged nodes is at most this far from the merged place.
    np.minimum.at(residuals, group, found.residuals + np.abs(found.nodes - centres[group]))
    return Quadrature(centres, weights, residuals)


def start_vector(op: SymmetricOperator, *, seed: int, name: str, index: int) -> Float[Tensor, " n"]:
    """Draw the random signs of probe ``index``, scaled to length 1.

    The generator is seeded by a hash of (seed, name, index) and lives on the CPU: neither the order of the probes nor
    the number of workers nor the device changes them, and every snapshot of a layer sees the same ones.
    """
    digest = hashlib.blake2b(f"{seed}|{index}|{name}".encode(), digest_size=8).digest()
    generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
    signs = torch.randint(0, 2, (op.size,), generator=generator, dtype=torch.int8, device="cpu")
    return (signs.to(device=op.device, dtype=op.dtype) * 2 - 1) / math.sqrt(op.size)


def _orthogonalised(w: Float[Tensor, " n"], basis: Float[Tensor, "k n"]) -> Float[Tensor, " n"]:
    for _ in range(PASSES):
        w = w - basis.T @ (basis @ w)
    return w


def lanczos(
    op: SymmetricOperator,
    start: Float[Tensor, " n"],
    *,
    steps: int,
    product: Float[Tensor, " n"] | None = None,
) -> Iterator[Tridiagonal]:
    """Run from ``start`` (length 1), one product per item, until ``steps``, the size, or breakdown.

    Args:
        op: the operator.
        start: the first vector of the basis.
        steps: how many products at most; never more than the size.
        product: ``op.matvec(start)`` where it is known already.

    Raises:
        NotFiniteError: a product held NaN or infinity.
    """
    steps = min(steps, op.size)
    epsilon = torch.finfo(op.dtype).eps
    basis = torch.empty((steps, op.size), dtype=op.dtype, device=op.device)
    diagonal, off_diagonal = np.empty(steps), np.empty(steps)
    v, beta = start.detach(), 0.0
    for k in range(steps):
        basis[k] = v
        w = op.matvec(v) if k or product is None else product
        require_finite(w, op)
        alpha = dot(v, w)
        w = w - alpha * v
        if k:
            w = w - beta * basis[k - 1]
        w = _orthogonalised(w, basis[: k + 1])
        beta = dot(w, w) ** 0.5
        diagonal[k], off_diagonal[k] = alpha, beta
        known = Tridiagonal(diagonal[: k + 1].copy(), off_diagonal[: k + 1].copy(), epsilon, finished=k + 1 == steps)
        if known.broken_down and not known.finished:
            known = Tridiagonal(known.diagonal, known.off_diagonal, epsilon, finished=True)
        yield known
        if known.finished:
            return
        v = w / beta


def dot(a: Float[Tensor, " n"], b: Float[Tensor, " n"]) -> float:
    """Multiply and sum in float64, whatever the vectors are in."""
    if a.device.type == "mps":  # has no float64
        a, b = a.cpu(), b.cpu()
    return float(torch.dot(a.detach().to(torch.float64), b.detach().to(torch.float64)))


def require_finite(product: Float[Tensor, " *shape"], op: SymmetricOperator) -> None:
    """Stop at the first product that cannot be drawn.

    Raises:
        NotFiniteError: names the usual cause, a finite loss with an infinite second derivative.
    """
    if bool(torch.isfinite(product).all()):
        return
    bad = int((~torch.isfinite(product)).sum())
    where = getattr(op, "name", "this operator")
    raise NotFiniteError(
        f"A Hessian product of {where!r} holds {bad} values that are NaN or infinite, after {op.products} products. "
        "norm, sqrt, std and cdist have a finite value but no second derivative at 0: add a small constant inside "
        "them, or run the training step under torch.autograd.detect_anomaly() to see where it happens."
    )

"""From products to nodes: Lanczos with full reorthogonalisation, any number of runs step by step together.

Each run has a recurrence, a basis and an end of its own; together they ask for their products at once, which is where
batches of them can be cheaper. Whoever drives them may stop after any step and keep what is known. Stochastic Lanczos
quadrature is nothing but several runs from random signs, pooled by the caller.

Departures from the textbook recurrence, each with its reason:

1. Every new vector is made orthogonal to *all* earlier ones, twice. Without it converged eigenvalues come back as
   ghosts (Paige 1976); one pass leaves errors near √ε (Parlett, The Symmetric Eigenvalue Problem, section 6.9).
2. Breakdown is judged against the norm of the tridiagonal matrix, never against an absolute number, so that c·H gives
   c times the nodes of H after the same number of steps.
3. Rounding may carry a run past an invariant subspace (a β of 2e4 ε‖T‖ was seen after the last distinct eigenvalue)
   and split one node into several almost equal ones: nodes that rounding cannot tell apart are merged and their
   weights added.
"""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..errors import NotFiniteError
from .bases import Bases
from .operators import SymmetricOperator

BREAKDOWN = 100  # × ε‖T‖: a smaller β is rounding; a thin bulk (1e-4 of λmax wide) stays above 400 ε in float32
MERGE = 100  # × ε‖T‖: nodes closer than this are one
FLOOR = 10  # × ε‖T‖: no residual is claimed to be smaller than the rounding of T itself


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


class Runs:
    """Lanczos runs with one operator from several start vectors, all at the same step until they end.

    A run ends after ``steps``, when its basis is as large as the space, or by breakdown; the others go on.

    Args:
        op: the operator.
        starts: the first basis vector of each run, of length 1.
        steps: how many products per run at most; never more than the size.
        host: keep the bases in main memory, whatever the device.
    """

    def __init__(self, op: SymmetricOperator, starts: Float[Tensor, "k n"], *, steps: int, host: bool = False) -> None:
        self.steps, self._op = 0, op
        self.known: list[Tridiagonal | None] = [None] * len(starts)
        self.running = list(range(len(starts)))  # runs that want a product with their row of ``vectors``
        self.vectors = starts.detach()
        self._most, self._epsilon = min(steps, op.size), torch.finfo(op.dtype).eps
        self._bases = Bases(len(starts), self._most, op.size, dtype=op.dtype, device=op.device, host=host)
        self._diagonal = np.empty((len(starts), self._most))
        self._off_diagonal = np.empty((len(starts), self._most))
        self._before: Tensor | None = None

    def advance(self, products: Float[Tensor, "a n"]) -> None:
        """Go one step further with the products of ``vectors``.

        Raises:
            NotFiniteError: a product holds NaN or infinity.
        """
        require_finite(products, self._op)
        at, running, v = self.steps, self.running, self.vectors
        self._bases.append(at, running, v)
        alpha = dots(v, products)
        w = products - _column(alpha, v) * v
        if self._before is not None:
            w = w - _column(self._off_diagonal[running, at - 1], v) * self._before
        w = self._bases.orthogonalised(w, running, at + 1)
        beta = dots(w, w) ** 0.5
        self._diagonal[running, at], self._off_diagonal[running, at] = alpha, beta
        self.steps = at + 1
        for run in running:
            self.known[run] = self._tridiagonal(run)
        on = [i for i, run in enumerate(running) if not self._known(run).finished]
        self.running = [running[i] for i in on]
        if len(on) < len(running):
            v, w, beta = v[on], w[on], beta[on]
        self._before, self.vectors = v, w / _column(beta, w)

    def quadratures(self) -> list["Quadrature"]:
        """What each run knows so far; costs no product."""
        return [known.quadrature() for known in self.known if known is not None]

    def _tridiagonal(self, run: int) -> "Tridiagonal":
        diagonal, off_diagonal = (t[run, : self.steps].copy() for t in (self._diagonal, self._off_diagonal))
        known = Tridiagonal(diagonal, off_diagonal, self._epsilon, finished=self.steps == self._most)
        return replace(known, finished=known.finished or known.broken_down)

    def _known(self, run: int) -> "Tridiagonal":
        known = self.known[run]
        assert known is not None  # noqa: S101  # every run is known after its first step
        return known


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
    runs = Runs(op, start.unsqueeze(0), steps=steps)
    while runs.running:
        known = product if product is not None else op.matvec(runs.vectors[0])
        runs.advance(known.unsqueeze(0))
        product = None
        yield runs._known(0)


def dots(a: Float[Tensor, "k n"], b: Float[Tensor, "k n"]) -> Float[ndarray, " k"]:
    """Multiply and sum row by row in float64."""
    if a.device.type == "cuda":  # one transfer instead of one per row
        return np.array(torch.linalg.vecdot(a.to(torch.float64), b.to(torch.float64)).tolist())
    return np.array([dot(x, y) for x, y in zip(a, b, strict=True)])


def _column(values: Float[ndarray, " a"], like: Float[Tensor, "a n"]) -> Float[Tensor, "a 1"]:
    return torch.tensor(values, dtype=like.dtype, device=like.device).unsqueeze(1)


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

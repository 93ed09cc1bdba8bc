"""The few eigenvectors that matter most, each with the residual that says how far to trust it.

Block Lanczos with thick restarts: a block as wide as the number of wanted vectors, because a single start vector sees
a multiple eigenvalue once, and the layers of networks have many (a last layer under a squared loss has every eigenvalue
once per output). What is kept at a restart are the best approximations so far.

Departures from the textbook, each with its reason:

1. The products of all basis vectors are kept beside the basis. The projected matrix and the residuals then come from
   products that were really made, not from a recurrence that trusts earlier rounding; it costs as much memory again.
2. New directions are the residuals of wanted vectors that have not converged; together they span what the recurrence
   would add, and converged vectors cost nothing more.
3. Where residuals vanish (an invariant subspace: rank below k, multiple eigenvalues) random directions take their
   place, orthogonal to everything so far, so that what the start cannot reach is found nevertheless.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from ..errors import NotFiniteError, SettingError, TooLargeError, whole_number
from .batching import suitable
from .dense import columns
from .lanczos import dot
from .operators import SymmetricOperator
from .planner import MEMORY, dense_bytes
from .states import check_seed
from .subspace import COLUMNS, Basis, multiplied, norms, random_rows, unit_of, wanted

ENDS = ("magnitude", "largest", "smallest")
DENSE_SIZE = 1024  # up to here all columns: every multiplicity is then seen for certain
LARGEST_BASIS = 192  # basis vectors: beyond it the projected problem costs more than restarts save
THICKNESS = 3  # the basis holds at least so many times the wanted vectors, or restarts lose too much
WORKING = (
    6  # times k + 1 vectors that one step holds beside the basis: approximations, products, residuals, random ones
)
FLOOR = 10  # × ε|λ|max: no residual is asked to be smaller than the rounding of a product
EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True, slots=True, eq=False)
class Eigenpairs:
    """Approximate eigenpairs of one block, the most wanted first; the last item of a run is ``complete``.

    ``residuals[i]`` is ‖Hv − λv‖ with v of length 1: some eigenvalue lies within it of ``values[i]``, and v turns away
    from the eigenvectors of eigenvalues farther than g by at most residual/g. Vectors are orthonormal, in the order of
    the layer's parameters, with their largest component positive. Where eigenvalues coincide within their residuals,
    only the space that their vectors span has a meaning.
    """

    values: Float[ndarray, " k"]  # loss per squared parameter
    vectors: Float[ndarray, "k n"]
    residuals: Float[ndarray, " k"]  # in the unit of values
    converged: Bool[ndarray, " k"]
    products: int  # spent so far
    planned: int  # at most
    complete: bool = False

    def __post_init__(self) -> None:
        for array in (self.values, self.vectors, self.residuals, self.converged):
            array.setflags(write=False)


def top_eigenvectors(
    op: SymmetricOperator,
    k: Any = 3,
    *,
    steps: Any = 100,
    seed: Any = 0,
    largest: str = "magnitude",
    tolerance: float = 1e-5,
    memory: int = MEMORY,
) -> Iterator[Eigenpairs]:
    """Find the ``k`` eigenpairs at one end of the spectrum, or at both; one item per block of products.

    Blocks of up to 1,024 parameters are solved whole (one product per parameter; items before the last one hold no
    pairs yet). For larger ones each item costs at most k products, and the last one k more: the residuals that are
    finally reported come from products with the reported vectors themselves. Eigenvalues up to k-fold come k times.

    Args:
        op: the operator; its name, if it has one, goes into the random start.
        k: how many; no more come than there are.
        steps: blocks of products at most. What has not converged by then is returned all the same, and marked.
        seed: of the start vectors.
        largest: which end: by "magnitude", or the "largest" or "smallest" with their signs.
        tolerance: residual, relative to the largest absolute eigenvalue seen, up to which a pair counts as converged.
        memory: most bytes for basis and products; fewer mean more restarts.

    Raises:
        SettingError: an argument that makes no sense.
        TooLargeError: not even the smallest basis fits into ``memory``.
        NotFiniteError: a product held NaN or infinity.
    """
    k, steps, seed = min(whole_number("k", k), op.size), whole_number("steps", steps), check_seed(seed)
    _check(largest, tolerance)
    least = THICKNESS * (k + 1)
    if (op.size <= DENSE_SIZE and dense_bytes(op.size) <= memory) or least >= op.size:
        if dense_bytes(op.size) > memory:
            raise TooLargeError(
                f"{k:,} eigenvectors of {op.size:,} parameters need the whole matrix, {dense_bytes(op.size):,} bytes, "
                f"and {memory:,} are allowed. Ask for fewer of them."
            )
        return _dense(op, k, largest, tolerance)
    itemsize = torch.finfo(op.dtype).bits // 8
    fit = memory // (op.size * itemsize) - WORKING * (k + 1)
    if fit < 2 * least:
        needed = (2 * least + WORKING * (k + 1)) * op.size * itemsize
        raise TooLargeError(
            f"{k:,} eigenvectors of {op.size:,} parameters need {needed:,} bytes for basis and products, and "
            f"{memory:,} are allowed. Ask for fewer of them, or a smaller block."
        )
    capacity = min(max(least, LARGEST_BASIS), fit // 2, op.size)
    return _iterative(op, k, steps, seed, largest, tolerance, capacity)


def _check(largest: str, tolerance: Any) -> None:
    if largest not in ENDS:
        raise SettingError(f"largest must be one of {ENDS}, got {largest!r}.")
    if not (isinstance(tolerance, float | int) and 0 < tolerance < 1):
        raise SettingError(f"tolerance must be between 0 and 1, relative to the largest eigenvalue; got {tolerance!r}.")


def _dense(op: SymmetricOperator, k: int, largest: str, tolerance: float) -> Iterator[Eigenpairs]:
    nothing, matrix = np.empty(0), torch.empty(0)
    for done, filled in columns(op, chunk=suitable(op)):
        matrix = filled
        if done < op.size:
            yield Eigenpairs(nothing, np.empty((0, op.size)), nothing, nothing.astype(bool), done, op.size)
    unit = unit_of(float(matrix.abs().max()))
    matrix = matrix / unit
    values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
    limit = _limit(tolerance, op.dtype, float(values.abs().max()))
    places = torch.from_numpy(wanted(values.numpy(), largest)[:k])
    values, vectors = values[places], vectors.T[places]
    residuals = torch.linalg.vector_norm(vectors @ matrix.T - values[:, None] * vectors, dim=1)
    yield _pairs(values * unit, vectors, residuals * unit, residuals <= limit, (op.size, op.size), complete=True)


def _iterative(
    op: SymmetricOperator, k: int, steps: int, seed: int, largest: str, tolerance: float, capacity: int
) -> Iterator[Eigenpairs]:
    basis, drawn, limit = Basis(op, capacity), k + 1, 0.0
    before, planned = op.products, k * (steps + 1) + 1
    basis.extend(_random(op, seed, range(drawn)))
    vectors = torch.empty((0, op.size))
    for step in range(steps):
        values, weights = basis.solve(largest)
        limit = _limit(tolerance, op.dtype, float(np.abs(values).max()))
        vectors, products = basis.combine(weights[:k])
        found = torch.from_numpy(values[:k])
        rest = products - found.to(vectors)[:, None] * vectors
        residuals = norms(rest)
        yield _pairs(found, vectors, residuals, residuals <= limit, (op.products - before, planned))
        waiting = rest[(residuals > limit / 2).to(rest.device)]  # half: the final products round differently
        if not len(waiting) or basis.count == op.size or step + 1 == steps:
            break
        if basis.count + len(waiting) > capacity:
            keep = max(k + 1, capacity // 2)
            basis.restart(values[:keep], weights[:keep])
        if not basis.extend(waiting):
            basis.extend(_random(op, seed, range(drawn, drawn + 1)))
            drawn += 1
    vectors = vectors / norms(vectors).to(vectors)[:, None]
    products = multiplied(op, vectors)
    quotients = torch.tensor([dot(v, hv) for v, hv in zip(vectors, products, strict=True)], dtype=torch.float64)
    residuals = norms(products - quotients.to(vectors)[:, None] * vectors)
    order = torch.from_numpy(wanted(quotients.numpy(), largest))
    quotients, vectors, residuals = quotients[order], vectors[order.to(vectors.device)], residuals[order]
    spent = op.products - before
    yield _pairs(quotients, vectors, residuals, residuals <= limit, (spent, spent), complete=True)


def from_rows(rows: Float[Tensor, "r n"], k: Any = 3, *, seed: Any = 0, tolerance: float = 1e-5) -> Eigenpairs:
    """The ``k`` largest eigenpairs of MᵀM from the rows of M; costs no product, and no matrix beyond the smaller side.

    Where M has fewer rows than columns they are Mᵀu/√λ with the eigenvectors u of MMᵀ. Beyond the rank of M eigenvalues
    are zero and any orthogonal vectors will do: random ones are returned.

    Args:
        rows: M, on any device; read in pieces.
        k: how many; no more come than M has columns.
        seed: of the vectors beyond the rank.
        tolerance: as in `top_eigenvectors`.

    Raises:
        SettingError: an argument that makes no sense.
        NotFiniteError: M holds NaN or infinity.
    """
    size = rows.shape[1]
    k, seed = min(whole_number("k", k), size), check_seed(seed)
    _check("largest", tolerance)
    if not bool(torch.isfinite(rows).all()):
        raise NotFiniteError("The factor holds NaN or infinity, so it has no eigenvectors. Check the loss and weights.")
    unit = unit_of(float(rows.abs().max())) if rows.numel() else 1.0

    def pieces(dim: int) -> list[Float[Tensor, "a b"]]:
        return list(torch.split(rows, COLUMNS if dim else max(1, COLUMNS // size), dim=dim))

    def wide(part: Float[Tensor, "a b"]) -> Float[Tensor, "a b"]:
        return (part.cpu() if part.device.type == "mps" else part).to(torch.float64) / unit

    flat = len(rows) < size
    width = min(len(rows), size)
    gram = torch.zeros((width, width), dtype=torch.float64, device=wide(rows[:0]).device)
    for part in pieces(int(flat)):
        gram += wide(part) @ wide(part).T if flat else wide(part).T @ wide(part)
    values, inner = torch.linalg.eigh(gram)
    values, inner = values.flip(0)[:k], inner.T.flip(0)[:k]
    inner = inner[values > max(rows.shape) * EPSILON * values[:1].sum()]  # the rest is rounding, not direction
    if flat:
        inner = torch.cat([inner @ wide(part) for part in pieces(1)], dim=1)
        inner = inner / torch.linalg.vector_norm(inner, dim=1, keepdim=True)
    beyond = random_rows(size, f"{seed}|beyond the rank", range(k - len(inner))).to(inner)
    vectors = torch.linalg.qr(torch.cat([inner, beyond]).T)[0].T
    halves = sum(wide(part) @ cut.T for part, cut in zip(pieces(1), vectors.split(COLUMNS, dim=1), strict=True))
    products = torch.cat([halves.T @ wide(part) for part in pieces(1)], dim=1)
    found = halves.square().sum(0)
    found, order = found.sort(descending=True, stable=True)
    vectors, products = vectors[order], products[order]
    residuals = torch.linalg.vector_norm(products - found[:, None] * vectors, dim=1).cpu()
    limit = _limit(tolerance, rows.dtype, float(found.max()))
    scale = unit**2
    return _pairs(found.cpu() * scale, vectors, residuals * scale, residuals <= limit, (0, 0), complete=True)


def _pairs(
    values: Float[Tensor, " k"],
    vectors: Float[Tensor, "k n"],
    residuals: Float[Tensor, " k"],
    converged: Bool[Tensor, " k"],
    products: tuple[int, int],
    *,
    complete: bool = False,
) -> Eigenpairs:
    """Turn each vector so that its largest component is positive: pictures of it do not flip between snapshots."""
    peak = vectors.gather(1, vectors.abs().argmax(dim=1, keepdim=True))
    turned = vectors * torch.where(peak < 0, -1, 1).to(vectors)
    found, rows, errors, good = (part.detach().cpu().numpy() for part in (values, turned, residuals, converged))
    return Eigenpairs(found, rows, errors, good, *products, complete=complete)


def _random(op: SymmetricOperator, seed: int, indices: Iterable[int]) -> Float[Tensor, "b n"]:
    """Normal numbers, not signs: on few coordinates two vectors of signs are easily parallel."""
    drawn = random_rows(op.size, f"{seed}|eigenvectors|{getattr(op, 'name', '')}", indices)
    return drawn.to(device=op.device, dtype=op.dtype)


def _limit(tolerance: float, dtype: torch.dtype, magnitude: float) -> float:
    return max(tolerance, FLOOR * torch.finfo(dtype).eps) * magnitude

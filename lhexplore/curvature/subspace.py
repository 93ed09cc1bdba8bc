"""A growing orthonormal basis with the products of its vectors: what restarted eigenvalue methods work in."""

import hashlib
from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from .lanczos import require_finite
from .operators import SymmetricOperator

COLUMNS = 2**16  # parameters at a time where something is done to a whole basis
PASSES = 2
LOST = 100  # × ε: a direction of which orthogonalisation leaves less is rounding
STEADY = 0.5  # and one that the second pass shortens below this was not orthogonal after the first


class Basis:
    """Orthonormal vectors as rows, their products, and the operator between them."""

    def __init__(self, op: SymmetricOperator, capacity: int) -> None:
        self._op = op
        self._vectors, self._products = torch.empty((2, capacity, op.size), dtype=op.dtype, device=op.device)
        self._projected = np.zeros((capacity, capacity))
        self.count, self.capacity = 0, capacity

    def extend(self, directions: Float[Tensor, "b n"]) -> int:
        """Add what is new in some directions and multiply it; returns how many vectors that made."""
        epsilon, first = torch.finfo(self._op.dtype).eps, self.count
        for direction in directions[: self.capacity - self.count]:
            norm = _norm(direction)
            if not norm:
                continue
            w, known = direction / norm, self._vectors[: self.count]
            lengths = []
            for _ in range(PASSES):
                w = w - known.T @ (known @ w)
                lengths.append(_norm(w))
                if not lengths[-1]:
                    break
                w = w / lengths[-1]
            # What the second pass shortens much was rounding: its direction means nothing.
            if lengths[0] > LOST * epsilon and lengths[-1] > STEADY:
                self._vectors[self.count] = w
                self.count += 1
        if self.count > first:
            new = self._vectors[first : self.count]
            self._products[first : self.count] = multiplied(self._op, new)
            block = self._vectors[: self.count] @ self._products[first : self.count].T
            wide = block.cpu().double().numpy()
            self._projected[: self.count, first : self.count] = wide
            self._projected[first : self.count, : self.count] = wide.T
            inner = wide[first:]
            self._projected[first : self.count, first : self.count] = (inner + inner.T) / 2
        return self.count - first

    def solve(self, largest: str) -> tuple[Float[ndarray, " m"], Float[ndarray, "m m"]]:
        """Eigenvalues of the projection and, as rows, its eigenvectors, the most wanted first."""
        inner = self._projected[: self.count, : self.count]
        unit = unit_of(float(np.abs(inner).max()))
        values, vectors = torch.linalg.eigh(torch.from_numpy(inner / unit))  # numpy would not obey torch's thread count
        places = wanted(values.numpy(), largest)
        return values.numpy()[places] * unit, vectors.numpy().T[places]

    def combine(self, weights: Float[ndarray, "k m"]) -> tuple[Float[Tensor, "k n"], Float[Tensor, "k n"]]:
        """Combinations of the basis and the same ones of its products."""
        factors = torch.from_numpy(weights).to(self._vectors)
        return factors @ self._vectors[: self.count], factors @ self._products[: self.count]

    def restart(self, values: Float[ndarray, " k"], weights: Float[ndarray, "k m"]) -> None:
        """Keep some combinations only."""
        factors, keep = torch.from_numpy(weights).to(self._vectors), len(values)
        for rows in (self._vectors, self._products):
            for part in rows.split(COLUMNS, dim=1):  # in pieces: no second basis is ever in memory
                part[:keep] = factors @ part[: self.count]
        self._projected[:] = 0
        self._projected[range(keep), range(keep)] = values
        self.count = keep


def wanted(values: Float[ndarray, " m"], largest: str) -> Int[ndarray, " m"]:
    """Places of the values, the most wanted first."""
    keys = {"magnitude": -np.abs(values), "largest": -values, "smallest": values}
    return np.argsort(keys[largest], kind="stable")


def multiplied(op: SymmetricOperator, vectors: Float[Tensor, "b n"]) -> Float[Tensor, "b n"]:
    """Multiply rows, all at once where there are several.

    Raises:
        NotFiniteError: a product held NaN or infinity.
    """
    products = op.matvec(vectors[0])[None] if len(vectors) == 1 else op.matmat(vectors.T).T
    require_finite(products, op)
    return products.detach()


def random_rows(size: int, key: str, indices: Iterable[int]) -> Float[Tensor, "b n"]:
    """Normal numbers, each row from its own seed; float32, on the CPU."""
    rows = []
    for index in indices:
        digest = hashlib.blake2b(f"{key}|{index}".encode(), digest_size=8).digest()
        generator = torch.Generator(device="cpu").manual_seed(int.from_bytes(digest, "little") >> 1)
        rows.append(torch.randn(size, generator=generator, dtype=torch.float32, device="cpu"))
    return torch.stack(rows) if rows else torch.empty((0, size))


def unit_of(magnitude: float) -> float:
    """A power of two: dividing by it takes the scale out without rounding."""
    return float(2.0 ** np.frexp(magnitude)[1]) if magnitude else 1.0


def norms(rows: Float[Tensor, "b n"]) -> Float[Tensor, " b"]:
    """In float64, whatever the rows are in."""
    rows = rows.cpu() if rows.device.type == "mps" else rows
    lengths: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return lengths.cpu()


def _norm(row: Float[Tensor, " n"]) -> float:
    return float(norms(row[None]))

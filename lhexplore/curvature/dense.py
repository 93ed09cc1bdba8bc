"""Exact spectra of small blocks: all columns, symmetrised, and the eigenvalues in float64."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from .lanczos import require_finite
from .operators import SymmetricOperator


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """All eigenvalues of a block, ascending, with what is known about their error."""

    eigenvalues: Float[ndarray, " n"]
    residual: float  # backward error bound, the same for all of them
    defect: float  # ‖H − Hᵀ‖ / ‖H‖ (Frobenius) before symmetrising
    trace: float


def columns(op: SymmetricOperator, *, chunk: int) -> Iterator[tuple[int, Float[Tensor, "n n"]]]:
    """Fill the matrix of ``op``, ``chunk`` columns at a time; yields how many are done and the matrix, in float64.

    Raises:
        NotFiniteError: a column holds NaN or infinity.
    """
    matrix = torch.zeros((op.size, op.size), dtype=torch.float64, device="cpu")
    for first in range(0, op.size, chunk):
        last = min(first + chunk, op.size)
        unit = torch.zeros((op.size, last - first), dtype=op.dtype, device=op.device)
        unit[range(first, last), range(last - first)] = 1
        block = op.matmat(unit)
        require_finite(block, op)
        matrix[:, first:last] = block.detach().to("cpu").to(torch.float64)
        yield last, matrix


def eigenvalues(matrix: Float[Tensor, "n n"], *, epsilon: float) -> Exact:
    """Solve the symmetrised matrix in float64.

    Args:
        matrix: as the operator gave it; it is overwritten.
        epsilon: of the arithmetic its entries were computed in. Rounding that is independent from entry to entry
            moves no eigenvalue by more than about ε√n‖H‖ (Weyl; norm of a random matrix).
    """
    norm = float(torch.linalg.matrix_norm(matrix))
    defect = float(torch.linalg.matrix_norm(matrix - matrix.T)) / norm if norm else 0.0
    trace = float(matrix.trace())
    values = torch.linalg.eigvalsh((matrix + matrix.T).div_(2))
    largest = float(values.abs().max())
    return Exact(values.numpy(), largest * epsilon * len(values) ** 0.5, defect, trace)

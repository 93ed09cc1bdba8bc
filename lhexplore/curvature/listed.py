"""The list of all eigenvalues of a block, where rank makes most of them zero and only the others are computed."""

from typing import TypedDict

import numpy as np
from jaxtyping import Float
from numpy import ndarray


class Listed(TypedDict):
    """Fields of an exact `Spectrum`."""

    nodes: Float[ndarray, " m"]
    weights: Float[ndarray, " m"]
    residuals: Float[ndarray, " m"]


def listed(eigenvalues: Float[ndarray, " k"], size: int, *, residual: float) -> Listed:
    """Each eigenvalue with weight 1/size and ``residual``; the size − k others share one node at 0, without error."""
    zeros = int(size > len(eigenvalues))
    counts = np.concatenate([np.full(zeros, size - len(eigenvalues)), np.ones(len(eigenvalues))])
    return Listed(
        nodes=np.concatenate([np.zeros(zeros), eigenvalues]),
        weights=counts / size,
        residuals=np.concatenate([np.zeros(zeros), np.full(len(eigenvalues), residual)]),
    )

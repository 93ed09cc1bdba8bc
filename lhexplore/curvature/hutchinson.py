"""Two numbers that random signs give without further products: the trace, and how symmetric the operator is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from torch import Tensor

from .lanczos import dot

UPPER = 0.975  # two-sided 95 %


class Sample(NamedTuple):
    """What one random vector tells of H, in two numbers: the vectors themselves need not be kept."""

    form: float  # zᵀHz
    norm: float  # ‖Hz‖


def sample(vector: Float[Tensor, " n"], product: Float[Tensor, " n"]) -> Sample:
    """Take the two numbers from a start vector, scaled to length 1, and its product."""
    size = len(vector)
    return Sample(size * dot(vector, product), math.sqrt(size * dot(product, product)))


def trace_estimate(samples: Sequence[Sample], *, magnitude: float = 0.0) -> tuple[float, float]:
    """Return the mean of zᵀHz over random signs z (Hutchinson 1990) and its standard error.

    The error is meant to cover 95 % within ± 2 of it however few vectors there are. The spread of the forms alone does
    not do it (80 % with five vectors where one eigenvalue dominates, measured): they are then skewed, and their spread
    is underestimated together with them. The variance of zᵀHz is 2(‖H‖² − ‖diag H‖²) in the Frobenius norm, so the
    spread is taken no smaller than √2 ‖H‖, from the same products, or than √2 |λ|max. That is cautious where H is
    nearly diagonal. Rank one is the hard case: the mean of ‖Hz‖² then has as many degrees of freedom as there are
    vectors, and Student's t with that many covers 95.1 to 95.9 % from one vector to thirty (simulated).

    For rows of a larger matrix (one layer of a network, H z taken with signs on all parameters) the variance is
    2(‖H_ll‖² − ‖diag H_ll‖²) + Σ_k≠l ‖H_lk‖², and the mean of ‖(Hz)_l‖² is Σ_k ‖H_lk‖² with k = l among them: the same
    floor covers the block and, counted twice, its coupling to all others.

    What nobody can see: curvature in two to six coordinates of equal weight, whose signs happen to cancel in all
    vectors so far. One vector misses it in up to every second case, five in 3 of 100.

    Args:
        samples: at least one.
        magnitude: largest absolute eigenvalue known so far.
    """
    from scipy.special import stdtrit  # scipy is slow to import, and only computing needs it

    count = len(samples)
    forms, norms = (np.array(column) for column in zip(*samples, strict=True))
    unit = float(max(np.abs(forms).max(), norms.max())) or 1.0  # out before squaring: 1e200² would overflow
    spread = float(np.std(forms / unit, ddof=1)) if count > 1 else 0.0
    frobenius = float(np.sqrt(np.mean((norms / unit) ** 2)))
    spread = max(spread, math.sqrt(2) * frobenius, math.sqrt(2) * magnitude / unit) * unit
    return float(forms.mean()), spread / math.sqrt(count) * float(stdtrit(count, UPPER)) / 2


def symmetry_defect(vectors: Sequence[Float[Tensor, " n"]], products: Sequence[Float[Tensor, " n"]]) -> float:
    """Return the rms over pairs of |uᵀHv − vᵀHu| / ‖Hv‖ for random signs u: it estimates ‖H − Hᵀ‖ / ‖H‖.

    The vectors come scaled to length 1; the formula wants entries ±1 on one side.
    """
    scale = math.sqrt(len(vectors[0]))
    ratios = []
    for j, (v, hv) in enumerate(zip(vectors, products, strict=True)):
        norm = dot(hv, hv) ** 0.5
        for u, hu in list(zip(vectors, products, strict=True))[:j]:
            difference = dot(u, hv) - dot(v, hu)
            ratios.append(scale * difference / norm if norm else 0.0)
    return float(np.sqrt(np.mean(np.square(ratios)))) if ratios else 0.0

"""Two numbers that random signs give without further products: the trace, and how symmetric the operator is."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student
from torch import Tensor

from .lanczos import dot

UPPER = 0.975  # two-sided 95 %


def trace_estimate(forms: Sequence[float]) -> tuple[float, float]:
    """Return the mean of zᵀHz over random signs z (Hutchinson 1990) and its standard error.

    The error is widened by Student's t, so that ± 2 of it covers 95 % however few vectors there are; a single one
    cannot tell (NaN).
    """
    count = len(forms)
    mean = float(np.mean(forms))
    if count < 2:
        return mean, math.nan
    # Scaled first: squares of forms near 1e200 would overflow.
    unit = float(np.abs(forms).max()) or 1.0
    spread = float(np.std(np.asarray(forms) / unit, ddof=1)) * unit
    return mean, spread / math.sqrt(count) * float(student.ppf(UPPER, count - 1)) / 2


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

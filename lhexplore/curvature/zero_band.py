"""What is too small to have a sign."""

import math


def zero_band(magnitude: float, size: int, *, epsilon: float, defect: float) -> float:
    """Return τ: an eigenvalue within [−τ, τ] counts as zero.

    Two rounding effects, both relative to ``magnitude``, the largest absolute eigenvalue: independent rounding of the
    entries (ε√n, the norm of a random matrix), and the asymmetry of the operator as computed, which grows to many
    times that where a network interpolates its data. A definition of lhexplore's, not of a paper.

    Args:
        magnitude: largest absolute eigenvalue.
        size: of the block.
        epsilon: machine epsilon of the products.
        defect: ‖H − Hᵀ‖ / ‖H‖ of the operator as computed.
    """
    return magnitude * max(epsilon * math.sqrt(size), defect)

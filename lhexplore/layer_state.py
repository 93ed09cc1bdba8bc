"""A layer beside its spectrum: the gradient of the loss in it, and how its parameters are distributed."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float
from numpy import ndarray

NAN = float("nan")
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)  # of ``LayerState.quantiles``


@dataclass(frozen=True, slots=True, eq=False)
class LayerState:
    """Gradient and parameters of one layer at one snapshot; NaN where something is not known."""

    layer: str | None
    snapshot: str
    size: int
    split: str = "data"  # of the gradient
    gradient_norm: float = NAN  # ‖g‖ of the mean loss in the layer's parameters
    gradient_rayleigh: float = NAN  # gᵀHg / gᵀg with the layer's own block H
    gradient_share: float = NAN  # of ‖g‖² in the span of the ``share_of`` eigenvectors of largest |λ|
    share_of: int = 0
    mean: float = NAN  # of all parameters of the layer, like the following
    std: float = NAN
    skew: float = NAN
    kurtosis: float = NAN  # excess
    quantiles: tuple[float, ...] = ()  # at LEVELS
    norm: float = NAN  # ‖θ‖
    moved: float = NAN  # ‖θ − θ₀‖ / ‖θ₀‖ from the first snapshot
    singular_values: Float[ndarray, " r"] = field(default_factory=lambda: np.empty(0))  # of its largest matrix

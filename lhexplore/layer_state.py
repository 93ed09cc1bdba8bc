"""A layer beside its spectrum: the gradient of the loss in it, and how its parameters are distributed."""

import math
from dataclasses import dataclass, field, fields
from numbers import Real

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .errors import SettingError, whole_number

NAN = float("nan")
LEVELS = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)  # of ``LayerState.quantiles``
_NOT_NEGATIVE = ("gradient_norm", "gradient_share", "std", "norm", "moved")


@dataclass(frozen=True, slots=True, eq=False)
class LayerState:
    """Gradient and parameters of one layer at one snapshot; NaN where something is not known, and ``reason`` says why.

    Moments are those of the values themselves (no correction for a sample), so that they agree with scipy's defaults.
    """

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
    singular_values: Float[ndarray, " r"] = field(default_factory=lambda: np.empty(0))  # of its largest matrix, falling
    curvature: str = "hessian"  # of the block H: "hessian" | "ggn"
    reason: str = ""  # why numbers are NaN, in sentences

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", whole_number("size", self.size))
        object.__setattr__(self, "share_of", whole_number("share_of", self.share_of, least=0))
        for item in fields(self):
            if item.type is float or item.type == "float":
                object.__setattr__(self, item.name, _number(item.name, getattr(self, item.name)))
        levels = tuple(_number("quantiles", value) for value in self.quantiles)
        if len(levels) not in (0, len(LEVELS)):
            raise SettingError(f"quantiles must be {len(LEVELS)} numbers, at {LEVELS}, or none; got {len(levels)}.")
        object.__setattr__(self, "quantiles", levels)
        values = np.array(self.singular_values, dtype=np.float64)
        if values.ndim != 1 or not (np.isfinite(values).all() and (values >= 0).all()):
            raise SettingError(f"singular_values must be a row of numbers from 0 up, got {self.singular_values!r:.60}.")
        values = np.sort(values)[::-1].copy()
        values.setflags(write=False)
        object.__setattr__(self, "singular_values", values)

    def __repr__(self) -> str:
        where = "whole network" if self.layer is None else repr(self.layer)
        return (
            f"LayerState({where} at {self.snapshot!r}, size {self.size}, ‖g‖ {self.gradient_norm:.4g} ({self.split}), "
            f"gᵀHg/gᵀg {self.gradient_rayleigh:.4g}, ‖θ‖ {self.norm:.4g}, moved {self.moved:.3g})"
        )


def _number(name: str, value: object) -> float:
    """A float, NaN included.

    Raises:
        SettingError: no real number, infinite, or negative where that makes no sense.
    """
    if (
        not isinstance(value, Real)
        or isinstance(value, bool)
        or math.isinf(value)
        or (name in _NOT_NEGATIVE and value < 0)
    ):
        least = " from 0 up" if name in _NOT_NEGATIVE else ""
        raise SettingError(f"{name} must be a finite number{least}, or NaN where it is not known; got {value!r:.60}.")
    return float(value)

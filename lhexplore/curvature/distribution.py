"""How the parameters of a layer are distributed: moments, quantiles, how far they moved, the shape of its matrix.

Every function answers with the fields of a `LayerState`, and says in a sentence why a number is missing.
"""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..layer_state import LEVELS

LARGEST_SIDE = 2048  # of a matrix whose singular values are computed: some seconds in float64
CONSTANT = 8 * float(np.finfo(np.float64).eps)  # a spread below this share of the mean is rounding: it has no shape

Fields = dict[str, Any]


def moments(values: Float[ndarray, " n"]) -> tuple[Fields, str]:
    """Mean, standard deviation, skew, excess kurtosis, quantiles and norm; as scipy's defaults have them."""
    mean, scale = float(values.mean()), float(np.abs(values).max())
    centred = (values - mean) / (scale or 1.0)
    spread = float(np.sqrt((centred**2).mean()))
    found = {
        "mean": mean,
        "std": spread * scale,
        "quantiles": tuple(float(value) for value in np.quantile(values, LEVELS)),
        "norm": float(np.linalg.norm(values / (scale or 1.0))) * scale,
    }
    if spread <= CONSTANT:
        what = "There is one parameter" if len(values) == 1 else "All parameters are equal"
        return found, f"{what}: skew and kurtosis are 0/0."
    shape = {"skew": float((centred**3).mean()) / spread**3, "kurtosis": float((centred**4).mean()) / spread**4 - 3.0}
    return found | shape, ""


def distance(values: Float[ndarray, " n"], start: Float[ndarray, " n"] | None) -> tuple[Fields, str]:
    """The way from the first snapshot's parameters, relative to their norm."""
    if start is None:
        return {}, "The first snapshot cannot be used, so there is no distance from it."
    norm = float(np.linalg.norm(start))
    if not norm:
        return {}, "All parameters were 0 at the first snapshot, so the distance from it has no relative size."
    return {"moved": float(np.linalg.norm(values - start)) / norm}, ""


def matrix_shape(matrix: Float[ndarray, "rows columns"]) -> tuple[Fields, str]:
    """Singular values, falling; at most some seconds."""
    if min(matrix.shape) > LARGEST_SIDE:
        size = " × ".join(f"{side:,}" for side in matrix.shape)
        return {}, f"Singular values of {size} would take long: they are computed up to {LARGEST_SIDE:,} of them."
    return {"singular_values": np.linalg.svd(matrix, compute_uv=False)}, ""

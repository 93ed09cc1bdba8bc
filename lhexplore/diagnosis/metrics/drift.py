"""How far a spectrum moved between two snapshots: 1-Wasserstein distances of eigenvalues, and of their logarithms."""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import ComparisonError
from ...spectrum import Spectrum
from ..arguments import a_spectrum
from ..measure import require_same_layer


def drift(before: Spectrum, after: Spectrum) -> float:
    """Return the 1-Wasserstein distance of two eigenvalue distributions, in the unit of the nodes.

    For exact spectra of one size it is the mean distance of the sorted eigenvalues.

    Raises:
        SettingError: if one is no spectrum.
        ComparisonError: if layer, size, steps, data, curvature or functional differ, or one is exact and one estimated.
    """
    a_spectrum(before, "before")
    a_spectrum(after, "after")
    _require_same_kind(before, after)
    return _distance(before.nodes, before.weights, after.nodes, after.weights)


def log_drift(before: Spectrum, after: Spectrum) -> float:
    """Return the 1-Wasserstein distance of log |λ| outside the zero band, in nats: 0.7 is a factor of two on average.

    The wider of the two bands counts on both sides; what is outside has weight 1 on each. NaN where nothing is.

    Raises:
        SettingError, ComparisonError: as `drift`.
    """
    a_spectrum(before, "before")
    a_spectrum(after, "after")
    _require_same_kind(before, after)
    band = max(before.zero_band, after.zero_band)
    sides = []
    for s in (before, after):
        keep = np.abs(s.nodes) > band
        if not keep.any():
            return math.nan
        sides += [np.log(np.abs(s.nodes[keep])), s.weights[keep] / s.weights[keep].sum()]
    return _distance(*sides)


def _distance(
    a: Float[ndarray, " n"], weights_a: Float[ndarray, " n"], b: Float[ndarray, " m"], weights_b: Float[ndarray, " m"]
) -> float:
    """The area between two distribution functions."""
    places = np.concatenate([a, b])
    signed = np.concatenate([weights_a, -weights_b])
    order = np.argsort(places, kind="stable")
    steps: Float[ndarray, " k"] = np.diff(places[order])
    return float(np.abs(np.cumsum(signed[order])[:-1]) @ steps)


def _require_same_kind(before: Spectrum, after: Spectrum) -> None:
    require_same_layer(after, before, role="earlier")
    for name in ("size", "exact", "steps", "split"):  # exact is exact, whichever the method
        if getattr(before, name) != getattr(after, name):
            raise ComparisonError(
                f"The two spectra have {name} {getattr(before, name)!r} and {getattr(after, name)!r}: their distance "
                f"would mix this difference with the drift. Compute both with the same {name}."
            )
    digests = [s.provenance.get("data_digest") for s in (before, after)]
    if None not in digests and digests[0] != digests[1]:
        raise ComparisonError(
            "The two spectra are of different data: their distance would mix this difference with the drift. Compute "
            "both in one session."
        )

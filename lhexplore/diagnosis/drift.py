"""How far a spectrum moved between two snapshots."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import ComparisonError
from ..spectrum import Spectrum
from .arguments import a_spectrum
from .measure import require_same_layer


def drift(before: Spectrum, after: Spectrum) -> float:
    """Return the 1-Wasserstein distance of two eigenvalue distributions, in the unit of the nodes.

    For exact spectra of one size it is the mean distance of the sorted eigenvalues.

    Raises:
        SettingError: if one is no spectrum.
        ComparisonError: if layer, size, steps, data, curvature or functional differ, or one is exact and one estimated.
    """
    a_spectrum(before, "before")
    a_spectrum(after, "after")
    require_same_layer(after, before, role="earlier")
    for name in ("size", "exact", "steps", "split"):  # exact is exact, whichever the method
        if getattr(before, name) != getattr(after, name):
            raise ComparisonError(
                f"The two spectra have {name} {getattr(before, name)!r} and {getattr(after, name)!r}: their distance "
                f"would mix this difference with the drift. Compute both with the same {name}."
            )
    nodes = np.concatenate([before.nodes, after.nodes])
    signed = np.concatenate([before.weights, -after.weights])
    order = np.argsort(nodes, kind="stable")
    steps: Float[ndarray, " k"] = np.diff(nodes[order])
    return float(np.abs(np.cumsum(signed[order])[:-1]) @ steps)

"""Whether the rounding of float32 decides what a spectrum is called, so that it is worth computing it in float64.

Near interpolation a product in float32 is wrong in the third digit, and the operator as computed is not symmetric. The
zero band then grows to cover it: honest, but a band that hides the only negative eigenvalue, or leaves the ratio of the
two ends open, answers nothing. Where it changes nothing that is told, float32 is good enough.

In a last linear layer the errors are symmetric (those of p⊙u − p(pᵀu) in each example), so asymmetry does not show them
at all: a comparison with one product in float64 does.
"""

import math

import numpy as np
import torch

from ..spectrum import Spectrum
from .checks import head
from .definiteness import gauss_newton_gap
from .factor.few import narrowed
from .lanczos import start_vector
from .operators import Block, LayerHessian
from .replica import WIDE_EXAMPLES, Replica
from .zero_band import zero_band

NARROW = ("float32", "float16", "bfloat16")
DEFECT_LIMIT = 0.05  # an operator this far from symmetric has no reliable signs
# C_t = λmin/λmax from here up is "mainly positive" in the public code of Gabdullin (arXiv 2412.10146).
GATE = -0.6


def noise_decides(spectrum: Spectrum, *, noise: float = 0.0) -> str:
    """Say what the noise of a float32 result leaves open that float64 would tell; empty where there is nothing.

    Looked at are the symmetry of the operator, the sign of the smallest eigenvalue, and on which side of −0.6 the ratio
    C_t of the two ends lies. What the residuals of an estimate leave open is no matter of precision.

    Args:
        spectrum: finished. One that is positive semi-definite by structure, or was computed in float64, needs nothing.
        noise: of the operator's products, relative to them, where `product_noise` measured it.
    """
    dtype = str(spectrum.provenance.get("dtype", ""))
    magnitude, defect = spectrum.magnitude, spectrum.symmetry_defect
    if dtype not in NARROW or spectrum.psd or not magnitude:
        return ""
    if defect > DEFECT_LIMIT:
        return f"the operator in {dtype} is not symmetric (defect {defect:.2g}), so its signs are not reliable"
    floor = zero_band(magnitude, spectrum.size, epsilon=_epsilon(dtype), defect=0.0)
    blur = magnitude * max(defect, noise)
    if blur <= floor:
        return ""
    if floor < -spectrum.smallest <= blur:
        return (
            f"the smallest eigenvalue, {spectrum.smallest:.2g}, lies within the noise of {dtype} (± {blur:.2g}), so "
            "whether there is negative curvature is open"
        )
    if _open(spectrum, blur) and not _open(spectrum, 0.0):
        return f"the noise of {dtype} (± {blur:.2g}) leaves open on which side of {GATE} the ratio λmin/λmax lies"
    return ""


def product_noise(replica: Replica, block: Block, *, seed: int = 0) -> float:
    """Return ‖H v − H₆₄ v‖ / ‖H₆₄ v‖ for one random v on a few examples, with H₆₄ the same block in float64.

    Costs a product of each kind on at most 64 examples. NaN where there is no float64 copy, 0 for a replica in float64.
    """
    if replica.dtype == torch.float64:
        return 0.0
    batch = replica.batch(0) if replica.mode == "train-frozen" else head(replica.batch(0), WIDE_EXAMPLES)
    if (wide := replica.widened(batch)) is None:
        return math.nan
    fine, coarse = LayerHessian(wide, block), LayerHessian(narrowed(replica, batch), block)
    v = start_vector(coarse, seed=seed, name=block.name, index=0)
    return gauss_newton_gap(coarse.matvec(v), fine.matvec(v.to(device=fine.device, dtype=fine.dtype)))


def _epsilon(dtype: str) -> float:
    return {"float32": 2.0**-23, "float16": 2.0**-10, "bfloat16": 2.0**-7}[dtype]


def _open(spectrum: Spectrum, noise: float) -> bool:
    """Whether λmin/λmax may lie on both sides of the gate, each end being off by its residual and the noise."""
    low, high = np.inf, -np.inf
    for number in np.unique(spectrum.probe):
        mine = spectrum.probe == number
        nodes, residuals = spectrum.nodes[mine], spectrum.residuals[mine]
        ratios = [
            _ratio(nodes[0] - side * (residuals[0] + noise), nodes[-1] - side * (residuals[-1] + noise))
            for side in (1, -1)
        ]
        low, high = min(low, *ratios), max(high, *ratios)
    return bool(low < GATE <= high)


def _ratio(smallest: float, largest: float) -> float:
    """λmin/λmax; −∞ without positive eigenvalues, 0 without negative ones."""
    if smallest >= 0:
        return 0.0
    return smallest / largest if largest > 0 else -np.inf

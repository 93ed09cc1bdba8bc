"""The formulas behind the metrics, on nodes and weights: a sum over eigenvalues is size · Σ weight.

Each is called only where it is defined; ``metrics`` guards that.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...spectrum import Spectrum
from ..measure import first_above, fractions, outside, psd_by_structure, rank_cut, recorded_count, share_below
from ..remembered import once

NEAR_ZERO = 1e-4  # absolute, in loss per squared parameter: shows how the whole scale collapses
OUTLIERS = 20  # how many leading eigenvalues are searched where the number of outputs is not recorded
TINY = np.finfo(np.float64).tiny
WHOLE = 1e-9  # slack when shares are added up to a percentile


def trace(s: Spectrum) -> float:
    """The trace as measured, which may know more than the nodes do."""
    return s.trace


def mean_curvature(s: Spectrum) -> float:
    """Trace per parameter."""
    return s.trace / s.size


def lambda_max(s: Spectrum) -> float:
    """Largest eigenvalue, 0 inside the zero band."""
    return s.largest if abs(s.largest) > s.zero_band else 0.0


def lambda_min(s: Spectrum) -> float:
    """Smallest eigenvalue, 0 inside the zero band and where structure forbids a negative one."""
    if abs(s.smallest) <= s.zero_band or (s.smallest < 0 and psd_by_structure(s)):
        return 0.0
    return s.smallest


def spectral_norm(s: Spectrum) -> float:
    """Largest absolute eigenvalue."""
    return s.magnitude


def frobenius_norm(s: Spectrum) -> float:
    """Root of the sum of squares."""
    return s.magnitude * float(np.sqrt(s.size * (s.weights @ (s.nodes / (s.magnitude or 1.0)) ** 2)))


def condition(s: Spectrum) -> float:
    """Largest over smallest absolute eigenvalue above the rank cut."""
    sizes = np.abs(s.nodes)
    return s.magnitude / float(sizes[sizes > rank_cut(s)].min())


def percentile_condition(s: Spectrum, share: float) -> float:
    """λmax over the eigenvalue at ``share`` of the spectrum, sorted downward."""
    value = from_above(s, share)
    return s.largest / value if value > rank_cut(s) else float("inf")


def from_above(s: Spectrum, share: float) -> float:
    """The eigenvalue that ``share`` of the spectrum reaches or exceeds."""
    return float(s.nodes[first_above(s, 1 - share + WHOLE)])


def peakedness(s: Spectrum) -> float:
    """λmax over the mean eigenvalue."""
    return s.largest / mean_curvature(s) if s.trace > 0 else float("nan")


def numerical_rank(s: Spectrum) -> float:
    """Number of eigenvalues above the rank cut; a whole number for exact spectra."""
    count = s.size * rank_ratio(s)
    return float(round(count)) if s.exact else count


def rank_ratio(s: Spectrum) -> float:
    """Share of eigenvalues above the rank cut."""
    first, last = outside(s, rank_cut(s))
    return max(0.0, 1.0 - (share_below(s, last) - share_below(s, first)))


@once
def spectral_entropy(s: Spectrum) -> float:
    """−Σ q ln q with q = |λ| / Σ|λ|, for every eigenvalue."""
    sizes = relative(s)
    counted = s.weights * sizes
    total = counted.sum()
    # Σ q ln q = Σ|λ| ln|λ| / Σ|λ| − ln Σ|λ|, and 0 ln 0 = 0.
    logs = np.log(np.maximum(sizes, TINY))
    return max(0.0, float(np.log(total * s.size) - counted @ logs / total))


def relative_entropy(s: Spectrum) -> float:
    """Spectral entropy over ln size."""
    return spectral_entropy(s) / float(np.log(s.size)) if s.size > 1 else 0.0


def effective_rank(s: Spectrum) -> float:
    """Exponential of the spectral entropy."""
    return float(np.exp(spectral_entropy(s)))


def effective_rank_ratio(s: Spectrum) -> float:
    """Effective rank per parameter."""
    return effective_rank(s) / s.size


def stable_rank(s: Spectrum) -> float:
    """‖H‖_F² / ‖H‖₂²."""
    return s.size * float(s.weights @ relative(s) ** 2)


def participation(s: Spectrum) -> float:
    """(Σλ²)² / Σλ⁴."""
    squares = relative(s) ** 2
    return s.size * float((s.weights @ squares) ** 2 / (s.weights @ squares**2))


def negative_fraction(s: Spectrum) -> float:
    """Share of eigenvalues below the zero band."""
    return fractions(s).negative


def zero_fraction(s: Spectrum) -> float:
    """Share of eigenvalues inside the zero band."""
    return fractions(s).zero


def positive_fraction(s: Spectrum) -> float:
    """Share of eigenvalues above the zero band."""
    return fractions(s).positive


def negative_mass(s: Spectrum) -> float:
    """Share of Σ|λ| that lies below the zero band."""
    if psd_by_structure(s):
        return 0.0
    mass = s.weights * relative(s)
    return float(mass[: np.searchsorted(s.nodes, -s.zero_band, side="left")].sum() / mass.sum())


def near_zero_share(s: Spectrum) -> float:
    """Share of eigenvalues below an absolute size."""
    return min(1.0, float(s.weights[np.abs(s.nodes) < NEAR_ZERO].sum()))


def outlier_count(s: Spectrum) -> float:
    """Where the ratio of neighbours at the top is largest, among values above the rank cut."""
    outputs = recorded_count(s, "outputs")
    top = leading(s, (2 * outputs if outputs else OUTLIERS) + 1)
    top = top[top > rank_cut(s)]
    return float(np.argmax(top[:-1] / top[1:]) + 1) if len(top) > 1 else float("nan")


def spectral_gap(s: Spectrum) -> float:
    """(λ₁ − λ₂) / λ₁."""
    first, second = leading(s, 2)
    return float((first - second) / first)


def leading(s: Spectrum, most: int) -> Float[ndarray, " k"]:
    """The largest eigenvalues downward: with multiplicity if exact, else the run of converged ones of one probe."""
    if s.exact:
        counts = np.rint(s.weights[-most:] * s.size).astype(int)
        return np.asarray(np.repeat(s.nodes[-most:], counts)[::-1][:most])
    mine = s.probe == s.probe[-1]
    nodes, converged = s.nodes[mine][::-1], s.converged()[mine][::-1]
    run = len(nodes) if converged.all() else int(np.argmin(converged))
    return np.asarray(nodes[: min(run, most)])


def has_positive(s: Spectrum) -> bool:
    """Whether λmax exceeds the rank cut."""
    return s.largest > rank_cut(s)


def has_no_negative(s: Spectrum) -> bool:
    """Whether no eigenvalue lies below the zero band."""
    return s.smallest >= -s.zero_band or psd_by_structure(s)


def relative(s: Spectrum) -> Float[ndarray, " m"]:
    """|λ| over the largest; what lies inside the zero band is 0."""
    sizes: Float[ndarray, " m"] = np.abs(s.nodes)
    sizes /= s.magnitude or 1.0
    sizes[slice(*outside(s, s.zero_band))] = 0.0
    return sizes

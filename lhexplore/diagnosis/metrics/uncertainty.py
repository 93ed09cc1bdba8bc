"""How far a metric of an estimated spectrum may be off: ± 2 of each number here covers 95 %, as in histograms.

A sum Σ φ(λ) over all eigenvalues is zᵀφ(H)z in the mean over random starts z, and every probe is one such number. Its
variance is at most 2 Σ (φ(λ) − c)² for any constant c (Hutchinson's estimator; the constant's part is known without
error). That bound is a floor to the spread over few probes, which is widened by Student's t. Metrics that are no sums
are linearised: φ is then how much an eigenvalue at λ moves them. Shares are known less well where a node may lie on
either side of the limit, and ends may hide from every start; both have bounds of their own.
"""

import math

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...spectrum import Spectrum
from ..hesd.ends import outermost
from ..measure import by_probe, psd_by_structure, rank_cut
from ..remembered import once
from . import formulas

ROUND_OFF = 10 * float(np.finfo(np.float64).eps)  # of the largest absolute eigenvalue, as in Spectrum.error


def of_sum(s: Spectrum, influence: Float[ndarray, " m"]) -> float:
    """± of Σ φ(λ), with φ at every node; 0 where every eigenvalue is known, NaN where a single probe cannot tell."""
    if s.exact:
        return 0.0
    numbers, probe = np.unique(s.probe, return_inverse=True)
    count = len(numbers)
    if count < 2:
        return math.nan
    from scipy.special import stdtrit  # scipy is slow to import, and few ask for errors

    rows = s.size * np.bincount(probe, weights=s.weights * influence) * count
    floor = 2 * s.size * float(s.weights @ (influence - s.weights @ influence) ** 2)
    spread = max(float(rows.std(ddof=1)), math.sqrt(floor))
    return spread / math.sqrt(count) * float(stdtrit(count, 0.975)) / 2


def of_share(s: Spectrum, low: float, high: float) -> float:
    """± of the share of eigenvalues between two limits, both included: that of one bin of a histogram."""
    beyond = 2 * s.magnitude + 1.0
    inner = np.clip([np.nextafter(low, -math.inf), np.nextafter(high, math.inf)], -beyond, beyond)
    return float(s.histogram(np.array([-2 * beyond, *inner, 2 * beyond])).stderr[1])


@once
def _ends(s: Spectrum) -> tuple[float, float]:
    """± of the smallest and of the largest eigenvalue: what no start vector may have seen, residuals, round-off."""
    rounding = s.magnitude * max(s.symmetry_defect, ROUND_OFF)
    if s.exact:
        return float(s.residuals[0]) + rounding, float(s.residuals[-1]) + rounding
    low, high = outermost(list(by_probe(s)), size=s.size)
    return (
        max(float(s.residuals[0]), (s.smallest - low) / 2) + rounding,
        max(float(s.residuals[-1]), (high - s.largest) / 2) + rounding,
    )


def trace(s: Spectrum) -> float:
    """As measured with the trace."""
    return s.trace_stderr


def mean_curvature(s: Spectrum) -> float:
    """That of the trace, per parameter."""
    return s.trace_stderr / s.size


def lambda_min(s: Spectrum) -> float:
    """What an end may hide."""
    return _ends(s)[0]


def lambda_max(s: Spectrum) -> float:
    """What an end may hide."""
    return _ends(s)[1]


def spectral_norm(s: Spectrum) -> float:
    """That of the larger end, or of the other where it may turn out larger."""
    return max(_ends(s)) if s.exact else _ends(s)[int(abs(s.largest) >= abs(s.smallest))]


def frobenius_norm(s: Spectrum) -> float:
    """Of Σλ², halved for the root."""
    norm = formulas.frobenius_norm(s)
    return 0.0 if not norm else s.magnitude * of_sum(s, (s.nodes / s.magnitude) ** 2) / 2 / (norm / s.magnitude)


def percentile_condition(s: Spectrum, share: float) -> float:
    """From the eigenvalues at shares that the exact one may have."""
    here, off = formulas.percentile_condition(s, share), 2 * of_share(s, formulas.from_above(s, share), math.inf)
    if math.isinf(here) or math.isnan(off):
        return math.nan
    there = [formulas.percentile_condition(s, min(1.0, max(0.0, share + way))) for way in (-off, off)]
    return max(abs(here - value) for value in there) / 2 + here * _ends(s)[1] / s.largest


def peakedness(s: Spectrum) -> float:
    """Relative errors of λmax and of the trace together."""
    return formulas.peakedness(s) * math.hypot(_ends(s)[1] / s.largest, s.trace_stderr / s.trace)


def rank_ratio(s: Spectrum) -> float:
    """Of the share inside the cut."""
    return of_share(s, -rank_cut(s), rank_cut(s))


def numerical_rank(s: Spectrum) -> float:
    """The same, in numbers."""
    return s.size * rank_ratio(s)


def stable_rank(s: Spectrum) -> float:
    """Of Σλ², and of the largest absolute eigenvalue it is divided by."""
    return of_sum(s, formulas.relative(s) ** 2) + 2 * formulas.stable_rank(s) * spectral_norm(s) / s.magnitude


def participation(s: Spectrum) -> float:
    """Of (Σλ²)² / Σλ⁴ along both sums."""
    squares = formulas.relative(s) ** 2
    first, second = s.size * float(s.weights @ squares), s.size * float(s.weights @ squares**2)
    return of_sum(s, 2 * first / second * squares - (first / second) ** 2 * squares**2)


def negative_fraction(s: Spectrum) -> float:
    """Of the share below the zero band; none where structure forbids negative values."""
    return 0.0 if psd_by_structure(s) else of_share(s, -math.inf, float(np.nextafter(-s.zero_band, -math.inf)))


def zero_fraction(s: Spectrum) -> float:
    """Of the share inside the zero band."""
    return of_share(s, -math.inf if psd_by_structure(s) else -s.zero_band, s.zero_band)


def positive_fraction(s: Spectrum) -> float:
    """Of the share above the zero band."""
    return of_share(s, float(np.nextafter(s.zero_band, math.inf)), math.inf)


def negative_mass(s: Spectrum) -> float:
    """Of the ratio of two sums, and of the node that may lie on either side of the band."""
    if psd_by_structure(s):
        return 0.0
    sizes = formulas.relative(s)
    below = (s.nodes < -s.zero_band).astype(float)
    total, mass = s.size * float(s.weights @ sizes), formulas.negative_mass(s)
    beside = np.abs(s.nodes + s.zero_band) < s.residuals
    doubtful = s.size * float(s.weights[beside] @ np.abs(s.nodes[beside] / s.magnitude)) / total
    return of_sum(s, (below - mass) * sizes / total) + doubtful / 2


def near_zero_share(s: Spectrum) -> float:
    """Of the share below an absolute size."""
    inside = float(np.nextafter(formulas.NEAR_ZERO, 0))
    return of_share(s, -inside, inside)


def spectral_gap(s: Spectrum) -> float:
    """Of the two largest eigenvalues, from the residuals of their nodes."""
    first, second = formulas.leading(s, 2)
    residuals = s.residuals[s.probe == s.probe[-1]][::-1][:2]
    return float((residuals[1] + second / first * (residuals[0] + _ends(s)[1])) / first)

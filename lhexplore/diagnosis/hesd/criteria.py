"""The three criteria of a spectrum with their intervals: C_t, r_e and K_H.

The formulas follow the public code of Gabdullin (arXiv 2412.10146): per start vector, then averaged. The zero band,
what happens where a sign is absent, and the intervals are lhexplore's.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ...spectrum import Spectrum
from ..measure import Probe, by_probe
from .ends import ROUND_OFF, outermost

FEW_PROBES = 5  # below it a standard error means little: the envelope of the probes is taken instead


class Criteria(NamedTuple):
    """C_t and K_H of a spectrum; NaN where nothing leaves the zero band."""

    ct: float
    interval: tuple[float, float]  # of ct
    kh: float
    kh_stderr: float  # over probes; NaN where one probe cannot tell
    kh_interval: tuple[float, float]


class _Reading(NamedTuple):
    """The criteria as one probe gives them."""

    ct: float
    low: float
    high: float
    kh: float


def criteria(spectrum: Spectrum, tau: float, *, exponent: float, no_negative: bool) -> Criteria:
    """Compute C_t and K_H.

    Args:
        spectrum: exact or estimated.
        tau: half-width of the zero band, in the unit of the eigenvalues.
        exponent: the power in K_H.
        no_negative: there are no negative eigenvalues by structure; what looks like one is rounding.
    """
    probes = list(by_probe(spectrum))
    round_off = spectrum.magnitude * max(spectrum.symmetry_defect, ROUND_OFF)
    read = [_read(p, tau, exponent, round_off, spectrum.exact, no_negative) for p in probes]
    readings = [r for r in read if not math.isnan(r.ct)]  # a probe that sees only the zero band says nothing
    if not readings:
        return Criteria(math.nan, (math.nan, math.nan), math.nan, math.nan, (math.nan, math.nan))
    ct, interval = _combine(readings)
    if not (spectrum.exact or no_negative):
        interval = _widened(interval, probes, size=spectrum.size, round_off=round_off, tau=tau)
    return Criteria(ct, interval, *_mean([r.kh for r in readings], exact=spectrum.exact))


def _read(p: Probe, tau: float, exponent: float, round_off: float, exact: bool, no_negative: bool) -> _Reading:
    """Apply the formulas to one probe, after the zero band."""
    below, above = (float(residual) + round_off for residual in (p.residuals[0], p.residuals[-1]))
    down, up = -float(p.nodes[0]), float(p.nodes[-1])  # sizes of the two ends; below zero where a sign is absent
    if no_negative:
        down, below = 0.0, 0.0
    ct = -_ratio(down, up, tau)
    low = -_ratio(down + below, up - above, tau)
    high = -_ratio(down - below, up + above, tau)
    if math.isnan(ct):
        return _Reading(ct, ct, ct, ct)
    low = ct if math.isnan(low) else min(low, ct)  # the widened ends may both vanish in the band
    high = ct if math.isnan(high) else max(high, ct)
    return _Reading(ct + 0.0, low + 0.0, high + 0.0, _kh(p, tau, exponent, exact, no_negative))


def _ratio(down: float, up: float, tau: float) -> float:
    """Divide |λmin| by λmax, both zero inside the band: 0 without negative, ∞ without positive, NaN without either."""
    down, up = (down if down > tau else 0.0), (up if up > tau else 0.0)
    if up == 0:
        return math.inf if down else math.nan
    return down / up


def _kh(p: Probe, tau: float, exponent: float, exact: bool, no_negative: bool) -> float:
    """Σ over negative of |λ w|ⁿ / Σ over positive of (λ w)ⁿ; an exact spectrum has w = 1/size per eigenvalue."""
    first_inside = 0 if no_negative else int(np.searchsorted(p.nodes, -tau, side="left"))
    first_above = int(np.searchsorted(p.nodes, tau, side="right"))
    scale = max(abs(p.nodes[0]), abs(p.nodes[-1]))  # keeps the powers in range; cancels in the quotient
    # Of a merged node with k eigenvalues each counts by itself: k · (λ/size)ⁿ, and size cancels.
    shares = p.weights if exact else p.weights**exponent
    terms = shares * (np.abs(p.nodes) / scale) ** exponent
    negative, positive = float(terms[:first_inside].sum()), float(terms[first_above:].sum())
    if positive == 0:
        return math.inf if negative else math.nan
    return negative / positive


def _combine(readings: list[_Reading]) -> tuple[float, tuple[float, float]]:
    """Average C_t over the probes and give it an interval."""
    ct = float(np.mean([r.ct for r in readings]))
    low, high = [r.low for r in readings], [r.high for r in readings]
    if len(readings) < FEW_PROBES or not np.isfinite([*low, *high]).all():
        return ct, (min(low), max(high))
    spread = 2 * float(np.std([r.ct for r in readings], ddof=1)) / math.sqrt(len(readings))
    return ct, (float(np.mean(low)) - spread, min(0.0, float(np.mean(high)) + spread))


def _widened(
    interval: tuple[float, float], probes: Sequence[Probe], *, size: int, round_off: float, tau: float
) -> tuple[float, float]:
    """Make room for eigenvalues that no probe has seen yet, beyond the outermost nodes of all of them."""
    smallest, largest = outermost(probes, size=size)
    down, up = max(-float(p.nodes[0]) for p in probes), max(float(p.nodes[-1]) for p in probes)
    low = -_ratio(-smallest + round_off, up - round_off, tau)
    high = -_ratio(down - round_off, largest + round_off, tau)
    known = [end for end in (*interval, low, high) if not math.isnan(end)]  # both signs may vanish in the band
    return min(known) + 0.0, max(known) + 0.0


def _mean(values: list[float], *, exact: bool) -> tuple[float, float, tuple[float, float]]:
    """Average K_H over probes, with the standard error of the mean and the interval that covers 95 %.

    The interval is about chance alone, that of the start vectors: the number of steps is part of what K_H is.
    """
    mean = float(np.mean(values))
    if exact or not any(values):
        return mean, 0.0, (mean, mean)
    if len(values) < 2 or not math.isfinite(mean):
        return mean, math.nan, (0.0, math.inf)
    from scipy.special import stdtrit  # scipy is slow to import, and only estimates need it

    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    reach = stderr * float(stdtrit(len(values) - 1, 0.975))
    return mean, stderr, (max(0.0, mean - reach), mean + reach)

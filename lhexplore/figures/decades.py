"""How eigenvalues are laid out on any axis of ours, on screen as in a paper: how far it reaches, where a value stands.

Eigenvalues span many decades and both signs, with most of them at zero. The symmetric logarithmic axis is linear
inside ``±threshold`` and counts decades outside.
"""

from collections.abc import Iterable, Sequence
from math import floor, inf, log10

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..spectrum import Spectrum

HALF = 0.5  # width of [0, threshold], in decades: the zero bin is as wide as one decade
DECADES = 6  # at most so many below the largest magnitude; what is smaller shares the zero bin
QUANTILE = 0.02  # share of the values outside the zero band that may fall into the zero bin
AIR = 0.04  # share of the axis that stays free at either end, so that no bar or bump is cut off


def place(values: Float[ndarray, " n"], threshold: float) -> Float[ndarray, " n"]:
    """Tell where values stand, in decades from zero."""
    ratio = np.abs(values) / threshold
    return np.asarray(np.sign(values) * np.where(ratio <= 1, HALF * ratio, HALF + np.log10(np.maximum(ratio, 1.0))))


def value(places: Float[ndarray, " n"], threshold: float) -> Float[ndarray, " n"]:
    """Tell which values stand there: the inverse of ``place``."""
    size = np.abs(places)
    outside = 10 ** np.maximum(size - HALF, 0.0)
    return np.asarray(np.sign(places) * threshold * np.where(size <= HALF, size / HALF, outside))


def extent(known: Iterable[Spectrum]) -> tuple[float, float]:
    """The two ends between which all spectra lie, with their zero bands and error bounds."""
    all_of_them = list(known)
    low = min((min(s.smallest - s.error, -s.zero_band) for s in all_of_them), default=-1.0)
    high = max((max(s.largest + s.error, s.zero_band) for s in all_of_them), default=1.0)
    return (low, high) if low < 0 or high > 0 else (-1.0, 1.0)  # only zeros are known


def lowest_decade(known: Sequence[Spectrum], low: float, high: float) -> float:
    """The power of ten below nearly all values that have a sign, but not too many decades down."""
    top = floor(log10(max(abs(low), abs(high))))
    small = min((_small_magnitude(s) for s in known), default=inf)
    wanted = floor(log10(small)) if 0 < small < inf else top - 2
    return float(10.0 ** min(max(wanted, top - DECADES), top - 1))


def even_step(low: float, high: float, most: int) -> float:
    """The distance of at most so many round numbers between two others."""
    raw = (high - low) / most
    power = 10.0 ** floor(log10(raw))
    return power * next(m for m in (1, 2, 5, 10) if m * power >= raw * (1 - 1e-9))


def _small_magnitude(spectrum: Spectrum) -> float:
    """The magnitude below which hardly any eigenvalue lies that has a sign."""
    size = np.abs(spectrum.nodes)
    outside = (size > spectrum.zero_band) & (spectrum.weights > 0)
    if not outside.any():
        return inf
    order = np.argsort(size[outside])
    mass = np.cumsum(spectrum.weights[outside][order])
    return float(size[outside][order][np.searchsorted(mass, QUANTILE * mass[-1])])

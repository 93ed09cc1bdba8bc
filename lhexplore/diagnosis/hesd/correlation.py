"""Rank correlation with an honest interval, also of few pairs and of values that follow each other in time.

Spearman's coefficient is Pearson's of the ranks, ties sharing their mean rank. Its interval is the wider of two: the
percentiles of a bootstrap (of blocks, where neighbours depend on each other), and Fisher's transform with the standard
error of Bonett and Wright (Psychometrika 65, 2000), which the bootstrap of a handful of pairs falls short of.

Two series that drift agree by chance, however many points they have. So of a series Fisher's transform counts as many
independent pairs as its ranks are worth: 1/n* = 1/n + 2/n · Σ (1 − j/n) r_x(j) r_y(j) with the autocorrelations of both
(Bartlett, JRSS 98, 1935; Pyper and Peterman, Can. J. Fish. Aquat. Sci. 55, 1998). Two random walks are worth about two.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import ComparisonError, SettingError, whole_number
from ...spectrum import Spectrum
from ..arguments import numbers, spectra
from ..measure import require_comparable
from ..number_texts import short
from ..thresholds import Thresholds
from .hesd import compare_kh, hesd

LEAST = 4  # pairs: with three, the largest possible coefficient comes by chance in one case of three
RESAMPLES = 2000
COVER = 0.95
_NORMAL = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True, slots=True)
class Correlation:
    """A rank correlation with its 95 % interval; NaN where one side does not vary."""

    value: float
    interval: tuple[float, float]
    pairs: int

    @property
    def sign(self) -> str:
        """The word "rising" or "falling", or "undecided" where the interval holds zero or nothing varies."""
        low, high = self.interval
        return "rising" if low > 0 else "falling" if high < 0 else "undecided"

    def __str__(self) -> str:
        if math.isnan(self.value):
            return f"undefined: one side does not vary ({self.pairs} pairs)"
        low, high = map(short, self.interval)
        return f"{short(self.value)} ({low} to {high}, {self.pairs} pairs)"


def rank_correlation(x: Sequence[float], y: Sequence[float], *, block: int = 1, seed: int = 0) -> Correlation:
    """Correlate the ranks of ``x`` and ``y``; pairs with a NaN are left out.

    Args:
        x: one side.
        y: the other side, as long.
        block: how many neighbours are drawn together; more than 1 where values follow each other in time, which also
            counts the pairs as what their autocorrelations leave of them.
        seed: of the bootstrap.

    Raises:
        SettingError: for lists of different lengths, of other things than numbers, or fewer than four pairs.
    """
    numbers(x, "x")
    numbers(y, "y")
    whole_number("block", block)
    if len(x) != len(y):
        raise SettingError(f"x and y must be of one length, got {len(x)} and {len(y)}.")
    a, b = np.asarray(x, float), np.asarray(y, float)
    known = ~(np.isnan(a) | np.isnan(b))
    a, b, n = a[known], b[known], int(known.sum())
    if n < LEAST:
        raise SettingError(
            f"A rank correlation needs at least {LEAST} pairs, got {n}: of three, a perfect one comes by chance in one "
            "case of three. Add pairs."
        )
    value = float(_spearman(a, b, np.ones((1, n)))[0])
    if math.isnan(value):
        return Correlation(value, (math.nan, math.nan), n)
    block = min(block, n)
    drawn = _spearman(a, b, _resamples(n, block, seed))
    sides = 100 * (1 - COVER) / 2
    low, high = np.nanpercentile([value, *drawn], [sides, 100 - sides])  # NaN: a resample that does not vary
    wide = _by_transform(value, n, worth=_worth(a, b) if block > 1 else n)
    return Correlation(value, (min(float(low), wide[0]), max(float(high), wide[1])), n)


def over_pairs(
    found: Sequence[Spectrum], accuracies: Sequence[float], *, seed: int = 0, thresholds: Thresholds = Thresholds()
) -> dict[str, Correlation]:
    """Correlate K_H and |C_t| of several (network, data) pairs with the accuracies there.

    Args:
        found: the spectrum of each pair, all of the same kind and with the same number of steps.
        accuracies: of each pair.
        seed: of the bootstrap.
        thresholds: for the floor below which no type is named.

    Raises:
        SettingError: for fewer than four pairs, or lists that do not fit each other.
        ComparisonError: if K_H of two does not compare, or one is not mainly positive for certain.
    """
    spectra(found, "found")
    numbers(accuracies, "accuracies")
    if len(found) != len(accuracies):
        raise SettingError(f"There must be one accuracy per spectrum ({len(found)}), got {len(accuracies)}.")
    read = [hesd(s, floor=thresholds.floor) for s in found]
    for s, one in zip(found, read, strict=True):
        if one.type != "MP" or one.psd:
            raise ComparisonError(
                f"The spectrum at {s.snapshot!r} is {one.word}: the criteria are read of mainly positive spectra "
                "only. Leave it out."
            )
        require_comparable(found[0], s, role="other")
        compare_kh(read[0], one)
    sides = {"kh": [one.kh for one in read], "re": [one.re for one in read]}
    return {name: rank_correlation(side, accuracies, seed=seed) for name, side in sides.items()}


def _spearman(a: Float[ndarray, " n"], b: Float[ndarray, " n"], counts: Float[ndarray, "r n"]) -> Float[ndarray, " r"]:
    """The coefficient of each row of pairs, which holds pair i as often as ``counts`` says; NaN without variation."""
    x, y = (_ranks(side, counts) for side in (a, b))
    with np.errstate(invalid="ignore"):
        return np.asarray((counts * x * y).sum(1) / np.sqrt((counts * x**2).sum(1) * (counts * y**2).sum(1)))


def _ranks(values: Float[ndarray, " n"], counts: Float[ndarray, "r n"]) -> Float[ndarray, "r n"]:
    """Ranks less their mean; equal values share the mean of theirs. They are exact: halves of whole numbers."""
    before = (values[:, None] < values) + 0.5 * (values[:, None] == values)
    return np.asarray(counts @ before - counts.sum(1, keepdims=True) / 2)


def _resamples(n: int, block: int, seed: int) -> Float[ndarray, "r n"]:
    """How often each pair is drawn, with ``block`` neighbours at a time; the last one's neighbour is the first."""
    starts = np.random.default_rng(seed).integers(n, size=(RESAMPLES, -(-n // block)))
    rows = ((starts[:, :, None] + np.arange(block)) % n).reshape(RESAMPLES, -1)[:, :n]
    return np.asarray((rows[:, :, None] == np.arange(n)).sum(1), float)


def _worth(a: Float[ndarray, " n"], b: Float[ndarray, " n"]) -> float:
    """How many independent pairs two series are worth, at most as many as there are."""
    x, y = (_autocorrelations(_ranks(side, np.ones((1, len(side))))[0]) for side in (a, b))
    n = len(a)
    left = 1 + 2 * float(((1 - np.arange(1, n) / n) * x * y).sum())
    return n / max(left, 1.0)


def _autocorrelations(series: Float[ndarray, " n"]) -> Float[ndarray, " lags"]:
    """Of a series of mean zero, at every lag from 1 up."""
    products = np.correlate(series, series, "full")[len(series) - 1 :]
    return np.asarray(products[1:] / products[0])


def _by_transform(value: float, n: int, *, worth: float) -> tuple[float, float]:
    """Fisher's transform of the largest coefficient below 1 that n ranks can have, or of ``value``."""
    most = 1 - 12 / (n * (n**2 - 1))
    centre = max(-most, min(value, most))
    if worth <= LEAST - 1:
        return -1.0, 1.0
    reach = _NORMAL * math.sqrt((1 + centre**2 / 2) / (worth - 3))
    low, high = math.tanh(math.atanh(centre) - reach), math.tanh(math.atanh(centre) + reach)
    return min(low, value), max(high, value)

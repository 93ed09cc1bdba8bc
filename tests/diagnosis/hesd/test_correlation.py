"""Rank correlations against scipy, their intervals against known truth, and refusals."""

import math

import numpy as np
import pytest
from scipy.stats import rankdata, spearmanr

from lhexplore.diagnosis.hesd.correlation import over_pairs, rank_correlation
from lhexplore.diagnosis.hesd.generalisation import generalisation
from lhexplore.diagnosis.thresholds import Thresholds
from lhexplore.errors import ComparisonError, SettingError

ROUNDING = 1e-14  # a quotient of sums of ranks
COVERED = 0.95
BY_CHANCE = 0.08  # 95 % intervals leave 5 % of 100 trials; these know that to ± 2


@pytest.mark.parametrize("n", [4, 7, 30])
@pytest.mark.parametrize("ties", [False, True])
def test_it_is_spearmans_coefficient(n, ties):
    g = np.random.default_rng(n)
    x, y = g.standard_normal(n), g.standard_normal(n)
    if ties:
        x, y = np.round(x), np.round(y)
    found = rank_correlation(list(x), list(y))
    assert found.value == pytest.approx(spearmanr(x, y).statistic, abs=ROUNDING)
    assert found.value == pytest.approx(np.corrcoef(rankdata(x), rankdata(y))[0, 1], abs=ROUNDING)
    assert found.interval[0] <= found.value <= found.interval[1]
    assert found.pairs == n


def test_known_answers():
    up = rank_correlation([1, 2, 3, 4], [1, 8, 27, 64])
    assert (up.value, up.interval[1]) == (1.0, 1.0)
    assert up.interval[0] < 0  # four pairs in order come by chance in one case of twenty-four
    assert up.sign == "undecided"
    assert rank_correlation([1, 2, 3, 4], [4, 3, 2, 1]).value == -1.0
    assert rank_correlation([1, 2, 3, 4], [2, 1, 4, 3]).value == pytest.approx(0.6)
    long = list(range(12))
    assert rank_correlation(long, long).sign == "rising"
    assert rank_correlation(long, long[::-1]).sign == "falling"
    assert "12 pairs" in str(rank_correlation(long, long))


@pytest.mark.parametrize(("n", "rho"), [(5, 0.0), (5, 0.8), (10, 0.0), (10, 0.7), (20, 0.5)])
def test_the_interval_covers_the_truth(n, rho):
    truth = 6 / math.pi * math.asin(rho / 2)  # Spearman's of a bivariate normal distribution
    hits = 0
    for trial in range(200):
        g = np.random.default_rng([trial, n])
        x = g.standard_normal(n)
        y = rho * x + math.sqrt(1 - rho**2) * g.standard_normal(n)
        low, high = rank_correlation(x.tolist(), y.tolist(), seed=trial).interval
        hits += int(low <= truth <= high)
    assert hits / 200 >= COVERED - 0.02  # 200 trials know a share of 95 % to ± 1.5 %


def test_neighbours_that_move_together_know_less():
    g = np.random.default_rng(1)
    x, y = np.cumsum(g.standard_normal((2, 24)), axis=1).tolist()
    alone, blocks = rank_correlation(x, y), rank_correlation(x, y, block=3)
    assert alone.value == blocks.value
    assert np.ptp(blocks.interval) > np.ptp(alone.interval)
    assert rank_correlation(x[:4], y[:4], block=9).pairs == 4


def certain(draw, n, trials=100):
    """How often a pair of series is called rising or falling."""
    found = (generalisation(paired(*draw(np.random.default_rng([n, i]))), ["m"], seed=i) for i in range(trials))
    return sum(one.correlations["m"].sign != "undecided" for one in found) / trials


def paired(gaps, values):
    return [{"loss": 0.0, "val_loss": float(x), "m": float(y)} for x, y in zip(gaps, values, strict=True)]


@pytest.mark.parametrize("n", [8, 20, 50])
def test_random_walks_do_not_go_with_each_other(n):
    assert certain(lambda g: np.cumsum(g.standard_normal((2, n)), axis=1), n) <= BY_CHANCE


@pytest.mark.parametrize("n", [8, 20, 50])
def test_nor_do_independent_values(n):
    assert certain(lambda g: g.standard_normal((2, n)), n) <= BY_CHANCE


def test_what_does_go_together_is_still_found():
    def twins(g, drift):
        steps, own = g.standard_normal(50), 0.3 * g.standard_normal(50)
        return (np.cumsum(steps), np.cumsum(steps) + own) if drift else (steps, steps + own)

    for drift in (False, True):
        assert certain(lambda g, drift=drift: twins(g, drift), 50) >= 0.9


def test_pairs_of_a_series_are_worth_what_their_autocorrelations_leave():
    x = np.cumsum(np.random.default_rng(5).standard_normal(30))
    y = np.random.default_rng(6).standard_normal(30) + 0.3 * x
    ranks = [rankdata(side) - 15.5 for side in (x, y)]
    left = 1.0
    for lag in range(1, 30):
        a, b = (sum(r[i] * r[i + lag] for i in range(30 - lag)) / sum(r**2) for r in ranks)
        left += 2 * (1 - lag / 30) * a * b
    value = spearmanr(x, y).statistic
    reach = 1.959964 * math.sqrt((1 + value**2 / 2) / (30 / left - 3))
    low, high = rank_correlation(x.tolist(), y.tolist(), block=3).interval
    assert left > 1.5  # they do drift
    assert low <= math.tanh(math.atanh(value) - reach) + 1e-6
    assert high >= math.tanh(math.atanh(value) + reach) - 1e-6


def test_pairs_that_are_not_known_are_left_out_and_seeds_are_kept():
    x, y = [1, 2, math.nan, 3, 4, 5], [2, 1, 5, math.nan, 4, 3]
    assert rank_correlation(x, y).pairs == 4
    assert rank_correlation(x, y) == rank_correlation(x, y)


def test_what_does_not_vary_is_undefined():
    flat = rank_correlation([1, 1, 1, 1], [1, 2, 3, 4])
    assert math.isnan(flat.value)
    assert flat.sign == "undecided"
    assert "does not vary" in str(flat)


@pytest.mark.parametrize("x", [[1, 2, 3], [1, 2, 3, math.nan]])
def test_few_pairs_are_refused_in_words(x):
    with pytest.raises(SettingError, match="at least 4 pairs, got 3"):
        rank_correlation(x, list(range(len(x))))


def test_bad_lists_are_refused():
    with pytest.raises(SettingError, match="one length"):
        rank_correlation([1, 2, 3, 4], [1, 2, 3])
    with pytest.raises(SettingError, match="block"):
        rank_correlation([1, 2, 3, 4], [1, 2, 3, 4], block=0)


def test_over_pairs_of_network_and_data(lanczos):
    spectra = [lanczos([[-x, 4.0]] * 3, snapshot=str(x)) for x in (0.1, 0.2, 0.4, 0.8, 1.6)]
    found = over_pairs(spectra, [0.9, 0.8, 0.7, 0.6, 0.5])
    assert found["kh"].value == found["re"].value == -1.0
    assert found["kh"].pairs == 5
    with pytest.raises(ComparisonError, match="undecided"):
        over_pairs(spectra, [0.9, 0.8, 0.7, 0.6, 0.5], thresholds=Thresholds(floor=4.1))
    with pytest.raises(SettingError, match="one accuracy per spectrum"):
        over_pairs(spectra, [0.9])
    with pytest.raises(SettingError, match="at least 4"):
        over_pairs(spectra[:3], [0.9, 0.8, 0.7])
    for odd in ([[-4, 4.0]] * 3, [[0, 0]] * 3):
        with pytest.raises(ComparisonError, match="mainly positive"):
            over_pairs([*spectra, lanczos(odd)], [0.9] * 6)
    for other in (lanczos([[-1, 4]] * 3, steps=50), lanczos([[-1, 4]] * 3, functional="sum")):
        with pytest.raises(ComparisonError):
            over_pairs([*spectra, other], [0.9] * 6)


# --- the generalisation gap ---


def rows(count, **columns):
    return [{name: float(f(i)) for name, f in columns.items()} for i in range(count)]


def test_metrics_are_correlated_with_the_gap_of_the_loss():
    course = rows(
        12,
        loss=lambda i: 1 / (i + 1),
        val_loss=lambda i: 1.0,
        trace=lambda i: i**2,
        flat=lambda i: 3,
        down=lambda i: -i,
    )
    found = generalisation(course, ["trace", "flat", "down", "missing"])
    assert found.gap == "val_loss − loss"
    assert found.gaps == pytest.approx([1 - 1 / (i + 1) for i in range(12)])
    assert found.correlations["trace"].value == 1.0
    assert found.correlations["down"].value == -1.0
    assert set(found.left_out) == {"flat", "missing"}
    assert "does not vary" in found.left_out["flat"]
    assert "known at 0 snapshots" in found.left_out["missing"]
    assert "follow each other" in found.caution


def test_without_losses_the_gap_is_that_of_the_accuracy():
    course = rows(5, accuracy=lambda i: 0.5 + i / 10, test_acc=lambda i: 0.5, trace=lambda i: i)
    found = generalisation(course, ["trace"])
    assert found.gap == "accuracy − test_acc"
    assert found.gaps[-1] == pytest.approx(0.4)
    assert found.correlations["trace"].value == 1.0  # a larger gap is worse in either case


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_snapshots_say_nothing(count):
    found = generalisation(rows(count, loss=lambda i: i, val_loss=lambda i: 2 * i, trace=lambda i: i), ["trace"])
    assert not found.correlations
    assert found.left_out["trace"]


def test_no_held_out_data_and_numbers_that_are_none():
    found = generalisation(rows(9, loss=lambda i: i, trace=lambda i: i), ["trace"])
    assert found.gap == ""
    assert "held-out" in found.left_out["trace"]
    odd = rows(9, loss=lambda i: math.nan if i == 0 else i, val_loss=lambda i: i**2, trace=lambda i: i or math.inf)
    assert generalisation(odd, ["trace"]).correlations["trace"].pairs == 8

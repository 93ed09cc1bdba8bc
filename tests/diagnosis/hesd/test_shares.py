"""Intervals of counted shares against scipy, published figures and counting all outcomes."""

import inspect
import math

import pytest
from scipy.stats import binom, binomtest

from lhexplore.diagnosis.hesd.relative import relative
from lhexplore.diagnosis.hesd.shares import difference_between, share_between
from lhexplore.errors import SettingError

ROUNDING = 1e-12  # of a square root and a few sums of numbers up to 1
PRINTED = 5e-5  # the published figures have four digits
COVERED = 0.94  # what 95 % intervals of whole counts reach on average over the cases below


@pytest.mark.parametrize("n", [1, 4, 30, 1000])
@pytest.mark.parametrize("part", [0, 0.25, 0.5, 0.9, 1])
def test_it_is_wilsons_interval(n, part):
    count = round(part * n)
    known = binomtest(count, n).proportion_ci(method="wilson")
    assert share_between(count / n, n) == pytest.approx((known.low, known.high), abs=ROUNDING)


@pytest.mark.parametrize(
    ("first", "second", "low", "high"),
    # Newcombe 1998, table II, method 10: 56/70 − 48/80, 9/10 − 3/10, 10/10 − 0/20, 10/10 − 0/10
    [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ],
)
def test_it_is_newcombes_interval(first, second, low, high):
    (a, m), (b, n) = first, second
    assert difference_between(b / n, a / m, (n, m)) == pytest.approx((low, high), abs=PRINTED)


@pytest.mark.parametrize(("p", "q", "m", "n"), [(1.0, 0.9, 20, 20), (0.95, 0.9, 40, 10), (0.5, 0.3, 15, 30)])
def test_it_covers_the_true_difference(p, q, m, n):
    covered = 0.0
    for i in range(m + 1):
        for j in range(n + 1):
            low, high = difference_between(i / m, j / n, (m, n))
            covered += float(binom.pmf(i, m, p) * binom.pmf(j, n, q)) * (low <= q - p <= high)
    assert covered >= COVERED


def test_all_right_and_all_wrong_are_not_certain():
    assert share_between(1.0, 4)[0] < 0.6
    assert share_between(0.0, 1)[1] > 0.7
    low, high = difference_between(1.0, 0.0, (1, 1))
    assert low == -1.0
    assert high > 0  # one example each decides nothing


def test_one_example_each_decides_nothing(exact):
    found = relative(exact([-1, 4]), exact([-1.44, 4]), accuracy=(1.0, 0.0), examples=(1, 1))
    assert found.accuracy.direction == "undecided"
    assert "as expected" not in found.reading


@pytest.mark.parametrize(
    "given",
    [
        {"examples": (0, 0)},
        {"examples": (-5, 3)},
        {"examples": (100,)},
        {"examples": 100},
        {"examples": (10.5, 3)},
        {"accuracy": (0.9,)},
        {"accuracy": (0.9, math.nan)},
        {"accuracy": (0.9, 0.8, 0.7)},
        {"accuracy": 0.9},
        {"accuracy": "ab"},
        {"accuracy": (90, 80)},
    ],
)
def test_what_is_no_pair_is_refused(exact, given):
    unchecked = inspect.unwrap(relative)  # past the shape checker of the tests
    with pytest.raises(SettingError):
        unchecked(exact([-1, 4]), exact([-1.44, 4]), **{"accuracy": (0.9, 0.8), "examples": (10, 10), **given})

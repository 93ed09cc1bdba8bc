"""Statistics of parameters against scipy and closed forms, and at their edges."""

import math

import numpy as np
import pytest
from scipy import stats

from lhexplore.curvature import distribution
from lhexplore.curvature.distribution import distance, matrix_shape, moments
from lhexplore.layer_state import LEVELS

SAME = 1e-12  # a few sums of some thousand float64 numbers in another order


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
@pytest.mark.parametrize("law", ["standard_normal", "standard_exponential", "standard_t"])
def test_moments_agree_with_scipy(law, scale):
    rng = np.random.default_rng(0)
    values = rng.standard_t(5, 4000) if law == "standard_t" else getattr(rng, law)(4000)
    found, reason = moments(values * scale)
    assert reason == ""
    for name, want in (("mean", values.mean() * scale), ("std", values.std() * scale)):
        np.testing.assert_allclose(found[name], want, rtol=1e-10, err_msg=name)  # the mean of normal numbers cancels
    np.testing.assert_allclose(found["skew"], stats.skew(values), rtol=1e-10, atol=SAME)
    np.testing.assert_allclose(found["kurtosis"], stats.kurtosis(values), rtol=1e-10, atol=SAME)
    np.testing.assert_allclose(found["norm"], np.linalg.norm(values) * scale, rtol=SAME)
    np.testing.assert_allclose(found["quantiles"], stats.scoreatpercentile(values, 100 * np.array(LEVELS)) * scale)


def test_two_values_in_closed_form():
    found, _ = moments(np.array([-1.0, -1.0, -1.0, 3.0]))  # p = ¼ at 4 above the rest: skew (1 − 2p)/√(p(1 − p))
    assert (found["mean"], found["std"]) == (0.0, math.sqrt(3))
    np.testing.assert_allclose(found["skew"], 0.5 / math.sqrt(3 / 16), rtol=SAME)
    np.testing.assert_allclose(found["kurtosis"], 16 / 3 - 6, rtol=SAME)  # 1/(p(1 − p)) − 6


@pytest.mark.parametrize("values", [np.full(50, 0.1), np.zeros(3), np.array([7.0])])
def test_equal_values_have_no_shape(values):
    found, reason = moments(values)
    assert found["mean"] == pytest.approx(values[0])
    assert found["std"] == pytest.approx(0, abs=1e-16)
    assert not {"skew", "kurtosis"} & found.keys()
    assert "0/0" in reason
    assert ("one parameter" in reason) == (len(values) == 1)


def test_distance_from_the_start():
    start = np.array([3.0, 4.0])
    assert distance(start, start) == ({"moved": 0.0}, "")
    assert distance(np.array([3.0, 9.0]), start) == ({"moved": 1.0}, "")
    for missing in (None, np.zeros(2)):
        found, reason = distance(start, missing)
        assert found == {}
        assert reason


def test_singular_values_of_a_rank_one_matrix_and_of_a_rotation(monkeypatch):
    u, v = np.array([3.0, 4.0]), np.array([1.0, 2.0, 2.0])
    found, _ = matrix_shape(np.outer(u, v))
    np.testing.assert_allclose(found["singular_values"], [15, 0], atol=1e-14)
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    np.testing.assert_allclose(matrix_shape(q)[0]["singular_values"], np.ones(6), rtol=SAME)
    monkeypatch.setattr(distribution, "LARGEST_SIDE", 5)
    found, reason = matrix_shape(q)
    assert found == {}
    assert "6 × 6" in reason

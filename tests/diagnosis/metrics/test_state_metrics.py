"""Metrics of gradients, parameters and pairs of spectra: closed forms, scipy, and what is absent or NaN."""

import inspect
import math

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from lhexplore.diagnosis import METRICS, PAIR_METRICS, STATE_METRICS, drift, explain, log_drift, metrics
from lhexplore.diagnosis.metrics import state as state_metrics
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.layer_state import LEVELS, LayerState
from lhexplore.spectrum import Spectrum

EXACT = 1e-12  # some sums in float64


def state(**fields):
    return LayerState(**({"layer": "fc1", "snapshot": "now", "size": 4} | fields))


FULL = {
    "gradient_norm": 3.0,
    "gradient_rayleigh": -0.5,
    "gradient_share": 0.8,
    "share_of": 2,
    "mean": 0.1,
    "std": 0.2,
    "skew": 0.3,
    "kurtosis": 0.4,
    "quantiles": tuple(float(i) for i in range(len(LEVELS))),
    "norm": 5.0,
    "moved": 0.6,
    "singular_values": [4.0, 2.0],
}


def test_without_anything_beside_it_only_the_spectrum_speaks(exact):
    assert metrics(exact([1.0, 2.0])).keys() == METRICS.keys()


def test_everything_of_a_state(exact):
    found = metrics(exact([1.0, 2.0, 3.0, 4.0]), state=state(**FULL), learning_rate=0.5)
    want = {
        "gradient_norm": 3.0,
        "gradient_rms": 1.5,
        "gradient_rayleigh": -0.5,
        "gradient_share": 0.8,
        "parameter_mean": 0.1,
        "parameter_std": 0.2,
        "parameter_skew": 0.3,
        "parameter_kurtosis": 0.4,
        **{f"parameter_q{level}": float(i) for i, level in enumerate(("01", "05", "25", "50", "75", "95", "99"))},
        "parameter_norm": 5.0,
        "parameter_moved": 0.6,
        "weight_sigma_max": 4.0,
        "weight_sigma_min": 2.0,
        "weight_condition": 2.0,
        "weight_stable_rank": 1.25,
        "stability_number": 2.0,
    }
    assert {name: found[name] for name in found.keys() - METRICS.keys()} == want
    assert all(type(value) is float for value in found.values())
    assert want.keys() == STATE_METRICS.keys() | {"stability_number"}


def test_what_does_not_exist_is_absent_and_what_failed_is_nan(exact):
    s = exact([1.0, 2.0, 3.0, 4.0])
    bare = state(reason="The second derivative is cut off.")
    found = metrics(s, state=bare)
    assert not {"gradient_share", "weight_condition", "parameter_q50", "drift", "stability_number"} & found.keys()
    assert math.isnan(found["gradient_rayleigh"])
    assert explain("gradient_rayleigh", s, bare).endswith("The second derivative is cut off.")
    assert "not asked for" in explain("gradient_share", s, bare)
    assert explain("gradient_share", s) == STATE_METRICS["gradient_share"].meaning
    assert explain("drift", s) == PAIR_METRICS["drift"].meaning


def test_singular_values_of_matrices_without_full_rank(exact):
    s = exact([1.0] * 4)
    one = metrics(s, state=state(singular_values=[15.0, 1e-16]))
    assert one["weight_condition"] == math.inf
    assert one["weight_stable_rank"] == 1.0
    assert "infinite" in explain("weight_condition", s, state(singular_values=[15.0, 0.0]))
    zero = metrics(s, state=state(singular_values=[0.0, 0.0]))
    assert math.isnan(zero["weight_condition"])
    assert math.isnan(zero["weight_stable_rank"])
    assert zero["weight_sigma_max"] == 0


def test_every_entry_says_what_it_is():
    for table in (STATE_METRICS, PAIR_METRICS):
        for name, entry in table.items():
            assert entry.name == name
            assert entry.meaning.endswith(".")
            assert entry.source
            assert name not in METRICS


@pytest.mark.parametrize(
    "other", [{"layer": "fc2"}, {"snapshot": "then"}, {"split": "held_out"}, {"curvature": "ggn"}, {"size": 5}]
)
def test_a_state_of_something_else_is_refused(exact, other):
    with pytest.raises(ComparisonError, match=next(iter(other))):
        metrics(exact([1.0] * 4), state=state(**other))


def test_kinds_are_checked(exact):
    s = exact([1.0] * 4)
    unchecked = {name: inspect.unwrap(getattr(state_metrics, name)) for name in ("state_metrics", "stability_number")}
    with pytest.raises(SettingError, match="LayerState"):
        unchecked["state_metrics"]({"gradient_norm": 1.0})
    for rate in (-1.0, "0.1", math.nan):
        with pytest.raises(SettingError, match="learning_rate"):
            unchecked["stability_number"](s, rate)
    with pytest.raises(SettingError, match="before"):
        inspect.unwrap(log_drift)(3, s)
    with pytest.raises(ComparisonError, match="functional"):
        metrics(exact([1.0] * 4, functional="sum"), state=state())


@pytest.mark.parametrize("seed", range(4))
def test_drift_of_logarithms_agrees_with_scipy(exact, lanczos, seed):
    g = np.random.default_rng(seed)
    a, b = (g.standard_normal(60) * 10.0 ** g.uniform(-9, 0, 60) for _ in range(2))
    pair = exact(a, zero_band=1e-6), exact(b, zero_band=1e-5)
    logs = [np.log(np.abs(values[np.abs(values) > 1e-5])) for values in (a, b)]
    np.testing.assert_allclose(log_drift(*pair), wasserstein_distance(*logs), rtol=EXACT)
    np.testing.assert_allclose(drift(*pair), wasserstein_distance(a, b), rtol=1e-10)
    found = metrics(pair[1], before=pair[0])
    assert (found["drift"], found["log_drift"]) == (drift(*pair), log_drift(*pair))
    nodes, weights = g.standard_normal((2, 3, 9)), g.random((2, 3, 9))
    weights /= weights.sum(2, keepdims=True)
    guess = [lanczos(nodes[i], weights[i]) for i in range(2)]
    want = wasserstein_distance(
        np.log(np.abs(nodes[0].ravel())), np.log(np.abs(nodes[1].ravel())), weights[0].ravel(), weights[1].ravel()
    )
    np.testing.assert_allclose(log_drift(*guess), want, rtol=1e-10)


def test_a_common_factor_is_its_logarithm(exact):
    values = np.array([-3.0, 0.1, 2.0, 50.0])
    np.testing.assert_allclose(log_drift(exact(values), exact(values * math.e)), 1, rtol=EXACT)
    assert log_drift(exact(values), exact(-values)) == 0


def test_drift_from_and_to_nothing(exact):
    zero, some = exact([0.0, 0.0]), exact([1.0, 3.0])
    assert (drift(zero, some), drift(zero, zero)) == (2.0, 0.0)
    assert math.isnan(log_drift(zero, some))
    assert math.isnan(metrics(zero, before=some)["log_drift"])
    assert log_drift(exact([2.0]), exact([4.0])) == pytest.approx(math.log(2))  # n = 1


def test_other_data_does_not_compare(exact):
    a, b = (exact([1.0, 2.0], provenance={"data_digest": name}) for name in "ab")
    for measure in (drift, log_drift):
        with pytest.raises(ComparisonError, match="different data"):
            measure(a, b)
        assert measure(a, a) == 0
    with pytest.raises(ComparisonError, match="size"):
        log_drift(exact([1.0]), exact([1.0, 2.0]))


def test_the_stability_number_counts_positive_curvature_only(exact):
    assert metrics(exact([-5.0, -1.0]), learning_rate=0.1)["stability_number"] == pytest.approx(-0.1)
    assert metrics(exact([0.0, 1e-9], zero_band=1e-6), learning_rate=0.1)["stability_number"] == 0.0
    assert isinstance(exact([1.0]), Spectrum)

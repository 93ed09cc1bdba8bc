"""Metrics against closed forms, against matrix functions that form no eigenvalue list, and at their edges."""

import math

import numpy as np
import pytest

from lhexplore.diagnosis import METRICS, Metric, drift, explain, metric, metrics, register
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.spectrum import Spectrum

EXACT = 1e-13  # a few sums in float64
MATRIX = 1e-10  # the matrix functions work on a rotated matrix, whose eigenvalues carry some n·eps of the largest


def _rotated(values, seed=0):
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((len(values), len(values))))
    return q @ np.diag(values) @ q.T


@pytest.mark.parametrize("seed", range(3))
def test_against_matrix_functions(exact, seed):
    rng = np.random.default_rng(seed)
    values = np.concatenate([rng.standard_normal(20) * 10.0 ** rng.uniform(-1, 1, 20), np.zeros(5)])
    matrix = _rotated(values, seed)
    m = metrics(exact(values))
    nuclear = np.linalg.norm(matrix, "nuc")
    np.testing.assert_allclose(m["trace"], np.trace(matrix), rtol=MATRIX)
    np.testing.assert_allclose(m["frobenius_norm"], np.linalg.norm(matrix), rtol=MATRIX)
    np.testing.assert_allclose(m["spectral_norm"], np.linalg.norm(matrix, 2), rtol=MATRIX)
    np.testing.assert_allclose(m["stable_rank"], (np.linalg.norm(matrix) / np.linalg.norm(matrix, 2)) ** 2, rtol=MATRIX)
    square = matrix @ matrix
    np.testing.assert_allclose(m["participation_ratio"], np.trace(square) ** 2 / np.trace(square @ square), rtol=MATRIX)
    np.testing.assert_allclose(m["negative_mass"], (nuclear - np.trace(matrix)) / 2 / nuclear, rtol=MATRIX)
    assert m["numerical_rank"] == np.linalg.matrix_rank(matrix, tol=1e-8) == 20
    full = _rotated(values[:20], seed)
    np.testing.assert_allclose(metrics(exact(values[:20]))["condition"], np.linalg.cond(full), rtol=1e-9)


def test_brute_force_over_eigenvalues(exact):
    values = [-3.0, -0.5, -0.5, 0.0, 0.25, 1.0, 2.0, 8.0, 8.0, 16.0]
    n, total = len(values), math.fsum(abs(v) for v in values)
    entropy = -math.fsum(abs(v) / total * math.log(abs(v) / total) for v in values if v)
    down = sorted(values, reverse=True)
    expected = {
        "trace": math.fsum(values),
        "mean_curvature": math.fsum(values) / n,
        "lambda_max": 16.0,
        "lambda_min": -3.0,
        "spectral_norm": 16.0,
        "frobenius_norm": math.sqrt(math.fsum(v * v for v in values)),
        "condition": 16 / 0.25,
        "condition_50": 16 / down[4],
        "condition_80": math.inf,  # the eighth value downward is −0.5
        "peakedness": math.nan,  # there are negative values
        "numerical_rank": 9.0,
        "rank_ratio": 0.9,
        "spectral_entropy": entropy,
        "relative_entropy": entropy / math.log(n),
        "effective_rank": math.exp(entropy),
        "effective_rank_ratio": math.exp(entropy) / n,
        "stable_rank": math.fsum(v * v for v in values) / 256,
        "participation_ratio": math.fsum(v * v for v in values) ** 2 / math.fsum(v**4 for v in values),
        "negative_fraction": 0.3,
        "zero_fraction": 0.1,
        "positive_fraction": 0.6,
        "negative_mass": 4 / total,
        "near_zero_share": 0.1,
        "outlier_count": 3.0,  # 16, 8, 8 | 2
        "spectral_gap": 0.5,
    }
    found = metrics(exact(values))
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        np.testing.assert_allclose(found[name], want, rtol=EXACT, err_msg=name)


def test_closed_forms_of_the_identity(exact):
    n = 7
    m = metrics(exact([2.5] * n))
    for name in ("stable_rank", "participation_ratio", "effective_rank", "numerical_rank"):
        np.testing.assert_allclose(m[name], n, rtol=EXACT)
    np.testing.assert_allclose(m["spectral_entropy"], math.log(n), rtol=EXACT)
    np.testing.assert_allclose([m["relative_entropy"], m["peakedness"]], 1, rtol=EXACT)
    assert m["condition"] == m["condition_50"] == m["condition_80"] == 1
    assert m["spectral_gap"] == 0


@pytest.mark.parametrize(("share", "at"), [("condition_50", 5), ("condition_80", 8)])
def test_percentile_condition_counts_downward(exact, share, at):
    down = [512.0 / 2**k for k in range(10)]
    assert metrics(exact(down))[share] == 512.0 / down[at - 1]


def test_zero_block(exact):
    m = metrics(exact([0.0, 0.0, 0.0]))
    zeros = {"trace", "mean_curvature", "lambda_max", "lambda_min", "spectral_norm", "frobenius_norm"}
    zeros |= {"numerical_rank", "rank_ratio", "negative_fraction", "positive_fraction"}
    assert all(m[name] == 0 for name in zeros)
    assert m["zero_fraction"] == m["near_zero_share"] == 1
    rest = m.keys() - zeros - {"zero_fraction", "near_zero_share"}
    assert all(math.isnan(m[name]) for name in rest)
    for name in rest:
        reason = explain(name, exact([0.0, 0.0, 0.0]))
        assert "0/0" in reason or "clearly positive" in reason, name


def test_single_parameter(exact):
    m = metrics(exact([3.0]))
    assert (m["spectral_entropy"], m["relative_entropy"], m["effective_rank"]) == (0.0, 0.0, 1.0)
    assert math.isnan(m["spectral_gap"])
    assert "two largest" in explain("spectral_gap", exact([3.0]))


def test_zero_band_takes_values_out_of_everything_but_the_middle(exact):
    m = metrics(exact([-0.01, 0.005, 0.02, 1.0], zero_band=0.01))
    assert m["lambda_min"] == 0.0
    assert (m["negative_fraction"], m["zero_fraction"], m["positive_fraction"]) == (0.0, 0.5, 0.5)
    assert m["negative_mass"] == 0.0
    assert m["numerical_rank"] == 2
    np.testing.assert_allclose(m["condition"], 50, rtol=EXACT)
    q = np.array([0.02, 1.0]) / 1.02
    np.testing.assert_allclose(m["spectral_entropy"], -(q @ np.log(q)), rtol=EXACT)


@pytest.mark.parametrize(("dtype", "rank"), [("float64", 3), ("torch.float32", 2), ("bfloat16", 2), (None, 3)])
def test_rank_cut_follows_the_dtype(exact, dtype, rank):
    s = exact([1e-12, 1e-7, 1.0, 1.0], provenance={"dtype": dtype})
    assert metric("numerical_rank", s) == rank


def test_structure_forbids_negative_values(exact):
    m = metrics(exact([-1e-16, 0.5, 1.0], psd=True))
    assert m["lambda_min"] == m["negative_fraction"] == m["negative_mass"] == 0.0
    assert m["peakedness"] == pytest.approx(2.0)
    assert "PSD by structure" in explain("negative_fraction", exact([-1e-16, 1.0], psd=True))


def test_estimates_refuse_what_needs_every_eigenvalue(lanczos):
    s = lanczos([[-1.0, 2.0, 10.0], [-1.0, 3.0, 10.0]], size=1000)
    m = metrics(s)
    for name in ("spectral_entropy", "relative_entropy", "effective_rank", "effective_rank_ratio", "condition"):
        assert math.isnan(m[name])
        assert "method='dense'" in explain(name, s)
    np.testing.assert_allclose(m["trace"], 1000 * (11 / 3 + 12 / 3) / 2, rtol=EXACT)
    np.testing.assert_allclose(m["numerical_rank"], 1000, rtol=EXACT)
    np.testing.assert_allclose(m["negative_fraction"], 1 / 3, rtol=EXACT)
    np.testing.assert_allclose(m["frobenius_norm"] ** 2, 1000 * (105 / 3 + 110 / 3) / 2, rtol=EXACT)
    assert "2 probes" in explain("trace", s)


def test_estimates_agree_with_exact_spectra_they_resolve(exact, lanczos):
    values = [-2.0, 0.0, 1.0, 4.0, 32.0]
    known, seen = metrics(exact(values)), metrics(lanczos([values] * 3, size=5))
    for name, value in seen.items():
        if not math.isnan(value):
            np.testing.assert_allclose(value, known[name], rtol=EXACT, err_msg=name)
    assert seen["outlier_count"] == 1.0


def test_outliers_of_an_estimate_use_converged_nodes_of_one_probe(lanczos):
    nodes = [[0.1, 1.0, 8.0, 9.0, 10.0], [0.1, 1.0, 8.0, 9.0, 10.0]]
    assert metric("outlier_count", lanczos(nodes)) == 4.0  # 1 | 0.1
    unsure = [[1.0, 1.0, 0.0, 0.0, 0.0]] * 2
    s = lanczos(nodes, residuals=unsure)
    assert metric("outlier_count", s) == 2.0  # 9 | 8 is the largest ratio among the three converged
    assert "one copy" in explain("outlier_count", s)
    assert math.isnan(metric("spectral_gap", lanczos(nodes, residuals=np.ones((2, 5)))))


def test_outliers_are_searched_up_to_twice_the_outputs(exact):
    values = [100.0, 90.0, 80.0, 70.0, 60.0, 1.0, 0.9]
    assert metric("outlier_count", exact(values)) == 5.0
    assert metric("outlier_count", exact(values, provenance={"outputs": 2})) == 4.0
    assert math.isnan(metric("outlier_count", exact([0.0, 0.0, 1.0])))


def test_merged_nodes_count_as_often_as_they_occur(exact):
    merged = Spectrum("fc1", "now", 5, np.array([0.0, 2.0, 8.0]), np.array([0.4, 0.2, 0.4]), "factor")
    a, b = metrics(merged), metrics(exact([0, 0, 2, 8, 8]))
    for name, value in b.items():
        np.testing.assert_allclose(a[name], value, rtol=EXACT, err_msg=name)
    assert a["outlier_count"] == 2.0


@pytest.mark.parametrize("scale", [1e-150, 1e150])
def test_extreme_scales_neither_overflow_nor_vanish(exact, scale):
    plain, scaled = metrics(exact([-1.0, 2.0, 4.0])), metrics(exact(np.array([-1.0, 2.0, 4.0]) * scale))
    for name in ("stable_rank", "participation_ratio", "effective_rank", "condition", "negative_mass"):
        np.testing.assert_allclose(scaled[name], plain[name], rtol=EXACT)
    np.testing.assert_allclose(scaled["frobenius_norm"], plain["frobenius_norm"] * scale, rtol=EXACT)


def test_every_metric_says_what_it_is(exact):
    for name, entry in METRICS.items():
        assert entry.name == name
        assert entry.meaning.endswith(".")
        assert entry.source
        assert explain(name, exact([-1.0, 1.0, 2.0])).startswith(entry.meaning)
        assert metric(name, exact([-1.0, 1.0, 2.0])) == pytest.approx(
            metrics(exact([-1.0, 1.0, 2.0]))[name], nan_ok=True
        )
    assert all(type(value) is float for value in metrics(exact([-1.0, 1.0])).values())


@pytest.fixture
def own(monkeypatch):
    for name in ("spread",):
        monkeypatch.delitem(METRICS, name, raising=False)
    yield
    METRICS.pop("spread", None)


@pytest.mark.usefixtures("own")
def test_a_metric_of_ones_own(exact, lanczos):
    register(Metric("spread", lambda s: s.largest - s.smallest, "loss / parameter²", "Width of the spectrum.", "me"))
    assert metrics(exact([-1.0, 3.0]))["spread"] == 4.0
    register(
        Metric("spread", lambda s: 1 / s.trace, "", "Inverse trace.", "me", needs=("every eigenvalue", "curvature"))
    )
    assert metrics(exact([1.0, 3.0]))["spread"] == 0.25
    assert math.isnan(metrics(exact([0.0, 0.0]))["spread"])
    assert math.isnan(metric("spread", lanczos([[1.0, 2.0]])))


@pytest.mark.parametrize(
    "bad",
    [
        {"name": "trace"},
        {"name": "two words"},
        {"name": "fine", "needs": ("every eigenvalu",)},
    ],
)
def test_a_bad_registration_is_refused(bad):
    before = dict(METRICS)
    with pytest.raises(SettingError):
        register(Metric(**{"function": lambda s: 0.0, "unit": "", "meaning": "Nothing.", "source": "me"} | bad))
    assert before == METRICS


def test_unknown_names_get_a_suggestion(exact):
    with pytest.raises(SettingError, match="stable_rank"):
        explain("stabel_rank", exact([1.0]))
    with pytest.raises(SettingError, match="There is no metric"):
        metric("xyz", exact([1.0]))


def test_drift_of_exact_spectra_is_the_mean_distance(exact):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(50), rng.standard_normal(50) + 1
    want = np.abs(np.sort(a) - np.sort(b)).mean()
    np.testing.assert_allclose(drift(exact(a), exact(b)), want, rtol=EXACT)
    assert drift(exact(a), exact(a)) == 0


def test_drift_of_estimates_agrees_with_scipy(lanczos):
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(1)
    pair = []
    for shift in (0.0, 0.5):
        weights = rng.random((3, 20))
        pair.append(lanczos(rng.standard_normal((3, 20)) + shift, weights / weights.sum(1, keepdims=True)))
    want = wasserstein_distance(pair[0].nodes, pair[1].nodes, pair[0].weights, pair[1].weights)
    np.testing.assert_allclose(drift(*pair), want, rtol=1e-10)


def test_drift_does_not_mind_how_an_exact_spectrum_was_got(exact):
    a, b = np.arange(5.0), np.arange(5.0) + 1
    assert drift(exact(a), exact(b, method="factor")) == drift(exact(a), exact(b))


@pytest.mark.parametrize("other", [{"layer": "fc2"}, {"split": "held_out"}, {"curvature": "ggn"}])
def test_drift_refuses_what_does_not_compare(exact, other):
    with pytest.raises(ComparisonError):
        drift(exact([1, 2]), exact([1, 2], **other))

"""What is stated as an error must cover the exact value: counted over hundreds of random matrices, estimated as
stochastic Lanczos quadrature does, here in a few lines of numpy."""

import math

import numpy as np
import pytest

from lhexplore.diagnosis import METRICS, metric, metric_error
from lhexplore.spectrum import Spectrum

ENOUGH = 0.95
CONVERGED = 1e-6  # ends this sure are taken as certain or not by a hair
ROUND_OFF = 1e-9  # of runs with up to 40 steps, and of shares that sum to 1
KINDS = {
    "bulk": lambda g, n: g.standard_normal(n),
    "outliers": lambda g, n: np.concatenate([0.1 * g.standard_normal(n - 4), g.uniform(1, 5, 4)]),
    "positive": lambda g, n: np.concatenate([0.1 * g.random(n - 4), g.uniform(1, 5, 4)]),
    "low rank": lambda g, n: np.concatenate([g.uniform(0.1, 1, n // 10), np.zeros(n - n // 10)]),
    "power law": lambda g, n: np.arange(1, n + 1.0) ** -g.uniform(0.5, 2.5),
    "indefinite": lambda g, n: np.arange(1, n + 1.0) ** -1 * g.choice([-1, 1], n),
}


def run(values, start, steps):
    """Nodes, weights and residuals of one Lanczos run on a diagonal matrix, with two passes of orthogonalisation."""
    basis, alphas, betas = [start / np.linalg.norm(start)], [], []
    for _ in range(steps):
        w = values * basis[-1]
        alphas.append(w @ basis[-1])
        for _ in range(2):
            w = w - np.array(basis).T @ (np.array(basis) @ w)
        betas.append(np.linalg.norm(w))
        if betas[-1] <= 1e-13 * np.abs(values).max():
            break
        basis.append(w / betas[-1])
    nodes, vectors = np.linalg.eigh(np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1))
    return nodes, vectors[0] ** 2, np.abs(betas[-1] * vectors[-1])


def estimated(values, *, steps, probes, seed):
    """Signs in the coordinates of a matrix that a random rotation made of ``values``."""
    g = np.random.default_rng(seed)
    n = len(values)
    q, _ = np.linalg.qr(g.standard_normal((n, n)))
    runs = [run(values, q.T @ g.choice([-1.0, 1.0], n), steps) for _ in range(probes)]
    nodes, weights, residuals = (np.concatenate([part[i] for part in runs]) for i in range(3))
    traces = np.array([n * nodes @ weights for nodes, weights, _ in runs])
    floor = math.sqrt(2 * (values**2).sum())
    return Spectrum(
        "fc", "now", n, nodes, weights / weights.sum(), "lanczos", residuals,
        np.concatenate([np.full(len(part[0]), i) for i, part in enumerate(runs)]),
        steps=steps, probes=probes, zero_band=1e-9 * float(np.abs(values).max()),
        trace_stderr=1.3 * max(traces.std(ddof=1), floor) / math.sqrt(probes) if probes > 1 else math.nan,
    )  # fmt: skip


def exact(values):
    band = 1e-9 * float(np.abs(values).max())
    return Spectrum("fc", "now", len(values), values, np.full(len(values), 1 / len(values)), "dense", zero_band=band)


@pytest.fixture(scope="module")
def cases():
    found = []
    for seed in range(240):
        kind = list(KINDS)[seed % len(KINDS)]
        g = np.random.default_rng(seed)
        values = KINDS[kind](g, int(g.integers(60, 160)))
        steps = int(g.choice([10, 20, 40]))
        found.append((exact(values), estimated(values, steps=steps, probes=int(g.integers(2, 8)), seed=seed)))
    return found


ESTIMATED = [name for name, entry in METRICS.items() if entry.error is not None]


@pytest.mark.parametrize("name", ESTIMATED)
def test_errors_cover_the_exact_value(name, cases):
    inside = []
    for truth, guess in cases:
        right, value, error = metric(name, truth), metric(name, guess), metric_error(name, guess)
        if math.isnan(error) or not math.isfinite(right):
            continue
        assert error >= 0
        inside.append(abs(value - right) <= 2 * error + ROUND_OFF * abs(right))
    assert len(inside) >= 60  # or the share says nothing
    assert np.mean(inside) >= ENOUGH, f"{np.mean(inside):.3f} of {len(inside)}"


@pytest.mark.parametrize("name", list(METRICS))
def test_exact_spectra_have_no_error_but_that_of_their_ends(name):
    values = np.array([-1.0, 0.25, 0.5, 4.0, 8.0])
    spectrum = exact(values)
    error = metric_error(name, spectrum)
    if math.isfinite(metric(name, spectrum)):
        assert 0 <= error <= 1e-12
    else:
        assert math.isnan(error)


def test_residuals_and_asymmetry_of_an_exact_spectrum_show_at_its_ends():
    values = np.array([-1.0, 2.0])
    spectrum = Spectrum("fc", "now", 2, values, np.full(2, 0.5), "dense", np.array([0.1, 0.2]), symmetry_defect=0.01)
    assert metric_error("lambda_min", spectrum) == pytest.approx(0.12)
    assert metric_error("lambda_max", spectrum) == metric_error("spectral_norm", spectrum) == pytest.approx(0.22)


def test_one_probe_cannot_tell():
    guess = estimated(KINDS["outliers"](np.random.default_rng(0), 80), steps=20, probes=1, seed=0)
    known = {"lambda_max", "lambda_min", "spectral_norm", "spectral_gap"}  # they have bounds from the run itself
    for name in ESTIMATED:
        assert math.isnan(metric_error(name, guess)) == (name not in known), name


def test_more_probes_and_steps_narrow_the_error():
    values = KINDS["bulk"](np.random.default_rng(1), 150)
    few, many = (estimated(values, steps=steps, probes=probes, seed=3) for steps, probes in ((10, 3), (60, 30)))
    for name in ("trace", "lambda_max", "frobenius_norm", "negative_fraction", "stable_rank", "participation_ratio"):
        assert metric_error(name, many) < metric_error(name, few)


def test_structure_leaves_no_doubt_about_signs(lanczos):
    s = lanczos([[0.0, 1.0, 2.0], [0.1, 1.0, 2.5]], psd=True)
    assert metric_error("negative_fraction", s) == metric_error("negative_mass", s) == 0


def test_what_is_undefined_or_infinite_has_no_error(lanczos):
    s = lanczos([[0.0, 0.0, 1.0], [0.0, 0.0, 2.0]])
    for name in ("condition", "condition_50", "effective_rank", "outlier_count"):
        assert math.isnan(metric_error(name, s))


@pytest.mark.parametrize("scale", [1e-100, 1e100])
def test_errors_scale_with_the_eigenvalues(scale):
    values = KINDS["indefinite"](np.random.default_rng(2), 100)
    plain, scaled = (estimated(values * factor, steps=20, probes=4, seed=5) for factor in (1.0, scale))
    for name in ESTIMATED:
        unit = scale if METRICS[name].unit else 1.0
        if name != "near_zero_share":  # depends on scale on purpose
            want = metric_error(name, plain) * unit
            np.testing.assert_allclose(metric_error(name, scaled), want, rtol=1e-6, atol=CONVERGED * unit, err_msg=name)

"""Bounds of the true ends against matrices whose eigenvalues are known, at every number of steps."""

import numpy as np
import pytest
from scipy.special import erf, erfinv

from lhexplore.diagnosis.hesd.ends import MISSED, outermost
from lhexplore.diagnosis.measure import Probe

ROUNDING = 1e-12  # of ‖H‖: tridiagonal eigenvalues and sums in float64
NEWTON = 0.01  # six steps from the right leave less than that of the bound
KINDS = {
    "bulk": lambda g, n: g.standard_normal(n),
    "outliers": lambda g, n: np.concatenate([0.1 * g.standard_normal(n - 4), g.uniform(1, 5, 4)]),
    "power law": lambda g, n: np.arange(1, n + 1.0) ** -g.uniform(0.5, 2.5) * g.choice([-1, 1], n),
    "one far out": lambda g, n: np.concatenate([g.standard_normal(n - 1), [50.0]]),
    "pair at the end": lambda g, n: np.concatenate([g.uniform(-1, 1, n - 2), [1.2, 1.2001]]),
}


def run(values, start, steps):
    """Lanczos on a diagonal matrix, made orthogonal twice: nodes, weights and residuals."""
    basis, alpha, beta = [start], [], []
    for _ in range(steps):
        w = values * basis[-1]
        alpha.append(w @ basis[-1])
        for _ in range(2):
            w = w - np.array(basis).T @ (np.array(basis) @ w)
        beta.append(np.linalg.norm(w))
        basis.append(w / beta[-1])
    nodes, vectors = np.linalg.eigh(np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1))
    return Probe(nodes, vectors[0] ** 2, np.abs(beta[-1] * vectors[-1]))


@pytest.mark.parametrize("kind", KINDS)
def test_the_true_ends_lie_inside(kind):
    # A diagonal matrix is fair here: the starts are normal, so it stands for any rotated one.
    hits, trials = 0, 150
    for trial in range(trials):
        g = np.random.default_rng([trial, len(kind)])
        values = KINDS[kind](g, 120)
        starts = g.standard_normal((1 + trial % 3 * 2, 120))
        probes = [run(values, v / np.linalg.norm(v), int(g.choice([2, 5, 10, 20]))) for v in starts]
        low, high = outermost(probes, size=120)
        slack = ROUNDING * np.abs(values).max()
        hits += int(low <= values.min() + slack) + int(high >= values.max() - slack)
    assert hits / (2 * trials) >= 1 - MISSED


def test_it_is_the_root_of_its_equation():
    g = np.random.default_rng(3)
    v = g.standard_normal(60)
    probe = run(g.standard_normal(60), v / np.linalg.norm(v), 6)
    _, high = outermost([probe], size=60)
    least = np.sqrt(2) * erfinv(MISSED) / np.sqrt(60)

    def excess(x):
        product = np.prod([(x - node) / (probe.nodes[-1] - node) for node in probe.nodes[:-1]])
        return (x - probe.nodes[-1]) * product * least - probe.residuals[-1] * np.sqrt(probe.weights[-1])

    way = high - probe.nodes[-1]
    right = probe.residuals[-1] * np.sqrt(probe.weights[-1])
    assert excess(high) >= -ROUNDING * right
    assert excess(probe.nodes[-1] + (1 - NEWTON) * way) < 0


def test_more_start_vectors_know_more():
    probe = Probe(np.array([-1.0, 0.0, 1.0]), np.full(3, 1 / 3), np.full(3, 0.1))
    ways = [outermost([probe] * n, size=100)[1] - 1 for n in (1, 3, 10)]
    assert ways == sorted(ways, reverse=True)
    assert erf(erfinv(MISSED ** (1 / 3))) ** 3 == pytest.approx(MISSED)  # the chance is shared among independent starts


def test_bounds_scale_and_mirror():
    g = np.random.default_rng(0)
    v = g.standard_normal(50)
    probe = run(g.standard_normal(50), v / np.linalg.norm(v), 8)
    low, high = outermost([probe], size=50)
    mirrored = Probe(-probe.nodes[::-1], probe.weights[::-1], probe.residuals[::-1])
    assert outermost([mirrored], size=50) == pytest.approx((-high, -low), rel=1e-12)
    for scale in (1e-20, 1e20):
        scaled = Probe(probe.nodes * scale, probe.weights, probe.residuals * scale)
        assert outermost([scaled], size=50) == pytest.approx((low * scale, high * scale), rel=1e-9)


def test_without_residual_the_ends_are_known_and_zeros_bound_nothing():
    known = Probe(np.array([-1.0, 0.0, 2.0]), np.full(3, 1 / 3), np.zeros(3))
    assert outermost([known], size=1000) == (-1.0, 2.0)
    nothing = Probe(np.zeros(1), np.ones(1), np.zeros(1))
    assert outermost([nothing], size=10) == (0.0, 0.0)
    # The exact zero below the only seen node must not hide that something negative may be there.
    low, _ = outermost([Probe(np.array([0.0, 2.0]), np.array([0.5, 0.5]), np.array([0.0, 1.0]))], size=10)
    assert low < 0
    twice = Probe(np.array([1.0, 1.0]), np.array([0.5, 0.5]), np.array([0.1, 0.1]))  # no gap between them
    assert np.isfinite(outermost([twice], size=10)).all()

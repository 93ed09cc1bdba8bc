"""What must hold for every batching, scale, seed and shape."""

import numpy as np
import pytest
import torch
from curvature.matrices import MatrixOperator, rotated, run
from curvature.objectives import FunctionObjective, NetObjective, classes, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.engine import measure
from lhexplore.curvature.layers import find_layer
from lhexplore.curvature.operators import LayerGGN, LayerHessian
from lhexplore.curvature.replica import Replica

EXACT = 1e-12  # float64, relative
FEW = settings(max_examples=15, deadline=None)
SOME = settings(max_examples=40, deadline=None)

cuts = st.lists(st.integers(1, 23), max_size=5, unique=True).map(sorted)
kinds = st.sampled_from([LayerHessian, LayerGGN])
prefixes = st.sampled_from(["0.", "2.", "4.", ""])
spectra = st.lists(st.floats(-10, 10), min_size=1, max_size=30).map(lambda v: np.round(np.array(v), 3))


def objective_of(*, cuts=(), activation=nn.Tanh, criterion=None):
    return NetObjective(mlp(activation), classes(cuts=cuts), criterion or nn.CrossEntropyLoss())


def vector(size, seed):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)).double()


def close(found, expected):
    return float((found - expected).norm()) <= EXACT * float(expected.norm())


@FEW
@given(cuts=cuts, kind=kinds, prefix=prefixes, seed=st.integers(0, 2**16))
def test_block_does_not_depend_on_batching(cuts, kind, prefix, seed):
    whole, parts = objective_of(), objective_of(cuts=cuts)
    one, many = (kind(o, o.block(prefix)) for o in (whole, parts))
    v = vector(one.size, seed)
    assert close(many.matvec(v), one.matvec(v))


@FEW
@given(cuts=cuts, batch_size=st.one_of(st.none(), st.integers(1, 24)), weighted=st.booleans())
def test_replica_products_do_not_depend_on_batching(cuts, batch_size, weighted):
    weights = torch.tensor([0.2, 1.0, 3.0]) if weighted else None

    def product(cuts, batch_size):
        objective = objective_of(cuts=cuts)
        data = freeze(objective.batches)
        replica = Replica(
            objective.model, nn.CrossEntropyLoss(weight=weights), data, batch_size=batch_size, device="cpu", threads=1
        )
        op = LayerHessian(replica, find_layer(replica.layers, "2"))
        return op.matvec(vector(op.size, 0))

    assert close(product(cuts, batch_size), product((), None))


@FEW
@given(order=st.permutations(range(4)), kind=kinds)
def test_order_of_batches_does_not_matter(order, kind):
    objective = objective_of(cuts=(4, 9, 20))
    before = kind(objective, objective.block("2."))
    after_objective = objective_of(cuts=(4, 9, 20))
    after_objective.batches = [after_objective.batches[i] for i in order]
    after = kind(after_objective, after_objective.block("2."))
    v = vector(before.size, 0)
    assert close(after.matvec(v), before.matvec(v))


@FEW
@given(kind=kinds, prefix=prefixes, seed=st.integers(0, 2**16), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_symmetric_and_linear(kind, prefix, seed, a, b):
    objective = objective_of(cuts=(7,))
    op = kind(objective, objective.block(prefix))
    u, v = vector(op.size, seed), vector(op.size, seed + 1)
    hu, hv = op.matvec(u), op.matvec(v)
    scale = float(hu.norm() * v.norm() + hv.norm() * u.norm())
    assert abs(float(u @ hv - v @ hu)) <= EXACT * scale
    combined = op.matvec(a * u + b * v)
    assert float((combined - a * hu - b * hv).norm()) <= EXACT * scale
    assert close(op.matmat(torch.stack([u, v], dim=1)), torch.stack([hu, hv], dim=1))


@SOME
@given(values=spectra, steps=st.integers(1, 40), seed=st.integers(0, 2**16))
def test_measures_are_probabilities_inside_the_spectrum(values, steps, seed):
    found = run(MatrixOperator(rotated(values)), steps=steps, seed=seed).quadrature()
    assert abs(found.weights.sum() - 1) <= EXACT
    assert (found.weights >= 0).all()
    assert (found.residuals >= 0).all()
    slack = 1e-12 * (np.abs(values).max() + 1e-300)
    assert found.nodes.min() >= values.min() - slack
    assert found.nodes.max() <= values.max() + slack
    assert (np.diff(found.nodes) > 0).all()


@SOME
@given(values=spectra, power=st.integers(-200, 200), method=st.sampled_from(["dense", "lanczos"]))
def test_scale_of_the_loss_is_the_scale_of_the_spectrum(values, power, method):
    matrix = rotated(values)

    def spectrum(factor):
        objective = FunctionObjective(lambda a: a @ (matrix * factor) @ a / 2, a=torch.ones(len(matrix)).double())
        *_, last = measure(objective, objective.block(), label="x", snapshot="now", method=method, steps=12, probes=2)
        return last.spectrum

    plain, scaled = spectrum(1.0), spectrum(2.0**power)
    np.testing.assert_allclose(scaled.nodes / 2.0**power, plain.nodes, rtol=1e-9, atol=1e-12 * plain.magnitude)
    assert scaled.zero_band / 2.0**power == pytest.approx(plain.zero_band, rel=1e-6)


@FEW
@given(seed=st.integers(0, 2**32), method=st.sampled_from(["dense", "lanczos"]), prefix=prefixes)
def test_same_seed_same_result_bit_for_bit(seed, method, prefix):
    def spectrum():
        objective = objective_of(cuts=(7,))
        block = objective.block(prefix)
        *_, last = measure(objective, block, label="x", snapshot="now", method=method, steps=6, probes=2, seed=seed)
        return last.spectrum

    first = spectrum()
    torch.rand(5)  # what other code draws must not matter
    again = spectrum()
    for field in ("nodes", "weights", "residuals", "probe"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert (first.trace, first.trace_stderr) == (again.trace, again.trace_stderr)


def test_another_seed_gives_another_estimate():
    objective = objective_of()
    nodes = []
    for seed in (0, 1):
        *_, last = measure(
            objective, objective.block(), label="x", snapshot="now", method="lanczos", steps=4, probes=1, seed=seed
        )
        nodes.append(last.spectrum.nodes)
    assert not np.array_equal(*nodes)


@SOME
@given(values=st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=4, max_size=60), seed=st.integers(0, 2**16))
def test_repeated_eigenvalues_come_once_with_their_mass(values, seed):
    values = np.sort(np.array(values))
    op = MatrixOperator(torch.diag(torch.tensor(values)))  # random signs: each of n has a mass of exactly 1/n
    found = run(op, steps=30, seed=seed).quadrature()
    expected, counts = np.unique(values, return_counts=True)
    heavy = found.weights > 1e-12
    np.testing.assert_allclose(found.nodes[heavy], expected, atol=1e-10)
    np.testing.assert_allclose(found.weights[heavy], counts / len(values), rtol=1e-10)

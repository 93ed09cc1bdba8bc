"""A replica and a layer in, a finished spectrum out: method, checks, steps and words."""

import math
import weakref

import numpy as np
import pytest
import torch
from curvature.matrices import MatrixOperator, rotated
from curvature.objectives import FunctionObjective, NetObjective, classes, gauss_newton, hessian, mlp
from torch import nn

from lhexplore.curvature import engine, estimate
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.engine import measure
from lhexplore.curvature.hutchinson import sample, trace_estimate
from lhexplore.curvature.lanczos import start_vector
from lhexplore.curvature.layers import find_layer, whole_network
from lhexplore.curvature.planner import START_VECTORS
from lhexplore.curvature.replica import Replica
from lhexplore.errors import NotFiniteError, SettingError, TooLargeError, UnsupportedError

DOUBLE = 1e-10  # of the largest eigenvalue: what an exact spectrum in float64 promises
SINGLE = 1e-5  # the same in float32


def steps_of(objective, block=None, **settings):
    return list(measure(objective, block or objective.block(), label="x", snapshot="now", **settings))


def spectrum_of(objective, block=None, **settings):
    return steps_of(objective, block, **settings)[-1].spectrum


def form(values, *, seed=0, factor=1.0):
    """½θᵀAθ with these eigenvalues."""
    matrix = rotated(values, seed=seed) * factor
    return FunctionObjective(lambda theta: theta @ matrix @ theta / 2, theta=torch.ones(len(matrix)).double())


def net(dtype=torch.float64, activation=nn.Tanh, criterion=None, **data):
    model = mlp(activation, sizes=(6, 9, 7, 3), dtype=dtype)
    return NetObjective(model, classes(dtype=dtype, **data), criterion or nn.CrossEntropyLoss())


def replica_of(objective, **settings):
    return Replica(objective.model, objective.criterion, freeze(objective.batches), device="cpu", threads=1, **settings)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, DOUBLE), (torch.float32, SINGLE)])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
@pytest.mark.parametrize("name", ["0", "2", "4", None])
def test_exact_spectra_through_the_replica(dtype, tolerance, activation, name):
    objective = net(activation=activation, cuts=(10, 21))
    replica = replica_of(objective, dtype=dtype)
    layer = whole_network(replica.layers) if name is None else find_layer(replica.layers, name)
    spectrum = spectrum_of(replica, layer)
    truth = torch.linalg.eigvalsh(hessian(objective, layer)).numpy()
    assert spectrum.exact
    assert spectrum.complete
    assert np.abs(spectrum.eigenvalues - truth).max() <= tolerance * np.abs(truth).max()
    assert np.abs(spectrum.eigenvalues - truth).max() <= spectrum.error
    assert spectrum.trace == pytest.approx(truth.sum(), rel=10 * tolerance)
    assert spectrum.products == spectrum.size + 2


def test_ggn_through_the_replica():
    objective = net(cuts=(10, 21))
    replica = replica_of(objective)
    layer = find_layer(replica.layers, "2")
    spectrum = spectrum_of(replica, layer, curvature="ggn")
    truth = torch.linalg.eigvalsh(gauss_newton(objective, layer)).numpy()
    assert np.abs(spectrum.eigenvalues - truth).max() <= DOUBLE * truth.max()
    assert spectrum.curvature == "ggn"
    assert spectrum.psd


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_lanczos_finds_the_ends_within_its_own_error(dtype):
    objective = net(cuts=(10, 21))
    replica = replica_of(objective, dtype=dtype)
    layer = whole_network(replica.layers)
    truth = torch.linalg.eigvalsh(hessian(objective, layer)).numpy()
    for steps in (8, 20, 60):
        spectrum = spectrum_of(replica, layer, method="lanczos", steps=steps, probes=3)
        assert abs(spectrum.largest - truth[-1]) <= spectrum.error
        assert abs(spectrum.smallest - truth[0]) <= spectrum.error
        assert not spectrum.exact


@pytest.mark.parametrize("probes", [3, 6])
def test_steps_count_products_and_the_last_is_complete(probes):
    objective = form(np.random.default_rng(0).standard_normal(200))
    steps = steps_of(objective, method="lanczos", steps=35, probes=probes)
    done = [step.done for step in steps]
    # Three vectors are multiplied one by one, six of a small block at once.
    assert max(np.diff(done)) == (1 if probes == 3 else 6)
    assert done[-1] == steps[-1].total == steps[-1].spectrum.products == max(4, probes) + probes * 34
    assert all(step.total >= step.done for step in steps)
    known = [step.spectrum for step in steps if step.spectrum is not None]
    assert [s.probes for s in known] == [probes] * 5
    assert [len(s.nodes) for s in known] == [probes * steps for steps in (5, 10, 20, 30, 35)]
    assert [s.complete for s in known] == [False] * 4 + [True]
    assert all(abs(s.weights.sum() - 1) <= 1e-12 for s in known)
    assert 0 < known[0].seconds < known[-1].seconds
    assert str(probes) in known[-1].reason


def test_probes_of_one_request_are_those_of_a_larger_one():
    objective = form(np.random.default_rng(0).standard_normal(150))
    few, many = (spectrum_of(objective, method="lanczos", steps=12, probes=k) for k in (2, 5))
    for (nodes, weights), (same_nodes, same_weights) in zip(few.per_probe(), many.per_probe(), strict=False):
        # To the last bit but for the order of sums: five products are computed at once, two are not.
        np.testing.assert_allclose(nodes, same_nodes, rtol=1e-12)
        np.testing.assert_allclose(weights, same_weights, rtol=1e-10)


def test_closing_between_steps_is_clean_and_the_next_call_works():
    objective = form(np.random.default_rng(0).standard_normal(60))
    flags = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads()
    work = measure(objective, objective.block(), label="x", snapshot="now", method="lanczos", steps=20)
    for _ in range(9):
        next(work)
        assert flags == (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_num_threads())
    work.close()
    assert spectrum_of(objective, method="lanczos", steps=20).complete


def test_a_cell_in_inference_mode_changes_nothing():
    replica = replica_of(net())
    layer = find_layer(replica.layers, "2")
    plain = spectrum_of(replica, layer, method="lanczos", steps=10, probes=2)
    with torch.inference_mode():
        inside = spectrum_of(replica, layer, method="lanczos", steps=10, probes=2)
    np.testing.assert_array_equal(plain.nodes, inside.nodes)


@pytest.mark.parametrize("method", ["auto", "lanczos", "dense"])
def test_zero_operator_is_exact_zeros_with_a_reason(method):
    linear = FunctionObjective(lambda a, b: a.sum() * 3, a=torch.ones(4).double(), b=torch.ones(2).double())
    spectrum = spectrum_of(linear, method=method)
    assert spectrum.eigenvalues.tolist() == [0.0] * 6
    assert (spectrum.error, spectrum.zero_band, spectrum.trace) == (0.0, 0.0, 0.0)
    assert "linear" in spectrum.reason
    hidden = FunctionObjective(lambda a: (0 * a**2).sum(), a=torch.ones(5).double())
    spectrum = spectrum_of(hidden, method=method)
    assert spectrum.eigenvalues.tolist() == [0.0] * 5
    assert spectrum.trace == spectrum.error == 0.0


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_tiny_blocks(size, method):
    values = np.arange(1.0, size + 1)
    spectrum = spectrum_of(form(values), method=method, steps=100)
    np.testing.assert_allclose(np.unique(spectrum.nodes.round(9)), values, atol=1e-9)
    assert spectrum.weights.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("method", ["dense", "lanczos"])
@pytest.mark.parametrize("factor", [1e20, 1e-20, 2.0**66, 2.0**-66])
def test_scale_invariance_through_the_engine(method, factor):
    values = np.concatenate([np.random.default_rng(2).standard_normal(80), np.zeros(40)])
    plain, scaled = (spectrum_of(form(values, factor=c), method=method, steps=30) for c in (1.0, factor))
    assert len(scaled.nodes) == len(plain.nodes)
    # Any factor but a power of two rounds the matrix itself.
    tolerance = 0 if math.frexp(factor)[0] == 0.5 else 1e-9
    for (nodes, weights), (expected, shares) in zip(scaled.per_probe(), plain.per_probe(), strict=True):
        np.testing.assert_allclose(nodes / factor, expected, rtol=tolerance, atol=tolerance)
        np.testing.assert_allclose(weights, shares, rtol=tolerance, atol=tolerance)
    for field in ("zero_band", "trace", "trace_stderr"):
        assert getattr(scaled, field) / factor == pytest.approx(getattr(plain, field), rel=tolerance, abs=tolerance)
    if not tolerance:
        assert scaled.error / factor == plain.error


def test_low_rank_psd_block_never_goes_below_the_band():
    # More steps than the rank: what comes after it is rounding and must not look like negative curvature.
    objective = net(dtype=torch.float32, activation=nn.ReLU, examples=8)
    block = objective.block("0.")
    for seed in range(20):
        spectrum = spectrum_of(objective, block, method="lanczos", steps=60, probes=1, seed=seed)
        assert spectrum.smallest >= -spectrum.zero_band
        assert spectrum.psd


@pytest.mark.parametrize("confidence", [1.0, 30.0, 100.0])
def test_zero_band_covers_spurious_signs_of_a_psd_block_in_float32(confidence):
    objective = net(dtype=torch.float32, activation=nn.ReLU, examples=60)
    objective.tensors["4.weight"] *= confidence
    for prefix in ("0.", "2.", "4."):
        spectrum = spectrum_of(objective, objective.block(prefix))
        assert spectrum.smallest >= -spectrum.zero_band


def test_psd_by_structure():
    relu, tanh = net(activation=nn.ReLU), net()
    for prefix in ("0.", "2.", "4."):
        for method in ("dense", "lanczos"):
            assert spectrum_of(relu, relu.block(prefix), method=method, steps=5, probes=1).psd
            assert spectrum_of(tanh, tanh.block(prefix), method=method, steps=5, probes=1).psd == (prefix == "4.")
    assert not spectrum_of(relu, relu.block()).psd


def test_psd_needs_a_convex_loss():
    def welsch(outputs, y):  # 1 − exp(−r²/2) bends down where |r| > 1
        return (1 - torch.exp(-((outputs - y) ** 2) / 2)).mean()

    def huge(outputs, y):
        return ((outputs - y) ** 4).mean()

    x = classes()[0][0]
    target = torch.full((len(x), 3), 5.0).double()
    for criterion, convex in ((welsch, False), (huge, True)):
        objective = NetObjective(mlp(), [(x, target)], criterion)
        spectrum = spectrum_of(objective, objective.block("4."))  # H = G holds: the layer is the last
        assert spectrum.psd == convex
        assert (spectrum.smallest < -spectrum.zero_band) == (not convex)


def test_psd_after_interpolation_in_float32():
    # Confident and right everywhere: autograd's float32 product has drifted, yet the layer is PSD by structure.
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 6, generator=generator)
    model = mlp(nn.ReLU, sizes=(6, 40, 3), dtype=torch.float32)
    y = torch.randint(0, 3, (40,), generator=generator)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(400):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
    assert loss < 1e-3
    objective = NetObjective(model, [(x, y)], nn.CrossEntropyLoss())
    assert spectrum_of(objective, objective.block("0.")).psd
    assert not spectrum_of(net(dtype=torch.float32), net().block("0.")).psd


@pytest.mark.parametrize("probes", [4, 5, 10])
@pytest.mark.parametrize("kind", ["bulk", "outliers", "rank one"])
def test_trace_covers_the_truth_in_95_of_100(kind, probes):
    # Rank one is the hard case: zᵀHz is then skewed, and Student's t alone covers 80 %.
    random = np.random.default_rng(0)
    values = {"bulk": 1.0, "outliers": 0.1, "rank one": 0.0}[kind] * random.standard_normal(100)
    values[:4] += {"bulk": (0, 0, 0, 0), "outliers": (3, 4, 5, 6), "rank one": (1, 0, 0, 0)}[kind]
    op = MatrixOperator(rotated(values))
    covered, seeds = 0, 300
    for seed in range(seeds):
        vectors = [start_vector(op, seed=seed, name="x", index=i) for i in range(probes)]
        samples = [sample(v, op.matvec(v)) for v in vectors]
        trace, stderr = trace_estimate(samples, magnitude=float(np.abs(values).max()))
        covered += abs(trace - values.sum()) <= 2 * stderr
    assert covered >= 0.95 * seeds


def test_trace_of_a_spectrum_is_the_estimate_of_its_start_vectors():
    values = np.random.default_rng(0).standard_normal(60)
    spectrum = spectrum_of(form(values), method="lanczos", steps=10, probes=6)
    assert spectrum.trace == pytest.approx(60 * spectrum.weights @ spectrum.nodes, rel=1e-10)
    assert abs(spectrum.trace - values.sum()) <= 2 * spectrum.trace_stderr


def test_vectors_are_kept_only_as_long_as_they_are_needed(monkeypatch):
    drawn, alive = [], []

    def watched(*args, **settings):
        vector = start_vector(*args, **settings)
        drawn.append(weakref.ref(vector))
        return vector

    monkeypatch.setattr(estimate, "start_vector", watched)
    values = np.random.default_rng(0).standard_normal(60)
    plan = engine.measure(form(values), form(values).block(), label="x", snapshot="now", method="lanczos", probes=40)
    for _ in plan:
        alive.append(sum(ref() is not None for ref in drawn))
    assert len(drawn) == 40
    assert max(alive) <= START_VECTORS + 1


def test_ends_that_have_not_converged_are_named():
    values = np.linspace(-1, 2, 400)  # no gaps at the ends: the hard case
    rough = spectrum_of(form(values), method="lanczos", steps=5, probes=2)
    assert any("ends have not converged" in note and "now 5" in note for note in rough.notes)
    assert rough.largest < 1.9  # the true end is 2
    fine = spectrum_of(form(values), method="lanczos", steps=150, probes=2)
    assert not any("converged" in note for note in fine.notes)
    assert abs(fine.largest - 2) <= fine.error
    whole = spectrum_of(form(values[:5]), method="lanczos", steps=5, probes=2)
    assert not any("converged" in note for note in whole.notes)


def test_trace_error_shrinks_with_probes():
    objective = form(np.random.default_rng(0).standard_normal(100))
    errors = [spectrum_of(objective, method="lanczos", steps=2, probes=k).trace_stderr for k in (4, 16, 64)]
    assert errors[0] > errors[1] > errors[2] > 0
    assert math.isclose(errors[1] / errors[2], 2, rel_tol=0.3)


def test_asymmetry_is_measured_and_said():
    class Noisy(FunctionObjective):
        """Multiplies with a matrix that is not symmetric, as a random forward would."""

        def batch_loss(self, i, override):
            a = override.get("a", self.tensors["a"])
            return (a.detach() @ self.matrix @ a) + (a @ a)

    objective = Noisy(None, a=torch.ones(30).double())
    objective.matrix = torch.zeros(30, 30).double()
    assert spectrum_of(objective, method="lanczos").symmetry_defect <= 1e-15

    class Skewed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, a, matrix):
            ctx.save_for_backward(a, matrix)
            return a @ matrix @ a / 2

        @staticmethod
        def backward(ctx, upstream):
            a, matrix = ctx.saved_tensors
            return upstream * (matrix @ a), None

    matrix = rotated(np.arange(1.0, 31.0))
    matrix[:, :5] *= 1.5
    objective = FunctionObjective(lambda a: Skewed.apply(a, matrix), a=torch.ones(30).double())
    truth = float((matrix - matrix.T).norm() / matrix.norm())
    dense = spectrum_of(objective, method="dense")
    assert dense.symmetry_defect == pytest.approx(truth, rel=1e-12)
    estimate = spectrum_of(objective, method="lanczos", probes=20, steps=3)
    assert estimate.symmetry_defect == pytest.approx(truth, rel=0.25)  # 190 pairs of 20 vectors
    for spectrum in (dense, estimate):
        assert any("not symmetric" in note for note in spectrum.notes)
        assert spectrum.zero_band >= 0.75 * truth * spectrum.magnitude


def test_nan_second_derivative_is_an_error():
    objective = FunctionObjective(lambda a: (a * 0).norm() + (a**2).sum(), a=torch.ones(3).double())
    for method in ("dense", "lanczos"):
        with pytest.raises(NotFiniteError, match="second derivative"):
            spectrum_of(objective, method=method)


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"curvature": "fisher"}, SettingError),
        ({"split": "test"}, SettingError),
        ({"method": "qr"}, SettingError),
        ({"steps": 0}, SettingError),
        ({"curvature": "ggn"}, UnsupportedError),
        ({"method": "dense", "memory": 1000}, TooLargeError),
    ],
)
def test_bad_requests(settings, error):
    with pytest.raises(error):
        spectrum_of(form(np.arange(20.0)), **settings)


def test_group_norm_takes_single_columns_where_batches_fail(monkeypatch):
    objective = net()
    block = objective.block("4.")
    truth = spectrum_of(objective, block)
    real = torch.autograd.grad

    def refuses(*args, is_grads_batched=False, **more):
        if is_grads_batched:
            raise RuntimeError("shape mismatch in a batching rule")
        return real(*args, **more)

    monkeypatch.setattr(torch.autograd, "grad", refuses)
    spectrum = spectrum_of(objective, block)
    np.testing.assert_allclose(spectrum.nodes, truth.nodes, atol=1e-14)
    assert any("one by one" in note for note in spectrum.notes)

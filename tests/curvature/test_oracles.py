"""Facts about layer Hessians that must come out, on real digits and on networks whose answer is known."""

import numpy as np
import pytest
import torch
from curvature.matrices import DiagonalOperator, MatrixOperator, rotated, run
from curvature.objectives import NetObjective, classes, gauss_newton, hessian, matrix_of, mlp
from torch import nn

from lhexplore.curvature.engine import measure
from lhexplore.curvature.operators import LayerGGN, LayerHessian

EXACT = 1e-12  # float64, relative to the matrix
PARTS = ("0.", "2.", "4.")


def spectrum_of(objective, block, **settings):
    *_, last = measure(objective, block, label=block.name, snapshot="now", **settings)
    return last.spectrum


def gap(objective, prefix):
    block = objective.block(prefix)
    h = matrix_of(LayerHessian(objective, block))
    return float((h - matrix_of(LayerGGN(objective, block))).norm() / h.norm())


@pytest.fixture(scope="module")
def digits():
    """Real handwritten digits: 200 images of 8 × 8, scaled to [0, 1]."""
    datasets = pytest.importorskip("sklearn.datasets", reason="scikit-learn carries the digits")
    x, y = datasets.load_digits(return_X_y=True)
    return [
        (torch.tensor(x[:120] / 16), torch.tensor(y[:120])),
        (torch.tensor(x[120:200] / 16), torch.tensor(y[120:200])),
    ]


def trained(activation, batches, *, steps=60):
    model = mlp(activation, sizes=(64, 12, 10, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(steps):
        for x, y in batches:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
    return model


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU])
def test_piecewise_linear_networks_have_h_equal_g_in_every_layer(digits, activation):
    objective = NetObjective(trained(activation, digits), digits, nn.CrossEntropyLoss())
    for prefix in PARTS:
        assert gap(objective, prefix) <= EXACT
        spectrum = spectrum_of(objective, objective.block(prefix))
        assert spectrum.smallest >= -spectrum.zero_band
        assert spectrum.psd


def test_smooth_networks_have_negative_curvature_except_in_the_last_layer(digits):
    objective = NetObjective(trained(nn.Tanh, digits), digits, nn.CrossEntropyLoss())
    for prefix in PARTS[:2]:
        assert gap(objective, prefix) > 0.05
        spectrum = spectrum_of(objective, objective.block(prefix))
        assert spectrum.smallest < -spectrum.zero_band
        assert not spectrum.psd
    assert gap(objective, PARTS[2]) <= EXACT


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_last_layer_softmax_closed_form(activation):
    # H = (1/N) Σ (diag p − ppᵀ) ⊗ x̃x̃ᵀ with x̃ = [x; 1]; here the weight comes first and then the bias.
    objective = NetObjective(mlp(activation), classes(cuts=(5,)), nn.CrossEntropyLoss())
    x = torch.cat([x for x, _ in objective.batches])
    with torch.no_grad():
        hidden = objective.model[:-1](x)
        p = objective.model(x).softmax(1)
    tilde = torch.cat([hidden, torch.ones(len(x), 1).double()], dim=1)
    curve = torch.diag_embed(p) - p[:, :, None] * p[:, None, :]
    whole = torch.einsum("nab,ni,nj->aibj", curve, tilde, tilde) / len(x)
    width, count = hidden.shape[1], p.shape[1]
    order = [a * (width + 1) + i for a in range(count) for i in range(width)]
    order += [a * (width + 1) + width for a in range(count)]
    expected = whole.reshape(len(order), len(order))[order][:, order]
    for kind in (LayerHessian, LayerGGN):
        found = matrix_of(kind(objective, objective.block("4.")))
        assert (found - expected).norm() <= 1e-13 * expected.norm()


def test_last_layer_mean_squares_closed_form():
    # H = I_C ⊗ (2/(CN)) X̃ᵀX̃: every eigenvalue comes C times.
    x, _ = classes()[0]
    y = torch.randn(24, 3, generator=torch.Generator().manual_seed(5)).double()
    objective = NetObjective(mlp(nn.GELU), [(x, y)], nn.MSELoss())
    with torch.no_grad():
        hidden = objective.model[:-1](x)
    tilde = torch.cat([hidden, torch.ones(24, 1).double()], dim=1)
    values = torch.linalg.eigvalsh(2 / (3 * 24) * tilde.T @ tilde).numpy()
    spectrum = spectrum_of(objective, objective.block("4."))
    np.testing.assert_allclose(spectrum.eigenvalues, np.repeat(values, 3), atol=1e-13 * values.max())


def test_logistic_regression_closed_form():
    # H = (1/N) Σ σ(1 − σ) x̃x̃ᵀ.
    x, y = classes(count=2)[0]
    objective = NetObjective(mlp(sizes=(6, 1)), [(x, y.double()[:, None])], nn.BCEWithLogitsLoss())
    with torch.no_grad():
        s = torch.sigmoid(objective.model(x))
    tilde = torch.cat([x, torch.ones(24, 1).double()], dim=1)
    expected = (s * (1 - s) * tilde).T @ tilde / 24
    found = matrix_of(LayerHessian(objective, objective.block()))
    assert (found - expected).norm() <= EXACT * expected.norm()


def test_absolute_error_of_a_linear_layer_is_flat():
    x, _ = classes()[0]
    objective = NetObjective(mlp(sizes=(6, 3)), [(x, torch.zeros(24, 3).double())], nn.L1Loss())
    for method in ("auto", "lanczos"):
        spectrum = spectrum_of(objective, objective.block(), method=method)
        assert not spectrum.eigenvalues.any()
        assert "zero" in spectrum.reason


def test_weight_decay_shifts_every_eigenvalue():
    plain = NetObjective(mlp(), classes(), nn.CrossEntropyLoss())
    block = plain.block("2.")

    class Decayed(NetObjective):
        def batch_loss(self, i, override):
            tensors = {**self.tensors, **override}
            return super().batch_loss(i, override) + 0.25 / 2 * sum(t.square().sum() for t in tensors.values())

    decayed = Decayed(plain.model, plain.batches, plain.criterion)
    expected, found = (torch.linalg.eigvalsh(matrix_of(LayerHessian(o, block))) for o in (plain, decayed))
    assert (found - expected - 0.25).abs().max() <= EXACT


def test_layer_traces_add_up_and_layers_interlace():
    objective = NetObjective(mlp(nn.GELU), classes(), nn.CrossEntropyLoss())
    whole = spectrum_of(objective, objective.block())
    layers = [spectrum_of(objective, objective.block(prefix)) for prefix in PARTS]
    assert sum(s.trace for s in layers) == pytest.approx(whole.trace, rel=EXACT)
    for layer in layers:
        assert layer.largest <= whole.largest + 1e-10
        assert layer.smallest >= whole.smallest - 1e-10


def test_a_probe_lives_on_the_layer_only():
    # Masking only the product would leave false mass at zero: the identity must give weight 1 at 1.
    found = run(MatrixOperator(torch.eye(40).double()), steps=10).quadrature()
    np.testing.assert_allclose(found.nodes, [1.0], atol=EXACT)
    np.testing.assert_allclose(found.weights, [1.0], atol=EXACT)


def test_negative_mass_scatters_as_it_should():
    # For random signs the standard deviation of a mass q over n eigenvalues is about sqrt(2 q(1 − q)/n) for one probe.
    n, share = 1003, 100 / 1003
    values = np.concatenate([-np.linspace(0.5, 1, 100), np.linspace(0.5, 2, 903)])
    q, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))
    op = MatrixOperator(torch.tensor((q * values) @ q.T))
    masses = [
        found.weights[found.nodes < 0].sum()
        for index in range(40)
        for found in [run(op, steps=20, index=index).quadrature()]
    ]
    expected = np.sqrt(2 * share * (1 - share) / n)
    assert abs(np.mean(masses) - share) <= 4 * expected / np.sqrt(40)
    assert expected / 2 <= np.std(masses) <= expected * 2


def test_single_precision_products_of_a_network_that_does_not_interpolate():
    narrow = NetObjective(mlp(nn.GELU, dtype=torch.float32), classes(dtype=torch.float32), nn.CrossEntropyLoss())
    wide = NetObjective(mlp(nn.GELU), classes(), nn.CrossEntropyLoss())
    wide.tensors = {name: tensor.double() for name, tensor in narrow.tensors.items()}
    wide.batches = [(x.double(), y) for x, y in narrow.batches]
    for prefix in PARTS:
        v = torch.randn(LayerHessian(wide, wide.block(prefix)).size, generator=torch.Generator().manual_seed(1))
        exact = LayerHessian(wide, wide.block(prefix)).matvec(v.double())
        found = LayerHessian(narrow, narrow.block(prefix)).matvec(v).double()
        assert (found - exact).norm() <= 1e-5 * exact.norm()


def test_norm_and_what_feeds_it_are_differentiated_together():
    # Forward mode through a layer norm is silently wrong in some torch releases (2-20 %); the truth here is central
    # differences of the gradient in float64.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Tanh(), nn.Linear(5, 3)).double()
    objective = NetObjective(model, classes(), nn.CrossEntropyLoss())
    block = objective.block()
    op = LayerHessian(objective, block)
    v = torch.randn(op.size, generator=torch.Generator().manual_seed(2)).double()
    parts = torch.split(v, [objective.tensors[name].numel() for name in block.parameters])

    def gradient(step):
        leaves = {
            name: (objective.tensors[name] + step * part.reshape(objective.tensors[name].shape)).requires_grad_()
            for name, part in zip(block.parameters, parts, strict=True)
        }
        slopes = torch.autograd.grad(objective.batch_loss(0, leaves), list(leaves.values()))
        return torch.cat([g.reshape(-1) for g in slopes])

    step = 1e-5
    differences = (gradient(step) - gradient(-step)) / (2 * step)
    assert (op.matvec(v) - differences).norm() <= 1e-7 * differences.norm()


@pytest.mark.cross_library
@pytest.mark.parametrize("prefix", ["0.", "2.", ""])
def test_curvlinops_agrees(prefix):
    curvlinops = pytest.importorskip("curvlinops", reason="another library to compare with")
    objective = NetObjective(mlp(nn.Tanh), classes(cuts=(8, 16)), nn.CrossEntropyLoss())
    block = objective.block(prefix)
    named = [p for name, p in objective.model.named_parameters() if name in block.parameters]
    others = [(curvlinops.HessianLinearOperator, LayerHessian), (curvlinops.GGNLinearOperator, LayerGGN)]
    for theirs, ours in others:
        # Its parameters are all that it differentiates; equal batches, so that its average over batches is ours.
        other = theirs(objective.model, objective.criterion, named, objective.batches, check_deterministic=False)
        op = ours(objective, block)
        v = torch.randn(op.size, generator=torch.Generator().manual_seed(3)).double()
        expected = other @ v
        assert (op.matvec(v) - expected).norm() <= 1e-10 * expected.norm()


@pytest.mark.parametrize("kind", [LayerHessian, LayerGGN])
def test_two_independent_truths_agree(kind):
    objective = NetObjective(mlp(nn.GELU), classes(cuts=(9,)), nn.CrossEntropyLoss(label_smoothing=0.2))
    truth = {LayerHessian: hessian, LayerGGN: gauss_newton}[kind](objective, objective.block("2."))
    values = torch.linalg.eigvalsh(truth).numpy()
    spectrum = spectrum_of(objective, objective.block("2."), curvature="ggn" if kind is LayerGGN else "hessian")
    np.testing.assert_allclose(spectrum.eigenvalues, values, atol=1e-10 * np.abs(values).max())


def test_long_runs_repeat_nothing_at_the_top():
    objective = NetObjective(mlp(nn.Tanh, sizes=(6, 14, 12, 3)), classes(examples=60), nn.CrossEntropyLoss())
    block = objective.block()
    truth = torch.linalg.eigvalsh(hessian(objective, block)).numpy()
    for steps in (32, 64, 100, 200):
        spectrum = spectrum_of(objective, block, method="lanczos", steps=steps, probes=1)
        cut = (truth[-4] + truth[-3]) / 2
        np.testing.assert_allclose(spectrum.nodes[spectrum.nodes > cut], truth[truth > cut], rtol=1e-9)


def test_diagonal_operators_are_exact_for_random_signs():
    values = torch.arange(1.0, 101.0).double()
    op = DiagonalOperator(values)
    first = run(op, steps=1).quadrature()
    assert first.nodes[0] == pytest.approx(50.5, rel=EXACT)  # the mean: zᵀDz = trace D for every z of ±1


def test_rotated_matrices_are_not():
    first = run(MatrixOperator(rotated(np.arange(1.0, 101.0))), steps=1).quadrature()
    assert abs(first.nodes[0] - 50.5) > 1e-3

"""Layer blocks against matrices written down or differentiated row by row."""

import warnings

import pytest
import torch
from curvature.objectives import (
    FunctionObjective,
    NetObjective,
    Parameters,
    classes,
    gauss_newton,
    hessian,
    matrix_of,
    mlp,
)
from torch import nn
from torch.utils.checkpoint import checkpoint

from lhexplore.curvature.operators import LayerGGN, LayerHessian, SymmetricOperator
from lhexplore.errors import SecondDerivativeError, UnsupportedError

EXACT = 1e-12  # float64 round-off of a few hundred terms, relative


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def quadratic(size=5):
    generator = torch.Generator().manual_seed(0)
    a = torch.randn(size, size, generator=generator, dtype=torch.float64)
    a = a + a.T
    theta = torch.randn(size, generator=generator, dtype=torch.float64)
    return a, FunctionObjective(lambda theta: theta @ a @ theta / 2, theta=theta)


def test_quadratic_form_gives_its_matrix():
    a, objective = quadratic()
    op = LayerHessian(objective, objective.block())
    assert isinstance(op, SymmetricOperator)
    assert relative(matrix_of(op), a) <= EXACT
    assert op.products == 5


def test_linear_regression_has_the_closed_form():
    # L = mean over N·C entries of (xWᵀ + b − y)²: H = I_C ⊗ (2/(NC)) X̃ᵀX̃, here for W and b ordered weight, bias.
    x, y = torch.randn(20, 4, generator=torch.Generator().manual_seed(1)).double(), torch.ones(20, 1).double()
    net = mlp(sizes=(4, 1))
    op = LayerHessian(objective := NetObjective(net, [(x, y)], nn.MSELoss()), objective.block())
    tilde = torch.cat([x, torch.ones(20, 1).double()], dim=1)
    assert relative(matrix_of(op), 2 / 20 * tilde.T @ tilde) <= EXACT


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("prefix", ["0.", "2.", "4.", ""])
def test_hessian_matches_double_backward_row_by_row(activation, prefix):
    objective = NetObjective(mlp(activation), classes(cuts=(7, 19)), nn.CrossEntropyLoss())
    block = objective.block(prefix)
    op = LayerHessian(objective, block)
    expected = hessian(objective, block)
    assert relative(matrix_of(op), expected) <= EXACT
    assert relative(op.matmat(torch.eye(op.size, dtype=torch.float64)), expected) <= EXACT
    assert not op.column_by_column


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1)])
@pytest.mark.parametrize("prefix", ["0.", "4.", ""])
def test_ggn_matches_its_factors(criterion, prefix):
    objective = NetObjective(mlp(nn.GELU), classes(cuts=(7, 19)), criterion)
    block = objective.block(prefix)
    op = LayerGGN(objective, block)
    expected = gauss_newton(objective, block)
    assert relative(matrix_of(op), expected) <= EXACT
    assert relative(op.matmat(torch.eye(op.size, dtype=torch.float64)), expected) <= EXACT
    assert torch.linalg.eigvalsh(expected).min() >= -EXACT


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.SmoothL1Loss(), nn.L1Loss()])
def test_ggn_of_regression_losses(criterion):
    x = classes()[0][0]
    y = (torch.arange(24 * 3).reshape(24, 3) % 2).double()
    objective = NetObjective(mlp(), [(x, y)], criterion)
    op = LayerGGN(objective, objective.block("2."))
    if isinstance(criterion, nn.L1Loss):
        assert not matrix_of(op).any()
    else:
        assert relative(matrix_of(op), gauss_newton(objective, objective.block("2."))) <= EXACT


@pytest.mark.parametrize("confidence", [1.0, 8.0, 15.0])
def test_ggn_in_float32_does_not_cancel_where_the_network_is_confident(confidence):
    # 1 − p reaches about 1e-7 here; p⊙u − p(pᵀu) in float32 would be wrong in the second digit.
    logits = confidence * torch.eye(4)[torch.arange(4)].repeat(2, 1)
    x, y = torch.eye(4).repeat(2, 1), torch.arange(4).repeat(2)
    net = nn.Sequential(nn.Linear(4, 4, bias=False))
    net[0].weight.data = logits[:4].T.clone()
    narrow = NetObjective(net, [(x, y)], nn.CrossEntropyLoss())
    vector = torch.randn(16, generator=torch.Generator().manual_seed(0))
    found = LayerGGN(narrow, narrow.block()).matvec(vector)
    wide = NetObjective(net.double(), [(x.double(), y)], nn.CrossEntropyLoss())
    expected = LayerGGN(wide, wide.block()).matvec(vector.double())
    assert relative(found.double(), expected) <= 1e-6


@pytest.mark.parametrize("name", ["conv", "group norm", "layer norm", "batch norm", "pools"])
def test_batched_columns_equal_single_ones(name):
    nets = {
        "conv": nn.Sequential(nn.Conv2d(1, 3, 3, stride=2, padding=1), nn.SiLU(), nn.Flatten(), nn.Linear(48, 2)),
        "group norm": nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(144, 2)),
        "layer norm": nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2)),
        "batch norm": nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 2)),
        "pools": nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.AvgPool2d(3), nn.Flatten(), nn.Linear(4, 2)),
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nets[name].double().eval()
        for p in net.parameters():
            p.data.normal_(0, 0.3)
        x = torch.randn(6, 1, 8, 8).double()
    objective = NetObjective(net, [(x, torch.arange(6) % 2)], nn.CrossEntropyLoss())
    for kind in (LayerHessian, LayerGGN):
        op = kind(objective, objective.block("0.") if name != "layer norm" else objective.block())
        columns = torch.eye(op.size, dtype=torch.float64)[:, :9]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch says which operations it batches slowly
            batched = op.matmat(columns)
        single = torch.stack([op.matvec(c) for c in columns.T], dim=1)
        assert relative(batched, single) <= EXACT


def test_unused_parameters_are_exact_zeros_after_they_were_moved():
    objective = FunctionObjective(lambda a, b: (a**4).sum(), a=torch.ones(2).double(), b=torch.ones(3).double())
    op = LayerHessian(objective, Parameters("b", ("b",)))
    assert "does not use" in op.zero
    assert not matrix_of(op).any()
    both = LayerHessian(objective, objective.block())
    assert both.zero == ""
    assert torch.equal(matrix_of(both), torch.diag(torch.tensor([12.0, 12, 0, 0, 0]).double()))


def test_a_cut_graph_is_refused_not_taken_for_zero():
    objective = FunctionObjective(lambda a, b: (a * b.detach()).sum() ** 2, a=torch.ones(3), b=torch.ones(3))
    with pytest.raises(SecondDerivativeError, match=r"'b'.*detach"):
        LayerHessian(objective, Parameters("layer", ("b",))).matvec(torch.ones(3))


class _NoSlope(torch.autograd.Function):
    """x³ whose gradient is computed out of autograd's sight."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, upstream):
        (x,) = ctx.saved_tensors
        return upstream * 3 * x.detach() ** 2


def test_a_gradient_that_only_looks_constant_is_refused():
    objective = FunctionObjective(lambda a: _NoSlope.apply(a).sum(), a=torch.ones(3).double())
    with pytest.raises(SecondDerivativeError, match="constant"):
        LayerHessian(objective, objective.block()).matvec(torch.ones(3).double())


def test_gradient_constant_in_the_layer_is_an_exact_zero():
    objective = FunctionObjective(lambda a: (a * torch.arange(3.0).double()).sum(), a=torch.ones(3).double())
    op = LayerHessian(objective, objective.block())
    assert "linear" in op.zero
    assert not op.matvec(torch.ones(3).double()).any()
    assert not op.matmat(torch.eye(3).double()).any()


def test_reentrant_checkpointing_is_never_a_zero():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = nn.Linear(6, 3)

        def forward(self, x):
            return checkpoint(self.inner, x, use_reentrant=True)

    objective = NetObjective(Net().double(), classes(), nn.CrossEntropyLoss())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch says that no input requires a gradient
        with pytest.raises(SecondDerivativeError, match="use_reentrant=False"):
            LayerHessian(objective, objective.block()).matvec(torch.ones(21).double())


def test_an_operation_without_second_derivative_is_named():
    x = torch.randn(2, 3, 4, 8, dtype=torch.float64)

    def attention(w):
        return torch.nn.functional.scaled_dot_product_attention(x * w, x, x).square().sum()

    objective = FunctionObjective(attention, w=torch.ones(8).double())
    with pytest.raises(SecondDerivativeError, match="attention"):
        LayerHessian(objective, objective.block()).matvec(torch.ones(8).double())


def test_tied_names_are_one_set_of_coordinates():
    shared = torch.tensor([1.0, 2.0]).double()
    objective = FunctionObjective(lambda a, b: (a**2 * b).sum(), a=shared, b=shared)
    op = LayerHessian(objective, objective.block())
    assert op.size == 2
    assert torch.allclose(matrix_of(op), torch.diag(6 * shared))  # (w³)'' = 6w


def test_small_graph_memory_changes_nothing_but_time():
    objective = NetObjective(mlp(), classes(cuts=(3, 9, 15)), nn.CrossEntropyLoss())
    block = objective.block("2.")
    roomy, tight = LayerHessian(objective, block), LayerHessian(objective, block, graph_bytes=1)
    v = torch.ones(roomy.size).double()
    assert torch.equal(roomy.matvec(v), tight.matvec(v))
    assert len(roomy._graphs) == 4
    assert len(tight._graphs) == 1


def test_graph_bytes_cover_the_layer_only():
    objective = NetObjective(mlp(sizes=(6, 64, 64, 3)), classes(examples=200), nn.CrossEntropyLoss())
    first, last = (LayerHessian(objective, objective.block(prefix)).graph_bytes for prefix in ("0.", "4."))
    assert 0 < last < first


def test_nothing_is_left_on_the_model():
    net = mlp()
    objective = NetObjective(net, classes(), nn.CrossEntropyLoss())
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    LayerHessian(objective, objective.block("2.")).matvec(torch.ones(24).double())
    for name, p in net.named_parameters():
        assert p.grad is None
        assert torch.equal(p, before[name])


def test_ggn_needs_outputs():
    _, objective = quadratic()
    with pytest.raises(UnsupportedError, match="curvature='hessian'"):
        LayerGGN(objective, objective.block())


def test_wrong_shape_is_refused():
    _, objective = quadratic()
    with pytest.raises(UnsupportedError, match="5 parameters"):
        LayerHessian(objective, objective.block()).matvec(torch.ones(4).double())

"""Spectra of all layers at once: against dense matrices, in pieces of any size, and whoever stops half-way."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from curvature.objectives import NetObjective, classes, gauss_newton, hessian, mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor import factor_rows, factor_spectra
from lhexplore.curvature.factor.gram import BLOCKS, SMALL, add_product, solve
from lhexplore.curvature.layers import whole_network
from lhexplore.curvature.operators import LayerHessian
from lhexplore.curvature.replica import Replica
from lhexplore.errors import NotFiniteError, SecondDerivativeError, UnsupportedError

EXACT = (
    1e-10  # float64 eigenvalues, of the largest: a Gram matrix has twice the digits' worth of rounding of its factor
)
IDENTITY = 1e-12  # sums of squares in another order
POWER = 1e-6  # what power iteration is stopped at
MEMORY = 2**28


class Net(nn.Module):
    """Convolutions, batch norms, a residual connection, pooling, linear layers; piecewise linear."""

    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.act, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(2)
        self.conv3 = nn.Conv2d(4, 6, 3, stride=2, groups=2)
        self.fc = nn.Linear(6, classes)

    def forward(self, x):
        x = self.act(self.bn1(self.conv1(x)))
        x = self.act(self.bn2(self.conv2(x)) + x)
        return self.fc(self.act(self.conv3(self.pool(x))).mean((2, 3)))


def net(dtype=torch.float64, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = Net()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.data.uniform_(0.5, 1.5)
                module.bias.data.normal_(0, 0.3)
        return model.to(dtype).eval()


def images(*cuts, examples=12, seed=1, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, 2, 8, 8, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(0, 3, (examples,), generator=generator)
    edges = [0, *cuts, examples]
    return [(x[a:b], y[a:b]) for a, b in pairwise(edges)]


def replica_of(model, batches, criterion=None, dtype=torch.float64):
    return Replica(model, criterion or nn.CrossEntropyLoss(), freeze(batches), dtype=dtype)


def spectra(replica, layers=None, *, memory=MEMORY, **how):
    steps = factor_spectra(replica, layers or replica.layers, memory=memory, **how)
    return {step.result.layer: step.result for step in steps if step.result}


def padded(result):
    return np.concatenate([np.zeros(result.size - len(result.eigenvalues)), result.eigenvalues])


def assert_spectrum(result, matrix, *, limit=EXACT):
    truth = torch.linalg.eigvalsh((matrix + matrix.T) / 2).numpy()
    assert np.abs(padded(result) - truth).max() <= limit * truth[-1]
    assert result.trace == pytest.approx(float(matrix.trace()), rel=IDENTITY)
    assert result.frobenius == pytest.approx(float(matrix.norm()), rel=IDENTITY)


# ---- against dense matrices


@pytest.mark.parametrize("cuts", [(), (5,), (1, 8)], ids=["one micro-batch", "two", "three ragged ones"])
def test_all_layers_of_a_piecewise_linear_network_are_the_hessians(cuts):
    model, batches = net(), images(*cuts)
    replica = replica_of(model, batches)
    found = spectra(replica)
    oracle = NetObjective(model, batches, nn.CrossEntropyLoss())
    for layer in replica.layers:
        assert_spectrum(found[layer.name], hessian(oracle, layer))
        assert not found[layer.name].fallback
        assert found[layer.name].rows == 12 * 2


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU])
def test_where_the_network_is_smooth_it_is_the_gauss_newton_matrix(activation):
    model, batches = mlp(activation), classes(cuts=(7,))
    oracle = NetObjective(model, batches, nn.CrossEntropyLoss())
    replica = replica_of(model, batches)
    for name, result in spectra(replica).items():
        assert_spectrum(result, gauss_newton(oracle, oracle.block(f"{name}.")))


@pytest.mark.parametrize("cuts", [(), (4,)])
def test_the_whole_network_beside_its_layers(cuts):
    model, batches = net(), images(*cuts)
    replica = replica_of(model, batches)
    whole = whole_network(replica.layers)
    found = spectra(replica, [*replica.layers, whole])
    oracle = NetObjective(model, batches, nn.CrossEntropyLoss())
    assert_spectrum(found[whole.name], gauss_newton(oracle, oracle.block()))
    assert sum(found[layer.name].trace for layer in replica.layers) == pytest.approx(found[whole.name].trace, rel=1e-12)


def test_tied_tensors_belong_to_the_whole_network_once():
    model = mlp(nn.ReLU, sizes=(4, 4, 4, 3))
    model[2].weight = model[0].weight
    batches = classes(features=4, cuts=(9,))
    replica = replica_of(model, batches)
    whole = whole_network(replica.layers)
    oracle = NetObjective(model, batches, nn.CrossEntropyLoss())
    found = spectra(replica, [layer for layer in replica.layers if layer.status == "ok"] + [whole])
    assert_spectrum(found[whole.name], gauss_newton(oracle, oracle.block()))
    assert found["0"].size == whole.size - 4 - 15


def test_the_largest_eigenvalue_is_that_of_exact_products():
    replica = replica_of(net(), images(7))
    for layer in replica.layers:
        op = LayerHessian(replica, layer)
        v = torch.ones(op.size, dtype=op.dtype)
        value, before = 0.0, math.inf
        for _ in range(2000):
            product = op.matvec(v / v.norm())
            before, value, v = value, float(product @ v / v.norm()), product
            if abs(value - before) <= 1e-14 * value:
                break
        assert spectra(replica, [layer])[layer.name].eigenvalues[-1] == pytest.approx(value, rel=POWER)


@pytest.mark.parametrize("cuts", [(), (2, 3)])
@pytest.mark.parametrize("memory", [1, MEMORY])
def test_a_table_far_larger_than_the_data(cuts, memory):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc = nn.Embedding(60, 4, padding_idx=3), nn.Linear(4, 3)

        def forward(self, ids):
            return self.fc(torch.relu(self.table(ids)).sum(1))

    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 60, (6, 5), generator=generator)
    ids[:, -2:] = 3
    y = torch.randint(0, 3, (6,), generator=generator)
    batches = [(ids[a:b], y[a:b]) for a, b in pairwise([0, *cuts, 6])]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Words().double()
    oracle = NetObjective(model, batches, nn.CrossEntropyLoss())
    found = spectra(replica_of(model, batches), memory=memory)["table"]
    assert found.rows < found.size
    assert_spectrum(found, gauss_newton(oracle, oracle.block("table.")))


# ---- the two Gram matrices


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99))
def test_both_gram_matrices_have_the_same_eigenvalues(rows, columns, seed):
    m = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, right = torch.full((rows, rows), math.nan), torch.full((columns, columns), math.nan)
    left, right = left.double(), right.double()
    add_product(left, m, fresh=True)
    add_product(right, m.T, fresh=True)
    one, other, k = solve(left), solve(right), min(rows, columns)
    assert np.abs(one.eigenvalues[-k:] - other.eigenvalues[-k:]).max() <= EXACT * one.eigenvalues[-1]
    assert one.eigenvalues.min() >= 0
    assert other.eigenvalues.min() >= 0
    assert one.trace == pytest.approx(float(m.square().sum()), rel=IDENTITY)
    assert one.frobenius == pytest.approx(float((m @ m.T).norm()), rel=IDENTITY)
    assert other.frobenius == pytest.approx(one.frobenius, rel=IDENTITY)


@pytest.mark.parametrize("size", [SMALL, SMALL + 1, BLOCKS * SMALL + 3])
def test_the_upper_blocks_suffice(size):
    m = torch.randn(size, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    total = torch.full((size, size), math.nan, dtype=torch.float64)
    add_product(total, m, fresh=True)
    add_product(total, 2 * m, fresh=False)
    expected = torch.linalg.svdvals(m).square().flip(0) * 5
    found = solve(total)
    assert np.abs(found.eigenvalues[-7:] - expected.numpy()).max() <= EXACT * float(expected[-1])
    assert found.eigenvalues[:-7].max() <= EXACT * float(expected[-1])


def test_rank_is_at_most_one_less_than_the_classes_per_example():
    replica = replica_of(net(), images(2, examples=4))
    for result in spectra(replica).values():
        assert result.rows == 4 * 2
        assert len(result.eigenvalues) == min(result.size, result.rows)
        rows = torch.cat([factor_rows(replica, i, replica.layers)[result.layer] for i in range(2)])
        assert rows.shape == (result.rows, result.size)
        assert result.trace == pytest.approx(float(rows.square().sum()), rel=IDENTITY)
        assert result.frobenius == pytest.approx(float((rows @ rows.T).norm()), rel=IDENTITY)


# ---- memory, order, stopping


@pytest.mark.parametrize("cuts", [(), (5,)])
@pytest.mark.parametrize("memory", [1, 5_000, 50_000])
def test_little_memory_gives_the_same_numbers(memory, cuts):
    replica = replica_of(net(), images(*cuts))
    layers = [*replica.layers, whole_network(replica.layers)]
    plenty, little = spectra(replica, layers), spectra(replica, layers, memory=memory)
    assert plenty.keys() == little.keys()
    for name, result in plenty.items():
        assert np.abs(little[name].eigenvalues - result.eigenvalues).max() <= IDENTITY * result.eigenvalues[-1]


def test_layers_come_out_as_soon_as_their_gradients_are_known():
    replica = replica_of(mlp(nn.ReLU), classes())
    names = [step.result.layer for step in factor_spectra(replica, replica.layers, memory=1) if step.result]
    assert names == ["4", "2", "0"]


@pytest.mark.parametrize("cuts", [(), (5,)])
@pytest.mark.parametrize("memory", [1, MEMORY])
def test_progress_grows_to_its_total(cuts, memory):
    replica = replica_of(net(), images(*cuts))
    steps = list(factor_spectra(replica, replica.layers, memory=memory))
    assert [step.done for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].done == steps[-1].total
    assert all(step.done <= step.total for step in steps)
    assert sum(step.result is not None for step in steps) == len(replica.layers)


@pytest.mark.parametrize("pulls", [0, 1, 3, 5])
def test_closing_it_at_any_point_leaves_nothing_behind(untouched, pulls):
    model = net()
    replica = replica_of(model, images(5))
    with untouched(model, replica.model):
        steps = factor_spectra(replica, replica.layers, memory=MEMORY)
        for _ in range(pulls):
            next(steps)
        steps.close()
    assert spectra(replica)["fc"].rows == 24


def test_between_two_steps_no_switch_is_held(untouched):
    model = net()
    replica = replica_of(model, images())
    steps = factor_spectra(replica, replica.layers, memory=1)
    done = False
    while not done:
        with untouched(model, replica.model):
            done = next(steps, None) is None


def test_a_failing_forward_leaves_no_hook_behind(untouched):
    model = net()
    replica = replica_of(model, images())
    replica.model.fc.forward = lambda x: 1 / 0
    with untouched(replica.model), pytest.raises(Exception, match="division"):
        spectra(replica)


# ---- losses, labels, sizes


def test_one_class_and_labels_that_are_ignored_leave_nothing():
    model, (batch,) = net(), images()
    x, y = batch
    masked = [(x[:6], y[:6]), (x[6:], torch.full((6,), -100))]
    found = spectra(replica_of(model, masked))
    alone = spectra(replica_of(model, masked[:1]))
    for name, result in alone.items():
        assert np.allclose(found[name].eigenvalues, result.eigenvalues, rtol=1e-12)
    single = spectra(replica_of(Net(classes=1).double(), [(x, torch.zeros(12, dtype=torch.long))]))
    assert all(len(result.eigenvalues) == result.trace == result.rows == 0 for result in single.values())


def test_one_parameter_one_example():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)).double()
    x, y = torch.tensor([[2.0]]).double(), torch.tensor([[1.0]]).double()
    found = spectra(replica_of(model, [(x, y)], nn.MSELoss()))
    a, b = (float(layer.weight.detach()) for layer in model)
    assert found["0"].eigenvalues == pytest.approx([2 * (2 * b) ** 2])
    assert found["1"].eigenvalues == pytest.approx([2 * (2 * a) ** 2])


@pytest.mark.parametrize("criterion", [nn.MSELoss(), nn.BCEWithLogitsLoss(), nn.HuberLoss()], ids=str)
def test_other_losses(criterion):
    model, (batch,) = net(), images()
    y = torch.rand(12, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    batches = [(batch[0][:7], y[:7]), (batch[0][7:], y[7:])]
    oracle = NetObjective(model, batches, criterion)
    replica = replica_of(model, batches, criterion)
    for layer, result in zip(replica.layers, spectra(replica).values(), strict=True):
        assert_spectrum(spectra(replica, [layer])[layer.name], hessian(oracle, layer))
        assert result.rows <= 12 * 3


class Partly(nn.Module):
    """A layer that nothing depends on, and one that is cut off."""

    def __init__(self, *, cut):
        super().__init__()
        self.used, self.other, self.cut = nn.Linear(4, 3), nn.Linear(4, 3), cut

    def forward(self, x):
        return self.used(x) + (self.other(x).detach() if self.cut else 0)


def test_a_layer_that_nothing_depends_on_is_zero():
    found = spectra(replica_of(Partly(cut=False).double(), classes(features=4, cuts=(5,))))
    assert found["other"].trace == 0
    assert (found["other"].eigenvalues == 0).all()
    assert found["used"].trace > 0


def test_a_layer_that_is_cut_off_is_refused():
    with pytest.raises(SecondDerivativeError, match=r"other\.weight"):
        spectra(replica_of(Partly(cut=True).double(), classes(features=4)))


def test_examples_that_depend_on_each_other_are_refused():
    class Coupled(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.fc = nn.Parameter(torch.ones(4)), nn.Linear(4, 3)

        def forward(self, x):
            return self.fc(x * self.mix - (x * self.mix).mean(0))

    with pytest.raises(UnsupportedError, match="depend on the other examples"):
        spectra(replica_of(Coupled().double(), classes(features=4)))


def test_nan_in_a_gradient_is_named():
    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(4, 3, bias=False), nn.Linear(3, 3)

        def forward(self, x):
            return self.out(self.fc(0 * x).square().sqrt())

    with pytest.raises(NotFiniteError, match="'fc'"):
        spectra(replica_of(Root().double(), classes(features=4)))


# ---- single precision


@pytest.mark.parametrize("seed", range(4))
def test_the_stated_error_covers_single_precision(seed):
    model, batches = net(seed=seed), images(5, seed=seed)
    truth = spectra(replica_of(model, batches))
    found = spectra(replica_of(model, batches, dtype=torch.float32))
    for name, result in found.items():
        gap = np.abs(result.eigenvalues - truth[name].eigenvalues).max()
        assert 0 < gap <= result.residual
        assert result.residual <= 1e-4 * result.eigenvalues[-1]


@pytest.mark.cross_library
@pytest.mark.filterwarnings("ignore")
def test_curvlinops_has_the_same_matrix():
    curvlinops = pytest.importorskip("curvlinops", reason="another library to compare with")
    model, batches = net(), images(4, 8)  # equal batches, so that its average over batches is ours
    for name, result in spectra(replica_of(model, batches)).items():
        parameters = list(model.get_submodule(name).parameters())
        op = curvlinops.GGNLinearOperator(model, nn.CrossEntropyLoss(), parameters, batches, check_deterministic=False)
        assert_spectrum(result, op @ torch.eye(result.size, dtype=torch.float64))

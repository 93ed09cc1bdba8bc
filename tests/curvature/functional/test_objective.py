"""Local functionals as objectives: the numbers, what is held fixed, and what is refused."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curvature.functional.cases import (
    block_hessian,
    conv_net,
    conv_truth,
    data,
    dense_net,
    dense_truth,
    layer_of,
    reduced,
    replica_of,
    seeded,
    used,
)
from curvature.objectives import matrix_of
from torch import nn

from lhexplore.curvature.engine import measure
from lhexplore.curvature.functional import Grouping, as_functional, groups, local_objective
from lhexplore.curvature.layers import whole_network
from lhexplore.curvature.operators import LayerGGN, LayerHessian, Objective
from lhexplore.errors import LossError, NotFiniteError, SecondDerivativeError, SettingError, UnsupportedError

EXACT = 1e-12  # float64, relative to the matrix: two ways of adding up a few hundred terms
TINY = 1e-14  # what is zero in exact arithmetic
SINGLE = 1e-5  # float32
STEP = 1e-6  # of central differences in float64: rounding / step and step² are both far below DIFFERENCE
DIFFERENCE = 1e-6


def matrix(replica, name, functional, grouping=None, *, curvature=LayerHessian):
    layer = layer_of(replica, name)
    return matrix_of(curvature(local_objective(replica, layer, functional, grouping), layer))


def gap(found, expected):
    return float((found - expected).norm() / expected.norm())


def last_spectrum(objective, layer, **settings):
    *_, step = measure(objective, layer, label=layer.name, snapshot="now", **settings)
    return step.spectrum


ELU_IN_PLACE = partial(nn.ELU, inplace=True)


def two_norms(a):
    return a.norm() + a[0] * a[1]


@pytest.mark.parametrize("functional", ["sum", "half_square", two_norms, lambda a: a.logsumexp(0)])
@pytest.mark.parametrize("activation", [nn.Tanh, ELU_IN_PLACE])
def test_ragged_micro_batches_add_up_to_the_mean_over_examples(activation, functional):
    model = dense_net(activation, norm=True)
    plain = dense_net(nn.ELU if activation is ELU_IN_PLACE else activation, norm=True)
    truth = dense_truth(plain, data((6,)), functional)
    for cuts in ((), (6,), (1, 2, 12)):
        replica = replica_of(model, data((6,), cuts=cuts))
        objective = local_objective(replica, layer_of(replica, "fc"), functional)
        assert isinstance(objective, Objective)
        assert objective.count == len(cuts) + 1
        assert sum(objective.shares) == pytest.approx(1, abs=1e-15)
        assert gap(matrix(replica, "fc", functional), truth) <= EXACT


def test_convolutions_blocks_through_double_backward():
    model = conv_net(lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.SiLU, norm=True)
    batches = data((2, 5, 5), examples=5, cuts=(2,))
    replica = replica_of(model, batches)
    assert gap(matrix(replica, "conv", "half_square"), conv_truth(model, batches, "half_square")) <= EXACT


def test_a_callable_against_a_hessian_by_hand():
    # Of a linear block a = W x + b: f(a) = a0 a1 + a2²/2 has ∂²f = [[0, 1, 0], [1, 0, 0], [0, 0, 1]].
    model = nn.Sequential(nn.Linear(4, 3)).double()
    (batch,) = data((4,))
    x = torch.cat([batch[0], torch.ones(13, 1).double()], 1)
    second = torch.tensor([[0.0, 1, 0], [1, 0, 0], [0, 0, 1]]).double()
    by_neuron = torch.kron(second, x.T @ x / 13)  # neuron by neuron: weights, then the bias
    order = [5 * j + i for j in range(3) for i in range(4)] + [5 * j + 4 for j in range(3)]
    replica = replica_of(model, [batch])
    assert gap(matrix(replica, "0", lambda a: a[0] * a[1] + a[2] ** 2 / 2), by_neuron[order][:, order]) <= EXACT


def test_callables_that_cannot_be_batched_are_called_example_by_example():
    model, batches = dense_net(nn.Tanh), data((6,), cuts=(5,))
    replica = replica_of(model, batches)

    def branching(a):
        return a.square().sum() if float(a.detach()[0]) > 0 else a.exp().sum()

    layer = layer_of(replica, "fc")
    assert not local_objective(replica, layer, branching).functional.batched
    assert local_objective(replica, layer, two_norms).functional.batched
    assert gap(matrix(replica, "fc", branching), dense_truth(model, batches, branching)) <= EXACT


def test_what_a_callable_captured_is_brought_to_the_replicas_dtype():
    model, weights = dense_net(nn.Tanh), torch.linspace(0, 1, 5)
    batches = data((6,))
    replica = replica_of(model, batches)
    found = matrix(replica, "fc", lambda a: (weights @ a) ** 2)
    truth = dense_truth(model, batches, lambda a: (weights.double() @ a) ** 2)
    assert gap(found, truth) <= EXACT
    assert weights.dtype == torch.float32


@pytest.mark.parametrize("activation", [nn.ReLU, nn.LeakyReLU, nn.Identity])
def test_the_sum_of_a_piecewise_linear_block_has_no_curvature(activation):
    replica = replica_of(dense_net(activation, norm=True), data((6,)))
    objective = local_objective(replica, layer_of(replica, "fc"), "sum")
    assert not matrix(replica, "fc", "sum").any()
    assert "piecewise linear" in objective.zero
    for method in ("dense", "lanczos"):
        spectrum = last_spectrum(objective, layer_of(replica, "fc"), method=method)
        assert spectrum.exact
        assert spectrum.largest == spectrum.smallest == 0
        assert any("piecewise linear" in note for note in spectrum.notes)


def test_the_sum_after_a_softmax_has_no_curvature():
    model = nn.Sequential(nn.Linear(4, 5), nn.Softmax(1), nn.Linear(5, 3)).double()
    replica = replica_of(model, data((4,)))
    layer = layer_of(replica, "0")
    edited = replace(groups(replica, [layer])["0"], activation="1")
    assert float(matrix(replica, "0", "sum", edited).norm()) <= TINY
    assert "softmax" in local_objective(replica, layer, "sum", edited).zero
    assert float(matrix(replica, "0", lambda a: a.softmax(0).sum()).norm()) <= TINY


def test_the_sum_of_a_smooth_block_tells_the_sign_of_the_bend():
    for activation, sign in ((nn.Softplus, 1), (nn.LogSigmoid, -1)):
        replica = replica_of(dense_net(activation), data((6,)))
        objective = local_objective(replica, layer_of(replica, "fc"), "sum")
        values = sign * torch.linalg.eigvalsh(matrix(replica, "fc", "sum"))
        assert float(values.min()) >= -TINY
        assert objective.zero == ""
        assert any("sign of σ″" in note for note in objective.notes)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh])
def test_the_gauss_newton_part_of_the_half_square_is_the_matching_matrix(activation, norm):
    # Σ_b JᵀJ with the block's outputs' Jacobian, row by row: the Hessian of ½‖target − a‖² at the match.
    model, batches = dense_net(activation, norm=norm), data((6,), cuts=(4,))
    replica = replica_of(model, batches)
    z = torch.tanh(model.stem(torch.cat([x for x, _ in batches]))).detach()
    leaves = [p.detach().clone().requires_grad_() for p in model.fc.parameters()]
    a = model.eval().act(model.bn(z @ leaves[0].T + leaves[1]))
    rows = [torch.autograd.grad(entry, leaves, retain_graph=True) for entry in a.reshape(-1)]
    jacobian = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
    ggn = matrix(replica, "fc", "half_square", curvature=LayerGGN)
    assert gap(13 * ggn, jacobian.T @ jacobian) <= EXACT
    hessian = matrix(replica, "fc", "half_square")
    if activation is nn.ReLU:
        assert gap(hessian, ggn) <= EXACT
    else:
        assert gap(hessian, ggn) > 0.05


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("functional", ["half_square", "sum", two_norms])
def test_spectra_end_to_end(functional, dtype):
    model, batches = dense_net(nn.Tanh, norm=True), data((6,), cuts=(5, 9))
    truth = torch.linalg.eigvalsh(dense_truth(model, batches, functional)).numpy()
    replica = replica_of(model, batches, dtype=dtype)
    layer = layer_of(replica, "fc")
    objective = local_objective(replica, layer, functional)
    scale = np.abs(truth).max()
    exact = last_spectrum(objective, layer, method="dense")
    tolerance = EXACT if dtype == torch.float64 else SINGLE
    assert np.abs(exact.eigenvalues - truth).max() <= tolerance * scale
    assert not exact.psd
    estimate = last_spectrum(objective, layer, method="lanczos", steps=25, probes=2)
    assert abs(estimate.largest - truth[-1]) <= 10 * tolerance * scale
    assert abs(estimate.smallest - truth[0]) <= 10 * tolerance * scale
    assert any(note.startswith("Block: fc → bn → act") for note in exact.notes)


def test_half_squares_of_piecewise_linear_blocks_are_positive_by_structure():
    replica = replica_of(dense_net(nn.ReLU), data((6,)))
    layer = layer_of(replica, "fc")
    objective = local_objective(replica, layer, "half_square")
    assert last_spectrum(objective, layer, method="dense").psd
    assert last_spectrum(objective, layer, method="dense", curvature="ggn").psd


def other_blocks():
    """Modules that are blocks themselves, with their output as a function of their parameters, and their inputs."""
    yield "bn", used(nn.BatchNorm1d(4)), lambda m, z, w, b: F.batch_norm(z, m.running_mean, m.running_var, w, b)
    yield "ln", nn.LayerNorm(4), lambda m, z, w, b: F.layer_norm(z, (4,), w, b)
    yield "gn", nn.GroupNorm(2, 4), lambda m, z, w, b: F.group_norm(z, 2, w, b)
    yield "bilinear", nn.Bilinear(4, 4, 4), lambda m, z, w, b: F.bilinear(z, z, w, b)


@pytest.mark.parametrize("name", ["bn", "ln", "gn", "bilinear"])
def test_other_modules_as_blocks(name):
    _, module, function = next(case for case in other_blocks() if case[0] == name)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.block, self.head = nn.Linear(6, 4), module, nn.Linear(4, 3)

        def forward(self, x):
            z = self.stem(x)
            return self.head(F.gelu(self.block(z, z) if name == "bilinear" else self.block(z)))

    model = seeded(Net).double()
    batches = data((6,), cuts=(5,))
    z = model.stem(torch.cat([x for x, _ in batches])).detach()
    truth = block_hessian(
        lambda w, b: reduced("half_square", F.gelu(function(module, z, w, b))) / 13, list(module.parameters())
    )
    replica = replica_of(model, batches)
    assert groups(replica, [layer_of(replica, "block")])["block"].activation == "F.gelu"
    assert gap(matrix(replica, "block", "half_square"), truth) <= EXACT


def test_embeddings_as_blocks():
    model = seeded(lambda: nn.Sequential(nn.Embedding(5, 3), nn.Tanh(), nn.Flatten(), nn.Linear(6, 3))).double()
    x, y = torch.randint(0, 4, (6, 2)), torch.randint(0, 3, (6,))  # row 4 is never looked up
    replica = replica_of(model, [(x, y)])
    truth = block_hessian(lambda w: torch.tanh(w[x]).square().sum() / 2 / 6, [model[0].weight])
    assert gap(matrix(replica, "0", "half_square"), truth) <= EXACT
    assert not truth[-3:].any()


def test_a_module_that_is_called_twice_sums_over_its_calls_with_their_inputs_fixed():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(torch.tanh(self.fc(torch.tanh(self.fc(x)))))

    model = seeded(Net).double()
    batches = data((4,), cuts=(5,))
    x = torch.cat([x for x, _ in batches])
    hidden = torch.tanh(model.fc(x)).detach()

    for functional in ("half_square", two_norms):
        truth = block_hessian(
            lambda w, b, f=functional: sum(reduced(f, torch.tanh(z @ w.T + b)) for z in (x, hidden)) / 13,
            list(model.fc.parameters()),
        )
        replica = replica_of(model, batches)
        assert gap(matrix(replica, "fc", functional), truth) <= EXACT
    layer = layer_of(replica, "fc")
    objective = local_objective(replica, layer, "half_square")
    assert any("called 2 times" in note for note in objective.notes)
    ggn = matrix(replica, "fc", "half_square", curvature=LayerGGN)
    assert float(torch.linalg.eigvalsh(ggn).min()) >= -TINY
    with pytest.raises(UnsupportedError, match="GGN"):
        LayerGGN(local_objective(replica, layer, two_norms), layer)


def test_a_block_that_writes_into_its_input():
    class Doubling(nn.Linear):
        def forward(self, x):
            return torch.tanh(super().forward(x.mul_(2)))

    model = nn.Sequential(nn.Linear(6, 4), Doubling(4, 4), nn.Linear(4, 3)).double()
    (batch,) = data((6,))
    replica = replica_of(model, [batch])
    z = 2 * model[0](batch[0]).detach()
    truth = block_hessian(lambda w, b: torch.tanh(z @ w.T + b).square().sum() / 26, list(model[1].parameters()))
    layer = layer_of(replica, "1")
    objective = local_objective(replica, layer, "half_square")
    for _ in range(2):
        assert gap(matrix_of(LayerHessian(objective, layer, graph_bytes=0)), truth) <= EXACT


def test_inputs_are_those_before_later_layers_wrote_into_them():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.fc, self.head = nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3)

        def forward(self, x):
            z = self.stem(x)
            a = torch.tanh(self.fc(z))
            return self.head(a + z.relu_().detach())

    model = seeded(Net).double()
    (batch,) = data((6,))
    z = model.stem(batch[0]).detach()
    truth = block_hessian(lambda w, b: torch.tanh(z @ w.T + b).square().sum() / 26, list(model.fc.parameters()))
    replica = replica_of(model, [batch])
    assert gap(matrix(replica, "fc", "half_square"), truth) <= EXACT


@pytest.mark.parametrize("input_bytes", [0, 200, 2**30])
def test_an_objective_stays_with_the_weights_it_was_made_with(input_bytes):
    model, batches = dense_net(nn.Tanh, norm=True), data((6,), cuts=(5, 9))
    other = dense_net(nn.Tanh, norm=True, seed=5)
    replica = replica_of(model, batches)
    layer = layer_of(replica, "fc")
    objective = local_objective(replica, layer, "half_square", input_bytes=input_bytes)
    replica.load(other.state_dict())
    assert gap(matrix_of(LayerHessian(objective, layer)), dense_truth(model, batches, "half_square")) <= EXACT
    assert gap(matrix(replica, "fc", "half_square"), dense_truth(other, batches, "half_square")) <= EXACT


def test_products_run_the_block_alone():
    ran = list[str]()

    class Counting(nn.Linear):
        def forward(self, x):
            ran.append(self.name)
            return super().forward(x)

    model = nn.Sequential(Counting(6, 4), nn.Tanh(), Counting(4, 4), nn.Tanh(), Counting(4, 3))
    for name in ("0", "2", "4"):
        model[int(name)].name = name
    replica = replica_of(model, data((6,), cuts=(5,)))
    layer = layer_of(replica, "2")
    objective = local_objective(replica, layer, "half_square")
    op = LayerHessian(objective, layer, graph_bytes=0)
    ran.clear()
    op.matvec(torch.ones(op.size, dtype=op.dtype))
    assert set(ran) == {"2"}


def test_a_function_of_the_model_is_the_loss_if_it_computes_the_loss():
    model, batches = dense_net(nn.Tanh), data((6,), cuts=(5, 9))
    replica = replica_of(model, batches)
    for layer in (layer_of(replica, "fc"), whole_network(replica.layers)):
        objective = local_objective(replica, layer, lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
        expected = matrix_of(LayerHessian(replica, layer))
        assert gap(matrix_of(LayerHessian(objective, layer)), expected) <= EXACT
        assert any("read as f(model, batch)" in note for note in objective.notes)
    assert objective.loss.splits is False


@pytest.mark.parametrize(
    ("functional", "form"),
    [
        (lambda a: a.sum(), "block"),
        (lambda a, power=2: a.pow(power).sum(), "block"),
        (torch.sum, "block"),
        (nn.Flatten(0), "block"),
        (lambda model, batch: model(batch[0]).sum(), "model"),
        (lambda net, data: net(data[0]).sum(), "model"),
        ("sum", "sum"),
        ("half_square", "half_square"),
    ],
)
def test_how_functionals_are_read(functional, form):
    read = as_functional(functional)
    assert read.form == form
    assert as_functional(read) is read
    assert (read.function is None) == (form in ("sum", "half_square"))


@pytest.mark.parametrize(
    ("functional", "why"),
    [
        ("half-square", "Did you mean 'half_square'"),
        ("loss", "is the loss itself"),
        (3, "got 3"),
        (nn.Linear, "the class Linear itself"),
        (lambda: 0, "takes 0 arguments"),
        (lambda a, b, c: 0, "takes 3 arguments"),
    ],
)
def test_what_is_no_functional(functional, why):
    with pytest.raises(SettingError, match=why):
        as_functional(functional)


@pytest.mark.parametrize(
    ("functional", "error", "why"),
    [
        (lambda a: a, LossError, r"returned a tensor \[5\]"),
        (lambda a: None, LossError, "returned None for one example"),
        (lambda a: a.detach().sum().item(), LossError, "the float"),
        (lambda a: a.detach().sum(), LossError, "without a graph"),
        (lambda a: a.argmax(), LossError, "expected one real number"),
        (lambda a: a[7], LossError, "failed on one example's block output"),
        (lambda a: (a.sum() - a.sum()) / (a.sum() - a.sum()), NotFiniteError, "is nan on batch 0"),
        (lambda a: a.sum() + a[0].detach() * float("inf"), NotFiniteError, "the block's input is finite"),
        (lambda model, batch: torch.zeros(()), LossError, "without a graph"),
        (lambda model, batch: model(batch[0]), LossError, r"returned a tensor \[13, 3\]"),
        (lambda model, batch: model(batch[1]), LossError, "failed on batch 0"),
        (lambda model, batch: torch.ones((), requires_grad=True) * 2, LossError, "does not depend on the weights"),
    ],
)
def test_callables_that_give_no_scalar(functional, error, why):
    replica = replica_of(dense_net(nn.Tanh), data((6,)))
    layer = layer_of(replica, "fc")
    with pytest.raises(error, match=why):
        last_spectrum(local_objective(replica, layer, functional), layer)


def test_the_whole_network_has_no_block():
    replica = replica_of(dense_net(nn.Tanh), data((6,)))
    with pytest.raises(SettingError, match="whole network"):
        local_objective(replica, whole_network(replica.layers), "half_square")


def test_callables_need_outputs_by_example():
    model = nn.Sequential(
        nn.Flatten(0, 1), nn.Linear(4, 3), nn.Tanh(), nn.Unflatten(0, (-1, 2)), nn.Flatten(1), nn.Linear(6, 3)
    )
    replica = replica_of(model, data((2, 4)))
    with pytest.raises(LossError, match="does not run over examples"):
        local_objective(replica, layer_of(replica, "1"), lambda a: a.norm())
    assert matrix(replica, "1", "half_square").any()


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


def test_operations_without_a_second_derivative_are_named():
    replica = replica_of(nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)), data((4,)))
    layer = layer_of(replica, "0")

    def once(a):
        return Once.apply(a).sum()

    with pytest.raises(SecondDerivativeError, match=r"Once.* in once of the block 0 → 1"):
        last_spectrum(local_objective(replica, layer, once), layer)
    pooled = local_objective(replica, layer, lambda a: torch.cdist(a[None], a[None] + 1).sum())
    with pytest.raises(SecondDerivativeError, match="An operation in <lambda> of the block 0"):
        last_spectrum(pooled, layer)


def test_float32_is_judged_by_float64_of_the_same_block():
    replica = replica_of(dense_net(nn.Tanh).float(), data((6,), dtype=torch.float32), dtype=torch.float32)
    layer = layer_of(replica, "fc")
    for functional in ("half_square", two_norms, lambda model, batch: model(batch[0]).square().mean()):
        objective = local_objective(replica, layer, functional)
        wide = objective.wide_batch(0)
        assert wide.dtype == torch.float64
        narrow, full = (matrix_of(LayerHessian(o, layer)).double() for o in (objective, wide))
        assert gap(narrow, full) <= SINGLE


def test_nothing_of_the_users_changes(untouched):
    model = dense_net(lambda: nn.ReLU(inplace=True), norm=True)
    weights = torch.ones(5)

    def weighted(a):
        return (weights * a).square().sum()

    replica = replica_of(model, data((6,), cuts=(4,)))
    layer = layer_of(replica, "fc")
    with untouched(model, replica.model):
        for functional in ("half_square", weighted):
            last_spectrum(local_objective(replica, layer, functional), layer)


def test_micro_batches_without_a_call_of_the_layer_are_refused():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large = nn.Linear(4, 3), nn.Linear(4, 3)

        def forward(self, x):
            return self.small(x) if len(x) < 4 else self.large(x)

    replica = replica_of(Net(), data((4,), cuts=(10,)))
    layer = layer_of(replica, "large")
    grouping = Grouping("large")
    with pytest.raises(UnsupportedError, match="not called on micro-batch 1"):
        local_objective(replica, layer, "half_square", grouping)


def test_every_layer_of_unusual_networks_agrees_with_differences_of_its_gradient():
    class Gated(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(6, 1))
            self.conv, self.norm = nn.Conv1d(5, 6, 3, padding=1), nn.GroupNorm(2, 6)
            self.down, self.up = nn.Linear(6, 2), nn.Linear(2, 6)
            self.rnn, self.head = nn.GRU(8, 4, batch_first=True), nn.Linear(10, 3)

        def forward(self, x):
            y = F.relu6(self.norm(self.conv(x)) * self.scale)
            gate = torch.sigmoid(self.up(F.hardswish(self.down(y.mean(2)))))
            return self.head(torch.cat([(y * gate[:, :, None]).mean(2), self.rnn(x)[0][:, -1]], 1))

    def chain():
        weighted = nn.utils.parametrizations.weight_norm(nn.Linear(8, 4))
        return nn.Sequential(weighted, nn.Tanh(), nn.ConvTranspose1d(5, 2, 2), nn.ELU(), nn.Flatten(), nn.Linear(10, 3))

    generator = torch.Generator().manual_seed(0)
    for model in (seeded(Gated).double(), seeded(chain).double()):
        replica = replica_of(model, data((5, 8), examples=4, cuts=(3,)))
        found = groups(replica, replica.layers)
        assert all(grouping.reason == "" for grouping in found.values())
        for layer in replica.layers:
            objective = local_objective(replica, layer, "half_square", found[layer.name])
            leaves = [objective.tensors[name].clone() for name in layer.parameters]
            v = [torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype) for leaf in leaves]
            op = LayerHessian(objective, layer)
            hv = op.matvec(torch.cat([part.reshape(-1) for part in v]))
            slope = (gradient(objective, layer, leaves, v, STEP) - gradient(objective, layer, leaves, v, -STEP)) / (
                2 * STEP
            )
            assert gap(hv, slope) <= DIFFERENCE, layer.name


def gradient(objective, layer, leaves, v, step):
    """The gradient of an objective some way along v."""
    at = [(leaf + step * part).requires_grad_() for leaf, part in zip(leaves, v, strict=True)]
    override = dict(zip(layer.parameters, at, strict=True))
    with objective.guard():
        value = sum(objective.batch_loss(i, override) for i in range(objective.count))
        return torch.cat([part.reshape(-1) for part in torch.autograd.grad(value, at)])

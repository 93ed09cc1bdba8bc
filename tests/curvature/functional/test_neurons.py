"""One small eigenproblem per neuron gives what double backward gives."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from curvature.functional.cases import (
    Square,
    all_eigenvalues,
    conv_net,
    conv_truth,
    data,
    dense_net,
    dense_truth,
    layer_of,
    replica_of,
)
from torch import nn

from lhexplore.curvature.functional import groups, local_objective, neuron_blocks, neuron_steps, neurons
from lhexplore.errors import TooLargeError

EXACT = 1e-13  # float64, relative to the largest eigenvalue: both sides round a few hundred terms
ACTIVATIONS = [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Identity, Square, nn.PReLU]
CONVOLUTIONS = {
    "plain": (partial(nn.Conv2d, 2, 3, 3), (2, 5, 6)),
    "all options": (partial(nn.Conv2d, 4, 6, 3, stride=2, padding=(2, 1), dilation=2, groups=2), (4, 7, 8)),
    "depthwise": (partial(nn.Conv2d, 3, 6, 2, groups=3, bias=False), (3, 4, 4)),
    "circular": (partial(nn.Conv2d, 2, 3, 3, padding=1, padding_mode="circular"), (2, 4, 4)),
    "1d same": (partial(nn.Conv1d, 2, 4, 3, padding="same", dilation=2), (2, 7)),
    "3d": (partial(nn.Conv3d, 2, 2, (2, 1, 2), padding=(1, 0, 1)), (2, 3, 3, 2)),
}


def agree(found, truth):
    expected = torch.linalg.eigvalsh(truth)
    scale = float(expected.abs().max())
    assert not isinstance(found, str), found
    assert float((all_eigenvalues(found) - expected).abs().max()) <= EXACT * scale
    assert abs(found.trace - float(truth.trace())) <= EXACT * float(truth.diagonal().abs().sum())
    assert found.size == len(truth)
    assert found.gap <= EXACT


@pytest.mark.parametrize("functional", ["sum", "half_square"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_dense_neurons_are_autograds_block(activation, norm, functional):
    model, batches = dense_net(activation, norm=norm), data((6,), cuts=(5, 6))
    replica = replica_of(model, batches)
    found = neuron_blocks(replica, layer_of(replica, "fc"), functional)
    agree(found, dense_truth(model, batches, functional))


@pytest.mark.parametrize("functional", ["sum", "half_square"])
@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.Identity, Square])
def test_convolutions_neurons_are_autograds_block(activation, norm, functional):
    make, shape = CONVOLUTIONS["all options"]
    model, batches = conv_net(make, activation, norm=norm), data(shape, examples=5, cuts=(2,))
    replica = replica_of(model, batches)
    found = neuron_blocks(replica, layer_of(replica, "conv"), functional)
    agree(found, conv_truth(model, batches, functional))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_kind_of_convolution(name):
    make, shape = CONVOLUTIONS[name]
    model, batches = conv_net(make, nn.Softplus), data(shape, examples=5, cuts=(2,))
    replica = replica_of(model, batches)
    found = neuron_blocks(replica, layer_of(replica, "conv"), "half_square")
    agree(found, conv_truth(model, batches, "half_square"))


def test_positions_of_a_sequence_are_summed_up():
    model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(15, 3)).double()
    batches = data((5, 4), examples=6, cuts=(4,))
    replica = replica_of(model, batches)
    x = torch.cat([x for x, _ in batches]).reshape(-1, 4)
    z = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    h = z @ torch.cat([model[0].weight, model[0].bias[:, None]], 1).detach().T
    slope, bend = 1 - h.tanh() ** 2, -2 * h.tanh() * (1 - h.tanh() ** 2)
    c = slope**2 + h.tanh() * bend  # by hand, for half the square
    blocks = torch.einsum("pi,pj,pk->jik", z, c, z) / 6
    found = neuron_blocks(replica, layer_of(replica, "0"), "half_square")
    expected = torch.linalg.eigvalsh(blocks).flatten().sort().values
    assert float((all_eigenvalues(found) - expected).abs().max()) <= EXACT * float(expected.abs().max())


def test_fewer_rows_than_inputs_leave_exact_zeros():
    model, batches = dense_net(nn.Tanh, inputs=40, width=3), data((6,), examples=7, cuts=(3,))
    replica = replica_of(model, batches)
    found = neuron_blocks(replica, layer_of(replica, "fc"), "half_square")
    assert len(found.eigenvalues) == 3 * 7  # rank: rows, not inputs
    assert found.size == 3 * 41
    agree(found, dense_truth(model, batches, "half_square"))


def test_neurons_that_are_off_have_no_eigenvalues():
    model, batches = dense_net(nn.ReLU), data((6,))
    with torch.no_grad():
        model.fc.bias[:2] = -100.0
    replica = replica_of(model, batches)
    found = neuron_blocks(replica, layer_of(replica, "fc"), "half_square")
    assert len(found.eigenvalues) == 3 * 5
    agree(found, dense_truth(model, batches, "half_square"))


@pytest.mark.parametrize("bias", [True, False])
def test_only_the_parameters_of_the_layer_count(bias):
    # The weight is tied to an earlier layer and counted there; the bias is the layer's own.
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4, bias=bias), nn.Tanh(), nn.Linear(4, 3)).double()
    model[2].weight = model[0].weight
    batches = data((4,))
    replica = replica_of(model, batches)
    if not bias:
        assert "no parameters" in groups(replica, replica.layers)["2"].reason
        return
    found = neuron_blocks(replica, layer_of(replica, "2"), "half_square")
    h = model[2](model[1](model[0](batches[0][0]))).detach()
    t = h.tanh()
    c = ((1 - t**2) ** 2 - 2 * t**2 * (1 - t**2)).mean(0)
    assert float((torch.from_numpy(found.eigenvalues) - c.sort().values).abs().max()) <= EXACT


def test_small_memory_gives_the_same_numbers(monkeypatch):
    make, shape = CONVOLUTIONS["all options"]
    model, batches = conv_net(make, nn.GELU, norm=True), data(shape, examples=9, cuts=(4,))
    replica = replica_of(model, batches)
    layer = layer_of(replica, "conv")
    grouping = groups(replica, [layer])["conv"]
    plain = neuron_blocks(replica, layer, "half_square", grouping)
    monkeypatch.setattr(neurons, "CHUNK_BYTES", 1)
    steps = list(neuron_steps(local_objective(replica, layer, "half_square", grouping), memory=40_000))
    assert [step.done for step in steps] == [1, 2, 3, 4, 5, 6, 6]
    assert all(step.total == 6 for step in steps)
    small = steps[-1].result
    assert abs(small.eigenvalues - plain.eigenvalues).max() <= EXACT * plain.eigenvalues.max()
    with pytest.raises(TooLargeError, match="do not fit"):
        neuron_blocks(replica, layer, "half_square", grouping, memory=4_000)


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.SiLU])
def test_float32_stays_within_its_residual(activation):
    covered = []
    for seed in range(10):
        model, batches = dense_net(activation, seed=seed, inputs=12), data((6,), examples=40, seed=seed)
        truth = torch.linalg.eigvalsh(dense_truth(model, batches, "half_square"))
        replica = replica_of(model.float(), batches, dtype=torch.float32)
        found = neuron_blocks(replica, layer_of(replica, "fc"), "half_square")
        off = float((all_eigenvalues(found) - truth).abs().max())
        covered.append(off <= found.residual)
        assert found.residual <= 1e-4 * float(truth.abs().max())  # of use all the same
    assert all(covered)


@pytest.mark.parametrize(
    ("make", "name", "functional", "why"),
    [
        (lambda: nn.Linear(4, 3), "layer", lambda a: a.norm(), "may couple"),
        (lambda: nn.LayerNorm(4), "layer", "sum", "only Linear"),
        (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), "layer", "sum", "plain weights"),
        (lambda: type("Own", (nn.Linear,), {"forward": lambda s, x: x @ s.weight.T})(4, 3), "layer", "sum", "Linear"),
    ],
)
def test_what_has_no_closed_form_says_why(make, name, functional, why):
    model = nn.Sequential()
    model.add_module("layer", make())
    model.add_module("head", nn.Linear(model.layer(torch.zeros(1, 4)).shape[1], 3))
    replica = replica_of(model, data((4,)))
    assert why in neuron_blocks(replica, layer_of(replica, name), functional)


def test_an_activation_that_couples_neurons_has_no_closed_form():
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Linear(3, 3))
    replica = replica_of(model, data((4,)))
    layer = layer_of(replica, "0")
    edited = replace(groups(replica, [layer])["0"], activation="1")
    assert "1 is not elementwise" in neuron_blocks(replica, layer, "half_square", edited)


def test_a_formula_that_is_wrong_for_the_module_is_noticed(monkeypatch):
    model, batches = dense_net(nn.Tanh), data((6,))
    replica = replica_of(model, batches)
    rows = neurons.input_rows
    monkeypatch.setattr(neurons, "input_rows", lambda module, z: rows(module, z).flip(2))
    assert "is not autograd's" in neuron_blocks(replica, layer_of(replica, "fc"), "half_square")


def test_sum_of_piecewise_linear_blocks_is_zero_to_the_last_bit():
    for activation in (nn.ReLU, nn.LeakyReLU, nn.Identity, nn.Hardtanh):
        model = dense_net(activation)
        replica = replica_of(model, data((6,)))
        found = neuron_blocks(replica, layer_of(replica, "fc"), "sum")
        assert not all_eigenvalues(found).any()
        assert found.trace == found.residual == 0

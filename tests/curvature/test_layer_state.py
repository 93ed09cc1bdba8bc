"""Gradients and curvature along them against dense float64 matrices; what cannot be had is NaN with its reason."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from lhexplore.curvature import Asked, Replica, agreements, freeze, layer_states, list_layers, whole_network
from lhexplore.errors import SettingError
from lhexplore.spectrum import WHOLE

SAME = 1e-10  # float64 products of some tens of numbers, and eigenvectors of dense matrices


def replica_of(model, x, y, criterion=None, cut=None, **settings):
    batches = [(x, y)] if cut is None else [(x[:cut], y[:cut]), (x[cut:], y[cut:])]
    settings = {"dtype": torch.float64} | settings
    return Replica(
        model, criterion or nn.CrossEntropyLoss(), freeze(batches, samples=None, weight="samples"), **settings
    )


def data(examples=24, features=5, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, features, generator=generator)
    return x, torch.randint(0, classes, (examples,), generator=generator)


def network(activation=nn.Tanh, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 4), activation(), nn.Linear(4, 3))


def states(replica, layers=None, **asked):
    layers = layers or list_layers(replica.model)
    labels = {layer.name: None if layer.name == WHOLE else layer.name for layer in layers}
    steps = list(layer_states(replica, layers, Asked(labels, "now", **asked)))
    assert steps[-1].done == steps[-1].total
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    return {step.state.layer: step.state for step in steps if step.state is not None}


def dense(model, x, y, names, criterion=None):
    """Gradient and Hessian of one block, row by row, of a plain float64 copy."""
    tensors = {name: p.detach().double() for name, p in model.named_parameters()}
    leaves = [tensors[name].requires_grad_() for name in names]
    outputs = torch.func.functional_call(model.double(), tensors, (x.double(),))
    loss = (criterion or nn.CrossEntropyLoss())(outputs, y)
    g = torch.cat([part.reshape(-1) for part in torch.autograd.grad(loss, leaves, create_graph=True)])
    rows = [torch.autograd.grad(entry, leaves, retain_graph=True) for entry in g]
    return g.detach().numpy(), torch.stack([torch.cat([p.reshape(-1) for p in row]) for row in rows]).numpy()


@pytest.mark.parametrize("cut", [None, 7])
def test_gradient_rayleigh_and_share_against_dense_matrices(cut):
    x, y = data()
    replica = replica_of(network(), x, y, cut=cut)
    layers = [*list_layers(replica.model), whole_network(list_layers(replica.model))]
    found = states(replica, layers, share_of=3)
    assert list(found) == ["0", "2", None]
    for layer in layers:
        state = found[None if layer.name == WHOLE else layer.name]
        g, h = dense(network(), x, y, layer.parameters)
        values, vectors = np.linalg.eigh(h)
        top = vectors[:, np.argsort(np.abs(values))[-3:]]
        np.testing.assert_allclose(state.gradient_norm, np.linalg.norm(g), rtol=SAME)
        np.testing.assert_allclose(state.gradient_rayleigh, g @ h @ g / (g @ g), rtol=SAME)
        np.testing.assert_allclose(state.gradient_share, np.sum((top.T @ g) ** 2) / (g @ g), rtol=SAME)
        assert (state.size, state.share_of) == (len(g), 3)
        assert state.reason == "The first snapshot cannot be used, so there is no distance from it."


def test_the_factors_eigenvectors_give_the_same_share():
    x, y = data()
    replica = replica_of(network(nn.ReLU), x, y)
    layers = list_layers(replica.model)
    verdicts = agreements(replica, layers)
    assert all(verdict.is_hessian for verdict in verdicts.values())
    plain, quick = states(replica, share_of=2), states(replica, share_of=2, verdicts=verdicts)
    for name, state in plain.items():
        np.testing.assert_allclose(quick[name].gradient_share, state.gradient_share, rtol=1e-7)
        assert 0 < state.gradient_share <= 1


def test_gauss_newton_along_the_gradient():
    x, y = data()
    replica = replica_of(network(), x, y)
    hessian, ggn = states(replica), states(replica, curvature="ggn")
    np.testing.assert_allclose(ggn["2"].gradient_rayleigh, hessian["2"].gradient_rayleigh, rtol=SAME)  # last layer
    assert ggn["0"].gradient_rayleigh > 0
    assert ggn["0"].gradient_rayleigh != pytest.approx(hessian["0"].gradient_rayleigh, rel=1e-3)
    with pytest.raises(SettingError, match="curvature"):
        Asked({}, "now", curvature="fisher")


def test_parameters_and_how_far_they_moved():
    x, y = data()
    model = network()
    replica = replica_of(model, x, y)
    start = dict(replica.tensors)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    state["0.weight"] += 1
    replica.load(state)
    found = states(replica, start=start)
    before = np.concatenate([start["0.weight"].reshape(-1).numpy(), start["0.bias"].numpy()])
    np.testing.assert_allclose(found["0"].moved, math.sqrt(20) / np.linalg.norm(before), rtol=1e-6)  # +1 in float32
    assert found["2"].moved == 0
    assert found["2"].reason == ""
    weight = state["0.weight"].double().numpy()
    np.testing.assert_allclose(found["0"].singular_values, np.linalg.svd(weight)[1], rtol=SAME)
    np.testing.assert_allclose(found["0"].mean, (weight.sum() + before[20:].sum()) / 24, rtol=SAME)


def test_a_kernel_is_a_matrix_of_its_patches():
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 3))
    x = torch.randn(6, 2, 3, 3)
    found = states(replica_of(model, x, data(6)[1]))
    kernel = model[0].weight.detach().double().reshape(3, 8).numpy()
    np.testing.assert_allclose(found["0"].singular_values, np.linalg.svd(kernel)[1], rtol=SAME)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 5, bias=False), nn.Linear(5, 5, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.second(torch.tanh(self.first(x)))


def test_tied_tensors_are_one_set_of_coordinates():
    model = Tied()
    x, y = data()
    replica = replica_of(model, x, y)
    layers = list_layers(replica.model)
    usable = [layer for layer in layers if layer.status == "ok"]
    found = states(replica, [*usable, whole_network(layers)], share_of=1)
    g, h = dense(model, x, y, ["first.weight"])
    for state in found.values():
        assert state.size == 25
        np.testing.assert_allclose(state.gradient_norm, np.linalg.norm(g), rtol=SAME)
        np.testing.assert_allclose(state.gradient_rayleigh, g @ h @ g / (g @ g), rtol=SAME)


class Square(nn.Module):
    """(θ − a)² exactly: at θ = a the gradient is 0."""

    def __init__(self, value):
        super().__init__()
        self.theta = nn.Parameter(torch.full((1,), value))

    def forward(self, x):
        return self.theta.expand(len(x), 1)


def test_a_single_parameter_and_a_gradient_of_zero():
    x, y = torch.zeros(4, 1), torch.full((4, 1), 2.0)
    (state,) = states(replica_of(Square(5.0), x, y, nn.MSELoss()), share_of=1).values()
    assert (state.gradient_norm, state.gradient_rayleigh, state.gradient_share) == (6.0, 2.0, 1.0)  # 2(θ − a), 2
    assert (state.mean, state.std, state.norm) == (5.0, 0.0, 5.0)
    assert math.isnan(state.skew)
    assert "one parameter" in state.reason
    (state,) = states(replica_of(Square(2.0), x, y, nn.MSELoss()), share_of=1).values()
    assert state.gradient_norm == 0
    assert math.isnan(state.gradient_rayleigh)
    assert math.isnan(state.gradient_share)
    assert "gradient is 0" in state.reason


class Linear(nn.Module):
    """A loss that is linear in the parameters: H = 0, g ≠ 0."""

    def __init__(self):
        super().__init__()
        self.theta = nn.Parameter(torch.ones(3))

    def forward(self, x):
        return x @ self.theta


def test_a_block_of_zeros_has_no_leading_directions():
    x = torch.eye(3)
    (state,) = states(replica_of(Linear(), x, torch.zeros(3), lambda out, _: out.mean()), share_of=2).values()
    np.testing.assert_allclose(state.gradient_norm, math.sqrt(3) / 3, rtol=SAME)
    assert state.gradient_rayleigh == 0
    assert math.isnan(state.gradient_share)
    assert "block is 0" in state.reason


class Cut(nn.Module):
    """A scale whose gradient is cut off although it moves the loss."""

    def __init__(self):
        super().__init__()
        self.scale, self.last = nn.Parameter(torch.tensor([2.0])), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(x) * self.scale.detach()


def test_a_gradient_that_is_cut_off_is_not_zero():
    found = states(replica_of(Cut(), *data()))
    assert math.isnan(found["(root)"].gradient_norm)
    assert "cut off" in found["(root)"].reason
    assert found["last"].gradient_norm > 0


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.sin()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g


def test_without_a_second_derivative_the_gradient_stays():
    class Bend(nn.Module):
        def forward(self, x):
            return Once.apply(x)

    model = nn.Sequential(nn.Linear(5, 4), Bend(), nn.Linear(4, 3))
    x, y = data()
    replica = replica_of(model, x, y, cut=7)
    found = states(replica, [*list_layers(replica.model), whole_network(list_layers(replica.model))])
    for refused in (found["0"], found[None]):
        assert math.isnan(refused.gradient_norm)
        assert math.isnan(refused.gradient_rayleigh)
        assert "once_differentiable" in refused.reason
        assert refused.norm > 0
    inputs = torch.sin(model.double()[0](x.double())).detach()
    g, h = dense(nn.Sequential(model[2]), inputs, y, ["0.weight", "0.bias"])
    np.testing.assert_allclose(found["2"].gradient_norm, np.linalg.norm(g), rtol=SAME)  # behind it all is well
    np.testing.assert_allclose(found["2"].gradient_rayleigh, g @ h @ g / (g @ g), rtol=SAME)


def test_a_layer_that_is_not_trusted_keeps_its_gradient():
    told = states(replica_of(network(), *data()), refused={"0": "Not to be trusted."})["0"]
    assert told.gradient_norm > 0
    assert math.isnan(told.gradient_rayleigh)
    assert "Not to be trusted." in told.reason


def test_float32_agrees_with_float64():
    x, y = data()
    wide, narrow = states(replica_of(network(), x, y)), states(replica_of(network(), x, y, dtype=torch.float32))
    for name, state in wide.items():
        for field in ("gradient_norm", "gradient_rayleigh", "norm"):
            np.testing.assert_allclose(
                getattr(narrow[name], field), getattr(state, field), rtol=1e-3
            )  # Rayleigh cancels


def test_closing_the_generator_stops_it():
    x, y = data()
    replica = replica_of(network(), x, y, cut=7)
    steps = layer_states(replica, list_layers(replica.model), Asked({"0": "0", "2": "2"}, "now"))
    assert next(steps).done == 1
    steps.close()
    assert list(steps) == []

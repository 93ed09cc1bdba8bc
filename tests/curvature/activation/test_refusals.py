"""Where a block from the layer's output would be wrong or too dear, a reason comes instead."""

import pytest
import torch
from curvature.objectives import NetObjective, classes, mlp
from torch import nn

from lhexplore.curvature.activation import activation_block, build
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.layers import find_layer
from lhexplore.curvature.replica import Replica


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.unused = nn.Linear(6, 6), nn.Linear(6, 3), nn.Linear(6, 6)

    def forward(self, x):
        return self.b(torch.tanh(self.a(torch.tanh(self.a(x)))))


class ByWeight(nn.Module):
    """Uses a layer's weight without calling the layer."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 3)

    def forward(self, x):
        return nn.functional.linear(x, self.a.weight, self.a.bias)


class Doubled(nn.Linear):
    """A Linear layer that is quadratic in its weight."""

    def forward(self, x):
        return nn.functional.linear(x, self.weight * self.weight, self.bias)


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(torch.tanh(self.b(torch.tanh(self.a(x)))))


def doubled():
    return nn.Sequential(Doubled(6, 4), nn.Tanh(), nn.Linear(4, 3))


def normed():
    return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 3))


def grouped():
    return nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 2, groups=2), nn.Flatten(), nn.Linear(8, 3))


class Masked(nn.Module):
    """Feeds a layer with NaN whose outputs are then replaced."""

    def __init__(self):
        super().__init__()
        self.a = nn.Linear(6, 3)

    def forward(self, x):
        bad = torch.arange(len(x)) % 2 == 0
        return self.a(x.masked_fill(bad[:, None], torch.nan)).masked_fill(bad[:, None], 0.0)


REFUSED = {
    "not finite": (Masked, "a", "not all finite"),
    "called twice": (Twice, "a", "called 2 times"),
    "never called": (ByWeight, "a", "not called"),
    "quadratic in its weight": (doubled, "0", "another way"),
    "shared": (Shared, "a", "shared"),
    "parametrised": (normed, "0", "Parametrized|modules|weight and bias"),
    "grouped": (grouped, "1", "grouped"),
    "another kind": (lambda: nn.Sequential(nn.Linear(6, 3), nn.LayerNorm(3)), "1", "neither"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_structures_get_a_reason(case):
    make, name, words = REFUSED[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        replica = Replica(make(), nn.CrossEntropyLoss(), freeze(classes(dtype=torch.float32)), device="cpu", threads=1)
    reason = activation_block(replica, find_layer(replica.layers, name))
    assert isinstance(reason, str)
    assert any(word in reason for word in words.split("|")), reason


def test_a_loss_that_also_sees_the_weights_is_noticed():
    def penalised(model, batch):
        x, y = batch
        return nn.functional.cross_entropy(model(x), y) + model[0].weight.pow(4).sum()

    replica = Replica(mlp(nn.Tanh), penalised, freeze(classes()), device="cpu", threads=1)
    reason = activation_block(replica, find_layer(replica.layers, "0"))
    assert isinstance(reason, str)
    assert "another way" in reason
    assert not isinstance(activation_block(replica, find_layer(replica.layers, "2")), str)


@pytest.mark.parametrize(("memory", "words"), [(100, "inputs need"), (24 * 7 * 40 + 3000, "matrices need")])
def test_what_does_not_fit_is_said_with_its_bytes(memory, words):
    objective = NetObjective(mlp(nn.Tanh), classes(), nn.CrossEntropyLoss())
    reason = activation_block(objective, objective.block("0."), memory=memory)
    assert isinstance(reason, str)
    assert words in reason
    assert f"{memory:,}" in reason


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory")])
def test_memory_that_runs_out_is_a_reason_and_other_errors_are_not(error, monkeypatch):
    def fail(*_):
        raise error

    monkeypatch.setattr(build, "fill", fail)
    objective = NetObjective(mlp(nn.Tanh), classes(), nn.CrossEntropyLoss())
    reason = activation_block(objective, objective.block("0."), products=None)
    assert isinstance(reason, str)
    assert "memory" in reason
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match="something else"):
        activation_block(objective, objective.block("0."), products=None)


def test_matrices_are_computed_only_where_they_pay():
    # 40 columns for 10 products do not; for 1,000 they do, as each saves the way through the layers behind.
    objective = NetObjective(mlp(nn.Tanh, sizes=(6, 40, 400, 3)), classes(), nn.CrossEntropyLoss())
    layer = objective.block("0.")
    reason = activation_block(objective, layer, products=10)
    assert isinstance(reason, str)
    assert "40 columns" in reason
    assert not isinstance(activation_block(objective, layer, products=1000), str)


def test_a_forward_without_second_derivative_gives_torchs_reason():
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, g):
            return g * 2

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = nn.Linear(6, 3)

        def forward(self, x):
            return Once.apply(self.a(x))

    replica = Replica(Net().double(), nn.CrossEntropyLoss(), freeze(classes()), device="cpu", threads=1)
    reason = activation_block(replica, find_layer(replica.layers, "a"))
    assert isinstance(reason, str)
    assert "Once" in reason

"""H − G without a difference: against dense matrices, and for all layers from one product."""

import pytest
import torch
import torch.nn.functional as F
from curvature.objectives import classes, gauss_newton, hessian, mlp
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor.agreement import agreement
from lhexplore.curvature.factor.few import Pass
from lhexplore.curvature.factor.remainder import Alone, straight_everywhere, together
from lhexplore.curvature.replica import Replica

EXACT = 1e-12  # float64; both ways are sums of some hundred products of numbers of order one


class Gated(nn.Module):
    """The product of two linear branches: curved in both together, and in neither alone."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.c(self.a(x) * self.b(x))


class Recurrent(nn.Module):
    """One module, many times the same weights."""

    def __init__(self):
        super().__init__()
        self.rnn, self.c = nn.RNN(2, 5, nonlinearity="relu", batch_first=True), nn.Linear(5, 3)

    def forward(self, x):
        return self.c(self.rnn(x.unflatten(1, (3, 2)))[0][:, -1])


class Around(nn.Module):
    """A block within a block, with a scale of its own."""

    def __init__(self, inner):
        super().__init__()
        self.inner, self.scale = inner, nn.Parameter(torch.ones(6))

    def forward(self, x):
        return x + self.scale * self.inner(x)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double()


NETWORKS = {
    "tanh": lambda: mlp(nn.Tanh),
    "relu": lambda: mlp(nn.ReLU),
    "layer norm": lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.ReLU(), nn.Linear(5, 3)),
    "weight norm": lambda: nn.Sequential(weight_norm(nn.Linear(6, 5)), nn.ReLU(), nn.Linear(5, 3)),
    "gated": Gated,
    "recurrent": Recurrent,
    "around": lambda: nn.Sequential(Around(nn.Sequential(nn.Linear(6, 6), nn.ReLU())), nn.Linear(6, 3)),
    "in place": lambda: nn.Sequential(
        nn.Linear(6, 5), nn.ReLU(inplace=True), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3)
    ),
}
CURVED = {  # layers with H ≠ G
    "tanh": {"0", "2"},
    "relu": set(),
    "layer norm": {"0"},
    "weight norm": {"0"},
    "gated": set(),
    "recurrent": {"rnn"},
    "around": set(),
    "in place": set(),
}


def replica(name):
    return Replica(seeded(NETWORKS[name]), nn.CrossEntropyLoss(), freeze(classes(cuts=(9,))), dtype=torch.float64)


def directions(made, probes=2):
    generator = torch.Generator().manual_seed(0)
    return {
        layer.name: torch.randn(probes, layer.size, generator=generator, dtype=torch.float64) for layer in made.layers
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_one_by_one_it_is_the_difference_of_the_matrices(name):
    made = replica(name)
    vectors = directions(made)
    with made.guard():
        for layer in made.layers:
            v = vectors[layer.name][0]
            mine = sum(
                Alone(made, i, slope=Pass(made, i, made.layers).slope).multiply(layer, v) for i in range(made.count)
            )
            h, g = hessian(made, layer), gauss_newton(made, layer)
            assert float((mine - (h - g) @ v).norm()) <= EXACT * float((g @ v).norm())
            assert (float((h - g).norm()) > 1e-3 * float(g.norm())) is (layer.name in CURVED[name])


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_of_zero_are_layers_without_a_difference(name):
    """And no layer that has one is among them."""
    made = replica(name)
    with made.guard():
        here = Pass(made, 0, made.layers)
        rows = together(made, 0, made.layers, directions(made), slope=here.slope, gradients=here.gradient)
    straight = {layer for layer, found in rows.items() if float(found.norm()) <= EXACT}
    assert not straight & CURVED[name]
    if name not in ("gated", "recurrent"):  # a row of these shows nothing
        assert straight == {layer.name for layer in made.layers} - CURVED[name]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_verdict_follows(name):
    made = replica(name)
    found = agreement(made, made.layers)
    assert {layer for layer, finding in found.items() if not finding.is_hessian} == CURVED[name]


def test_the_rows_of_a_single_layer_are_its_block():
    """With one layer there is nothing to be mixed up with: the joint product is the layer's own."""
    made = replica("tanh")
    vectors = directions(made)
    with made.guard():
        here = Pass(made, 0, made.layers)
        alone = Alone(made, 0, slope=here.slope)
        for layer in made.layers:
            rows = together(made, 0, [layer], vectors, slope=here.slope, gradients=here.gradient)
            for v, row in zip(vectors[layer.name], rows[layer.name], strict=True):
                truth = alone.multiply(layer, v)
                assert float((row - truth).norm()) <= EXACT * max(1.0, float(truth.norm()))


def test_layers_that_cannot_be_told_apart_are_missing():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.twice, self.unseen, self.tied = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 6)
            self.last, self.idle = nn.Linear(6, 3), nn.Linear(6, 3)
            self.twin = nn.Linear(6, 6)
            self.twin.weight = self.tied.weight

        def forward(self, x):
            x = F.relu(self.twice(F.relu(self.twice(x))))
            x = F.relu(F.linear(x, self.unseen.weight, self.unseen.bias))
            return self.last(F.relu(self.twin(F.relu(self.tied(x)))))

    made = Replica(seeded(Net), nn.CrossEntropyLoss(), freeze(classes()), dtype=torch.float64)
    with made.guard():
        here = Pass(made, 0, made.layers)
        rows = together(made, 0, made.layers, directions(made), slope=here.slope, gradients=here.gradient)
    assert {"twin", "last"} <= set(rows) <= {"twin", "last", "idle"}


def test_hooks_are_gone_afterwards(untouched):
    made = replica("tanh")
    with made.guard(), untouched(made.model):
        here = Pass(made, 0, made.layers)
        together(made, 0, made.layers, directions(made), slope=here.slope, gradients=here.gradient)


# ---- operations that are the same everywhere


@pytest.mark.parametrize(
    ("function", "everywhere"),
    [
        (lambda x: F.relu(x), True),
        (lambda x: F.leaky_relu(x), True),
        (lambda x: F.relu6(x), True),
        (lambda x: F.hardtanh(x), True),
        (lambda x: F.max_pool2d(x, 2), True),
        (lambda x: F.adaptive_avg_pool2d(x, 1), True),
        (lambda x: F.conv2d(x, torch.ones(3, 2, 3, 3)), True),
        (lambda x: F.batch_norm(x, torch.zeros(2), torch.ones(2)), True),
        (lambda x: F.layer_norm(x, (4,)), True),
        (lambda x: F.linear(x.flatten(1), torch.ones(3, 32)), True),
        (lambda x: torch.cat([x[:, :1].abs(), -x.mean(1, keepdim=True)], 1).permute(0, 2, 3, 1), True),
        (lambda x: 2 * x - 1, True),
        (lambda x: F.softplus(x), False),
        (lambda x: F.hardswish(x), False),
        (lambda x: torch.tanh(x), False),
        (lambda x: F.gelu(x), False),
        (lambda x: F.elu(x), False),
        (lambda x: x.softmax(1), False),
        (lambda x: F.relu(x) * x, False),  # straight where x is negative
        (lambda x: F.relu(x) ** 2, False),
        (lambda x: torch.where(x > 0, x, x.exp()), False),
    ],
)
def test_operations_that_cannot_hide(function, everywhere):
    x = torch.randn(2, 2, 4, 4, requires_grad=True)
    assert straight_everywhere(function(1 * x)) is everywhere


def test_a_function_of_ones_own_may_be_called_anything():
    class Relu(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        def backward(ctx, g):
            return g

    assert not straight_everywhere(Relu.apply(torch.ones(2, requires_grad=True)))

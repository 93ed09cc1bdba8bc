"""The stand-ins compute torch's functions: values, first, second and third derivatives, one by one and in batches."""

import itertools

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from lhexplore.curvature import lean
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.layers import list_layers, whole_network
from lhexplore.curvature.lean import Lean
from lhexplore.curvature.operators import LayerGGN, LayerHessian
from lhexplore.curvature.replica import Replica

from .objectives import gauss_newton, hessian, matrix_of

ROUNDING = 1e-12  # of sums in float64 that are taken in another order


def _x(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _norms(kind, *args):
    """A norm with statistics and weights of its own, not the ones that do nothing."""
    norm = kind(*args)
    for i, (name, tensor) in enumerate((*norm.named_parameters(), *norm.named_buffers())):
        if tensor.is_floating_point():
            tensor.data = 0.5 + torch.rand(tensor.shape, generator=torch.Generator().manual_seed(i)) * (
                1 if "var" in name or "weight" in name else -1
            )
    return norm


OPERATIONS = {
    "conv1d": lambda x: F.conv1d(x.flatten(2), _x(6, 4, 3, seed=1), _x(6, seed=2), stride=2, padding=1),
    "conv2d": lambda x: F.conv2d(x, _x(6, 4, 3, 3, seed=1), None, stride=(2, 3), padding=(1, 0), dilation=(1, 2)),
    "conv2d, groups": lambda x: F.conv2d(x, _x(8, 1, 2, 2, seed=1), _x(8, seed=2), groups=4),
    "conv2d, same": lambda x: F.conv2d(x, _x(6, 4, 3, 3, seed=1), padding="same"),
    "conv3d": lambda x: F.conv3d(x.unsqueeze(2), _x(2, 4, 1, 3, 2, seed=1), stride=(1, 2, 1), padding=(0, 1, 1)),
    "conv2d, no batch": lambda x: F.conv2d(x[0], _x(6, 4, 3, 3, seed=1)),
    "batch norm": lambda x: F.batch_norm(x, _x(4), _x(4, seed=1).exp(), _x(4, seed=2), _x(4, seed=3)),
    "batch norm, plain": lambda x: F.batch_norm(x, _x(4), _x(4, seed=1).exp()),
    "batch norm, training": lambda x: F.batch_norm(x, None, None, _x(4, seed=2), _x(4, seed=3), training=True),
    "layer norm": lambda x: F.layer_norm(x, (5, 6), _x(5, 6, seed=1), _x(5, 6, seed=2)),
    "layer norm, plain": lambda x: F.layer_norm(x, (6,), eps=0.1),
    "layer norm, scale only": lambda x: F.layer_norm(x, (6,), _x(6, seed=1)),
    "relu": F.relu,
    "relu in place": lambda x: F.relu(x * 1, inplace=True),
    "relu in place, on a view": lambda x: (2 * x).flatten().relu_(),
    "leaky relu": lambda x: F.leaky_relu(x, 0.2),
    "leaky relu in place": lambda x: F.leaky_relu(x * 1, 0.2, inplace=True),
    "leaky relu, negative slope": lambda x: F.leaky_relu(x, -0.2),
    "gelu": F.gelu,
    "gelu, approximate": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "silu in place": lambda x: F.silu(x * 1, inplace=True),
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
}

# The third derivative of torch's fused layer norm is silently wrong (2.13), so it is no truth here.
WRITTEN_OUT = {
    "layer norm": lambda x: _normalised(x, (-2, -1), 1e-5) * _x(5, 6, seed=1) + _x(5, 6, seed=2),
    "layer norm, plain": lambda x: _normalised(x, (-1,), 0.1),
    "layer norm, scale only": lambda x: _normalised(x, (-1,), 1e-5) * _x(6, seed=1),
}


def _normalised(x, axes, eps):
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True) + eps).sqrt()


def _derivatives(function, x, seeds, *, batched=False):
    """Value, first, second and third derivatives along fixed vectors, of a function that is not linear at the end."""
    x = x.clone().requires_grad_()
    y = function(x)
    (first,) = torch.autograd.grad(y.sin().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, seeds[0], create_graph=True)
    found = [y, first, second]
    if second.requires_grad:
        found += torch.autograd.grad(second, x, seeds[1], retain_graph=True)
    if batched:
        # As products are computed: from a graph that is kept, without one of their own.
        kept = torch.autograd.grad(function(x).sin().sum(), x, create_graph=True)[0]
        found = [torch.autograd.grad(kept, x, torch.stack(seeds), retain_graph=True, is_grads_batched=True)[0]]
        found += [torch.stack([torch.autograd.grad(kept, x, seed, retain_graph=True)[0] for seed in seeds])]
    return [t.detach() for t in found]


def _close(found, expected, limit):
    return all((a - b).norm() <= limit * b.norm() for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("name", OPERATIONS)
def test_three_derivatives_are_those_of_torch(name):
    x, seeds = _x(3, 4, 5, 6), [_x(3, 4, 5, 6, seed=s) for s in (8, 9)]
    expected = _derivatives(WRITTEN_OUT.get(name, OPERATIONS[name]), x, seeds)
    with Lean():
        found = _derivatives(OPERATIONS[name], x, seeds)
    assert len(found) == len(expected) == 4
    assert _close(found, expected, ROUNDING)


@pytest.mark.parametrize("name", OPERATIONS)
def test_batches_of_products_are_single_products(name):
    x, seeds = _x(3, 4, 5, 6), [_x(3, 4, 5, 6, seed=s) for s in (8, 9)]
    expected = _derivatives(OPERATIONS[name], x, seeds)[2]
    with Lean():
        batched, single = _derivatives(OPERATIONS[name], x, seeds, batched=True)
    assert _close([batched, single[0]], [single, expected], ROUNDING)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("name", ["gelu", "gelu, approximate", "silu", "tanh", "sigmoid"])
def test_activations_far_out(name, scale):
    x, seeds = scale * _x(500), [torch.ones(500, dtype=torch.float64)] * 2
    expected = _derivatives(OPERATIONS[name], x, seeds)[:3]  # the third one of torch's approximate GELU is NaN there
    with Lean():
        found = _derivatives(OPERATIONS[name], x, seeds)[:3]
    assert _close(found, expected, ROUNDING)
    assert all(bool(t.isfinite().all()) for t in found)


def test_complex_tensors_keep_torchs_operations():
    x = torch.complex(_x(2, 4, 6), _x(2, 4, 6, seed=1)).requires_grad_()
    kernel = torch.complex(_x(3, 4, 2, seed=2), _x(3, 4, 2, seed=3))

    def slope():
        return torch.autograd.grad(F.conv1d(x, kernel).tanh().abs().sum(), x)[0]

    expected = slope()
    with Lean():
        assert torch.equal(slope(), expected)


def test_in_place_writes_into_its_input():
    x = _x(4).requires_grad_()
    with Lean():
        y = 1 * x
        assert F.relu(y, inplace=True) is y
    assert bool((y >= 0).all())
    with Lean(), pytest.raises(RuntimeError, match="leaf"):
        F.relu(x, inplace=True)


def _network(activation):
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1),
        _norms(nn.BatchNorm2d, 4),
        activation,
        nn.Conv2d(4, 4, 3, stride=2, groups=2, bias=False),
        activation,
        nn.Flatten(),
        nn.Linear(36, 8),
        _norms(nn.LayerNorm, 8),
        activation,
        nn.Linear(8, 3),
    )


@pytest.fixture(params=[nn.ReLU(), nn.ReLU(inplace=True), nn.GELU(), nn.Tanh(), nn.SiLU()], ids=repr)
def replica(request):
    torch.manual_seed(0)
    data = freeze((_x(10, 1, 8, 8), torch.arange(10) % 3))
    return Replica(_network(request.param), nn.CrossEntropyLoss(), data, dtype=torch.float64, device="cpu")


def test_blocks_are_those_of_torchs_operations(replica, monkeypatch):
    found = {}
    for layer in replica.layers:
        with replica.guard():
            found[layer.name] = [matrix_of(LayerHessian(replica, layer)), matrix_of(LayerGGN(replica, layer))]
            batched = LayerHessian(replica, layer)
            columns = batched.matmat(torch.eye(layer.size, dtype=torch.float64)[:, ::7])
            assert not batched.column_by_column
            assert _close([columns], [found[layer.name][0][:, ::7]], ROUNDING)
    monkeypatch.setattr(lean, "STAND_INS", {})
    for layer in replica.layers:
        with replica.guard():
            assert _close(found[layer.name], [hessian(replica, layer), gauss_newton(replica, layer)], ROUNDING)


def test_whole_network_is_that_of_torchs_operations(replica, monkeypatch):
    block = whole_network(replica.layers)
    v = _x(block.size)
    found = LayerHessian(replica, block).matvec(v)
    monkeypatch.setattr(lean, "STAND_INS", {})
    assert _close([found], [LayerHessian(replica, block).matvec(v)], ROUNDING)


class _WrittenOut(nn.LayerNorm):
    """Elementary operations only."""

    def forward(self, x):
        return _normalised(x, (-1,), self.eps) * self.weight + self.bias


class _Penalised(nn.Module):
    """Differentiates inside its forward, as gradient penalties do."""

    def __init__(self, norm):
        super().__init__()
        self.net = nn.Sequential(nn.Conv1d(2, 3, 2), nn.GELU(), nn.Flatten(), norm(9), nn.Tanh(), nn.Linear(9, 1))

    def forward(self, x):
        x = x.detach().requires_grad_()
        y = self.net(x)
        (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return torch.cat([y, slope.flatten(1).square().sum(1, keepdim=True)], dim=1)


class _Mapped(nn.Module):
    """Uses functional transforms of its own."""

    def __init__(self, norm):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 5), nn.GELU(), norm(5), nn.ReLU(), nn.Linear(5, 2))

    def forward(self, x):
        return torch.func.vmap(self.net)(x.flatten(1))


@pytest.mark.parametrize("model", [_Penalised, _Mapped])
def test_models_that_differentiate_or_map_inside(model, monkeypatch):
    def replica(norm):
        torch.manual_seed(0)
        return Replica(model(norm), nn.MSELoss(), data, dtype=torch.float64, device="cpu")

    data = freeze((_x(6, 2, 4), _x(6, 2, seed=1)))
    fast = replica(nn.LayerNorm)
    found = [matrix_of(LayerHessian(fast, layer)) for layer in fast.layers]
    monkeypatch.setattr(lean, "STAND_INS", {})
    slow = replica(_WrittenOut)
    with slow.guard():
        assert _close(found, [hessian(slow, layer) for layer in slow.layers], ROUNDING)


class _Counter(TorchDispatchMode):
    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls.append(func._overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def test_a_product_goes_twice_through_the_layers_behind_and_no_further():
    torch.manual_seed(0)
    depth = 6
    parts = itertools.chain.from_iterable(
        (nn.Conv2d(3, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU()) for _ in range(depth)
    )
    model = nn.Sequential(*parts, nn.Flatten(), nn.Linear(48, 2))
    data = freeze((_x(4, 3, 4, 4), torch.arange(4) % 2))
    replica = Replica(model, nn.CrossEntropyLoss(), data, dtype=torch.float64, device="cpu")
    for at, layer in enumerate(layer for layer in list_layers(model) if layer.kind == "Conv2d"):
        op, v = LayerHessian(replica, layer), _x(layer.size)
        op.matvec(v)
        with _Counter() as counter:
            op.matvec(v)
        behind = depth - 1 - at
        assert sum("convolution" in call for call in counter.calls) == 2 * behind + 2
        assert not any("batch_norm" in call for call in counter.calls)


def test_other_threads_keep_torchs_operations():
    import threading

    seen = []
    x, kernel = _x(1, 1, 3, 3).requires_grad_(), _x(1, 1, 2, 2)
    with Lean():
        thread = threading.Thread(target=lambda: seen.append(F.conv2d(x, kernel).grad_fn.name()))
        thread.start()
        thread.join()
        seen.append(F.conv2d(x, kernel).grad_fn.name())
    assert seen == ["ConvolutionBackward0", "ConvolutionBackward"]

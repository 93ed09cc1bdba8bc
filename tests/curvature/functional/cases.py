"""Blocks inside small networks, and their Hessians by plain double backward, without the replica."""

from itertools import pairwise

import torch
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.layers import find_layer
from lhexplore.curvature.replica import Replica

DOUBLE = torch.float64


class Square(nn.Module):
    """An activation that nobody has a formula for."""

    def forward(self, x):
        return x * x


def seeded(make, *, seed=0):
    """Make modules with weights of their own seed, the same whatever ran before."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def data(shape, *, examples=13, classes=3, cuts=(), seed=1, dtype=DOUBLE):
    """Random inputs and labels, cut into micro-batches at the given places."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, *shape, generator=generator, dtype=DOUBLE).to(dtype)
    y = torch.randint(0, classes, (examples,), generator=generator)
    return [(x[a:b], y[a:b]) for a, b in pairwise([0, *cuts, examples])]


def replica_of(model, batches, loss=None, *, device="cpu", **settings):
    return Replica(model, loss or nn.CrossEntropyLoss(), freeze(batches), device=device, threads=1, **settings)


def layer_of(replica, name):
    return find_layer(replica.layers, name)


def dense_net(activation, *, norm=False, seed=0, width=5, inputs=4):
    """stem → fc (→ bn) → act → head, with batch statistics that are not 0 and 1."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.fc = nn.Linear(6, inputs), nn.Linear(inputs, width)
            self.bn = used(nn.BatchNorm1d(width)) if norm else nn.Identity()
            self.act, self.head = activation(), nn.Linear(width, 3)

        def forward(self, x):
            return self.head(self.act(self.bn(self.fc(torch.tanh(self.stem(x))))))

    return seeded(Net, seed=seed).double()


def conv_net(conv, activation, *, norm=False, channels=None, seed=0):
    """conv (→ bn) → act → mean over positions → head."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv()
            kinds = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
            axes = len(self.conv.kernel_size)
            self.bn = used(kinds[axes](self.conv.out_channels)) if norm else nn.Identity()
            self.act, self.head = activation(), nn.Linear(self.conv.out_channels, 3)

        def forward(self, x):
            return self.head(self.act(self.bn(self.conv(x))).flatten(2).mean(2))

    return seeded(Net, seed=seed).double()


def used(norm):
    """A batch norm after some training."""
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(torch.randn_like(tensor))
        norm.running_var.copy_(torch.rand_like(norm.running_var) + 0.5)
    return norm


def reduced(functional, a):
    """The scalar of all examples together, from a block's outputs: the definition."""
    if functional == "sum":
        return a.sum()
    if functional == "half_square":
        return a.square().sum() / 2
    return sum(functional(example) for example in a)


def block_hessian(scalar, parameters):
    """Rows of the Hessian by differentiating twice, in float64; parameters flattened one after the other."""
    leaves = [p.detach().double().clone().requires_grad_() for p in parameters]
    gradients = torch.autograd.grad(scalar(*leaves), leaves, create_graph=True, materialize_grads=True)
    rows = []
    for entry in torch.cat([g.reshape(-1) for g in gradients]):
        if not entry.requires_grad:
            rows.append(torch.zeros(sum(leaf.numel() for leaf in leaves), dtype=DOUBLE))
            continue
        row = torch.autograd.grad(entry, leaves, retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in row]))
    return torch.stack(rows)


def tail_of(model, h):
    """Batch norm by its definition, then the activation."""
    if isinstance(model.bn, nn.modules.batchnorm._BatchNorm):
        bn, shape = model.bn, (1, -1, *[1] * (h.ndim - 2))
        scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
        h = (h - bn.running_mean.reshape(shape)) * scale.reshape(shape) + bn.bias.reshape(shape)
    return model.act(h)


def dense_truth(model, batches, functional):
    """The block of ``dense_net``'s ``fc`` with its input held fixed."""
    x = torch.cat([x for x, _ in batches]).double()
    with torch.no_grad():
        z = torch.tanh(model.stem(x))
    return block_hessian(
        lambda w, b: reduced(functional, tail_of(model, z @ w.T + b)) / len(x), (model.fc.weight, model.fc.bias)
    )


def conv_truth(model, batches, functional):
    """The block of ``conv_net``'s ``conv``."""
    x = torch.cat([x for x, _ in batches]).double()
    conv = model.conv
    parameters = [p for p in (conv.weight, conv.bias) if p is not None]

    def scalar(weight, bias=None):
        h = torch.func.functional_call(conv, {"weight": weight} | ({"bias": bias} if bias is not None else {}), (x,))
        return reduced(functional, tail_of(model, h)) / len(x)

    return block_hessian(scalar, parameters)


def all_eigenvalues(blocks):
    """The eigenvalues of a `NeuronBlocks`, its zeros by rank included."""
    zeros = torch.zeros(blocks.size - len(blocks.eigenvalues), dtype=DOUBLE)
    return torch.sort(torch.cat([zeros, torch.from_numpy(blocks.eigenvalues)])).values

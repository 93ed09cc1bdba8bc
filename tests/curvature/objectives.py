"""Losses as functions of parameters, written down plainly, and their Hessians row by row in float64."""

from dataclasses import dataclass
from itertools import pairwise
from types import SimpleNamespace

import torch
from torch import nn
from torch.func import functional_call

from lhexplore.errors import SecondDerivativeError

EPSILON = torch.finfo(torch.float64).eps


@dataclass(frozen=True)
class Parameters:
    """A block: some parameters under one name."""

    name: str
    parameters: tuple[str, ...]


class NetObjective:
    """A criterion of a network on micro-batches that are weighted by their examples: an oracle without the replica."""

    def __init__(self, model, batches, criterion):
        self.model, self.batches, self.criterion = model, batches, criterion
        self.tensors = {name: p.detach() for name, p in model.named_parameters()}
        self.count = len(batches)
        self.loss = SimpleNamespace(splits=True, criterion=criterion)
        self.examples = sum(len(x) for x, _ in batches)

    def guard(self):
        return torch.enable_grad()

    def wide_batch(self, i):
        return None

    def blame(self, i, error):
        return SecondDerivativeError(f"batch {i}: {error}")

    def batch_outputs(self, i, override):
        return functional_call(self.model, {**self.tensors, **override}, (self.batches[i][0],))

    def loss_of_outputs(self, i, outputs):
        x, y = self.batches[i]
        y = y.to(outputs.dtype) if y.is_floating_point() else y
        return self.criterion(outputs, y) * (len(x) / self.examples)

    def batch_loss(self, i, override):
        return self.loss_of_outputs(i, self.batch_outputs(i, override))

    def block(self, prefix=""):
        return Parameters(prefix or "all", tuple(name for name in self.tensors if name.startswith(prefix)))


class FunctionObjective:
    """Any function of named tensors."""

    def __init__(self, function, **tensors):
        self.function, self.tensors, self.count = function, tensors, 1
        self.loss = SimpleNamespace(splits=False)

    def guard(self):
        return torch.enable_grad()

    def wide_batch(self, i):
        return None

    def blame(self, i, error):
        return SecondDerivativeError(f"batch {i}: {error}")

    def batch_loss(self, i, override):
        return self.function(**{**self.tensors, **override})

    def batch_outputs(self, i, override):
        raise AssertionError("has no outputs")

    def loss_of_outputs(self, i, outputs):
        raise AssertionError("has no outputs")

    def block(self):
        return Parameters("all", tuple(self.tensors))


def hessian(objective, block):
    """The block by double backward, one row at a time, in the dtype of the objective."""
    leaves = {name: objective.tensors[name].detach().clone().requires_grad_() for name in block.parameters}
    loss = sum(objective.batch_loss(i, leaves) for i in range(objective.count))
    gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, materialize_grads=True)
    rows = []
    for entry in torch.cat([g.reshape(-1) for g in gradients]):
        row = torch.autograd.grad(entry, list(leaves.values()), retain_graph=True, materialize_grads=True)
        rows.append(torch.cat([part.reshape(-1) for part in row]))
    return torch.stack(rows)


def gauss_newton(objective, block):
    """Σ JᵀΛJ from the full Jacobian and the full Hessian of the loss in the outputs, both row by row."""
    leaves = {name: objective.tensors[name].detach().clone().requires_grad_() for name in block.parameters}
    total = 0
    for i in range(objective.count):
        outputs = objective.batch_outputs(i, leaves)
        flat = outputs.reshape(-1)
        rows = [torch.autograd.grad(entry, list(leaves.values()), retain_graph=True) for entry in flat]
        jacobian = torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])
        at = outputs.detach().requires_grad_()
        (slope,) = torch.autograd.grad(objective.loss_of_outputs(i, at), at, create_graph=True)
        curved = [torch.autograd.grad(entry, at, retain_graph=True)[0].reshape(-1) for entry in slope.reshape(-1)]
        total = total + jacobian.T @ torch.stack(curved) @ jacobian
    return total


def matrix_of(op):
    """An operator's matrix, one product per column."""
    unit = torch.eye(op.size, dtype=op.dtype)
    return torch.stack([op.matvec(column) for column in unit], dim=1)


def mlp(activation=nn.Tanh, *, sizes=(6, 5, 4, 3), seed=0, dtype=torch.float64):
    """A small network with weights of its own seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), activation()]
        return nn.Sequential(*layers[:-1]).to(dtype)


def classes(*, examples=24, features=6, count=3, cuts=(), seed=0, dtype=torch.float64):
    """Random inputs and labels as micro-batches, cut at the given places."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, features, generator=generator, dtype=torch.float64).to(dtype)
    y = torch.randint(0, count, (examples,), generator=generator)
    edges = [0, *cuts, examples]
    return [(x[a:b], y[a:b]) for a, b in pairwise(edges)]

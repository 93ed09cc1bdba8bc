"""Train one run, in float64 on one thread, and keep the weights of every check."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss

from lhexplore.demo.adahessian import AdaHessian

from .datasets import Parts
from .networks import Perceptron
from .runs import ADAHESSIAN, MOMENTUM, SGD, Run

CHECK = 10  # steps between two looks at the losses
PATIENCE = 30  # checks without a better held-out loss
FITTED = 0.98  # training accuracy of a "fit"


@dataclass(frozen=True)
class Check:
    """The network after ``step`` steps, and how it does on the three parts."""

    step: int
    weights: dict[str, Tensor]
    losses: dict[str, float]  # "loss", "accuracy", and the same with "held_out_" and "test_" before them


def tensors(parts: Parts) -> dict[str, tuple[Tensor, Tensor]]:
    """The three parts by the prefix of their losses."""
    named = {"": parts.train, "held_out_": parts.held_out, "test_": parts.test}
    return {prefix: (torch.from_numpy(part.x), torch.from_numpy(part.y)) for prefix, part in named.items()}


def criterion(parts: Parts) -> nn.Module:
    """Cross-entropy of classes, mean squared error of a real number."""
    return nn.CrossEntropyLoss() if parts.classes else nn.MSELoss()


def build(run: Run, parts: Parts) -> Perceptron:
    """The network at its first weights."""
    torch.manual_seed(run.seed)
    return Perceptron(parts.train.x.shape[1], parts.classes or 1, run.shape).double()


def train(run: Run, parts: Parts) -> list[Check]:
    """Train until the run's own end; the last check is the end."""
    network, data = build(run, parts), tensors(parts)
    loss_of = cross_entropy if parts.classes else mse_loss
    x, y = data[""]
    generator = torch.Generator().manual_seed(run.seed)
    optimiser = _optimiser(run, network)
    checks = [_check(0, network, data, parts)]
    best = 0
    order: list[Tensor] = []
    for step in range(1, run.steps + 1):
        if run.batch and not order:
            order = list(torch.split(torch.randperm(len(y), generator=generator), run.batch))
        rows = order.pop() if run.batch else slice(None)
        optimiser.zero_grad()
        loss = loss_of(network(x[rows]), y[rows])
        if isinstance(optimiser, AdaHessian):
            optimiser.backward(loss)
        else:
            loss.backward()
        if run.clip == "norm":
            nn.utils.clip_grad_norm_(network.parameters(), run.limit)
        elif run.clip == "value":
            nn.utils.clip_grad_value_(network.parameters(), run.limit)
        optimiser.step()
        if step % CHECK:
            continue
        checks.append(_check(step, network, data, parts))
        now = checks[-1].losses
        if run.stop == "fit" and now["accuracy"] >= FITTED and now["loss"] <= run.target:
            break
        if now["held_out_loss"] < checks[best].losses["held_out_loss"]:
            best = len(checks) - 1
        if run.stop in ("best", "patience") and len(checks) - 1 - best >= PATIENCE:
            break
    return checks[: best + 1] if run.stop == "best" else checks


def _check(step: int, network: Perceptron, data: dict[str, tuple[Tensor, Tensor]], parts: Parts) -> Check:
    losses = {}
    with torch.no_grad():
        for prefix, (x, y) in data.items():
            outputs = network(x)
            losses[f"{prefix}loss"] = (cross_entropy if parts.classes else mse_loss)(outputs, y).item()
            if parts.classes:
                losses[f"{prefix}accuracy"] = (outputs.argmax(1) == y).double().mean().item()
    return Check(step, {name: value.detach().clone() for name, value in network.state_dict().items()}, losses)


def _optimiser(run: Run, network: Perceptron) -> torch.optim.Optimizer:
    if run.optimiser == SGD:
        return torch.optim.SGD(network.parameters(), run.rate, momentum=MOMENTUM)
    if run.optimiser == ADAHESSIAN:
        return AdaHessian(network.parameters(), run.rate, seed=run.seed)
    return torch.optim.AdamW(network.parameters(), run.rate, weight_decay=1e-2)

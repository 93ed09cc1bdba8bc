"""How long a gradient takes, and how much of it each layer's part of the network does: by the clock, not by counting.

A backward pass reaches the layers one after another, so the moment at which a parameter's gradient is there tells how
much of the network lies between it and the loss, whatever the layers are made of and however often they are called.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .causes import live
from .layers import Layer
from .machine import synchronise
from .replica import Replica

QUICK = 0.2  # seconds of gradients that may be spent on a steadier figure
TRIES = 3
LOSS = ""  # no parameter has this name


@dataclass(frozen=True, slots=True)
class Gradient:
    """Seconds of one gradient on all data, and per layer the share of it that the layer and all after it take."""

    seconds: float
    shares: MappingProxyType[str, float]


def time_gradient(replica: Replica, layers: Sequence[Layer]) -> Gradient:
    """Time gradients in all parameters, on all micro-batches: the best of a few where one is quick.

    Shares come from the first micro-batch, in a pass of its own because looking takes time too. A layer whose gradient
    never comes has share 1.
    """
    with replica.guard():
        reached: dict[str, float] = {}
        leaves = live(replica)
        handles = [_hooked(leaf, reached, name) for name, leaf in leaves.items()]
        shares = dict[str, float]()
        for _ in range(2):  # the first pass makes what later ones find ready
            _backward(replica, 0, leaves, reached)
            began, end = reached[LOSS], time.perf_counter()
            for layer in layers:
                at = max((reached[name] for name in layer.parameters if name in reached), default=end)
                shares[layer.name] = min((at - began) / (end - began), shares.get(layer.name, 1.0))
        for handle in handles:
            handle.remove()
        seconds, spent, tries = float("inf"), 0.0, 0
        while not tries or (spent < QUICK and tries < TRIES):
            began = time.perf_counter()
            for i in range(replica.count):
                _backward(replica, i, leaves)
            seconds = min(seconds, time.perf_counter() - began)
            spent, tries = spent + seconds, tries + 1
    return Gradient(seconds, MappingProxyType(shares))


def _backward(replica: Replica, i: int, leaves: dict[str, Tensor], reached: dict[str, float] | None = None) -> None:
    """Differentiate the loss of one micro-batch, and note when autograd set off where that is asked for.

    Not when it was called: looking through the graph before takes as long as some layers do.
    """
    loss = replica.batch_loss(i, leaves)
    if loss.requires_grad:
        if reached is not None:
            _hooked(loss, reached, LOSS)
        torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    synchronise(replica.device)


def _hooked(tensor: Tensor, reached: dict[str, float], name: str) -> Any:
    """Note when the gradient of ``tensor`` is there; returns the handle."""

    def note(gradient: Tensor) -> None:
        synchronise(gradient.device)
        reached[name] = time.perf_counter()

    register: Any = tensor.register_hook
    return register(note)

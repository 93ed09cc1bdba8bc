"""How long a gradient takes and how large its graph is, and how much of both each layer's part of the network makes.

By the clock, not by counting: a backward pass reaches the layers one after another, so the moment at which a
parameter's gradient is there tells how much of the network lies between it and the loss, whatever the layers are made
of and however often they are called.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .causes import live
from .costs import lower_median
from .layers import Layer
from .machine import synchronise
from .operators import LayerHessian
from .replica import Replica
from .smaller import halved, largest_batch
from .trees import count_examples

QUICK = 0.25  # seconds that may be spent on a steadier figure: other programs disturb single ones
TRIES = 3
SLICE = 8  # examples whose graph is measured; that of more grows with them
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
        seen: dict[str, list[float]] = {layer.name: [] for layer in layers}
        start = time.perf_counter()
        for turn in range(1 + TRIES):
            if turn and time.perf_counter() - start > QUICK:
                break
            _backward(replica, 0, leaves, reached)
            began, end = reached[LOSS], time.perf_counter()
            for layer in layers:
                at = max((reached[name] for name in layer.parameters if name in reached), default=end)
                seen[layer.name].append((at - began) / (end - began))
        # The first pass makes what later ones find ready.
        shares = {name: lower_median(found[1:] or found) for name, found in seen.items()}
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


def graph_bytes(replica: Replica, layers: Sequence[Layer]) -> dict[str, int]:
    """Bytes that the gradient graph of the largest micro-batch will keep alive, layer by layer.

    Measured on a few examples and on half of them, where batches can be cut: weights are kept once, the rest grows
    with the examples. Costs a gradient on those examples, twice per layer.
    """
    little, half = replica, halved(replica)
    while half is not None and largest_batch(little) > SLICE:
        little, half = half, halved(half, known=True)
    if half is None or little is replica:
        return {layer.name: LayerHessian(replica, layer).graph_bytes for layer in layers}
    sizes = [count_examples(small.batch(0)) for small in (little, half)]
    found = dict[str, int]()
    for layer in layers:
        more, less = (LayerHessian(small, layer).graph_bytes for small in (little, half))
        each = (more - less) / max(1, sizes[0] - sizes[1])
        found[layer.name] = int(more + each * (largest_batch(replica) - sizes[0]))
    return found


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

"""How long a gradient takes and how large its graph is, and how much of both each layer's part of the network makes.

By the clock, not by counting: a backward pass reaches the layers one after another, so the moment at which a
parameter's gradient is there tells how much of the network lies between it and the loss, whatever the layers are made
of and however often they are called.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from .causes import live
from .layers import Layer
from .machine import synchronise
from .replica import Replica
from .smaller import halved, largest_batch

QUICK = 0.2  # seconds of gradients that may be spent on a steadier figure
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
        handles = [_hooked(leaf, reached, name, _now) for name, leaf in leaves.items()]
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


def graph_bytes(replica: Replica, layers: Sequence[Layer]) -> dict[str, int]:
    """Bytes that the gradient graph of one micro-batch keeps alive, per layer: of what lies between it and the loss.

    One pass for all layers, on a few examples where a batch can be cut. What is kept of other layers' parameters on
    the way counts too, so a graph restricted to one layer is smaller (by a third on a transformer, measured).
    """
    little = replica
    while largest_batch(little) > SLICE and (smaller := halved(little)) is not None:
        little = smaller
    growth = largest_batch(replica) / largest_batch(little)
    with replica.guard():
        leaves = live(little)
        weights = {leaf.untyped_storage().data_ptr() for leaf in leaves.values()}
        kept, reached, back = dict[int, int](), dict[str, float](), False

        def note(tensor: Tensor) -> Tensor:
            # What the forward pass saved counts when the backward pass comes by it, so in the order of the layers.
            if back:
                storage = tensor.untyped_storage()
                kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        def total(gradient: Tensor | None = None) -> float:
            return growth * sum(size for at, size in kept.items() if at not in weights)

        with torch.autograd.graph.saved_tensors_hooks(note, note):
            loss, back = little.batch_loss(0, leaves), True
            handles = [_hooked(leaf, reached, name, total) for name, leaf in leaves.items()]
            if loss.requires_grad:
                torch.autograd.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
        for handle in handles:
            handle.remove()
        return {layer.name: int(max((reached.get(n, 0.0) for n in layer.parameters), default=0.0)) for layer in layers}


def _backward(replica: Replica, i: int, leaves: dict[str, Tensor], reached: dict[str, float] | None = None) -> None:
    """Differentiate the loss of one micro-batch, and note when autograd set off where that is asked for.

    Not when it was called: looking through the graph before takes as long as some layers do.
    """
    loss = replica.batch_loss(i, leaves)
    if loss.requires_grad:
        if reached is not None:
            _hooked(loss, reached, LOSS, _now)
        torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    synchronise(replica.device)


def _hooked(tensor: Tensor, reached: dict[str, float], name: str, what: Callable[[Tensor], float]) -> Any:
    """Note ``what`` when the gradient of ``tensor`` is there; returns the handle."""

    def note(gradient: Tensor) -> None:
        reached[name] = what(gradient)

    register: Any = tensor.register_hook
    return register(note)


def _now(gradient: Tensor) -> float:
    synchronise(gradient.device)
    return time.perf_counter()

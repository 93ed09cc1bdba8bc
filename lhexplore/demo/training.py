"""Train a network on digits and record snapshots of it, without touching anything global."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from ..snapshots import record
from .images import Split
from .networks import draw_weights
from .optimisers import build_optimiser, descend, rates
from .recipe import Recipe

BATCH = 64


def train(
    network: nn.Module,
    data: Split,
    held_out: Split,
    folder: Path,
    *,
    steps: int,
    seed: int,
    recipe: Recipe = Recipe(),
) -> None:
    """Train ``network`` in place as ``recipe`` says; snapshots of steps 0, 1, 2, 4, … and the last go to ``folder``.

    The arithmetic is float64 on one thread and the recorded weights are its float32 rounding: so another
    machine, which sums in another order, records the same weights but for a rare last bit.
    """
    with _alone():
        draw_weights(network, seed=seed)
        exact = copy.deepcopy(network).double()
        optimiser = build_optimiser(exact.parameters(), recipe, seed=seed)
        per_epoch = -(-len(data.labels) // BATCH)
        with record(network, folder, schedule="log") as recorder:
            for step, rows in enumerate(_batches(len(data.labels), seed=seed)):
                last = step == steps or (step % per_epoch == 0 and _learnt(exact, data, recipe.enough))
                if recorder.due(step) or last:  # the last one is recorded when the recorder closes
                    network.load_state_dict(exact.state_dict())
                    metrics: dict[str, Any] = {**_measure(network, data, held_out), **rates(recipe)}
                    recorder.step(step, epoch=step / per_epoch, **metrics)
                if last:
                    break
                descend(optimiser, cross_entropy(exact(data.images[rows]), data.labels[rows]), recipe)


def _batches(count: int, *, seed: int) -> Iterator[torch.Tensor]:
    """Rows of one batch after another, in a new order each epoch, without end."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(count, generator=generator, device="cpu")
        yield from torch.split(order, BATCH)


def _learnt(network: nn.Module, data: Split, enough: float | None) -> bool:
    """Whether that share of the labels is right."""
    if enough is None:
        return False
    with torch.no_grad():
        return _accuracy(network(data.images), data.labels) >= enough


def _accuracy(outputs: torch.Tensor, labels: torch.Tensor) -> float:
    return (outputs.argmax(1) == labels).double().mean().item()


def _measure(network: nn.Module, data: Split, held_out: Split) -> dict[str, float]:
    """Loss and accuracy of the weights as they are recorded, on all images of both parts."""
    exact, found = copy.deepcopy(network).double(), {}
    for prefix, (images, labels) in (("", data), ("held_out_", held_out)):
        with torch.no_grad():
            outputs = exact(images)
        found[f"{prefix}loss"] = cross_entropy(outputs, labels).item()
        found[f"{prefix}accuracy"] = _accuracy(outputs, labels)
    return found


@contextmanager
def _alone() -> Iterator[None]:
    """Gradients on, one thread (fastest for networks this small), and everything as before afterwards."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)

"""One layer at one snapshot: operator, method, checks and the finished `Spectrum`, as a generator of steps."""

import dataclasses
from collections.abc import Generator, Iterator
from typing import Any

import torch

from ..errors import SettingError
from ..spectrum import Step
from .activation import ActivationBlock, activation_block
from .estimate import estimate_steps
from .exact import compressed_steps, exact_steps
from .fallback import Room, ladder, with_less_memory
from .operators import GRAPH_BYTES, Block, LayerGGN, LayerHessian, Objective
from .planner import CHECKS, DENSE_SIZE, LARGEST_CHUNK, MEMORY, Choice, choose
from .replica import Replica
from .request import Request, zeros
from .states import check_seed
from .timing import timed

MOST_TENSORS = 2  # weight and bias: what a layer has that is linear in its parameters
CURVATURES = ("hessian", "ggn")
SPLITS = ("data", "held_out")


def measure(
    replica: Objective,
    layer: Block,
    *,
    label: str | None,
    snapshot: str,
    method: str = "auto",
    curvature: str = "hessian",
    split: str = "data",
    steps: int = 100,
    probes: int = 5,
    seed: Any = 0,
    memory: int = MEMORY,
) -> Iterator[Step]:
    """Compute the spectrum of one block, one `Step` per product (or batch of columns); the last one is complete.

    Nothing is held between two steps: no lock, no switch, no grad mode. Whoever drives the generator may close it.

    Args:
        replica: the loss over frozen data, as a function of parameters.
        layer: which parameters.
        label: the layer's name in the spectrum; None for the whole network.
        snapshot: label of the weights that the replica holds.
        method: "auto", "dense" or "lanczos"; what was chosen and why is in ``Spectrum.reason``.
        curvature: "hessian" or "ggn".
        split: which data the replica holds, "data" or "held_out".
        steps: Lanczos steps per start vector.
        probes: start vectors.
        seed: of the start vectors, together with the layer's name.
        memory: most bytes for matrices and bases.

    Raises:
        SettingError: an argument that makes no sense.
        TooLargeError: the wanted method does not fit into ``memory``.
        NotFiniteError: a product held NaN or infinity.
        SecondDerivativeError: an operation of the model cannot be differentiated twice.
    """
    if curvature not in CURVATURES:
        raise SettingError(f"curvature must be one of {CURVATURES}, got {curvature!r}.")
    if split not in SPLITS:
        raise SettingError(f"split must be one of {SPLITS}, got {split!r}.")
    seed = check_seed(seed)
    request = Request(replica, layer, label, snapshot, method, curvature, split, steps, probes, seed, memory)
    return timed(_measure(request), replica)


def _measure(request: Request) -> Iterator[Step]:
    """Answer a request, in smaller pieces where memory runs out."""
    if not isinstance(request.replica, Replica):  # an objective of its own, which nothing is known to cut
        yield from _attempt(request, None)
        return
    replica, itemsize = request.replica, torch.finfo(request.replica.dtype).bits // 8
    size = sum(replica.tensors[name].numel() for name in request.layer.parameters)
    rooms = ladder(replica, chunk=LARGEST_CHUNK)
    yield from with_less_memory(lambda room: _attempt(request, room), rooms, vector_bytes=size * itemsize)


def _attempt(request: Request, room: Room | None) -> Generator[Step, None, None]:
    replica, layer = request.replica if room is None else room.replica, request.layer
    request = dataclasses.replace(request, replica=replica)
    graph_bytes = GRAPH_BYTES if room is None or room.graph_bytes is None else room.graph_bytes
    most = LARGEST_CHUNK if room is None else room.chunk
    op = (LayerHessian if request.curvature == "hessian" else LayerGGN)(replica, layer, graph_bytes=graph_bytes)
    checks = CHECKS if request.curvature == "hessian" and replica.loss.splits else 0
    choice = choose(
        op.size,
        method=request.method,
        steps=request.steps,
        probes=request.probes,
        itemsize=torch.finfo(op.dtype).bits // 8,
        checks=checks,
        memory=request.memory,
    )
    why = getattr(replica, "zero", "") or op.zero  # a local functional knows its own reasons
    if why:
        yield Step(1, 1, zeros(request, op, choice, why))
    elif choice.method == "dense":
        yield from exact_steps(request, op, choice, most=most)
    else:
        block = _block(request, choice)
        if block is not None and request.method == "auto" and block.rank <= DENSE_SIZE:
            yield from compressed_steps(request, op, choice, block)
        else:
            host = True if room is not None and room.host_basis else None
            yield from estimate_steps(request, op, choice, most=most, host=host, block=block)


def _block(request: Request, choice: Choice) -> ActivationBlock | None:
    """The layer's block without autograd, where that can be had and pays."""
    layer, replica = request.layer, request.replica
    if not isinstance(replica, Replica) or len(layer.parameters) > MOST_TENSORS:
        return None
    block = activation_block(
        replica, layer, memory=request.memory, curvature=request.curvature, products=choice.products
    )
    return None if isinstance(block, str) or not block.compressed.explicit else block

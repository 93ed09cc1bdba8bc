"""Build a block from the layer's output, prove it against double backward, or say why it cannot be used."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from ...errors import SecondDerivativeError, TooLargeError, UnsupportedError
from ..definiteness import gauss_newton_gap, tolerance
from ..lanczos import start_vector
from ..memory import out_of_memory
from ..operators import Block, LayerGGN, LayerHessian, Objective
from ..planner import MEMORY
from .block import ActivationBlock, Compressed, Group
from .costs import ActivationCost, inputs_bytes
from .inputs import Span, span
from .middle import Graph, Matrices, Operator, decoupled, fill
from .output import OutputObjective, by_unit, find_site

PLANNED = 800  # products that matrices are computed for, unless said otherwise: 10 start vectors, 80 steps each
WORTH = 0.5  # of the parameters: without matrices, only a compression to at most this much is worth the trouble

LARGEST_CUT = 1e-3  # of a product: more is not put down to the inputs' resolution, so that wrong products are noticed

Kind = type[LayerHessian] | type[LayerGGN]
Axes = tuple[int, ...]


def activation_block(
    objective: Objective,
    layer: Block,
    *,
    memory: int = MEMORY,
    curvature: str = "hessian",
    products: int | None = PLANNED,
    resolution: float = 0.0,
) -> ActivationBlock | str:
    """The exact block of a Linear layer or ungrouped convolution called once in a forward, or why there is none.

    Where examples (or even positions) do not couple behind the layer, the second derivative B in the outputs is
    computed: per column one product from the layer's output on, in batches, for all examples at once; if it fits and
    ``products`` then cost less than by autograd. Elsewhere products go through autograd from the layer's output on, if
    the inputs span so few directions that this pays.

    Args:
        objective: with the private ``model`` whose modules are listened to.
        layer: its parameters.
        memory: most bytes for matrices, inputs and graphs.
        curvature: "hessian" or "ggn".
        products: how many the caller means to make, about ten vectors at a time; None: matrices at any price.
        resolution: relative size up to which inputs are rounding, where that is more than the dtype's own: float32
            images in a float64 model span all directions only by theirs. What is cut off is in ``dropped``.

    Returns:
        The block after one of its products agreed with double backward; otherwise the reason, as half a sentence about
        the layer: shared weights, several calls, coupled examples, too large, not worth it, no agreement.
    """
    kind: Kind = LayerHessian if curvature == "hessian" else LayerGGN
    try:
        with objective.guard():
            block = _built(objective, layer, kind, memory=memory, products=products, resolution=resolution)
            judge = kind(objective, layer, graph_bytes=0)
            v = start_vector(judge, seed=0, name=layer.name, index=0)
            expected = judge.matvec(v)
            block.gap = gauss_newton_gap(block.matvec(v), expected)
            block.compressed.products, block.spent = 0, block.spent + 1
            limit = tolerance(objective, block.dtype)
            if block.dropped and bool(expected.any()):  # v has length 1: what the cut alone may change of its product
                limit += min(block.dropped / float(expected.norm()), LARGEST_CUT)
    except (SecondDerivativeError, TooLargeError, UnsupportedError) as reason:
        return str(reason)
    except RuntimeError as error:
        if out_of_memory(error) is None:
            raise
        return "its matrices do not fit into memory"
    if not block.gap <= limit:
        return (
            f"a product through its output is {block.gap:.1e} from double backward (rounding: {limit:.1e}): the loss "
            "depends on its parameters in another way too, or examples couple"
        )
    return block


def _built(
    objective: Objective, layer: Block, kind: Kind, *, memory: int, products: int | None, resolution: float
) -> ActivationBlock:
    site = find_site(objective, layer)
    parts = [OutputObjective(objective, i, site) for i in range(objective.count)]
    first = kind(parts[0], parts[0].block)
    axes = _units(first, parts[0])
    rows = sum(math.prod(part.lead) for part in parts)
    _require(inputs_bytes(rows, site.inputs, first.dtype.itemsize), memory, "its inputs need")
    inputs = torch.cat([part.rows for part in parts])
    if not bool(torch.isfinite(inputs).all()):
        raise UnsupportedError("its inputs are not all finite")
    found = span(inputs, resolution=resolution)
    obstacle = "its examples couple"
    if axes is not None:
        shapes = [part.order(axes).shape for part in parts]
        units, width = sum(shape[0] for shape in shapes), max(shape[1] for shape in shapes)
        cost = ActivationCost(units, width, site.outputs, site.inputs, first.dtype.itemsize, found.rank)
        obstacle = ""
        if cost.bytes > memory:
            obstacle = f"its matrices need {cost.bytes:,} bytes, and {memory:,} are allowed"
        elif products is not None:
            products = min(products, site.outputs * site.inputs)  # with more, all columns could be had
            if not cost.pays(_flops(first) * rows / math.prod(parts[0].lead), products=products):
                obstacle = f"its matrices of {width:,} columns cost more than they save in {products:,} products"
        axes = None if obstacle else axes
    if axes is None and found.rank > WORTH * site.inputs:
        raise UnsupportedError(f"{obstacle}, and its inputs span {found.rank:,} of {site.inputs:,} directions")
    ops = [first, *(kind(part, part.block) for part in parts[1:])]
    if axes is None:
        groups, defect = _graphs(ops, parts, found, memory), 0.0
    else:
        groups, defect = _matrices(ops, parts, found, axes)
    compressed = Compressed(site.name, objective, groups, outputs=site.outputs)
    norm = max(group.middle.norm for group in groups)
    block = ActivationBlock(
        compressed, found, shape=(site.outputs, site.inputs), bias=site.bias, norm=norm, defect=defect
    )
    block.spent = max(op.products for op in ops)  # each op is one micro-batch: together one product of the whole
    compressed.products = 0
    return block


def _units(op: Operator, part: OutputObjective) -> Axes | None:
    """The finest axes of the layer's calls behind which nothing couples."""
    calls = len(part.lead)
    candidates: list[Axes] = [tuple(range(calls)), *((axis,) for axis in range(min(calls, 2)) if calls > 1)]
    return next((axes for axes in candidates if decoupled(op, part.order(axes))), None)


def _flops(op: Operator) -> float:
    """Of one product from the layer's output on, on its micro-batch; counted, not timed, so that choices repeat."""
    with _Counter() as counter:
        op.matvec(torch.ones(op.size, dtype=op.dtype, device=op.device))
    return float(counter.flops)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the operations of matrix products and convolutions."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # skipping it, as torch's own counter does, would import the whole compiler

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if (count := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += count(*args, **kwargs, out_val=out)
        return out


def _matrices(ops: list[Operator], parts: list[OutputObjective], found: Span, axes: Axes) -> tuple[list[Group], float]:
    """Explicit second derivatives, micro-batches of equal width together; and their relative asymmetry."""
    orders = [part.order(axes) for part in parts]
    inputs = [by_unit(coordinates, axes) for coordinates in _cut(found, parts)]
    groups, asymmetry = list[Group](), 0.0
    for width in dict.fromkeys(order.shape[1] for order in orders):
        members = [i for i, order in enumerate(orders) if order.shape[1] == width]
        units = [len(orders[i]) for i in members]
        room = torch.empty((sum(units), width, width), dtype=ops[0].dtype, device=ops[0].device)
        for i, part in zip(members, torch.split(room, units), strict=True):
            if i and not decoupled(ops[i], orders[i]):  # the first was seen before
                raise UnsupportedError("its examples couple")
            asymmetry = math.hypot(asymmetry, fill(part, ops[i], orders[i]))
        groups.append(Group(torch.cat([inputs[i] for i in members]), Matrices(room)))
    norm = math.hypot(*(group.middle.frobenius for group in groups if isinstance(group.middle, Matrices)))
    return groups, asymmetry / norm if norm else 0.0


def _graphs(ops: list[Operator], parts: list[OutputObjective], found: Span, memory: int) -> list[Group]:
    _require(sum(op.graph_bytes for op in ops), memory, "its graphs need")
    return [
        Group(by_unit(coordinates, ()), Graph(op, part.order(())[0]))
        for op, part, coordinates in zip(ops, parts, _cut(found, parts), strict=True)
    ]


def _cut(found: Span, parts: list[OutputObjective]) -> list[Float[Tensor, "*lead rank"]]:
    """The inputs' coordinates, by micro-batch and in its axes."""
    pieces = torch.split(found.coordinates, [math.prod(part.lead) for part in parts])
    return [piece.reshape(*part.lead, -1) for piece, part in zip(pieces, parts, strict=True)]


def _require(needed: int, memory: int, what: str) -> None:
    if needed > memory:
        raise UnsupportedError(f"{what} {needed:,} bytes, and {memory:,} are allowed")

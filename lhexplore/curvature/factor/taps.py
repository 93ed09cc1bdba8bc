"""Record what a factor needs of a forward pass: the input of every module call, and where its output sits in the graph.

The place is autograd's own (a node and a number), not the tensor: a ReLU that overwrites the output does not matter.
A tensor that is used in any other way than by a recorded call is said to be out of reach, never left out of a sum.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..graphs import Node, nodes
from ..replica import Replica
from ..trees import cut
from .rows import is_known


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """One call of one module: ``names`` maps what the module calls its tensors to their full names."""

    module: nn.Module
    names: Mapping[str, str]
    x: Tensor
    buffers: Mapping[str, Tensor]
    edge: GradientEdge
    bytes: int  # of the output
    ways: Mapping[str, set[Node]]  # by which nodes each tensor enters


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One micro-batch's outputs and the calls behind them, in order.

    ``beyond`` are tensors that are also used otherwise, ``unused`` those that the outputs do not depend on.
    """

    outputs: Tensor
    calls: tuple[Call, ...]
    beyond: frozenset[str]
    unused: frozenset[str]

    @property
    def examples(self) -> int:
        """How many examples the outputs run over."""
        return len(self.outputs)


def record(objective: Replica, i: int, names: Collection[str]) -> Recording:
    """Run micro-batch ``i`` once, with the tensors ``names`` as leaves of its graph; call with the guard held.

    A call is recorded where its module is one that `rows` knows, and runs over the examples along the first axis.
    """
    leaves = {name: objective.tensors[name].detach().requires_grad_() for name in names}
    by_id = {id(leaf): name for name, leaf in leaves.items()}
    heard: list[tuple[Seen, Call | None]] = []

    def hear(module: nn.Module, x: Tensor, y: Tensor) -> None:
        found = {key: by_id[id(t)] for key, t in module._parameters.items() if id(t) in by_id}
        call = None
        if found and y.requires_grad:
            ways = _ways(_inside(y, x), {key: leaves[name] for key, name in found.items()})
            buffers = {key: buffer for key, buffer in module._buffers.items() if buffer is not None}
            size = y.numel() * y.element_size()
            call = Call(module, found, x.detach(), buffers, get_gradient_edge(y), size, ways)
        heard.append(((module, len(x), len(y)), call))

    with _listening(objective.model, hear):
        outputs = objective.batch_outputs(i, leaves)
    over_examples = _over_examples(objective, i, [seen for seen, _ in heard], len(outputs) if outputs.dim() else 0)
    calls = tuple(call for (_, call), right in zip(heard, over_examples, strict=True) if call is not None and right)
    known: dict[str, set[Node]] = {name: set() for name in leaves}
    for call in calls:
        for attribute, name in call.names.items():
            known[name] |= call.ways[attribute]
    used = _ways(nodes(outputs), leaves)
    beyond = frozenset(name for name, found in used.items() if found - known[name])
    return Recording(outputs, calls, beyond, frozenset(name for name, found in used.items() if not found))


Seen = tuple[nn.Module, int, int]  # lengths of the first axes of input and output


def _over_examples(objective: Replica, i: int, seen: list[Seen], count: int) -> list[bool]:
    """Whether the calls' first axes run over the examples: they must be as long, also where there are fewer examples.

    An axis of positions that happens to be as long as the batch is told by that.
    """
    if count <= 1:
        return [count == x == y for _, x, y in seen]
    few = 2 if count > 2 else 1
    again: list[Seen] = []
    try:
        piece = cut(objective.batch(i), 0, few)
        with torch.no_grad(), _listening(objective.model, lambda module, x, y: again.append((module, len(x), len(y)))):
            objective.call({}, objective.loss.outputs, piece)
    except Exception:  # noqa: BLE001 (a batch that cannot be cut, or a model that needs more examples: nothing is known)
        again.clear()
    if [module for module, *_ in again] != [module for module, *_ in seen]:
        return [False] * len(seen)
    return [x == y == count and a == b == few for (_, x, y), (_, a, b) in zip(seen, again, strict=True)]


@contextmanager
def _listening(model: nn.Module, hear: Callable[[nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Hear of every call of a module that `rows` knows: the module, its input and its output."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
        x = args[0] if args else kwargs.get("input")
        if isinstance(x, Tensor) and isinstance(y, Tensor) and is_known(module, x, y):
            hear(module, x, y)

    with ExitStack() as stack:
        for module in model.modules():
            if module._parameters:
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


def _inside(y: Tensor, x: Tensor) -> Iterator[Node]:
    """Nodes that lie between a module's output and its input."""
    todo: list[Node] = [y.grad_fn]
    seen: set[Node] = {x.grad_fn, None}
    while todo:
        node = todo.pop()
        if node not in seen:
            seen.add(node)
            yield node
            todo += [following for following, _ in node.next_functions]


def _ways(among: Iterable[Node], leaves: Mapping[str, Tensor]) -> dict[str, set[Node]]:
    """The nodes that take each leaf in."""
    ends = {get_gradient_edge(leaf).node: key for key, leaf in leaves.items()}
    found: dict[str, set[Node]] = {key: set() for key in leaves}
    for node in among:
        for following, _ in node.next_functions:
            if following in ends:
                found[ends[following]].add(node)
    return found

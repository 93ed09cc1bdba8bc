"""Record what a factor needs of a forward pass: the input of every module call, and where its output sits in the graph.

The place is autograd's own (a node and a number), not the tensor: a ReLU that overwrites the output does not matter.
A tensor that is used in any other way than by a recorded call is said to be out of reach, never left out of a sum.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..graphs import Node, nodes
from ..replica import Replica
from ..trees import cut
from .rows import KINDS, is_known

PAIR = 2  # examples on which it is tried whether calls keep them apart


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


def record(objective: Replica, i: int, names: Collection[str], *, tried: "Tried | None" = None) -> Recording:
    """Run micro-batch ``i`` once, with the tensors ``names`` as leaves of its graph; call with the guard held.

    A call is recorded where its module is one that `rows` knows, and runs over the examples along the first axis.

    Args:
        objective: the loss over frozen data.
        i: the micro-batch.
        names: the tensors.
        tried: what was found out about equal calls, which is added to.
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
            kept = KINDS[type(module)].prepared(module, x.detach())
            call = Call(module, found, kept, buffers, get_gradient_edge(y), size, ways)
        heard.append(((module, len(x), len(y)), call))

    with _listening(objective.model, hear):
        outputs = objective.batch_outputs(i, leaves)
    count, seen = len(outputs) if outputs.dim() else 0, tuple(seen for seen, _ in heard)
    tried = {} if tried is None else tried
    if (count, seen) not in tried:
        tried[count, seen] = _apart(objective, i, leaves, seen, count)
    calls = tuple(call for (_, call), apart in zip(heard, tried[count, seen], strict=True) if call and apart)
    known: dict[str, set[Node]] = {name: set() for name in leaves}
    for call in calls:
        for attribute, name in call.names.items():
            known[name] |= call.ways[attribute]
    used = _ways(nodes(outputs), leaves)
    beyond = frozenset(name for name, found in used.items() if found - known[name])
    return Recording(outputs, calls, beyond, frozenset(name for name, found in used.items() if not found))


Seen = tuple[nn.Module, int, int]  # lengths of the first axes of input and output
Tried = dict[tuple[int, tuple[Seen, ...]], list[bool]]


def _apart(objective: Replica, i: int, leaves: Mapping[str, Tensor], seen: Sequence[Seen], count: int) -> list[bool]:
    """Whether the calls' first axes run over the examples, found out on two of them.

    The axes must be as long as there are examples, and an example's output must not depend on another's place in them.
    So an axis of positions that happens to be as long as the batch is told, and so are examples that depend on each
    other.
    """
    fits = [x == y == count for _, x, y in seen]
    if count <= 1:
        return fits
    again: list[tuple[Seen, GradientEdge | None]] = []

    def hear(module: nn.Module, x: Tensor, y: Tensor) -> None:
        again.append(((module, len(x), len(y)), get_gradient_edge(y) if y.requires_grad else None))

    try:
        piece = cut(objective.batch(i), 0, PAIR)
        with _listening(objective.model, hear):
            outputs = objective.call(leaves, objective.loss.outputs, piece)
        edges = [edge for _, edge in again if edge is not None]
        mixed = set[GradientEdge]()
        for n in range(PAIR) if edges else ():
            only = torch.zeros_like(outputs)
            only[n] = torch.linspace(1, 2, only[n].numel()).to(only).view_as(only[n])
            found = torch.autograd.grad(outputs, edges, only, retain_graph=n == 0, allow_unused=True)
            others = [n != m for m in range(PAIR)]
            mixed |= {
                e for e, g in zip(edges, found, strict=True) if g is not None and len(g) == PAIR and g[others].any()
            }
    except Exception:  # noqa: BLE001 (a batch that cannot be cut, or a model that needs more examples: nothing is known)
        return [False] * len(fits)
    if [module for (module, *_), _ in again] != [module for module, *_ in seen]:
        return [False] * len(fits)
    return [fit and x == y == PAIR and edge not in mixed for fit, ((_, x, y), edge) in zip(fits, again, strict=True)]


@contextmanager
def _listening(model: nn.Module, hear: Callable[[nn.Module, Tensor, Tensor], None]) -> Iterator[None]:
    """Hear of every call of a module that `rows` knows: the module, its input and its output."""

    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], y: Any) -> None:
        x = args[0] if args else kwargs.get("input")
        if isinstance(x, Tensor) and isinstance(y, Tensor) and _plain(x) and is_known(module, x, y):
            hear(module, x, y)

    with ExitStack() as stack:
        for module in model.modules():
            if module._parameters:
                stack.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        yield


def _plain(x: Tensor) -> bool:
    """Whether a tensor holds its numbers itself: inside a functional transform of the model's own it does not."""
    return x.layout is torch.strided and not torch._C._functorch.is_functorch_wrapped_tensor(x)


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

"""Backward passes through one graph in sections, last layers first: what one leaves, the next one goes on from.

So gradients are kept for a few layers at a time only, and nothing is computed twice. Sections meet at nodes through
which all gradients pass, such as the sum after a residual block; a network without such nodes is one section.
"""

from collections.abc import Iterator, Sequence, Set

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ..graphs import Node
from .taps import Call

Place = tuple[Node, int]


class Backward:
    """The passes of one micro-batch; pass c starts from ``cotangents[c]`` at the outputs."""

    def __init__(self, outputs: Tensor, cotangents: Float[Tensor, "r ..."], calls: Sequence[Call]) -> None:
        start = _place(get_gradient_edge(outputs))
        self._waiting: list[dict[Place, Tensor]] = [{start: cotangent} for cotangent in cotangents]
        order = _order(start[0])
        at = {node: position for position, node in enumerate(order)}
        reached = sorted((call for call in calls if call.edge.node in at), key=lambda call: at[call.edge.node])
        self._gates = _gates(order, {call.edge.node for call in reached})
        ends = [at[gate[0][0]] for gate in self._gates]
        self.sections = [
            [call for call in reached if begin <= at[call.edge.node] < end]
            for begin, end in zip([0, *ends], [*ends, len(order)], strict=True)
        ]

    @property
    def passes(self) -> int:
        return len(self._waiting)

    def run(self, first: int, last: int) -> Iterator[list[Tensor | None]]:
        """Go through sections ``first`` to ``last - 1``, the next ones; yields their calls' gradients, pass by pass.

        None stands for a zero. The last pass frees the saved activations.
        """
        wanted = [_place(call.edge) for section in self.sections[first:last] for call in section]
        gate = self._gates[last - 1] if last <= len(self._gates) else ()
        asked = list(dict.fromkeys([*wanted, *gate]))
        for c, waiting in enumerate(self._waiting):
            found: dict[Place, Tensor | None] = dict.fromkeys(asked)
            if waiting and asked:
                gradients = torch.autograd.grad(
                    [GradientEdge(*place) for place in waiting],
                    [GradientEdge(*place) for place in asked],
                    list(waiting.values()),
                    retain_graph=c + 1 < self.passes,
                    allow_unused=True,
                )
                found = dict(zip(asked, gradients, strict=True))
            self._waiting[c] = {place: g for place in gate if (g := found[place]) is not None}
            del waiting
            yield [found[place] for place in wanted]


def _place(edge: GradientEdge) -> Place:
    return edge.node, edge.output_nr


def _order(start: Node) -> list[Node]:
    """All nodes behind ``start``, each after everything that is made of it."""
    finished: list[Node] = []
    seen = {start}
    todo = [(start, iter(start.next_functions))]
    while todo:
        node, following = todo[-1]
        for other, _ in following:
            if other is not None and other not in seen:
                seen.add(other)
                todo.append((other, iter(other.next_functions)))
                break
        else:
            finished.append(node)
            todo.pop()
    return finished[::-1]


def _gates(order: Sequence[Node], goals: Set[Node]) -> list[list[Place]]:
    """Places of the nodes that everything on the way to later goals passes through, one after each run of goals."""
    leads = set[Node]()
    for node in reversed(order):
        if node in goals or any(following in leads for following, _ in node.next_functions):
            leads.add(node)
    open_: dict[Node, dict[Place, None]] = {}
    gates: list[list[Place]] = []
    passed = False  # a goal since the last gate
    for node in order:
        if len(open_) == 1 and node in open_ and passed:
            gates.append(list(open_[node]))
            passed = False
        open_.pop(node, None)
        passed = passed or node in goals
        for place in node.next_functions:
            if place[0] in leads:
                open_.setdefault(place[0], {})[place] = None
    return gates

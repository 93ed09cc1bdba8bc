"""The module path of layers as a tree: branches where several layers share the start of their names."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

FEW = 6  # so many layers are seen at a glance: nothing to fold
DEEPEST = 12  # levels; what is left of a longer path stays one name
OWN = "own parameters"  # of a module that has layers below it, too


@dataclass(frozen=True, slots=True)
class Node:
    """A row of the tree: a layer by its index (and nothing below), or a branch with what is below it."""

    label: str
    row: int | None = None
    children: tuple["Node", ...] = ()

    def rows(self) -> Iterator[int]:
        """The layers here and below, in the order of the tree."""
        if self.row is not None:
            yield self.row
        for child in self.children:
            yield from child.rows()

    def json(self) -> list[Any]:
        """Label, index of the layer (None: a branch), and what is below."""
        return [self.label, self.row, [child.json() for child in self.children]]


@dataclass
class _Place:
    row: int | None = None
    below: dict[str, "_Place"] = field(default_factory=dict)


def layer_tree(names: Sequence[str | None]) -> tuple[Node, ...]:
    """Group names by the parts between their dots; None stands for an entry that belongs to no module.

    A path with nothing beside it is one row (``encoder.layers.0``), a branch around everything is none, and few layers
    stay a plain list. Every index of ``names`` occurs exactly once; layers stay in their order as far as the branches
    let them.
    """
    alone = [Node("", row) for row, name in enumerate(names) if name is None]
    named = [(row, name) for row, name in enumerate(names) if name is not None]
    if len(named) <= FEW:
        return (*alone, *(Node(name, row) for row, name in named))
    root = _Place()
    for row, name in named:
        place = root
        for part in name.split(".", DEEPEST - 1):
            place = place.below.setdefault(part, _Place())
        if place.row is not None:  # two of one name
            place = place.below.setdefault(f"#{row}", _Place())
        place.row = row
    tops = tuple(_node(part, place) for part, place in root.below.items())
    if len(tops) == 1:
        (top,) = tops
        tops = tuple(
            Node(top.label if child.label == OWN else f"{top.label}.{child.label}", child.row, child.children)
            for child in top.children
        )
    return (*alone, *tops)


def _node(label: str, place: _Place) -> Node:
    while place.row is None and len(place.below) == 1:
        ((part, place),) = place.below.items()
        label = f"{label}.{part}"
    if not place.below:
        return Node(label, place.row)
    own = () if place.row is None else (Node(OWN, place.row),)
    return Node(label, None, (*own, *(_node(part, below) for part, below in place.below.items())))

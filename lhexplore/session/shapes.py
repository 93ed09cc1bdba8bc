"""How the coordinates of a block are cut into the tensors of the model."""

from math import prod
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session


def shapes(session: "Session", layer: str | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Name and shape of every parameter tensor of a block; see the session's method."""
    found = dict(session._lane.replica.model.named_parameters(remove_duplicate=False))
    tensors = {id(found[name]): name for name in reversed(session._answers.layer(layer).parameters)}
    names = sorted(tensors.values(), key=session._answers.layer(layer).parameters.index)
    return tuple((name, tuple(found[name].shape)) for name in names if prod(found[name].shape))

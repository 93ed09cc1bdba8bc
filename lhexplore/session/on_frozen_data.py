"""Losses and accuracies on the session's own frozen data, apart from what training recorded of its batches."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .session import Session

PREFIX = {"data": "", "held_out": "held_out_"}  # of a name, by split


def evaluated(session: "Session", label: str) -> dict[str, float]:
    """What was evaluated so far of a snapshot, on all splits; costs nothing."""
    return {
        prefix + name: value
        for split, prefix in PREFIX.items()
        for name, value in session._evaluated.get((split, label), {}).items()
    }


def on_frozen_data(session: "Session", label: str) -> dict[str, float]:
    """What these weights reach on the frozen data; costs a forward pass per split, none in a closed session."""
    if not session.closed:
        session.evaluate(label)
    return evaluated(session, label)

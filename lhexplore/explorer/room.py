"""Notes when the axes of a figure had to reach further for a snapshot that came while it was on show."""

from collections.abc import Hashable, Set
from typing import Any

from .frames import Plot


class Room:
    """Compares the axes of a figure with those it had when it was drawn last."""

    def __init__(self) -> None:
        self._what: Hashable = None
        self._reach: tuple[float, ...] = ()
        self._known: Set[str] = frozenset()

    def taken_by(self, plot: Plot, what: Hashable, known: Set[str]) -> Set[str]:
        """The snapshots that were drawn for the first time, if the axes reach further now; else nothing.

        Args:
            plot: the figure as it is drawn now.
            what: what it shows; with something else its axes are others, and nobody expects them to hold still.
            known: labels of the snapshots that are drawn.
        """
        root: Any = plot.root
        reach = (-root.x_range.start, root.x_range.end, -root.y_range.start, root.y_range.end)
        wider = (
            bool(self._known)
            and what == self._what
            and any(now > before for now, before in zip(reach, self._reach, strict=True))
        )
        new = known - self._known if wider else frozenset()
        self._what, self._reach, self._known = what, reach, known
        return new

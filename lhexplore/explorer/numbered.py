"""A session whose snapshots are numbered as they are on the screen, whatever training adds meanwhile."""

from collections.abc import Callable, Sequence
from typing import Any

BY_SNAPSHOT = ("cached", "steps", "known_diagnosis")  # of a layer and a snapshot
OF_SNAPSHOT = ("losses", "evaluate", "stream_traces", "states")


class Numbered:
    """Hands everything on to a session, positions as labels: these keep their meaning when snapshots are added."""

    def __init__(self, session: Any, labels: Sequence[str]) -> None:
        self._session, self._labels = session, tuple(labels)

    def append(self, labels: Sequence[str]) -> None:
        """Number those behind the last one, too."""
        self._labels = tuple(labels)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._session, name)
        if name in BY_SNAPSHOT:
            return self._second(found)
        return self._first(found) if name in OF_SNAPSHOT else found

    def stream_eigenvectors(self, layer: str | None, k: int, snapshot: int, **how: Any) -> Any:
        """As the session's."""
        return self._session.stream_eigenvectors(layer, k, self._labels[snapshot], **how)

    def _first(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        return lambda snapshot, **how: ask(self._labels[snapshot], **how)

    def _second(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        return lambda layer, snapshot, **how: ask(layer, self._labels[snapshot], **how)

"""The views of a hub, and what each of them has to draw again."""

import threading
from collections.abc import Iterable, Mapping
from typing import Protocol

from .state import Selection


class Viewer(Protocol):
    """What a hub knows of a view."""

    @property
    def wants(self) -> frozenset[str]: ...
    @property
    def spectra(self) -> str: ...
    @property
    def early(self) -> bool: ...
    def paint(self, looking: Selection, stale: frozenset[str]) -> None: ...
    def tell(self, words: str) -> None: ...
    def moved(self, places: Mapping[int, int]) -> None: ...


class Audience:
    """Knows the views that joined. Every method takes the one lock, for moments only."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stale: dict[Viewer, set[str]] = {}

    def join(self, view: Viewer) -> None:
        """Take in a view that has everything to draw."""
        with self._lock:
            self._stale[view] = set(view.wants)

    def leave(self, view: Viewer) -> None:
        """Let a view go."""
        with self._lock:
            self._stale.pop(view, None)

    def outdated(self, what: Iterable[str]) -> None:
        """Note what is out of date."""
        with self._lock:
            for view, stale in self._stale.items():
                stale.update(view.wants.intersection(what))

    def take(self) -> list[tuple[Viewer, frozenset[str]]]:
        """Every view with what it has to draw, which is then no longer out of date; progress always is.

        Those that tell of it come last: they say what went wrong with the others.
        """
        with self._lock:
            taken = [(view, frozenset(stale | {"progress"} & view.wants)) for view, stale in self._stale.items()]
            self._stale = {view: set() for view in self._stale}
        return sorted(taken, key=lambda pair: "progress" in pair[1])

    @property
    def views(self) -> tuple[Viewer, ...]:
        """All of them, in the order they came."""
        with self._lock:
            return tuple(self._stale)

    def want(self, what: str) -> bool:
        """Whether any of them shows it."""
        return any(what in view.wants for view in self.views)

    @property
    def reach(self) -> frozenset[str]:
        """Which spectra they need: those of "all" layers, of the "layer" on show, or "none"."""
        return frozenset(view.spectra for view in self.views)

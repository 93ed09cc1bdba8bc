"""Pulls gradients and parameters of all layers from a session beside the kernel: a backward pass per snapshot."""

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ..errors import ClosedError
from ..jobs import State, Worker
from ..layer_state import LayerState
from .known import words
from .state import Selection
from .weak import weakly

States = Mapping[str | None, LayerState]
Place = tuple[int, str]  # a snapshot, and which data


class Stating:
    """Owns the worker that asks for states, and remembers them.

    Rules read states from the session, so a run is judged anew when some came in. A snapshot that has none to give
    keeps nothing else from being computed or drawn.

    Args:
        session: what is asked.
        look: says what is looked at now.
        came: told whenever something came in.
    """

    def __init__(self, session: Any, *, look: Callable[[], Selection], came: Callable[[], None]) -> None:
        self._session, self._look, self._came = session, look, came
        self._lock = threading.Lock()
        self._known: dict[Place, States] = {}
        self._failures: dict[Place, str] = {}
        self._worker: Worker[tuple[Place, States | Exception]] = Worker(
            on_item=weakly(self._on_item), on_state=weakly(self._on_state)
        )
        session.attach(self._worker)

    def wish(self) -> None:
        """Have the missing ones fetched, the nearest first; returns at once."""
        if not self._worker.busy and self._next() is not None:
            self._worker.ask(self._work)

    def stop(self) -> None:
        """Stop after the snapshot at hand."""
        self._worker.cancel()

    def forgive(self) -> None:
        """Forget the failures: they will be tried again."""
        with self._lock:
            self._failures.clear()

    @property
    def busy(self) -> bool:
        """Whether states are wished for or being fetched."""
        return self._worker.busy

    def wait(self, timeout: float | None = None) -> None:
        """Block until nothing is; raises TimeoutError."""
        self._worker.wait(timeout)

    def of(self, layer: str | None, snapshot: int, split: str) -> LayerState | None:
        """The state of a block as the session calls it; None while it is not known."""
        with self._lock:
            return self._known.get((snapshot, split), {}).get(layer)

    def failure(self, snapshot: int, split: str) -> str:
        """Why a snapshot has none, in words; empty if it has, or was not asked yet."""
        with self._lock:
            return self._failures.get((snapshot, split), "")

    def _next(self) -> Place | None:
        looking = self._look()
        with self._lock:
            places = [(k, looking.main) for k in range(len(looking.labels))]
            missing = [place for place in places if place not in self._known and place not in self._failures]
        return min(missing, key=lambda place: abs(place[0] - looking.snapshot), default=None)

    def _work(self) -> Iterator[tuple[Place, States | Exception]]:
        while (place := self._next()) is not None:
            try:
                yield place, self._session.states(place[0], split=place[1], quick=True)
            except ClosedError:
                return
            except Exception as failure:  # noqa: BLE001  belongs on the screen, and the other snapshots go on
                yield place, failure

    def _on_item(self, item: tuple[Place, States | Exception]) -> None:
        place, found = item
        with self._lock:
            if isinstance(found, Exception):
                self._failures[place] = words(found)
            else:
                self._known[place] = found
        self._came()

    def _on_state(self, state: State, _failure: BaseException | None) -> None:
        if state == State.BUSY:
            return
        self._came()
        if state == State.IDLE and not self._session.closed and self._next() is not None:
            self._worker.ask(self._work)  # other data were chosen as it ended

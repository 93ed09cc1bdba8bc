"""Latest wish wins: what a person at a slider needs from a computation."""

import threading
import time
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Generic, TypeVar

from .alive import watch

T = TypeVar("T")


class State(StrEnum):
    """What the worker is doing, or how the last wish ended."""

    BUSY = "busy"
    IDLE = "idle"
    STOPPED = "stopped"
    FAILED = "failed"


class Worker(Generic[T]):
    """Fulfil one wish at a time beside the caller; a newer wish replaces the running one between two items.

    A wish is a function that returns an iterator. Items go to ``on_item`` and changes of state to ``on_state``
    (with the exception after a failure), both on the worker's thread. No thread lives while nothing is wished for,
    so a forgotten worker costs nothing.
    """

    def __init__(
        self,
        *,
        on_item: Callable[[T], None],
        on_state: Callable[[State, BaseException | None], None] | None = None,
        quiet: float = 0.05,
    ) -> None:
        """``quiet``: a wish starts when no newer one came for so many seconds."""
        self._on_item, self._on_state, self._quiet = on_item, on_state, quiet
        self._changed = threading.Condition()
        self._wish: Callable[[], Iterator[T]] | None = None
        self._due = 0.0
        self._generation = 0  # grows with every ask and cancel: an item of an older one is dropped
        self._thread: threading.Thread | None = None
        watch(self)

    @property
    def busy(self) -> bool:
        """Whether something is wished for or running."""
        with self._changed:
            return self._thread is not None

    def ask(self, wish: Callable[[], Iterator[T]]) -> None:
        """Replace whatever is wished for; returns at once."""
        with self._changed:
            self._generation += 1
            self._wish, self._due = wish, time.monotonic() + self._quiet
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lhexplore-worker", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def cancel(self) -> None:
        """Forget every wish; the item at hand is the last one."""
        with self._changed:
            self._generation += 1
            self._wish = None
            self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> None:
        """Block until nothing is wished for or running.

        Raises:
            TimeoutError: still busy after ``timeout`` seconds.
        """
        with self._changed:
            if self._thread is threading.current_thread():
                return
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"Still computing after {timeout} s.")

    def join(self, timeout: float) -> None:
        """Wait for the thread itself, at most ``timeout`` seconds; raises nothing."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout)

    def _run(self) -> None:
        state: State = State.IDLE
        failure: BaseException | None = None
        while True:
            with self._changed:
                while self._wish is not None and (rest := self._due - time.monotonic()) > 0:
                    self._changed.wait(rest)
                wish, self._wish, mine = self._wish, None, self._generation
            if wish is None:
                self._tell(state, failure)
                with self._changed:
                    if self._wish is not None:  # asked for while we told how it ended
                        continue
                    self._thread = None
                    self._changed.notify_all()
                return
            self._tell(State.BUSY, None)
            state, failure = self._fulfil(wish, mine)

    def _fulfil(self, wish: Callable[[], Iterator[T]], mine: int) -> tuple[State, BaseException | None]:
        items: Iterator[T] | None = None
        try:
            items = wish()
            for item in items:
                if self._generation != mine:
                    return State.STOPPED, None
                self._on_item(item)
                if self._generation != mine:
                    return State.STOPPED, None
        except Exception as failure:  # noqa: BLE001  goes to on_state, which shows it to the person at the screen
            return State.FAILED, failure
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
        return State.IDLE, None

    def _tell(self, state: State, failure: BaseException | None) -> None:
        if self._on_state is not None:
            self._on_state(state, failure)

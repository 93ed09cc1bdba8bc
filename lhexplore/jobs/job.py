"""One iterator, pulled to its end in a thread of its own."""

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from .alive import watch

T = TypeVar("T")


class Job(Generic[T]):
    """Pull ``items`` in a worker thread; stop between two of them when told to.

    The newest item is :attr:`progress` (``initial`` before the first). What an item already stored stays stored.
    """

    def __init__(
        self,
        items: Iterator[T],
        *,
        initial: T,
        on_item: Callable[[T], None] | None = None,
        name: str = "lhexplore-job",
    ) -> None:
        self._items, self._progress, self._on_item = items, initial, on_item
        self._stop, self._ended = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        watch(self)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def progress(self) -> T:
        """The newest item."""
        return self._progress

    @property
    def done(self) -> bool:
        """Whether the work ended: finished, cancelled or failed."""
        return self._ended.is_set()

    @property
    def busy(self) -> bool:
        """Whether the work is still going on."""
        return not self.done

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop."""
        return self._stop.is_set()

    def cancel(self) -> None:
        """Ask to stop; takes effect before the next item. Harmless when repeated or too late."""
        self._stop.set()

    def wait(self, timeout: float | None = None) -> None:
        """Block until the work ended, also after a cancel.

        An interrupt (Ctrl-C, the notebook's stop button) reaches only the waiting thread: it cancels the job, waits
        for the item at hand and goes on as the interrupt it was.

        Raises:
            TimeoutError: still running after ``timeout`` seconds.
            Exception: what the work itself raised.
        """
        try:
            ended = self._ended.wait(timeout)
        except KeyboardInterrupt:
            self.cancel()
            self._ended.wait()
            raise
        if not ended:
            raise TimeoutError(f"Still running after {timeout} s: {self._progress}.")
        if self._failure is not None:
            raise self._failure

    def join(self, timeout: float) -> None:
        """Wait for the thread itself, at most ``timeout`` seconds; raises nothing."""
        self._thread.join(timeout)

    def __repr__(self) -> str:
        state = "running" if not self.done else "failed" if self._failure else "cancelled" if self.cancelled else "done"
        return f"Job({state}: {self._progress})"

    def _run(self) -> None:
        try:
            if not self._stop.is_set():
                for item in self._items:
                    self._progress = item
                    if self._on_item is not None:
                        self._on_item(item)
                    if self._stop.is_set():
                        break
        except BaseException as failure:  # noqa: BLE001  kept for wait(), which raises it where somebody can see it
            self._failure = failure
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            self._ended.set()

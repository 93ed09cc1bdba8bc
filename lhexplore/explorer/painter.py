"""Putting what is known on the screen soon, but only so often, beside whoever asks for it."""

import sys
import threading
import time
from collections.abc import Callable

RATE = 0.2  # seconds between two paintings: five a second look live, more only fill the connection


class Painter:
    """Call ``paint`` in a thread of its own after :meth:`ask`, at most every ``rate`` seconds.

    Asking twice before that paints once. A slow painting is followed by a rest twice as long, so that it never
    takes the kernel for itself. No thread lives while nothing is to be painted.
    """

    def __init__(self, paint: Callable[[], None], *, rate: float = RATE) -> None:
        self._paint, self._rate = paint, rate
        self._changed = threading.Condition()
        self._asked = self._hurry = self._closed = False
        self._next = 0.0
        self._thread: threading.Thread | None = None

    def ask(self, *, hurry: bool = False) -> None:
        """Paint when the time has come, or at once (``hurry``: somebody clicked); returns without waiting."""
        with self._changed:
            if self._closed or sys.is_finalizing():  # no thread can start any more: it would be waited for in vain
                return
            self._asked, self._hurry = True, self._hurry or hurry
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="lhexplore-painter", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    @property
    def busy(self) -> bool:
        with self._changed:
            return self._thread is not None

    def wait(self, timeout: float | None = None) -> None:
        """Block until everything asked for is painted; ends the rest between two paintings.

        Raises:
            TimeoutError: still painting after ``timeout`` seconds.
        """
        with self._changed:
            if self._thread is threading.current_thread():
                return
            self._hurry = self._hurry or self._asked
            self._changed.notify_all()
            if not self._changed.wait_for(lambda: self._thread is None, timeout):
                raise TimeoutError(f"Still drawing after {timeout} s.")

    def close(self) -> None:
        """Paint no more; the painting at hand is the last."""
        with self._changed:
            self._closed, self._asked = True, False
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._asked and not self._hurry and (rest := self._next - time.monotonic()) > 0:
                    self._changed.wait(rest)
                if not self._asked:
                    self._thread = None
                    self._changed.notify_all()
                    return
                self._asked = self._hurry = False
            start = time.monotonic()
            try:
                self._paint()
            finally:
                end = time.monotonic()
                self._next = end + max(self._rate, 2 * (end - start))

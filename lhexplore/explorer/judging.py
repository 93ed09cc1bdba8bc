"""When the run as a whole is judged: seldom while spectra come in, and once more when all is known."""

import threading
import time
from typing import Any

from .protocols import Judged

PAUSE = 1.0  # seconds between two judgements while spectra are coming in
SHARE = 10  # and this many times what the last one took


class Judging:
    """Asks the session what its run shows, and remembers the answer."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._lock = threading.Lock()
        self._run: Judged | None = None
        self._split = ""  # the data it was judged by
        self._fresh = False  # whether it knows all that is known
        self._next = 0.0  # when to ask again at the earliest

    @property
    def stale(self) -> bool:
        """Whether something came in since the last answer."""
        return not self._fresh

    def outdated(self) -> None:
        """Note that something came in."""
        with self._lock:
            self._fresh = False

    def of(self, split: str) -> Judged | None:
        """The last answer, if it is about this data."""
        with self._lock:
            return self._run if self._split == split else None

    def ask(self, split: str, *, busy: bool) -> bool:
        """Ask, unless nothing came in or, while the work goes on (``busy``), it is too early; say whether asked.

        Takes as long as ``session.findings``, up to 0.1 s: never called by what a person does.
        """
        start = time.monotonic()
        with self._lock:
            early = self._fresh or (busy and start < self._next)
            if self._split == split and early:
                return False
            self._fresh = True  # what arrives from now on is not in it
        found = self._session.findings(split=split)
        with self._lock:
            self._run, self._split = found, split
            self._next = start + max(PAUSE, SHARE * (time.monotonic() - start))
        return True

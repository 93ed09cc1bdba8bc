"""A progress bar in plain text: one line rewritten where that works, a few lines where it does not."""

import sys
import time
from types import TracebackType
from typing import TextIO

from ..jobs import Progress

WIDTH = 28


class Bar:
    """Show :class:`Progress` values on ``stream``: rewritten in a terminal or notebook, sparse lines in a log."""

    def __init__(self, stream: TextIO | None = None, *, title: str = "spectra") -> None:
        notebook = stream is None and type(sys.stdout).__module__.startswith("ipykernel")
        # Notebooks paint stderr as if something had gone wrong; in a terminal it keeps stdout clean for pipes.
        self._stream = stream or (sys.stdout if notebook else sys.stderr)
        self._title = title
        self._live = notebook or self._stream.isatty()
        self._last = -1.0
        self._said = 0.0
        self._length = 0

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live and self._length:
            self._stream.write("\n")
            self._stream.flush()

    def say(self, words: str) -> None:
        """Write a line below the bar; nothing for no words."""
        if words:
            self._stream.write(("\n" if self._live and self._length else "") + words + "\n")
            self._length = 0
            self._stream.flush()

    def show(self, progress: Progress, *, final: bool = False) -> None:
        """Draw it, at most ten times a second (live) or once per tenth of the work (log), and at the end."""
        now = time.monotonic()
        if self._live:
            if not final and now - self._last < 0.1:
                return
        elif not final and int(progress.share * 10) <= int(self._said * 10):
            return
        self._last, self._said = now, progress.share
        full = round(progress.share * WIDTH)
        line = f"{self._title} {'█' * full}{'░' * (WIDTH - full)} {progress}"
        if self._live:
            self._stream.write("\r" + line[:118].ljust(self._length))
            self._length = max(self._length, min(len(line), 118))
        else:
            self._stream.write(line + "\n")
        self._stream.flush()

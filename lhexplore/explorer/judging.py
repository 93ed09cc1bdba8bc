"""The run as a whole, judged beside whoever draws: seldom while spectra come in, and once more when all is known."""

import threading
from collections.abc import Callable, Iterator, Mapping
from itertools import groupby
from time import monotonic
from typing import Any

from ..diagnosis import Diagnosis, Hesd
from ..diagnosis.rules.diagnose import diagnosis_in
from ..jobs import State, Worker
from .protocols import Judged
from .weak import weakly

PAUSE = 1.0  # seconds between two judgements while spectra are coming in
SHARE = 10  # and this many times what the last one took

Block = tuple[str | None, str]  # what a session calls a layer, at a snapshot's label
Said = tuple[str, Judged | None, Mapping[Block, Hesd]]  # of which data; types come after the run, layer by layer


class Judging:
    """Asks the session what its run shows, and remembers the answer, with the type of every block in the run's light.

    ``changed`` is called whenever there is something new; :meth:`news` then says so once.
    """

    def __init__(self, session: Any, *, changed: Callable[..., None]) -> None:
        self._session, self._changed = session, changed
        self._lock = threading.Lock()
        self._run: Judged | None = None
        self._types: dict[Block, Hesd] = {}
        self._split = ""  # the data it was judged by
        self._asked = ""  # the data it was or is being judged by
        self._fresh = False  # whether it knows all that is known
        self._next = 0.0  # when to ask again at the earliest
        self._new = self._typed = False
        self._failure: BaseException | None = None
        self._worker: Worker[Said] = Worker(on_item=weakly(self._on_item), on_state=weakly(self._on_state), quiet=0.0)
        session.attach(self._worker)

    @property
    def stale(self) -> bool:
        """Whether something came in since the last answer."""
        return not self._fresh

    @property
    def busy(self) -> bool:
        """Whether the run is being judged."""
        return self._worker.busy

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is not; raises TimeoutError."""
        self._worker.wait(timeout)

    def close(self) -> None:
        """Judge no more."""
        self._worker.cancel()

    def outdated(self) -> None:
        """Note that something came in."""
        with self._lock:
            self._fresh = False

    def of(self, split: str) -> Judged | None:
        """The last answer, if it is about this data."""
        with self._lock:
            return self._run if self._split == split else None

    def type_of(self, split: str, layer: str | None, label: str) -> Hesd | None:
        """The type of a block in the light of the run, where that is known by now."""
        with self._lock:
            return self._types.get((layer, label)) if self._split == split else None

    def news(self) -> bool:
        """Whether something was answered since this was asked last.

        Raises:
            Exception: what kept the run from being judged, once.
        """
        with self._lock:
            new, self._new = self._new, False
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure
        return new

    def ask(self, split: str, *, busy: bool) -> bool:
        """Have the run judged, unless nothing came in or, while the work goes on (``busy``), it is too early.

        Returns at once, and says whether it was asked for.
        """
        with self._lock:
            early = self._fresh or (busy and (monotonic() < self._next or self._worker.busy))
            if self._asked == split and early:
                return False
            self._fresh, self._asked = True, split  # what arrives from now on is not in it
        self._worker.ask(lambda: self._work(split))
        return True

    # ---- on the worker's thread

    def _work(self, split: str) -> Iterator[Said]:
        start = monotonic()
        found = self._session.findings(split=split)
        with self._lock:
            same = found is self._run and self._split == split
            self._next = start + max(PAUSE, SHARE * (monotonic() - start))
        if same:
            return
        yield split, found, {}
        if found is not None:
            for layer, blocks in groupby(found.course.spectra, key=lambda block: block[0]):
                yield split, found, {(layer, label): diagnosis_in(found, layer, label).hesd for _, label in blocks}

    def _on_item(self, said: Said) -> None:
        split, run, types = said
        with self._lock:
            if not types:
                self._run, self._split, self._types, self._new = run, split, {}, True
            else:
                self._types.update(types)
                self._typed = True
        if not types:
            self._changed()

    def _on_state(self, state: State, failure: BaseException | None) -> None:
        if state == State.BUSY:
            return
        with self._lock:
            self._failure, self._new, self._typed = failure, self._new or self._typed, False
        self._changed()


def in_run(run: Judged | None, layer: str | None, label: str) -> Diagnosis | None:
    """What a run says of one of its blocks; None where it does not know it."""
    if run is None or (layer, label) not in run.course.spectra:
        return None
    return diagnosis_in(run, layer, label)

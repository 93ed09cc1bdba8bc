"""A session on a folder that training still writes into: new snapshots are taken in as they land."""

import threading
import time
from collections.abc import Callable
from itertools import count
from typing import TYPE_CHECKING
from weakref import ReferenceType, ref

from ..errors import SettingError
from .reading import forget

if TYPE_CHECKING:
    from .session import Session

Heard = Callable[[tuple[str, ...]], None]
QUIET = 1.0  # seconds since the last change of a file, before a look that nobody asked for takes it
SHARE = 20  # rest at least so many times as long as a look took: slow disks are left in peace


class Growing:
    """Looks for new snapshots of a session: when asked, and in a thread of its own while somebody listens."""

    def __init__(self, session: "Session") -> None:
        self._session: ReferenceType[Session] = ref(session)
        self._looking = threading.Lock()
        self._lock = threading.Lock()
        self._numbers = count()
        self._heard: dict[int, tuple[Heard, float]] = {}
        self._stop: threading.Event | None = None  # of the thread, while there is one
        self.troubles: tuple[str, ...] = ()  # why the last look failed

    def refresh(self, *, quiet: float = 0.0) -> tuple[str, ...]:
        """Take in what is new, and tell who listens; returns the new labels.

        Args:
            quiet: leave for the next time what changed less than so many seconds ago.
        """
        with self._looking:
            session = self._session()
            found = None if session is None or session.closed else session.snapshots.again(quiet=quiet)
            if session is None or found is None:
                return ()
            snapshots, growth = found
            session._answers.grow(snapshots, growth.changed)
            for place in [one for one in session._evaluated if one[1] in growth.changed]:
                session._evaluated.pop(place, None)
            session._snapshots = snapshots  # only now: whoever finds a new label can ask for it
            if growth.changed:
                forget(session)
        with self._lock:
            told = [heard for heard, _ in self._heard.values()]
        for heard in told:
            heard(growth.new)
        return growth.new

    def follow(self, heard: Heard, *, every: float) -> Callable[[], None]:
        """Have ``heard`` told of what is new from now on; returns how to end it."""
        session = self._session()
        if session is None or not session.grows:
            raise SettingError(
                "Only the snapshots of a folder, a glob or a recorder can grow. Make the session with "
                "snapshots='runs/a', or with what lhexplore.record(model, 'runs/a') gave."
            )
        if not every > 0:
            raise SettingError(f"every must be seconds, more than 0; got {every!r}.")
        number = next(self._numbers)
        with self._lock:
            self._heard[number] = (heard, every)
            if self._stop is None and not session.closed:
                self._stop = threading.Event()
                arguments = (ref(self), self._stop)
                threading.Thread(target=_look, args=arguments, name="lhexplore-growing", daemon=True).start()
        return lambda: self._leave(number)

    def close(self) -> None:
        """Look no more."""
        with self._lock:
            self._heard.clear()
            self._end()

    @property
    def following(self) -> bool:
        """Whether a thread looks now and then."""
        return self._stop is not None

    def look(self) -> float:
        """Look once for those who listen; returns how many seconds to rest."""
        start = time.monotonic()
        try:
            self.refresh(quiet=QUIET)
            self.troubles = ()
        except Exception as failure:  # noqa: BLE001  belongs before the person's eyes, and the next look may succeed
            self.troubles = (f"New snapshots could not be looked for: {failure}",)
        with self._lock:
            every = min((seconds for _, seconds in self._heard.values()), default=QUIET)
        return max(every, SHARE * (time.monotonic() - start))

    def _leave(self, number: int) -> None:
        with self._lock:
            self._heard.pop(number, None)
            if not self._heard:
                self._end()

    def _end(self) -> None:
        if self._stop is not None:
            self._stop.set()
            self._stop = None


def _look(growing: "ReferenceType[Growing]", stop: threading.Event) -> None:
    """Look until told to stop; a session that nobody holds ends it."""
    rest = 0.0
    while not stop.wait(rest):
        found = growing()
        if found is None:
            return
        rest = found.look()
        del found  # nobody is kept alive by a thread that rests

"""Work that is under way when Python ends is stopped first: a thread inside torch cannot outlive the interpreter."""

import atexit
from typing import Protocol
from weakref import WeakSet

PATIENCE = 30.0  # seconds for the product at hand; after that Python ends anyway


class Stoppable(Protocol):
    """A job or a worker."""

    def cancel(self) -> None: ...
    def join(self, timeout: float) -> None: ...


_running: WeakSet[Stoppable] = WeakSet()


def watch(work: Stoppable) -> None:
    """Stop ``work`` before the interpreter goes, if it still runs then."""
    _running.add(work)


@atexit.register
def _stop_all() -> None:
    for work in [*_running]:
        work.cancel()
    for work in [*_running]:
        work.join(PATIENCE)

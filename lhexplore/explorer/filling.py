"""Getting what is missing from a session, best first, so that whoever drives it can stop between two products."""

import time
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from math import inf
from typing import Protocol, TypeVar

from ..errors import ClosedError, SnapshotError
from ..spectrum import Spectrum, Step
from .protocols import TracesLike
from .state import Cell

T = TypeVar("T")
PREVIEW = 3  # random vectors after which an estimate of the traces may end …
PATIENCE = 0.5  # … once it took so many seconds: the spectra say more


class Source(Protocol):
    """The part of a session that gives spectra."""

    def cached(self, layer: str | None, snapshot: int, **how: str) -> Spectrum | None: ...
    def steps(self, layer: str | None, snapshot: int, **how: str) -> Iterator[Step]: ...
    def losses(self, snapshot: int) -> dict[str, float]: ...
    def evaluate(self, snapshot: int) -> dict[str, float]: ...
    def stream_traces(self, snapshot: int, *, split: str) -> Iterator[TracesLike]: ...


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """What happened to one cell, to a snapshot's traces or to the losses: a step of the work, or why it failed."""

    cell: Cell | None  # None: a loss was evaluated, traces were estimated, or what was cached was read
    step: Step | None = None
    failure: Exception | None = None
    seconds: float = 0.0  # spent on this cell so far
    traces: tuple[int, TracesLike, str] | None = None  # of a snapshot, on which data
    read: frozenset[Cell] = frozenset()  # what was found in the cache


def cached(
    session: Source, cells: Iterable[Cell], *, key: Callable[[Cell], str | None], seconds: float = inf
) -> Iterator[tuple[Cell, Spectrum]]:
    """What is cached of these cells, until so much time was spent. A failure ends it: :func:`fill` meets it again."""
    end = time.monotonic() + seconds
    for cell in cells:
        if time.monotonic() > end:
            return
        try:
            found = session.cached(key(cell), cell.snapshot, **cell.how)
        except Exception:  # noqa: BLE001  see above
            return
        if found is not None:
            yield cell, found


def fill(
    session: Source,
    choose: Callable[[], Cell | None],
    *,
    key: Callable[[Cell], str | None],
    leave: Callable[[Cell], bool],
) -> Iterator[News]:
    """Fill cell after cell until ``choose`` has no more; ``leave`` says between two steps to drop the one at hand.

    A cell that fails does not stop the others; a closed session does.
    """
    while (cell := choose()) is not None:
        for news in _one(session, cell, key(cell)):
            yield news
            if isinstance(news.failure, ClosedError):
                return
            if news.failure is None and leave(cell):
                break


def evaluate(session: Source, count: int) -> Iterator[News]:
    """Evaluate the loss of the snapshots that came without one: a forward pass each."""
    for k in range(count):
        try:
            if any("loss" in name.lower() for name in session.losses(k)):
                continue
            session.evaluate(k)
        except Exception as failure:  # noqa: BLE001  belongs on the screen, and the spectra go on
            yield News(None, failure=failure)
            return
        yield News(None)


def preview(session: Source, snapshot: int, *, split: str = "data", leave: Callable[[], bool]) -> Iterator[News]:
    """Estimate the traces of all layers at once, the first thing there is to see, until they are good enough.

    A failure is not told: the spectra, which are asked for next, meet it again and say more.
    """
    start = time.monotonic()
    try:
        with closing(_generator(session.stream_traces(snapshot, split=split))) as items:
            for traces in items:
                yield News(None, traces=(snapshot, traces, split))
                if leave() or (traces.probes >= PREVIEW and time.monotonic() - start > PATIENCE):
                    return
    except Exception:  # noqa: BLE001  see above
        return


def _one(session: Source, cell: Cell, layer: str | None) -> Iterator[News]:
    start, finished = time.monotonic(), False
    try:
        known = session.cached(layer, cell.snapshot, **cell.how)
        if known is not None:
            yield News(cell, Step(1, 1, known))
            return
        yield News(cell, Step(0, 0))  # names what is being computed before the first product is done
        with closing(_generator(session.steps(layer, cell.snapshot, **cell.how))) as steps:
            for step in steps:
                finished = step.spectrum is not None and step.spectrum.complete
                yield News(cell, step, seconds=time.monotonic() - start)
        if not finished:
            yield News(cell, failure=RuntimeError("The computation ended without a result."))
    except Exception as failure:  # noqa: BLE001  any failure belongs on the screen, and the other cells go on
        yield News(cell, failure=failure)


def _generator(steps: Iterator[T]) -> Generator[T, None, None]:
    """A generator even where the session hands out a plain iterator, so that it can be closed."""
    try:
        yield from steps
    finally:
        close = getattr(steps, "close", None)
        if close is not None:
            close()


def spoils_snapshot(failure: Exception) -> bool:
    """Whether a failure lies in the snapshot itself, so that its other layers need not be tried."""
    return isinstance(failure, SnapshotError)

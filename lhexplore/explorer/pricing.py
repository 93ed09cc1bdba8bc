"""Asks a session beside the kernel what the missing spectra will cost, while nothing is computed."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import nan
from typing import Any, NamedTuple

from ..jobs import State, Worker
from ..spectrum import WHOLE
from .filling import cached
from .known import Known
from .state import Cell, Selection, requests
from .weak import weakly

QUIET = 0.2  # seconds in which the work itself may begin: then there is nothing to foretell
Kind = tuple[str, str]  # a layer on one kind of data costs the same at every snapshot


class Price(NamedTuple):
    """What one spectrum is expected to take: seconds, and MB of memory at the peak on top of model and data."""

    seconds: float
    mb: float


class Pricing:
    """Owns the worker that asks ``session.plan``, and remembers the answers: every layer is asked for once per data.

    What is cached is read first, so that only what is missing counts. A plan times one gradient and computes on a few
    examples; it begins only while ``idle`` says so, since it takes its turn with the computations. A session that
    cannot plan, or fails to, has no prices.

    Args:
        session: what is asked.
        known: takes what was cached.
        look: says what is looked at now.
        idle: whether nothing is being computed.
        came: told at the end, with whether anything was found in the cache.
    """

    def __init__(
        self,
        session: Any,
        known: Known,
        *,
        look: Callable[[], Selection],
        idle: Callable[[], bool],
        came: Callable[[bool], None],
    ) -> None:
        self._session, self._known, self._look, self._idle, self._came = session, known, look, idle, came
        self._lock = threading.Lock()
        self._prices: dict[Kind, Price] = {}
        self._asked: set[Kind] = set()
        self._read = False  # whether something was found in the cache
        self._worker: Worker[tuple[set[Kind], Mapping[Kind, Price]]] = Worker(
            on_item=weakly(self._on_item), on_state=weakly(self._on_state), quiet=QUIET
        )
        session.attach(self._worker)

    def take(self, other: "Pricing") -> None:
        """Know what another one knew: snapshots that came meanwhile cost no less."""
        with other._lock, self._lock:
            self._prices, self._asked = {**other._prices}, {*other._asked}

    def wish(self, missing: Sequence[Cell]) -> None:
        """Have the session asked what these cost, where it was not; returns at once."""
        if not self._worker.busy and not self._session.closed and self._idle() and self.open(missing):
            self._worker.ask(self._work)

    def close(self) -> None:
        """Ask no more."""
        self._worker.cancel()

    @property
    def busy(self) -> bool:
        """Whether an answer is awaited."""
        return self._worker.busy

    def wait(self, timeout: float | None = None) -> None:
        """Block until none is; raises TimeoutError."""
        self._worker.wait(timeout)

    def open(self, missing: Sequence[Cell]) -> bool:
        """Whether any of these was not asked for yet, of a session that can be asked."""
        with self._lock:
            return hasattr(self._session, "plan") and any(_kind(cell) not in self._asked for cell in missing)

    def seconds(self, cell: Cell) -> float:
        """What a spectrum is expected to take; NaN while that is not known."""
        with self._lock:
            return self._prices[_kind(cell)].seconds if _kind(cell) in self._prices else nan

    def mb(self, missing: Sequence[Cell]) -> float:
        """Memory at the peak of the largest of these; NaN while that is not known."""
        with self._lock:
            known = [self._prices[_kind(cell)].mb for cell in missing if _kind(cell) in self._prices]
        return max(known, default=nan)

    # ---- on the worker's thread

    def _work(self) -> Iterator[tuple[set[Kind], Mapping[Kind, Price]]]:
        looking = self._look()
        for cell, found in cached(self._session, self._missing(), key=lambda cell: looking.key(cell.layer)):
            self._known.put(cell, found)
            self._read = True
        while self._idle() and not self._session.closed:
            looking = self._look()
            with self._lock:
                unasked = [cell for cell in self._missing() if _kind(cell) not in self._asked]
            if not unasked:
                return
            _, place, split, *_ = unasked[0]
            here = {cell.layer for cell in unasked if (cell.snapshot, cell.split) == (place, split)}
            yield {(name, split) for name in here}, self._plan(looking, here, place, split)

    def _missing(self) -> list[Cell]:
        return self._known.all_missing(self._look().wanted())

    def _plan(self, looking: Selection, layers: set[str], place: int, split: str) -> Mapping[Kind, Price]:
        names = {looking.key(name) or WHOLE: name for name in layers}
        label = requests(None, looking.labels)[place].snapshot
        try:
            rows = self._session.plan([looking.key(name) for name in layers], [label], split=split)
        except Exception:  # noqa: BLE001  computing meets it again, and says more
            return {}
        return {(names[row["layer"]], split): Price(row["seconds"], row["MB"]) for row in rows if not row["cached"]}

    def _on_item(self, item: tuple[set[Kind], Mapping[Kind, Price]]) -> None:
        asked, prices = item
        with self._lock:
            self._asked |= asked
            self._prices |= prices

    def _on_state(self, state: State, _failure: BaseException | None) -> None:
        if state != State.BUSY:
            read, self._read = self._read, False
            self._came(read)


def _kind(cell: Cell) -> Kind:
    return cell.layer, cell.split

"""What is known: the memory of what came back from the session, shared by the explorer's threads."""

import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..errors import LhexploreError
from ..spectrum import Spectrum, Step
from .protocols import TraceLike, TracesLike
from .state import Cell


class Known:
    """What came back so far, by cell. Every method takes the one lock; values handed out never change."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._spectra: dict[Cell, Spectrum] = {}
        self._steps: dict[Cell, Step] = {}
        self._failures: dict[Cell, Exception] = {}
        self._traces: dict[Cell, TraceLike] = {}

    def take(self, other: "Known", moves: Mapping[int, int]) -> None:
        """Take over what another one knows of the snapshots that ``moves`` names, at the positions it gives them."""
        with other._lock, self._lock:
            for mine, theirs in zip(self._kept(), other._kept(), strict=True):
                for cell in [cell for cell in theirs if cell.snapshot in moves]:
                    mine[cell._replace(snapshot=moves[cell.snapshot])] = theirs[cell]

    def _kept(self) -> tuple[dict[Cell, Any], ...]:
        return self._spectra, self._failures, self._traces

    def put(self, cell: Cell, spectrum: Spectrum) -> None:
        """Keep a complete value; it replaces whatever was preliminary."""
        with self._lock:
            self._spectra[cell] = spectrum
            self._steps.pop(cell, None)
            self._failures.pop(cell, None)

    def advance(self, cell: Cell, step: Step) -> None:
        """Keep how far a computation is, with the newest preliminary value."""
        with self._lock:
            before = self._steps.get(cell)
            value = step.spectrum or (before.spectrum if before else None)
            self._steps[cell] = Step(step.done, step.total, value)

    def put_traces(self, snapshot: int, traces: TracesLike, split: str = "data") -> None:
        """Keep a snapshot's traces, which are shown until a spectrum is there."""
        with self._lock:
            self._traces |= {Cell(x.layer, snapshot, split): x for x in traces.layers if x.layer is not None}

    def trace(self, cell: Cell) -> TraceLike | None:
        """The trace of a cell whose spectrum is not known yet, if it was estimated."""
        with self._lock:
            return self._traces.get(cell) if self.missing(cell) else None

    def fail(self, cell: Cell, failure: Exception) -> None:
        """Keep why a cell has no value."""
        with self._lock:
            self._failures[cell] = failure
            self._steps.pop(cell, None)

    def forgive(self) -> None:
        """Forget the failures: they will be tried again."""
        with self._lock:
            self._failures.clear()

    def spectrum(self, cell: Cell) -> Spectrum | None:
        with self._lock:
            return self._spectra.get(cell)

    def step(self, cell: Cell) -> Step | None:
        with self._lock:
            return self._steps.get(cell)

    def failure(self, cell: Cell) -> Exception | None:
        with self._lock:
            return self._failures.get(cell)

    def all_failures(self, cells: Iterable[Cell]) -> list[Exception | None]:
        """Why each of these has no value; None where it has, or was not tried."""
        with self._lock:
            return [self._failures.get(cell) for cell in cells]

    def best(self, cell: Cell) -> Spectrum | None:
        """The complete value, else the newest preliminary one."""
        with self._lock:
            step = self._steps.get(cell)
            return self._spectra.get(cell) or (step.spectrum if step else None)

    def missing(self, cell: Cell) -> bool:
        """Neither known nor refused."""
        with self._lock:
            return cell not in self._spectra and cell not in self._failures

    def first_missing(self, cells: Iterable[Cell]) -> Cell | None:
        """The first of these that is neither known nor refused."""
        with self._lock:
            return next((c for c in cells if c not in self._spectra and c not in self._failures), None)

    def all_missing(self, cells: Iterable[Cell]) -> list[Cell]:
        """Those that are neither known nor refused."""
        with self._lock:
            return [c for c in cells if c not in self._spectra and c not in self._failures]

    def count(self, cells: Sequence[Cell]) -> tuple[int, int, int]:
        """How many of these are known, how many could not be had, and how many they are."""
        with self._lock:
            failed = sum(cell in self._failures for cell in cells)
            known = sum(cell in self._spectra or cell in self._failures for cell in cells)
            return known - failed, failed, len(cells)

    def failures(self) -> dict[Cell, Exception]:
        with self._lock:
            return dict(self._failures)


def words(failure: BaseException) -> str:
    """Say a failure to the person at the screen; ours speak in sentences, foreign ones need their class."""
    text = " ".join(str(failure).split())
    if isinstance(failure, LhexploreError) and text:
        return text
    return f"Unexpected {type(failure).__name__}: {text}" if text else f"Unexpected {type(failure).__name__}."

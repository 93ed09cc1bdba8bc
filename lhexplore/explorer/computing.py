"""Pulls what is missing from a session beside the kernel, what is looked at first, and remembers what came."""

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from ..diagnosis import Diagnosis, Hesd, diagnose, hesd
from ..errors import ClosedError
from ..jobs import State, Worker
from ..spectrum import Spectrum
from .filling import News, cached, evaluate, fill, preview, spoils_snapshot
from .judging import Judging
from .known import Known, words
from .pace import Pace
from .protocols import Judged
from .state import SPLITS, Cell, Selection
from .stating import Stating
from .weak import weakly

STAY = 0.15  # seconds a selection must last before it interrupts what is being computed


class Computing:
    """Owns the worker and everything it found.

    ``look`` says what is looked at now; ``changed`` is told what has to be drawn again: "layer", "map", "loss",
    "findings", "state", or nothing but the progress.
    """

    def __init__(self, session: Any, *, look: Callable[[], Selection], changed: Callable[..., None]) -> None:
        self.known = Known()
        self.pace = Pace()
        self.current: Cell | None = None
        self.trouble = ""  # what went wrong apart from single cells, in words
        self.sweeping = True  # False after a stop: only what is looked at is computed
        self.judging = Judging(session)
        self._session, self._look, self._changed = session, look, changed
        self._chosen_at = 0.0
        self._closed = False
        self._notes = threading.Lock()
        self._diagnoses: dict[Cell, Diagnosis] = {}
        self._worker: Worker[News] = Worker(on_item=weakly(self._on_news), on_state=weakly(self._on_state))
        session.attach(self._worker)  # its wait() then waits for this, too
        self.stating = Stating(session, look=look, came=weakly(self._on_state_of_layers))

    # ---- wishes: return at once

    def wish(self) -> None:
        """Have the worker look for what is missing, unless it already does."""
        self._chosen_at = time.monotonic()
        if self._choose() is None:
            self._go_on()
        elif not self._worker.busy or not self.sweeping:
            self._worker.ask(self._work)

    def stop(self) -> None:
        """Stop within one product; afterwards only what is looked at is computed."""
        self.sweeping = False
        self._worker.cancel()
        self.stating.stop()

    def resume(self) -> None:
        """Compute everything that is missing, and try again what failed."""
        self.sweeping, self.trouble = True, ""
        self.known.forgive()
        self.stating.forgive()
        self.wish()

    def close(self) -> None:
        """Stop for good."""
        self._closed = True
        self._worker.cancel()
        self.stating.stop()

    @property
    def busy(self) -> bool:
        """Whether something is wished for or being computed."""
        return self._worker.busy or self.stating.busy

    def wait(self, timeout: float | None = None) -> None:
        """Block until nothing is; raises TimeoutError."""
        self._worker.wait(timeout)
        self.stating.wait(timeout)

    def read_cached(self, *, seconds: float) -> None:
        """Take over what is cached, as far as it is read quickly; the worker reads the rest."""
        looking = self._look()
        missing = (cell for cell in looking.wanted() if self.known.missing(cell))
        for cell, found in cached(self._session, missing, key=lambda cell: looking.key(cell.layer), seconds=seconds):
            self.known.put(cell, found)

    # ---- what is known

    @property
    def closed(self) -> bool:
        """Whether the session was closed under us."""
        return bool(self._session.closed)

    def diagnosis(self, cell: Cell) -> Diagnosis | None:
        """What the session says of a complete spectrum, from what is known of its neighbours; remembered."""
        spectrum = self.known.spectrum(cell)
        if spectrum is None:
            return None
        with self._notes:
            found = self._diagnoses.get(cell)
        if found is None:
            # on training data the session compares with earlier snapshots and other layers
            own = cell.split == "data" and not cell.curvature
            known = self._session.known_diagnosis if own else lambda *_: None
            found = known(self._look().key(cell.layer), cell.snapshot) or diagnose(spectrum)
            with self._notes:
                self._diagnoses[cell] = found
        return found

    def judge(self) -> bool:
        """Have the run judged by what is known now; False where nothing new was said. Not for callbacks."""
        return self.judging.ask(self._look().main, busy=self.busy)

    @property
    def run(self) -> Judged | None:
        """What was last said of the run, on the data that is shown; None before that."""
        return self.judging.of(self._look().main)

    def hesd(self, cell: Cell) -> Hesd | None:
        """The type of the best value there is; a preliminary one says so."""
        diagnosis, best = self.diagnosis(cell), self.known.best(cell)
        if diagnosis is not None:
            return diagnosis.hesd
        return None if best is None else hesd(best)

    def count(self) -> tuple[int, int, int]:
        """How many spectra are known, how many could not be had, and how many are wanted."""
        return self.known.count(self._look().wanted())

    def missing(self) -> list[Cell]:
        """What is wanted and not there, best first."""
        return [cell for cell in self._look().wanted() if self.known.missing(cell)]

    # ---- on the worker's thread

    def _work(self) -> Iterator[News]:
        self.pace = Pace()
        yield from self._preview()
        yield from self._fill(self._looked_at)
        if self.sweeping:
            yield from evaluate(self._session, len(self._look().labels))
        yield from self._fill(self._choose)

    def _preview(self) -> Iterator[News]:
        """The traces of the layers at the snapshot on show, where several are missing and nothing is known of them."""
        looking = self._look()
        here = looking.snapshot
        cells = [Cell(entry.name, here, looking.main) for entry in looking.rows if entry.key is not None]
        missing = [cell for cell in cells if self.known.missing(cell)]
        if looking.alone or len(missing) < 2 or any(self.known.trace(cell) for cell in missing):
            return
        self.current = looking.cell
        yield from preview(
            self._session, here, split=looking.main, leave=lambda: self._closed or self._look().snapshot != here
        )

    def _fill(self, choose: Callable[[], Cell | None]) -> Iterator[News]:
        return fill(self._session, choose, key=lambda cell: self._look().key(cell.layer), leave=self._leave)

    def _looked_at(self) -> Cell | None:
        if self._closed:
            return None
        return next((cell for cell in self._look().cells if self.known.missing(cell)), None)

    def _choose(self) -> Cell | None:
        """The missing cell that is wanted most, or None."""
        if self._closed or not self.sweeping:
            return self._looked_at()
        return next((cell for cell in self._look().wanted() if self.known.missing(cell)), None)

    def _leave(self, cell: Cell) -> bool:
        """Whether something else is looked at by now, long enough, and missing."""
        here = self._look().cells
        elsewhere = cell not in here and time.monotonic() - self._chosen_at > STAY
        return self._closed or (elsewhere and any(self.known.missing(each) for each in here))

    def _on_news(self, news: News) -> None:
        cell, step = news.cell, news.step
        if news.traces is not None:
            self.known.put_traces(*news.traces)
            self._changed("layer", "map")
        elif cell is None:
            self.trouble = self.trouble if news.failure is None else words(news.failure)
            self.judging.outdated()  # some rules look at losses
            self._changed("loss", "findings")
        elif news.failure is not None:
            self._fail(cell, news.failure)
        elif step is not None and step.spectrum is not None and step.spectrum.complete:
            together = {cell: step.spectrum, **(self._beside(cell) if news.seconds else {})}
            self.pace.finished(together, news.seconds)
            for each, spectrum in together.items():
                self._put(each, spectrum)
            self._changed("layer", "map", "findings")
        elif step is not None:
            self.current = cell
            self.known.advance(cell, step)
            self.pace.under_way(step.done / step.total if step.total else 0.0)
            self._changed(*(["layer"] if cell in self._look().cells else []))

    def _put(self, cell: Cell, spectrum: Spectrum) -> None:
        self.known.put(cell, spectrum)
        name, k, *_ = cell
        self.judging.outdated()
        with self._notes:  # what was said of later snapshots and of the layers beside may change with it
            for other in [c for c in self._diagnoses if (c.layer == name and c.snapshot >= k) or c.snapshot == k]:
                del self._diagnoses[other]

    def _beside(self, cell: Cell) -> dict[Cell, Spectrum]:
        """What the same work gave for other layers: one set of backward passes may answer for all of a snapshot."""
        looking = self._look()
        others = (cell._replace(layer=entry.name) for entry in looking.rows if entry.name != cell.layer)
        missing = [each for each in others if self.known.missing(each)]
        return dict(cached(self._session, missing, key=lambda each: looking.key(each.layer)))

    def _fail(self, cell: Cell, failure: Exception) -> None:
        if isinstance(failure, ClosedError):
            self.sweeping = False
        else:
            names = [entry.name for entry in self._look().entries if entry.usable]
            spoilt = [Cell(name, cell.snapshot, split) for name in names for split in SPLITS[:2]]
            others = spoilt if spoils_snapshot(failure) else []  # would fail alike
            for each in {cell, *(other for other in others if self.known.missing(other))}:
                self.known.fail(each, failure)
        self._changed("layer", "map")

    def _on_state(self, state: State, failure: BaseException | None) -> None:
        if state == State.BUSY:
            self._changed()
            return
        self.current = None
        self.pace.ended()
        if failure is not None:
            self.trouble = words(failure)
        self._changed("layer", "findings")
        if state == State.IDLE and not self.closed:
            if self._choose() is not None:
                self._worker.ask(self._work)  # a wish that came while the worker was about to end
            else:
                self._go_on()

    def _go_on(self) -> None:
        """After the spectra: gradients and parameters, which some rules compare from layer to layer."""
        if self.sweeping and not self._closed and not self._look().alone:
            self.stating.wish()

    def _on_state_of_layers(self) -> None:
        self.judging.outdated()
        self._changed("state", "findings")

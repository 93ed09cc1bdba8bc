"""Pulls what is missing from a session beside the kernel, what is looked at first, and remembers what came."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from ..diagnosis import Diagnosis, Hesd, diagnose, hesd
from ..errors import ClosedError
from ..jobs import State, Worker
from ..spectrum import Spectrum
from .filling import News, cached, evaluate, fill, preview, spoils_snapshot
from .judging import Judging, in_run
from .known import Known, words
from .pace import Pace
from .pricing import Pricing
from .protocols import Judged
from .state import SPLITS, Cell, Selection
from .stating import Stating
from .weak import weakly

STAY = 0.15  # seconds a selection must last before it interrupts what is being computed
BATCH = 40  # spectra that are read from the cache before anything else is looked at
GLANCE = 2.0  # seconds between two drawings of the map while it fills from the cache


class Computing:
    """Owns the worker and everything it found.

    ``look`` says what is looked at now; ``changed`` is told what has to be drawn again: "layer", "map", "loss",
    "findings", "state", or nothing but the progress. What is cached is read first, all of it: no view waits for it,
    and nothing is computed that is there.
    """

    def __init__(self, session: Any, *, look: Callable[[], Selection], changed: Callable[..., None]) -> None:
        self.known = Known()
        self.pace = Pace()
        self.current: Cell | None = None
        self.trouble = ""  # what went wrong apart from single cells, in words
        self.sweeping = True  # False after a stop: only what is looked at is computed
        self.judging = Judging(session, changed=changed)
        self._session, self._look, self._changed = session, look, changed
        self._chosen_at = 0.0
        self._closed = False
        self._read_all = self._unseen = False
        self._glance = 0.0
        self._notes = threading.Lock()
        self._diagnoses: dict[Cell, tuple[object, object, Diagnosis]] = {}  # with spectrum and run they rest on
        self._types: dict[Cell, tuple[object, Hesd]] = {}  # of spectra by themselves
        self._worker: Worker[News] = Worker(on_item=weakly(self._on_news), on_state=weakly(self._on_state))
        session.attach(self._worker)  # its wait() then waits for this, too
        self.stating = Stating(session, look=look, came=weakly(self._on_state_of_layers))
        self.pricing = Pricing(session, self.known, look=look, idle=self._idle, came=weakly(self._on_prices))

    def go_on_from(self, before: "Computing", moves: Mapping[int, int]) -> None:
        """Take over what another one found of the snapshots that ``moves`` names, and end it."""
        before.close()
        self.known.take(before.known, moves)
        self.sweeping, self.trouble, self.judging = before.sweeping, before.trouble, before.judging
        self.pace = before.pace
        self.pricing.take(before.pricing)

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
        self.pricing.close()
        self.judging.close()

    @property
    def busy(self) -> bool:
        """Whether something is wished for or being computed."""
        return self._worker.busy or self.stating.busy

    @property
    def pending(self) -> bool:
        """Whether anything is still to come: that, what the rest costs, or what the rules say."""
        return self.busy or self.pricing.busy or self.judging.busy

    def wait(self, timeout: float | None = None) -> None:
        """Block until nothing is; raises TimeoutError."""
        for work in (self._worker, self.stating, self.pricing, self.judging):
            work.wait(timeout)

    def read_cached(self, *, seconds: float) -> None:
        """Take over what is cached of what is drawn first, as far as it is read quickly; the worker reads the rest."""
        looking = self._look()
        missing = self.known.all_missing(self._first(looking))
        for cell, found in cached(self._session, missing, key=lambda cell: looking.key(cell.layer), seconds=seconds):
            self.known.put(cell, found)

    # ---- what is known

    @property
    def closed(self) -> bool:
        """Whether the session was closed under us."""
        return bool(self._session.closed)

    def diagnosis(self, cell: Cell) -> Diagnosis | None:
        """What the run says of a complete spectrum, or where it was not judged yet the spectrum alone; remembered."""
        spectrum = self.known.spectrum(cell)
        if spectrum is None:
            return None
        # on training data the run compares with earlier snapshots and other layers
        run = self.judging.of("data") if cell.split == "data" and not cell.curvature else None
        with self._notes:
            *basis, found = self._diagnoses.get(cell, (None, None, None))
        if found is None or basis[0] is not spectrum or basis[1] is not run:
            looking = self._look()
            found = in_run(run, looking.key(cell.layer), looking.labels[cell.snapshot]) or diagnose(spectrum)
            with self._notes:
                self._diagnoses[cell] = spectrum, run, found
        return found

    def judge(self) -> bool:
        """Have the run judged by what is known now; False where nothing came in. Returns at once."""
        if self._worker.busy and not self._read_all:
            return False  # soon more will be known, and nothing else reads it meanwhile
        return self.judging.ask(self._look().main, busy=self.busy)

    @property
    def run(self) -> Judged | None:
        """What was last said of the run, on the data that is shown; None before that."""
        return self.judging.of(self._look().main)

    def hesd(self, cell: Cell) -> Hesd | None:
        """The type of the best value there is, in the light of the run once judged; a preliminary one says so."""
        best = self.known.best(cell)
        if best is None:
            return None
        if cell.split == "data" and not cell.curvature and best.complete:
            found = self.judging.type_of("data", best.layer, best.snapshot)
            if found is not None:
                return found
        with self._notes:
            before, found = self._types.get(cell, (None, None))
        if found is None or before is not best:
            found = hesd(best)
            with self._notes:
                self._types[cell] = best, found
        return found

    def count(self) -> tuple[int, int, int]:
        """How many spectra are known, how many could not be had, and how many are wanted."""
        return self.known.count(self._look().wanted())

    def missing(self) -> list[Cell]:
        """What is wanted and not there, best first."""
        return self.known.all_missing(self._look().wanted())

    # ---- on the worker's thread

    def _work(self) -> Iterator[News]:
        self.pace = Pace(self.pace)
        yield from self._read(self._first)
        yield from self._preview()
        if self.sweeping:
            yield from self._read(lambda looking: looking.wanted())
        self._read_all = True
        yield from self._fill(self._looked_at)
        if self.sweeping:
            yield from evaluate(self._session, len(self._look().labels))
        yield from self._fill(self._choose)
        if self.sweeping:  # of snapshots that came meanwhile
            yield from evaluate(self._session, len(self._look().labels))

    @staticmethod
    def _first(looking: Selection) -> Sequence[Cell]:
        """What is drawn first: what is looked at at every snapshot, the other layers at this one, the whole network."""
        row = [cell for cell in looking.wanted() if cell.layer == looking.layer]
        snapshots = range(len(looking.labels))
        over = [cell for k in snapshots for cell in looking.beside(k)]
        rows = () if looking.alone else looking.rows
        here = [Cell(x.name, looking.snapshot, looking.main) for x in rows]
        # shown where it is known, and never computed without being asked for
        whole = [x for x in looking.shown if rows and x.usable and x not in rows]
        everywhere = [Cell(x.name, k, looking.main) for x in whole for k in snapshots]
        return list(dict.fromkeys([*row, *over, *here, *everywhere]))

    def _read(self, choose: Callable[[Selection], Sequence[Cell]]) -> Iterator[News]:
        """Take over what is cached of these, best first; a glance in the cache for each."""
        seen: set[Cell] = set()
        while not self._closed:
            looking = self._look()
            missing = self.known.all_missing(choose(looking))
            batch = list(islice((cell for cell in missing if cell not in seen), BATCH))
            if not batch:
                return
            seen.update(batch)
            found = dict(cached(self._session, batch, key=lambda cell: looking.key(cell.layer)))
            for cell, spectrum in found.items():
                self.known.put(cell, spectrum)
                self.hesd(cell)  # formed here, so that no drawing has to
            if found:
                yield News(None, read=frozenset(found))

    def _preview(self) -> Iterator[News]:
        """The traces of the layers at the snapshot on show, where several are missing and nothing is known of them."""
        looking = self._look()
        here = looking.snapshot
        cells = [Cell(entry.name, here, looking.main) for entry in looking.rows if entry.key is not None]
        missing = self.known.all_missing(cells)
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
        return self.known.first_missing(self._look().cells)

    def _choose(self) -> Cell | None:
        """The missing cell that is wanted most, or None."""
        if self._closed or not self.sweeping:
            return self._looked_at()
        return self.known.first_missing(self._look().wanted())

    def _leave(self, cell: Cell) -> bool:
        """Whether something else is looked at by now, long enough, and missing."""
        here = self._look().cells
        elsewhere = cell not in here and time.monotonic() - self._chosen_at > STAY
        return self._closed or (elsewhere and any(self.known.missing(each) for each in here))

    def _on_news(self, news: News) -> None:
        cell, step = news.cell, news.step
        if news.read:
            self._on_read(news.read)
        elif news.traces is not None:
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
                self.known.put(each, spectrum)
            self.judging.outdated()
            self._changed("layer", "map", "findings")
        elif step is not None:
            self.current = cell
            self.known.advance(cell, step)
            self.pace.under_way(step.done / step.total if step.total else 0.0)
            self._changed(*(["layer"] if cell in self._look().cells else []))

    def _on_read(self, cells: frozenset[Cell]) -> None:
        self.judging.outdated()
        looking, now = self._look(), time.monotonic()
        shown = {looking.layer, *looking.over}
        drawn = ["layer"] if any(cell.layer in shown for cell in cells) else []
        if now > self._glance or any(cell.snapshot == looking.snapshot for cell in cells):
            self._glance = now + GLANCE
            drawn.append("map")
        self._unseen = "map" not in drawn
        if drawn:
            self._changed(*drawn)

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
        self._changed("layer", "findings", *(["map"] if self._unseen else []))
        self._unseen = False
        if state == State.IDLE and not self.closed:
            if self._choose() is not None:
                self._worker.ask(self._work)  # a wish that came while the worker was about to end
            else:
                self._go_on()

    def _go_on(self) -> None:
        """After the spectra: gradients and parameters, which some rules compare from layer to layer."""
        if self.sweeping and not self._closed and not self._look().alone:
            self.stating.wish()

    def _idle(self) -> bool:
        return not (self.busy or self._closed)

    def _on_prices(self, read: bool) -> None:
        if read:
            self.judging.outdated()
        self._changed(*(["layer", "map", "findings"] if read else []))

    def _on_state_of_layers(self) -> None:
        self.judging.outdated()
        self._changed("state", "findings")

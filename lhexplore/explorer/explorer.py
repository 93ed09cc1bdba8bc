"""The live explorer: one widget that joins a session, what is known of it, and the views.

Flow: a click or a trait only records a wish. A worker pulls the missing spectra from the session, best first; a
painter puts what is known on the screen a few times a second. The slider moves the frame of every view in the browser,
so what is known is scrubbed without the kernel.

Classes of the page's elements, for style sheets and tests: ``lhx-explorer`` around everything; ``lhx-heading``;
``lhx-pane-loss``, ``lhx-pane-spectrum`` and ``lhx-pane-heat`` (Bokeh figures, each with an ``lhx-figure`` whose
``aria-label`` says what it shows); ``lhx-player`` with the buttons ``lhx-prev``, ``lhx-play``, ``lhx-next`` and the
label ``lhx-place``; ``lhx-slider``; ``lhx-layers`` (list box) with one ``lhx-layer`` per row, in it ``lhx-layer-name``,
``lhx-layer-size``, ``lhx-layer-fill``, ``lhx-layer-number``, ``lhx-layer-mark``; ``lhx-view``, ``lhx-scale``,
``lhx-metric`` (dropdowns); ``lhx-card`` with ``lhx-badge`` (``data-kind`` is the colour), ``lhx-numbers``,
``lhx-method``, ``lhx-findings``; ``lhx-progress``, ``lhx-progress-text``, ``lhx-status``, ``lhx-problem``;
``lhx-compute`` and ``lhx-stop`` (buttons); ``lhx-code``.
"""

import threading
import time
from collections.abc import Iterator
from operator import index
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets as t

from ..diagnosis import METRICS, Diagnosis, Hesd, diagnose, hesd
from ..errors import ClosedError, SettingError, suggest
from ..jobs import State, Worker
from ..spectrum import Spectrum
from .axes import SCALES
from .card import failed_card, known_card, missing_card, preliminary_card
from .cells import close_earlier_of_this_cell
from .escape import plain
from .figures import cell_of, heat_map, loss_plot, spectrum_plot
from .filling import News, evaluate, fill, spoils_snapshot
from .pace import Pace
from .painter import Painter
from .parts import Parts
from .spectrum_figure import KINDS
from .state import (
    Cell,
    Entry,
    Known,
    Request,
    entries_of,
    find_entry,
    find_snapshot,
    nearest_first,
    place,
    requests,
    words,
)
from .status import pace_words
from .weak import weakly

METRIC = "lambda_max"
STAY = 0.15  # seconds a selection must last before it interrupts what is being computed
FIRST_LOOK = 0.3  # seconds the constructor may spend on reading what is cached


class Explorer(w.VBox):  # type: ignore[misc]
    """Scrub through training and see every layer's Hessian spectrum.

    Settings are traits: set them in code and the screen follows, and the other way round. What is missing is computed
    beside the kernel, what is looked at first; :meth:`settled` waits for it.

    Args:
        session: whose spectra to show.
        layer: the first usable one if left out; "whole network" for all of them as one block.
        snapshot: index (negative ones count from the end) or label.
        view: "histogram" or "density".
        scale: "symlog" or "linear", of the eigenvalue axis.
        metric: what the bars of the layer list and the map show; one of ``lhexplore.diagnosis.METRICS``.
        layers: which layers to show and compute; all usable ones if left out.

    Raises:
        UnknownLayerError, UnknownSnapshotError, SettingError: with near names.
        TypeError: for a keyword that does not exist.
    """

    snapshot = t.Any(0, help="Index of the snapshot on show; a label or a negative index may be set.")
    layer = t.Any("", help='Name of the layer on show; "whole network" (or None) for all as one block.')
    layers = t.Any((), help="Names of the entries that are shown and may be chosen.")
    view = t.Unicode(KINDS[0], help='"histogram" or "density".')
    scale = t.Unicode(SCALES[0], help='"symlog" or "linear".')
    metric = t.Unicode(METRIC, help="Metric of the layer list and of the map.")

    def __init__(
        self,
        session: Any,
        *,
        layer: str | None = None,
        snapshot: int | str = -1,
        view: str = "histogram",
        scale: str = "symlog",
        metric: str = METRIC,
        layers: Any = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(
                f"Explorer has no {', '.join(map(repr, sorted(unknown)))}; "
                f"it has layer, snapshot, view, scale, metric and layers."
            )
        if session.closed:
            raise ClosedError("This session was closed. Make a new Session: cached results are found again.")
        self._session = session
        self._entries = entries_of(session.layers)
        self._labels = [row.label for row in session.snapshots]
        self._places = [plain(place(row)) for row in session.snapshots]
        self._known = Known()
        self._diagnoses: dict[Cell, Diagnosis] = {}
        self._lock = threading.RLock()  # around painting: several widgets change together
        self._notes = threading.Lock()  # around what the threads note for each other; held for moments only
        self._dirty = {"layer", "map", "loss"}
        self._sweep = True  # False after Stop: only what is looked at is computed
        self._chosen_at = 0.0
        self._current: Cell | None = None
        self._pace = Pace()
        self._trouble = ""
        self._ended = False
        self._ties: list[Any] = []
        super().__init__()
        usable = [entry.name for entry in self._entries if entry.usable]
        first = next((entry.name for entry in self._entries if entry.usable and entry.key is not None), None)
        with self.hold_trait_notifications():
            self.layers = usable if layers is None else layers
            self.layer = first if layer is None else layer
            self.snapshot, self.view, self.scale, self.metric = snapshot, view, scale, metric
        self._worker: Worker[News] = Worker(on_item=weakly(self._on_news), on_state=weakly(self._on_state))
        self._painter = Painter(weakly(self._paint_safely))
        self._parts = Parts.make(
            count=len(self._labels),
            frame=self.snapshot,
            views=KINDS,
            scales=SCALES,
            metrics=list(METRICS),
            on_heat=weakly(self._on_heat),
        )
        self._wire()
        self._first_look()
        self._paint_safely()
        self.add_class("lhx-explorer")
        self.children = self._parts.arrange()
        close_earlier_of_this_cell(self)
        self._wish()

    # ---- what is on screen, for code

    @property
    def request(self) -> Request:
        """The call that gives exactly what is on screen; ``str`` of it is the line of code."""
        return requests(self._entry.key, self._labels)[self.snapshot]

    @property
    def spectrum(self) -> Spectrum | None:
        """What the spectrum view shows now; preliminary while ``complete`` is False, None while nothing is known."""
        return self._known.best(self._cell)

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What the card says, as a value; None while the spectrum is not complete."""
        return self._diagnosis(self._cell)

    @property
    def badge(self) -> str:
        """Symbol and word of the HESD badge, or why there is none."""
        found = self._known.best(self._cell)
        if found is not None:
            mark = self._hesd(self._cell, found)
            return f"{mark.symbol} {mark.word}"
        return "failed" if self._known.failure(self._cell) else "not known yet"

    @property
    def status(self) -> str:
        """What is going on, in words."""
        return self._status_words()

    @property
    def problem(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        return self._problem_words()

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending: everything wanted is computed (or stopped, or refused) and drawn.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self._worker.busy or self._painter.busy:
            try:
                self._worker.wait(None if end is None else max(end - time.monotonic(), 0))
                self._painter.wait(None if end is None else max(end - time.monotonic(), 0))
            except TimeoutError:
                done, total = self._count()
                raise TimeoutError(
                    f"Not settled after {timeout:g} s: {done} of {total} spectra are known. Wait longer, or narrow "
                    "explorer.layers."
                ) from None

    def stop(self) -> None:
        """Stop computing within one product; what is done stays. Looking at something missing computes just that."""
        self._sweep = False
        self._worker.cancel()
        self._parts.stop.disabled = True
        self._painter.ask(hurry=True)

    def compute(self) -> None:
        """Compute everything that is missing, and try again what failed."""
        self._sweep, self._trouble = True, ""
        self._known.forgive()
        self._wish()

    def close(self) -> None:
        """Stop computing, close every widget and let go of the session. Harmless when repeated."""
        if self._ended:
            return
        self._ended = True
        self._worker.cancel()
        self._painter.close()
        self.unobserve_all()
        for tie in self._ties:
            tie.unlink()
        with self._lock:
            self._parts.close()
            self.layout.close()
            super().close()

    def __repr__(self) -> str:
        if self._ended:
            return "Explorer(closed)"
        rows = sum(entry.key is not None for entry in self._shown if entry.usable)
        here = f"{self.layer!r} at {self._labels[self.snapshot]!r}"
        return (
            f"Explorer({rows} layers × {len(self._labels)} snapshots; {here}, "
            f"view={self.view!r}, scale={self.scale!r}, metric={self.metric!r})"
        )

    def _repr_mimebundle_(self, **_: Any) -> Any:
        if self._ended:
            return {"text/plain": repr(self)}
        bundle: dict[str, Any] = {"text/plain": repr(self)}
        view = super()._repr_mimebundle_()
        data, metadata = view if isinstance(view, tuple) else (view, {})
        bundle.update({key: value for key, value in (data or {}).items() if key != "text/plain"})
        return bundle, metadata

    # ---- traits

    @t.validate("layer")
    def _valid_layer(self, proposal: Any) -> str:
        return find_entry(self._shown, proposal["value"]).name

    @t.validate("snapshot")
    def _valid_snapshot(self, proposal: Any) -> int:
        value = proposal["value"]
        return find_snapshot(self._labels, value if isinstance(value, str) else index(value))

    @t.validate("layers")
    def _valid_layers(self, proposal: Any) -> tuple[str, ...]:
        value = proposal["value"]
        wanted = {find_entry(self._entries, name).name for name in ([value] if isinstance(value, str) else value)}
        if not wanted:
            raise SettingError("layers must name at least one layer.")
        return tuple(entry.name for entry in self._entries if entry.name in wanted)

    @t.validate("view", "scale", "metric")
    def _valid_choice(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = {"view": KINDS, "scale": SCALES, "metric": tuple(METRICS)}[name]
        if value not in allowed:
            raise SettingError(f"{name} cannot be {value!r}. {suggest(value, allowed)}")
        return str(value)

    # ---- wires: everything here only records a wish

    def _wire(self) -> None:
        parts = self._parts
        parts.heading.say([plain(self._session.description, longest=200)])
        parts.player.describe(self._places)
        for name in ("view", "scale", "metric"):
            self._ties.append(t.link((self, name), (getattr(parts, name), "value")))
        self._ties.append(t.link((self, "snapshot"), (parts.slider, "value")))
        self._list_layers()
        parts.layers.observe(weakly(self._on_row), "selected")
        parts.stop.on_click(weakly(self._on_stop))
        parts.compute.on_click(weakly(self._on_compute))
        self.observe(weakly(self._on_selection), ["layer", "snapshot"])
        self.observe(weakly(self._on_look), ["view", "scale", "metric", "layers"])

    def _list_layers(self) -> None:
        shown = self._shown
        self._parts.layers.describe(shown)
        self._point_at_layer()

    def _point_at_layer(self) -> None:
        names = [entry.name for entry in self._shown]
        self._parts.layers.selected = names.index(self.layer) if self.layer in names else -1

    def _on_selection(self, change: Any) -> None:
        self._chosen_at = time.monotonic()
        if change["name"] == "layer":
            self._point_at_layer()
            self._mark("layer", "map")
        self._painter.ask(hurry=change["name"] == "layer")
        self._wish()

    def _on_look(self, change: Any) -> None:
        if change["name"] == "layers":
            if self.layer not in change["new"]:
                self.layer = change["new"][0]
            self._list_layers()
            self._mark("layer", "map")
            self._wish()
        else:
            self._mark("map" if change["name"] == "metric" else "layer")
        self._painter.ask(hurry=True)

    def _on_row(self, change: Any) -> None:
        rows = self._shown
        if 0 <= change["new"] < len(rows) and rows[change["new"]].usable:
            self.layer = rows[change["new"]].name

    def _on_heat(self, cell: int) -> None:
        row, column = cell_of(cell, len(self._labels))
        rows = self._rows
        if 0 <= row < len(rows):
            self.layer, self.snapshot = rows[row].name, column

    def _on_stop(self, _button: Any) -> None:
        self.stop()

    def _on_compute(self, _button: Any) -> None:
        self.compute()

    # ---- computing: on the worker's thread

    def _wish(self) -> None:
        """Have the worker look for what is missing, unless it already does."""
        if self._ended or self._choose() is None:
            return
        if not self._worker.busy or not self._sweep:
            self._worker.ask(self._work)

    def _work(self) -> Iterator[News]:
        self._pace = Pace()
        yield from self._fill(self._selected_if_missing)
        if self._sweep:
            yield from evaluate(self._session, len(self._labels))
        yield from self._fill(self._choose)

    def _fill(self, choose: Any) -> Iterator[News]:
        return fill(self._session, choose, key=self._key, leave=self._leave, clock=time.monotonic)

    def _key(self, cell: Cell) -> str | None:
        return find_entry(self._entries, cell[0]).key

    def _selected_if_missing(self) -> Cell | None:
        return self._cell if self._known.missing(self._cell) else None

    def _choose(self) -> Cell | None:
        """The missing cell that is wanted most, or None."""
        if self._ended or not self._sweep:
            return None if self._ended else self._selected_if_missing()
        wanted = nearest_first(self._cell, [entry.name for entry in self._rows], len(self._labels))
        return next((cell for cell in wanted if self._known.missing(cell)), None)

    def _leave(self, cell: Cell) -> bool:
        """Whether something else is looked at by now, long enough, and missing."""
        if self._ended:
            return True
        elsewhere = cell != self._cell and time.monotonic() - self._chosen_at > STAY
        return elsewhere and self._known.missing(self._cell)

    def _on_news(self, news: News) -> None:
        cell, step = news.cell, news.step
        if cell is None:  # a loss was evaluated, or could not be
            self._trouble = self._trouble if news.failure is None else words(news.failure)
            self._mark("loss")
        elif news.failure is not None:
            self._fail(cell, news.failure)
        elif step is not None and step.spectrum is not None and step.spectrum.complete:
            self._put(cell, step.spectrum)
            self._pace.finished(cell, news.seconds)
        elif step is not None:
            self._current = cell
            self._known.advance(cell, step)
            self._pace.under_way(step.done / step.total if step.total else 0.0)
            if cell == self._cell:
                self._mark("layer")
        self._painter.ask()

    def _put(self, cell: Cell, spectrum: Spectrum) -> None:
        self._known.put(cell, spectrum)
        name, k = cell
        with self._notes:  # what was said of later snapshots and of the layers beside may change with it
            for other in [c for c in self._diagnoses if (c[0] == name and c[1] >= k) or c[1] == k]:
                del self._diagnoses[other]
        self._mark("map", *(["layer"] if name == self.layer or k == self.snapshot else []))

    def _fail(self, cell: Cell, failure: Exception) -> None:
        if isinstance(failure, ClosedError):
            self._sweep = False
            self._mark("layer")
            return
        cells = [cell]
        if spoils_snapshot(failure):  # its other layers would fail alike
            cells += [(entry.name, cell[1]) for entry in self._entries if self._known.missing((entry.name, cell[1]))]
        for each in cells:
            self._known.fail(each, failure)
        self._mark("layer", "map")

    def _on_state(self, state: State, failure: BaseException | None) -> None:
        if state == State.BUSY:
            return
        self._current = None
        self._pace.ended()
        if failure is not None:
            self._trouble = words(failure)
        self._mark("layer")
        self._painter.ask()
        if state == State.IDLE and not self._session.closed:
            self._wish_again()

    def _wish_again(self) -> None:
        """A wish that came while the worker was about to end is not lost."""
        if self._choose() is not None:
            self._worker.ask(self._work)

    # ---- what is known

    @property
    def _cell(self) -> Cell:
        return self.layer, self.snapshot

    @property
    def _entry(self) -> Entry:
        return find_entry(self._entries, self.layer)

    @property
    def _shown(self) -> list[Entry]:
        """Rows of the list: the wanted entries, and with all of them wanted also the skipped ones."""
        if not self.layers:
            return list(self._entries)
        everything = all(entry.name in self.layers for entry in self._entries if entry.usable)
        return [entry for entry in self._entries if entry.name in self.layers or (everything and not entry.usable)]

    @property
    def _rows(self) -> list[Entry]:
        """Rows of the map, which are filled without being asked for: the wanted layers."""
        rows = [entry for entry in self._shown if entry.usable and entry.key is not None]
        return rows or [entry for entry in self._shown if entry.usable]

    def _first_look(self) -> None:
        """Show at once what is cached, as far as it is read quickly; the worker reads the rest."""
        end = time.monotonic() + FIRST_LOOK
        for cell in nearest_first(self._cell, [entry.name for entry in self._rows], len(self._labels)):
            if time.monotonic() > end:
                return
            try:
                found = self._session.cached(self._key(cell), cell[1])
            except Exception:  # noqa: BLE001  the worker meets it again and says it on the screen
                return
            if found is not None:
                self._known.put(cell, found)

    def _diagnosis(self, cell: Cell) -> Diagnosis | None:
        """What the session says of a complete spectrum, from what is known of its neighbours; remembered."""
        spectrum = self._known.spectrum(cell)
        if spectrum is None:
            return None
        with self._notes:
            found = self._diagnoses.get(cell)
        if found is None:
            found = self._session.known_diagnosis(self._key(cell), cell[1]) or diagnose(spectrum)
            with self._notes:
                self._diagnoses[cell] = found
        return found

    def _hesd(self, cell: Cell, spectrum: Spectrum) -> Hesd:
        if spectrum.complete and (found := self._diagnosis(cell)) is not None:
            return found.hesd
        return hesd(spectrum)

    def _count(self) -> tuple[int, int]:
        cells = self._wanted_cells()
        return sum(not self._known.missing(cell) for cell in cells), len(cells)

    def _wanted_cells(self) -> list[Cell]:
        return list(nearest_first(self._cell, [entry.name for entry in self._rows], len(self._labels)))

    # ---- painting: on the painter's thread

    def _mark(self, *what: str) -> None:
        with self._notes:
            self._dirty.update(what)

    def _paint_safely(self) -> None:
        try:
            with self._lock:
                self._paint()
        except Exception as failure:  # noqa: BLE001  a drawing that fails says so on the screen
            if not self._ended:
                self._trouble = f"The screen could not be brought up to date. {words(failure)}"
                self._paint_status()

    def _paint(self) -> None:
        if self._ended:
            return
        with self._notes:
            dirty, self._dirty = self._dirty, set()
        if "loss" in dirty:
            self._paint_loss()
        if "layer" in dirty:
            self._paint_layer()
        if "map" in dirty:
            self._paint_map()
        self._paint_status()

    def _paint_loss(self) -> None:
        shots = list(self._session.snapshots)
        losses = [self._session.losses(k) for k in range(len(shots))]
        self._parts.loss.show(loss_plot(shots, losses))

    def _paint_layer(self) -> None:
        parts, name, count = self._parts, self.layer, len(self._labels)
        cells = [(name, k) for k in range(count)]
        spectra = [self._known.best(cell) for cell in cells]
        plot = spectrum_plot(spectra, self._labels, layer=name, kind=self.view, scale=self.scale)
        parts.spectrum.show(plot, kind=(self.view, self.scale))
        parts.spectrum_words.say(plot.sentences)
        parts.card.show([self._card(cell) for cell in cells])
        parts.code.say([str(request) for request in requests(self._entry.key, self._labels)])

    def _card(self, cell: Cell) -> dict[str, Any]:
        title = f"{plain(cell[0])} · {self._places[cell[1]]}"
        failure, step = self._known.failure(cell), self._known.step(cell)
        found, diagnosis = self._known.spectrum(cell), self._diagnosis(cell)
        if found is not None and diagnosis is not None:
            return known_card(title, found, diagnosis)
        if failure is not None:
            return failed_card(title, plain(words(failure), longest=1000))
        if step is not None:
            mark = None if step.spectrum is None else hesd(step.spectrum)
            return preliminary_card(title, step, mark, stopped=cell != self._current)
        return missing_card(title, waiting=self._sweep and not self._session.closed)

    def _paint_map(self) -> None:
        parts, shown, rows, count = self._parts, self._shown, self._rows, len(self._labels)
        metric = METRICS[self.metric]
        table = np.array([[self._value((entry.name, k)) for k in range(count)] for entry in shown])
        marks = [[self._symbol((entry.name, k)) for k in range(count)] for entry in shown]
        parts.layers.show(table, marks, quantity=metric.name, log=metric.log)
        names = [entry.name for entry in rows]
        places = [shown.index(entry) for entry in rows]
        row = names.index(self.layer) if self.layer in names else -1
        plot = heat_map(table[places], names, self._labels, metric=metric, layer=row)
        palette = tuple(str(m.tags) for m in plot.root.select({"name": "heat-colours"}))
        parts.heat.show(plot, kind=(self.metric, tuple(names), palette))
        parts.heat_words.say(plot.sentences)

    def _value(self, cell: Cell) -> float:
        found = self._diagnosis(cell)
        return float("nan") if found is None else float(found.metrics.get(self.metric, float("nan")))

    def _symbol(self, cell: Cell) -> tuple[str, str, str] | None:
        found = self._diagnosis(cell)
        return None if found is None else (found.hesd.symbol, found.hesd.word, found.hesd.colour)

    def _paint_status(self) -> None:
        parts = self._parts
        done, total = self._count()
        busy = self._worker.busy
        parts.status.show(
            share=done / total if total else 1.0,
            progress=self._progress_words(done, total),
            text=self._status_words(),
            problem=self._problem_words(),
        )
        parts.stop.disabled = not busy or not self._sweep
        retry = any(self._known.failure(cell) for cell in self._wanted_cells())
        parts.compute.disabled = self._session.closed or (busy and self._sweep) or (done == total and not retry)

    def _progress_words(self, done: int, total: int) -> str:
        missing = [cell for cell in self._wanted_cells() if self._known.missing(cell)]
        text = pace_words(
            done, total, seconds=self._pace.seconds, computed=self._pace.done, left=self._pace.left(missing)
        )
        current = self._current
        return text if current is None else f"{text} · {plain(current[0])} at {self._places[current[1]]}"

    def _status_words(self) -> str:
        done, total = self._count()
        if self._ended:
            return "Closed."
        if self._session.closed:
            return "The session was closed. What is known stays on screen."
        if self._worker.busy:
            return "Computing." if self._sweep else "Computing what you look at."
        failed = sum(self._known.failure(cell) is not None for cell in self._wanted_cells())
        if done < total:
            return "Stopped. What is missing is computed when you look at it, or all of it with Compute."
        if failed:
            return f"{total - failed} of {total} spectra are known; {failed} could not be computed."
        return f"All {total} spectra are known."

    def _problem_words(self) -> str:
        failures = self._known.failures()
        here = failures.get(self._cell)
        if here is not None:
            return plain(f"{self.layer} at {self._labels[self.snapshot]}: {words(here)}", longest=1000)
        if self._trouble:
            return plain(self._trouble, longest=1000)
        if failures:
            (name, k), failure = next(iter(failures.items()))
            more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
            return plain(f"{name} at {self._labels[k]}: {words(failure)}{more}", longest=1000)
        return ""

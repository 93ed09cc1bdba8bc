"""Puts what is known into the widgets; the only place that draws."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..diagnosis import METRICS, Finding
from .card import Text, beside, failed_card, known_card, missing_card, preliminary_card
from .computing import Computing
from .escape import plain
from .figures import heat_map, loss_plot, spectrum_plot
from .heat_figure import metric_name
from .known import words
from .located import Located, run_texts, run_words
from .parts import Parts
from .places import axis_words, snapshot_ticks, step_words
from .sentences import early_trace
from .state import Cell, Entry, Selection, requests
from .status import pace_words

EVERYTHING = frozenset({"layer", "map", "loss", "findings"})
AT_ONCE = EVERYTHING - {"findings"}  # what is drawn before the whole run was judged
HELD_OUT = ", held-out data"  # said of a place where not training data is shown
NOWHERE = -1000  # row of the map's marker, far outside, while none of its layers is looked at
LONG = 1000  # characters of a message on screen


class Screen:
    """Draws a selection; told which parts are out of date."""

    def __init__(self, session: Any, parts: Parts, computing: Computing) -> None:
        self._session, self._parts, self._computing, self._known = session, parts, computing, computing.known
        self._shots = list(session.snapshots)
        self._steps = [step_words(row) for row in self._shots]
        self.map_rows: tuple[Entry, ...] = ()  # as drawn last
        self._located = Located()

    def paint(self, looking: Selection, stale: set[str]) -> None:
        """Draw again what is in ``stale``, and the progress. Findings are drawn everywhere at once."""
        if "findings" in stale and self._computing.judge():
            stale = set(AT_ONCE)
            self._located = Located(self._computing.run)
            self._paint_findings(looking)
        if "loss" in stale:
            self._paint_loss(looking)
        if "layer" in stale:
            self._paint_layer(looking)
        if "map" in stale:
            self._paint_map(looking)
        self.paint_status(looking)

    def paint_status(self, looking: Selection) -> None:
        """Draw how far the work is, what went wrong, and which button makes sense."""
        parts, computing = self._parts, self._computing
        done, failed, total = computing.count()
        parts.status.show(
            share=(done + failed) / total if total else 1.0,
            progress=self._progress(looking),
            text=status_words(computing),
            problem=problem_words(computing, looking),
        )
        working = computing.busy and computing.sweeping
        parts.stop.disabled = not computing.busy
        parts.compute.disabled = computing.closed or working or done == total

    def _paint_findings(self, looking: Selection) -> None:
        rows = run_texts(self._located, _names(looking), looking.labels, self._steps)
        data = " on held-out data" if looking.main == "held_out" else ""
        self._parts.findings.show(rows, self._located.silent, run_words(len(rows), data))

    def _paint_loss(self, looking: Selection) -> None:
        losses = [self._session.losses(k) for k in range(len(self._shots))]
        found = [self._located.during(label) for label in looking.labels]
        plot = loss_plot(self._shots, losses, findings=found, names=_names(looking))
        kind = plot.legend, type(getattr(plot.root, "y_scale", None))  # another curve or scale is another figure
        self._parts.loss.show(plot, kind=kind)

    def _paint_layer(self, looking: Selection) -> None:
        parts = self._parts
        cells = [Cell(looking.layer, k, looking.main) for k in range(len(looking.labels))]
        spectra = [self._known.best(cell) for cell in cells]
        kind: Any = looking.view
        scale: Any = looking.scale
        both = looking.split == "both"
        held_out = [self._known.best(cell._replace(split="held_out")) for cell in cells] if both else None
        labels = [step + (HELD_OUT if looking.main == "held_out" else "") for step in self._steps]
        found = [self._findings(cell, looking) for cell in cells]
        plot = spectrum_plot(
            spectra, labels, layer=looking.layer, held_out=held_out, findings=found, kind=kind, scale=scale
        )
        parts.spectrum.show(plot, kind=(kind, scale, both))
        parts.spectrum_words.say(plot.sentences)
        parts.card.show([self._card(cell, looking) for cell in cells])
        calls = requests(looking.key(looking.layer), looking.labels, looking.split)
        parts.code.say([str(request) for request in calls])

    def _card(self, cell: Cell, looking: Selection) -> Text:
        held_out = " · held-out data" if cell.split == "held_out" else ""
        title = f"{plain(cell.layer)} · {looking.places[cell.snapshot]}{held_out}"
        found, diagnosis = self._known.spectrum(cell), self._computing.diagnosis(cell)
        failure, step = self._known.failure(cell), self._known.step(cell)
        if found is not None and diagnosis is not None:
            judged = self._computing.run is not None
            card = known_card(title, found, diagnosis, self._findings(cell, looking) if judged else None)
            return {**card, "beside": self._beside(cell, looking)}
        if failure is not None:
            return failed_card(title, plain(words(failure), longest=LONG))
        if step is not None:
            stopped = cell != self._computing.current
            return preliminary_card(title, step, self._computing.hesd(cell), self._known.trace(cell), stopped=stopped)
        waiting = self._computing.sweeping and not self._computing.closed
        return missing_card(title, self._known.trace(cell), waiting=waiting)

    def _beside(self, cell: Cell, looking: Selection) -> list[list[str]]:
        """The numbers of both kinds of data, where both are shown."""
        own, other = self._known.spectrum(cell), cell._replace(split="held_out")
        hesd = self._computing.hesd(cell)
        if looking.split != "both" or own is None or hesd is None:
            return []
        found = self._known.spectrum(other)
        return beside(own, hesd, found, None if found is None else self._computing.hesd(other))

    def _findings(self, cell: Cell, looking: Selection) -> Sequence[Finding]:
        return self._located.at(looking.key(cell.layer), looking.labels[cell.snapshot])

    def _paint_map(self, looking: Selection) -> None:
        parts, metric, count = self._parts, METRICS[looking.metric], len(looking.labels)
        self.map_rows = self._rows(looking)
        cells = [[Cell(entry.name, k, looking.main) for k in range(count)] for entry in looking.shown]
        table = np.array([[self._value(cell, looking.metric) for cell in row] for row in cells])
        marks = [[self._mark(cell) for cell in row] for row in cells]
        previews = {
            (r, k): early_trace(trace)
            for r, row in enumerate(cells)
            for k, cell in enumerate(row)
            if (trace := self._known.trace(cell)) is not None and trace.status == "ok"
        }
        parts.layers.show(table, marks, quantity=metric_name(metric), log=metric.log, previews=previews)
        names = [entry.name for entry in self.map_rows]
        values = table[[looking.shown.index(entry) for entry in self.map_rows]]
        here = names.index(looking.layer) if looking.layer in names else NOWHERE
        ticks, label = snapshot_ticks(self._shots), axis_words(self._shots)
        found = [[self._findings(cell, looking) for cell in cells[looking.shown.index(e)]] for e in self.map_rows]
        plot = heat_map(
            values, names, self._steps, metric=metric, layer=here, findings=found, ticks=ticks, x_label=label
        )
        colours = str([model.tags for model in plot.root.select({"name": "heat-colours"})])
        parts.heat.show(plot, kind=(looking.metric, *names, colours))
        parts.heat_words.say(plot.sentences)

    def _rows(self, looking: Selection) -> tuple[Entry, ...]:
        """Rows of the map: the layers, and the whole network below as soon as it is known somewhere or looked at."""
        whole = [entry for entry in looking.shown if entry.key is None and entry not in looking.rows]
        cells = [Cell(entry.name, k, looking.main) for entry in whole for k in range(len(looking.labels))]
        wanted = any(cell.layer == looking.layer or self._known.spectrum(cell) is not None for cell in cells)
        return (*looking.rows, *whole) if wanted else looking.rows

    def _value(self, cell: Cell, metric: str) -> float:
        found = self._computing.diagnosis(cell)
        return float("nan") if found is None else float(found.metrics.get(metric, float("nan")))

    def _mark(self, cell: Cell) -> tuple[str, str, str] | None:
        found = self._computing.diagnosis(cell)
        return None if found is None else (found.hesd.symbol, found.hesd.word, found.hesd.colour)

    def _progress(self, looking: Selection) -> str:
        computing, pace = self._computing, self._computing.pace
        done, failed, total = computing.count()
        if done + failed == total and not computing.busy:
            return ""  # the status says it
        current = computing.current
        where = "" if current is None else f"{plain(current.layer)} at {looking.places[current.snapshot]}"
        left = pace.left(computing.missing()) if computing.busy else float("nan")
        computed = pace.done if computing.busy else 0.0
        return pace_words(done + failed, total, seconds=pace.seconds, computed=computed, left=left, where=where)


def _names(looking: Selection) -> dict[str | None, str]:
    """What the blocks are called that may be looked at, by what the session calls them."""
    return {entry.key: entry.name for entry in looking.shown if entry.usable}


def status_words(computing: Computing) -> str:
    """Say what is going on."""
    done, failed, total = computing.count()
    if computing.closed:
        return "The session was closed. What is known stays on screen."
    if computing.busy:
        return "Computing." if computing.sweeping else "Computing what you look at."
    if done + failed < total:
        return "Stopped. Look at something missing to compute it, or press Compute for all."
    if failed:
        return f"{done}/{total} spectra · {failed} could not be computed"
    return f"{total}/{total} spectra · all known"


def problem_words(computing: Computing, looking: Selection) -> str:
    """Say what went wrong: first with what is looked at, then in general, then elsewhere."""
    failures = computing.known.failures()
    if looking.cell in failures:
        return _failed(looking.cell, failures[looking.cell], looking)
    if computing.trouble:
        return plain(computing.trouble, longest=LONG)
    if not failures:
        return ""
    cell, failure = next(iter(failures.items()))
    more = f" ({len(failures) - 1} more could not be computed.)" if len(failures) > 1 else ""
    return _failed(cell, failure, looking) + more


def _failed(cell: Cell, failure: Exception, looking: Selection) -> str:
    return plain(f"{cell.layer} at {looking.labels[cell.snapshot]}: {words(failure)}", longest=LONG)

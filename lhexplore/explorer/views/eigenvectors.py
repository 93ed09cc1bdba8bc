"""The first eigenvectors of the layer on show, computed when somebody asks for them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import ipywidgets as w

from ...jobs import State, Worker
from ..eigenvector_figure import Pairs, eigenvector_plot
from ..escape import plain
from ..facts import BRIEF
from ..known import words
from ..pane import BokehPane
from ..progress_texts import LONG
from ..refused import NEVER
from ..state import Cell, Selection
from ..view import View
from ..weak import weakly
from ..words import Words

COUNTS = (1, 2, 3, 4, 6)
KEPT = 12  # results; older ones are computed again
WHOLE = 1024  # parameters up to which all columns of the matrix are computed
TYPICAL = 30  # products per vector of a larger one
Wanted = tuple[Cell, int]  # a block at a snapshot, and how many vectors


class Eigenvectors(View):
    """The eigenvectors of largest |λ| of the layer on show as pictures of its parameters.

    They are computed on request, and given up when something else is looked at.
    """

    wants = frozenset({"layer", "choice"})

    def build(self) -> Sequence[w.Widget]:
        self._known: dict[Wanted, Any] = {}
        self._failures: dict[Wanted, str] = {}
        self._asked: Wanted | None = None
        self._done = ""  # how far it is, in words
        self._shown: object = None
        self.count = self.own(
            w.Dropdown(options=COUNTS, value=3, description="Vectors", layout=w.Layout(width="auto"),
                       style={"description_width": "initial"}), "lhx-count",
        )  # fmt: skip
        self.button = self.own(w.Button(description="Compute", tooltip="Compute these eigenvectors"), "lhx-vectors")
        self.cost = self.own(Words(), "lhx-part-cost")
        self.pane = self.own(BokehPane(name="Eigenvectors"), "lhx-pane-vectors")
        self.sentence = self.own(Words(), "lhx-part-vector_words")
        self._worker: Worker[tuple[Wanted, Any]] = Worker(
            on_item=weakly(self._on_item), on_state=weakly(self._on_state)
        )
        self.hub.session.attach(self._worker)
        self._undo.append(self._worker.cancel)
        self.button.on_click(weakly(self._on_click))
        self.count.observe(weakly(self._moved), "value")
        self.watch(self._moved, "layer", "snapshot", "split")
        return [self.row(self.count, self.button, self.cost), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        wanted = self._wanted()
        cell, pairs = wanted[0], self._known.get(wanted)
        label = self.hub.facts.labels(looking)[cell.snapshot]
        why = self._why(wanted)
        if self._shown != (wanted, id(pairs), why):
            self._shown = wanted, id(pairs), why
            plot = eigenvector_plot(pairs, self._shapes(looking, pairs), name=cell.layer, label=label, failed=why)
            self.pane.show(plot, kind=self._shown)
            self.sentence.say(plot.sentences)
        busy = self._worker.busy and self._asked == wanted
        self.button.description = "Stop" if busy else "Compute"
        self.button.disabled = pairs is not None or self.hub.computing.closed
        self.cost.say([self._cost(wanted, pairs, busy=busy, looking=looking)])

    def moved(self, places: Mapping[int, int]) -> None:
        self._worker.cancel()
        self._known.clear()
        self._failures.clear()
        self._asked = None

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending: what was asked for is computed (or given up, or refused) and drawn."""
        self._worker.wait(timeout)
        super().settled(timeout)

    def compute(self) -> None:
        """Have the eigenvectors on show computed, beside the kernel; nothing if they are known or on their way."""
        wanted = self._wanted()
        if wanted in self._known or (self._worker.busy and self._asked == wanted):
            return
        self._failures.pop(wanted, None)
        self._asked, self._done = wanted, ""
        self._worker.ask(lambda: self._work(wanted))
        self.hub.changed("choice", hurry=True)

    @property
    def pairs(self) -> Any:
        """The eigenvectors on show; None while they are not computed."""
        return self._known.get(self._wanted())

    def _shapes(self, looking: Selection, pairs: Pairs | None) -> Any:
        return [] if pairs is None else self.hub.session.shapes(looking.key(looking.layer))

    def _why(self, wanted: Wanted) -> str:
        """Why there are none: they were refused, or the spectrum was, so that they would hardly be had either."""
        (lost,) = self.hub.facts.reasons([wanted[0]])
        if wanted in self._failures:
            return f"eigenvectors {NEVER}: {plain(self._failures[wanted], longest=BRIEF)}"
        return f"eigenvectors are not computed, and the spectrum {NEVER}: {lost}" if lost else ""

    def _wanted(self) -> Wanted:
        return self.hub.look().cell, self.count.value

    def _cost(self, wanted: Wanted, pairs: Any, *, busy: bool, looking: Selection) -> str:
        """What computing costs, how far it is, or why it failed."""
        if pairs is not None:
            made = f"with {pairs.products:,} products" if pairs.products else "from gradients of single examples"
            return f"Computed {made}."
        if busy:
            return f"Computing. {self._done}".strip()
        if wanted in self._failures:
            return plain(self._failures[wanted], longest=LONG)
        cell, count = wanted
        size = next(entry.size for entry in looking.entries if entry.name == cell.layer)
        products = size if size <= WHOLE else TYPICAL * count
        spectrum = self.hub.computing.known.spectrum(cell)
        each = 0.0 if spectrum is None or not spectrum.products else spectrum.seconds / spectrum.products
        time = f", roughly {max(1, round(each * products))} s" if each else ""
        most = "at most" if size <= WHOLE else "about"
        return f"Costs {most} {products:,} products{time}; not kept in the cache."

    def _on_click(self, _button: Any) -> None:
        if self._worker.busy:
            self._worker.cancel()
            return
        self.compute()

    def _moved(self, _change: Any) -> None:
        if self._asked is not None and self._asked != self._wanted():
            self._worker.cancel()
            self._asked = None
        self.hub.changed("choice", hurry=True)

    def _work(self, wanted: Wanted) -> Iterator[tuple[Wanted, Any]]:
        cell, count = wanted
        key = self.hub.look().key(cell.layer)
        try:
            for pairs in self.hub.source.stream_eigenvectors(key, count, cell.snapshot, **cell.how):
                yield wanted, pairs
        except Exception as failure:  # noqa: BLE001  belongs on the screen
            yield wanted, failure

    def _on_item(self, item: tuple[Wanted, Any]) -> None:
        wanted, found = item
        if isinstance(found, Exception):
            self._failures[wanted] = words(found)
        elif found.complete:
            self._known[wanted] = found
            for oldest in list(self._known)[:-KEPT]:
                del self._known[oldest]
        else:
            self._done = f"{found.products:,} of at most {found.planned:,} products."
        self.hub.changed("choice")

    def _on_state(self, state: State, _failure: BaseException | None) -> None:
        self.hub.changed("choice")

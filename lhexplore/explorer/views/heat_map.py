"""Layers × snapshots of one metric; a click on a cell leads there."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets as t

from ...diagnosis import METRICS
from ...errors import SettingError, suggest
from ..figures import cell_of, heat_map
from ..heat_order import OF_VALUES, ORDERS, order_rows, order_sentence
from ..metric_chooser import MetricChooser
from ..places import axis_words, snapshot_ticks
from ..refused import refused_of_many
from ..state import Entry, Selection
from ..view import View
from ..weak import weakly

MOST = 100  # rows that are told apart in one picture; of more, one part is shown


class HeatMap(View):
    """A metric of every layer at every snapshot as colours; marks say where something was found.

    Args:
        source: as of any view.
        order: of the rows: "network", "now" (value at the snapshot on show when this was chosen), "largest" and
            "change" (over training), or "name". A trait of this view.
        choices: as of any view.

    Raises:
        SettingError: there is no such order; and as any view.
    """

    wants = frozenset({"map", "metric", "findings"})
    spectra = "all"
    says = ("metric",)

    order = t.Unicode("network", help='Of the rows: "network", "now", "largest", "change" or "name".')

    def __init__(self, source: Any, *, order: str = "network", **choices: Any) -> None:
        self._first = order
        self.rows: tuple[Entry, ...] = ()  # as drawn last, top row first
        self._start = 0  # the first row of the part on show
        self._basis: Any = None  # what the rows were sorted by
        self._places: dict[str, int] = {}
        self._where = ""  # in words
        self._layer = ""  # the one that was on show when drawn last
        self._filling = False
        super().__init__(source, **choices)

    @t.validate("order")
    def _known_order(self, proposal: Any) -> str:
        value = proposal["value"]
        if value not in ORDERS:
            raise SettingError(f"order cannot be {value!r}. {suggest(value, ORDERS)}")
        return str(value)

    def build(self) -> Sequence[w.Widget]:
        self.order = self._first
        metrics = self.own(MetricChooser(self.hub, "Metric", self.watch), "lhx-metric")
        options = [(words, name) for name, words in ORDERS.items()]
        self.sort = self.own(w.Dropdown(options=options, description="Rows", **_look()), "lhx-order")
        self._undo.append(t.link((self, "order"), (self.sort, "value")).unlink)
        hidden = w.Layout(width="auto", display="none")  # until there is something to sort
        self.again = self.own(w.Button(description="Sort again", layout=hidden), "lhx-again")
        self.again.on_click(weakly(self._on_again))
        self.parts = self.own(w.Dropdown(description="Part", **_look()), "lhx-rows")
        self.parts.layout.display = "none"
        self.parts.observe(weakly(self._on_part), "value")
        self.observe(weakly(self._on_again), "order")
        self.pane = self.figure("heat", "Layers over training", picks="heat-cells", on_pick=weakly(self._on_cell))
        self.sentence = self.line("heat_words")
        return [self.row(metrics, self.sort, self.again, self.parts), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, metric = self.hub.facts, METRICS[looking.metric]
        values, errors = facts.table(looking), facts.errors(looking)
        self.rows = self._sorted(looking, values)
        names = [entry.name for entry in self.rows]
        places = _places(looking)
        at = [places[name] for name in names]
        self._turn_to(names.index(looking.layer) if looking.layer in names else None, looking.layer)
        plot = heat_map(
            values[at],
            names,
            facts.steps,
            metric=metric,
            errors=errors[at],
            layer=names.index(looking.layer) if looking.layer in names else None,
            findings=[[facts.findings(cell, looking) for cell in facts.row(looking, entry)] for entry in self.rows],
            ticks=snapshot_ticks(facts.shots),
            x_label=axis_words(facts.shots),
            part=range(self._start, min(self._start + MOST, len(names))),
        )
        plot = refused_of_many(plot, [facts.reasons(facts.row(looking, entry)) for entry in self.rows])
        colours = str([model.tags for model in plot.root.select({"name": "heat-colours"})])
        self.pane.show(plot, kind=(looking.metric, self._start, *names, colours))
        self.sentence.say([f"{text} {self._where}".strip() for text in plot.sentences])

    # ---- rows

    def _sorted(self, looking: Selection, values: Any) -> tuple[Entry, ...]:
        """The rows in the order of the moment when it was chosen; they do not jump while one scrubs."""
        rows = self.hub.facts.map_rows(looking)
        basis = (self.order, looking.metric, looking.main)
        if basis != self._basis:
            layers = [entry for entry in rows if entry.key is not None]
            names = [entry.name for entry in layers]
            places = _places(looking)
            numbers = np.array([values[places[name]] for name in names]).reshape(len(layers), -1)
            order = order_rows(numbers, names, self.order, looking.snapshot)
            self._places = {names[i]: place for place, i in enumerate(order)}
            self._basis, self._start = basis, self._start if self.order == "network" else 0
            self._where = order_sentence(self.order, self.hub.facts.steps[looking.snapshot])
            self.again.layout.display = "" if self.order in OF_VALUES else "none"
        return tuple(sorted(rows, key=lambda e: (e.key is None, self._places.get(e.name, len(self._places)))))

    def _turn_to(self, row: int | None, layer: str) -> None:
        """Show the part in which the layer is that somebody went to, and list the parts there are."""
        count = len(self.rows)
        if row is not None and layer != self._layer and (self._layer or self.order == "network"):
            self._start = row // MOST * MOST
        self._layer = layer
        self._start = min(self._start, (max(count, 1) - 1) // MOST * MOST)
        options = tuple((f"{s + 1} to {min(s + MOST, count)} of {count}", s) for s in range(0, count, MOST))
        self.parts.layout.display = "" if len(options) > 1 else "none"
        if options != self.parts.options or self.parts.value != self._start:
            self._filling = True
            try:
                with self.parts.hold_sync():
                    self.parts.options, self.parts.value = options, self._start
            finally:
                self._filling = False

    def _on_again(self, _change: Any = None) -> None:
        self._basis = None
        self.hub.changed("metric", hurry=True)

    def _on_part(self, change: Any) -> None:
        if not self._filling and change["new"] is not None:
            self._start, self._layer = change["new"], self.hub.layer
            self.hub.changed("metric", hurry=True)

    # ---- hands

    def _on_cell(self, cell: int) -> None:
        row, column = cell_of(cell, len(self.hub.offer.labels))
        if 0 <= self._start + row < len(self.rows):
            self.hub.go(self.rows[self._start + row].name, column)


def _look() -> dict[str, Any]:
    return {"layout": w.Layout(width="auto"), "style": {"description_width": "initial"}}


def _places(looking: Selection) -> dict[str, int]:
    """Where the numbers of every layer stand in a table."""
    return {entry.name: row for row, entry in enumerate(looking.shown)}

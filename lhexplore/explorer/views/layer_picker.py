"""The list of layers, with a bar of the metric and the type of each at the snapshot on show."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ...diagnosis import METRICS
from ..heat_figure import metric_name
from ..layer_list import LayerList
from ..sentences import early_trace
from ..state import Cell, Selection
from ..view import View
from ..weak import weakly


class LayerPicker(View):
    """A list of layers to choose from; every row shows the metric and the type of its spectrum."""

    wants = frozenset({"map", "metric"})
    spectra = "all"
    says = ("metric",)

    def build(self) -> Sequence[w.Widget]:
        self.list = self.own(LayerList(clock=self.hub.clock), "lhx-part-layers")
        self._show_rows()
        self.list.observe(weakly(self._on_row), "selected")
        self.watch(self._show_rows, "layer", "layers")
        return [self.list]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, metric = self.hub.facts, METRICS[looking.metric]
        cells = [facts.row(looking, entry) for entry in looking.shown]
        previews = {
            (r, k): early_trace(trace)
            for r, row in enumerate(cells)
            for k, cell in enumerate(row)
            if (trace := self.hub.computing.known.trace(cell)) is not None and trace.status == "ok"
        }
        self.list.show(
            facts.table(looking),
            [[self._mark(cell) for cell in row] for row in cells],
            quantity=metric_name(metric),
            log=metric.log,
            previews=previews,
        )

    def _mark(self, cell: Cell) -> tuple[str, str, str] | None:
        found = self.hub.computing.diagnosis(cell)
        return None if found is None else (found.hesd.symbol, found.hesd.word, found.hesd.colour)

    def _show_rows(self, _change: Any = None) -> None:
        rows = self.hub.look().shown
        self.list.describe(rows)
        self.list.selected = next((i for i, row in enumerate(rows) if row.name == self.hub.layer), -1)

    def _on_row(self, change: Any) -> None:
        rows = self.hub.look().shown
        if 0 <= change["new"] < len(rows) and rows[change["new"]].usable:
            self.hub.layer = rows[change["new"]].name

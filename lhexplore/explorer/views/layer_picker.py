"""The tree of layers, with a bar of the metric and the type of each at the snapshot on show."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ...diagnosis import METRICS
from ..heat_figure import metric_name
from ..layer_list import LayerList
from ..metric_chooser import MetricChooser
from ..overlays import MOST_LAYERS
from ..sentences import early_trace
from ..state import Cell, Selection
from ..view import View
from ..weak import weakly


class LayerPicker(View):
    """A tree of layers to choose from; every row shows the metric and the type of its spectrum.

    One layer is on show (``layer``), up to three further ones lie over it (``overlay``), and all that is computed can
    be narrowed to a branch or to what a search found (``layers``). On its own, the view lets its metric be chosen.
    """

    wants = frozenset({"map", "metric", "types"})
    spectra = "all"
    says = ("metric",)

    def build(self) -> Sequence[w.Widget]:
        self.list = self.own(LayerList(clock=self.hub.clock, on_only=weakly(self._on_only)), "lhx-part-layers")
        self._show_rows()
        self.list.observe(weakly(self._on_row), "selected")
        self.list.observe(weakly(self._on_over), "over")
        self.watch(self._show_rows, "layer", "layers", "overlay")
        if self.hub.waiting:  # a page has a metric to choose elsewhere
            return [self.list]
        return [self.row(self.own(MetricChooser(self.hub, "Bars", self.watch), "lhx-metric")), self.list]

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
        computing = self.hub.computing
        found = None if computing.known.spectrum(cell) is None else computing.hesd(cell)
        return None if found is None else (found.symbol, found.word, found.colour)

    def _show_rows(self, _change: Any = None) -> None:
        looking = self.hub.look()
        rows = looking.shown
        index = {row.name: i for i, row in enumerate(rows)}
        with self.list.hold_sync():
            self.list.describe(
                rows, hidden=sum(entry.key is not None for entry in looking.entries if entry not in rows)
            )
            self.list.selected = index.get(looking.layer, -1)
            self.list.over = [index[name] for name in looking.over if name in index]

    def _on_row(self, change: Any) -> None:
        rows = self.hub.look().shown
        if 0 <= change["new"] < len(rows) and rows[change["new"]].usable:
            self.hub.layer = rows[change["new"]].name

    def _on_over(self, change: Any) -> None:
        looking = self.hub.look()
        rows = looking.shown
        names = [rows[i].name for i in change["new"] if 0 <= i < len(rows) and rows[i].usable]
        if set(names) != {name for name in looking.over if name in {row.name for row in rows}}:
            self.hub.overlay = tuple(names[:MOST_LAYERS])

    def _on_only(self, chosen: Sequence[int] | None) -> None:
        """Show and compute these alone, or all layers again."""
        rows, offer = self.hub.look().shown, self.hub.offer
        names = offer.usable if chosen is None else tuple(rows[i].name for i in chosen if i < len(rows))
        usable = tuple(name for name in names if name in offer.usable)
        if usable:
            self.hub.layers = usable

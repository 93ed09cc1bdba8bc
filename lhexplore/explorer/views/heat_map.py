"""Layers × snapshots of one metric; a click on a cell leads there."""

from collections.abc import Sequence

import ipywidgets as w

from ...diagnosis import METRICS
from ..figures import cell_of, heat_map
from ..heat_figure import metric_name
from ..places import axis_words, snapshot_ticks
from ..state import Entry, Selection
from ..view import View
from ..weak import weakly

NOWHERE = -1000  # row of the marker, far outside, while none of the layers is looked at


class HeatMap(View):
    """A metric of every layer at every snapshot as colours; marks say where something was found."""

    wants = frozenset({"map", "metric", "findings"})
    spectra = "all"
    says = ("metric",)

    def build(self) -> Sequence[w.Widget]:
        self.rows: tuple[Entry, ...] = ()  # as drawn last
        metrics = self.chooser("metric", "Metric", {name: metric_name(metric) for name, metric in METRICS.items()})
        self.pane = self.figure("heat", "Layers over training", picks="heat-cells", on_pick=weakly(self._on_cell))
        self.sentence = self.line("heat_words")
        return [self.row(metrics), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts = self.hub.facts
        self.rows = facts.map_rows(looking)
        names = [entry.name for entry in self.rows]
        plot = heat_map(
            facts.table(looking)[[looking.shown.index(entry) for entry in self.rows]],
            names,
            facts.steps,
            metric=METRICS[looking.metric],
            layer=names.index(looking.layer) if looking.layer in names else NOWHERE,
            findings=[[facts.findings(cell, looking) for cell in facts.row(looking, entry)] for entry in self.rows],
            ticks=snapshot_ticks(facts.shots),
            x_label=axis_words(facts.shots),
        )
        colours = str([model.tags for model in plot.root.select({"name": "heat-colours"})])
        self.pane.show(plot, kind=(looking.metric, *names, colours))
        self.sentence.say(plot.sentences)

    def _on_cell(self, cell: int) -> None:
        row, column = cell_of(cell, len(self.hub.offer.labels))
        if 0 <= row < len(self.rows):
            self.hub.go(self.rows[row].name, column)

"""Any metric over training for a few layers; a click leads to a snapshot."""

from collections.abc import Iterable, Sequence
from typing import Any

import ipywidgets as w
import numpy as np
import traitlets as t

from ...diagnosis import METRICS, on_registered
from ...diagnosis.metrics.state import PAIR_METRICS, STATE_METRICS
from ...errors import SettingError
from ...figures.numbers import Described, described, numbers
from ...figures.run import Run
from ..escape import plain
from ..facts import BRIEF
from ..heat_figure import metric_name
from ..located import blocks_of, of_run
from ..metric_figure import STROKES, metric_plot
from ..places import axis_words, snapshot_ticks
from ..refused import refused_of_many
from ..state import Cell, Entry, Selection
from ..view import View
from ..weak import weakly

MOST = len(STROKES)  # layers that can be told apart


class MetricPlot(View):
    """A metric over training, a curve per layer, with bands of ± 2 standard errors.

    Args:
        source: as of any view.
        metric: any of spectra (your own too), which all views then show; or one of gradients and parameters, or between
            two snapshots, which is this view's alone. Left out: that of all views.
        quantity: the same by the name of the trait, which is what the repr says; give one of the two.
        chosen: names of at most six layers; a trait of this view. None: the layer on show and those in ``overlay``, or
            up to five others where there are none. Only those among ``layers`` are drawn.
        choices: as of any view.

    Raises:
        SettingError: there is no such metric, both are given, or too many layers; and as any view.
        UnknownLayerError: with near names.
    """

    wants = frozenset({"map", "metric", "findings", "state"})
    spectra = "all"
    says = ("quantity",)

    quantity = t.Unicode("", help="What is drawn: the metric of all views, or one that only this view can show.")
    chosen: Any = t.TraitType(None, allow_none=True, help="Names of the layers that are drawn; None: see above.")

    def __init__(
        self,
        source: Any,
        *,
        metric: str | None = None,
        quantity: str | None = None,
        chosen: Any = None,
        **choices: Any,
    ) -> None:
        if metric is not None and quantity is not None:
            raise SettingError(f"metric and quantity name the same choice; got {metric!r} and {quantity!r}: give one.")
        self._first = quantity if metric is None else metric, chosen
        self._filling = False
        super().__init__(source, **choices)

    @t.validate("quantity")
    def _known_metric(self, proposal: Any) -> str:
        return described(proposal["value"]).name

    @t.validate("chosen")
    def _drawable(self, proposal: Any) -> tuple[str, ...] | None:
        value = proposal["value"]
        if value is None:
            return None
        wanted = (value,) if isinstance(value, str) else value
        if not isinstance(wanted, Iterable) or not (wanted := tuple(wanted)):
            raise SettingError(f"chosen takes the names of one to {MOST} layers, or None; got {value!r}.")
        names: tuple[str, ...] = self.hub.offer.accept("layers", wanted, self.hub.layers)
        if len(names) > MOST:
            raise SettingError(f"At most {MOST} layers can be told apart in one figure; got {len(names)}.")
        return names

    def build(self) -> Sequence[w.Widget]:
        metric, chosen = self._first
        self.chosen = chosen
        self.quantity = self.hub.metric if metric is None else metric
        self._follow()
        self.rows: tuple[Entry, ...] = ()  # as drawn last
        self.list = self.own(
            w.Dropdown(description="Metric", layout=w.Layout(width="auto"), style={"description_width": "initial"}),
            "lhx-quantity",
        )
        self._offer(False)
        self.list.observe(weakly(self._on_list), "value")
        self.observe(weakly(self._on_quantity), "quantity")
        self.observe(weakly(self._redraw), "chosen")
        self.watch(self._on_metric, "metric")
        self._undo.append(on_registered(weakly(self._redraw)))
        self.pane = self.figure("metric", "Metric over training", picks="metric-cells", on_pick=weakly(self._on_strip))
        self.sentence = self.line("metric_words")
        return [self.row(self.list), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, quantity = self.hub.facts, self.quantity
        stating = self.hub.computing.stating
        self._offer(any(stating.of(e.key, looking.snapshot, looking.main) for e in looking.rows))
        self.rows = self._chosen_rows(looking)
        names = [entry.name for entry in self.rows]
        keys = {entry.key: entry.name for entry in self.rows}
        table = numbers(self._run(looking), quantity, names, looking.main)
        found = [
            [f for f in facts.located.during(label) if of_run(f) or blocks_of(f, keys)] for label in looking.labels
        ]
        plot = metric_plot(
            table.value,
            table.error,
            names,
            facts.labels(looking),
            metric=described(quantity),
            layer=names.index(looking.layer) if looking.layer in names else -1,
            findings=found,
            names=keys,
            more=len(looking.rows) - len(names),
            ticks=snapshot_ticks(facts.shots),
            time_label=axis_words(facts.shots),
        )
        plot = refused_of_many(plot, [self._reasons(looking, entry) for entry in self.rows])
        scale = type(getattr(plot.root, "y_scale", None))
        self.pane.show(plot, kind=(len(names), scale, bool(np.isfinite(table.value).any())))
        self.sentence.say(plot.sentences)

    # ---- what is drawn

    def _chosen_rows(self, looking: Selection) -> tuple[Entry, ...]:
        """The chosen layers as far as they are on show; else the first ones, and the one on show in any case.

        Where layers lie over the one on show, these are compared.
        """
        wanted = (looking.layer, *looking.over) if self.chosen is None and looking.over else self.chosen
        rows = tuple(e for e in looking.shown if e.usable and wanted is not None and e.name in wanted)
        if rows:
            return rows
        here = tuple(e for e in looking.shown if e.name == looking.layer)
        rows = looking.rows[:MOST]
        return rows if here[0] in rows else (*rows[: MOST - 1], *here)

    def _reasons(self, looking: Selection, entry: Entry) -> list[str]:
        """Why a layer has no value: its spectrum could not be computed, or the gradients of a snapshot."""
        cells = self.hub.facts.row(looking, entry)
        if self.quantity in STATE_METRICS:
            stating = self.hub.computing.stating
            return [plain(stating.failure(cell.snapshot, cell.split), longest=BRIEF) for cell in cells]
        return self.hub.facts.reasons(cells)

    def _run(self, looking: Selection) -> Run:
        """What is known, as numbers are read from it; snapshots go by their index, for labels may repeat."""
        known, keys = self.hub.computing.known, {entry.name: entry.key for entry in looking.entries}
        losses = self.hub.facts.losses() if self.quantity in PAIR_METRICS else []
        return Run(
            layers=tuple(keys),
            labels=tuple(str(k) for k in range(len(looking.labels))),
            steps=tuple(row.step for row in self.hub.facts.shots),
            refused={},
            cached=lambda name, k, split: known.spectrum(Cell(str(name), int(k), split)),
            losses=lambda k: losses[int(k)],
            state=lambda name, k: self.hub.computing.stating.of(keys[str(name)], int(k), looking.main),
            judge=lambda: None,
        )

    # ---- choices

    def _offer(self, states: bool) -> None:
        """List the metrics there are now, one's own too, and those of gradients as soon as any is known."""
        known: dict[str, Described] = {
            **METRICS,
            **PAIR_METRICS,
            **(STATE_METRICS if states or self.quantity in STATE_METRICS else {}),
        }
        options = tuple((metric_name(metric), name) for name, metric in known.items())
        if options == self.list.options and self.list.value == self.quantity:
            return
        self._filling = True
        try:
            with self.list.hold_sync():
                self.list.options = options
                self.list.value = self.quantity
        finally:
            self._filling = False

    def _on_list(self, change: Any) -> None:
        if not self._filling:
            self.quantity = change["new"]

    def _on_quantity(self, _change: Any) -> None:
        self._follow()
        self._redraw()

    def _follow(self) -> None:
        """Have all views show a metric that they can show."""
        if self.quantity in METRICS:
            self.hub.metric = self.quantity

    def _on_metric(self, _change: Any) -> None:
        self.quantity = self.hub.metric

    def _redraw(self, _change: Any = None) -> None:
        self.hub.changed("metric", hurry=True)

    def _on_strip(self, snapshot: int) -> None:
        if 0 <= snapshot < len(self.hub.offer.labels):
            self.hub.snapshot = snapshot

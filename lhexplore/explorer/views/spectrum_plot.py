"""The spectrum of the layer on show, at every snapshot."""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

from ..autoscale import Autoscale
from ..choices import SPLIT_WORDS
from ..escape import plain
from ..figures import spectrum_plot
from ..overlay_chooser import OverlayChooser
from ..refused import refused
from ..room import Room
from ..spectrum_figure import KINDS
from ..state import Cell, Selection
from ..view import View

SCALE_WORDS = {"symlog": "symlog", "linear": "linear", "loglog": "log-log"}


class SpectrumPlot(View):
    """How the layer's eigenvalues are spread; held-out data, other layers and its Gauss-Newton matrix lie over it."""

    wants = frozenset({"layer", "style", "findings"})
    spectra = "layer"
    says = ("view", "scale")

    def build(self) -> Sequence[w.Widget]:
        controls = [
            self.chooser("view", "View", {name: name for name in KINDS}),
            self.chooser("scale", "Scale", SCALE_WORDS),
        ]
        if self.hub.offer.has_held_out:
            controls.append(self.chooser("split", "Data", SPLIT_WORDS))
        self.over = self.own(OverlayChooser(self.hub, self.watch), "lhx-overlay")
        self.autoscale = self.own(Autoscale(self.hub), "lhx-autoscale")
        self.watch(self.autoscale.release, "layer", "scale", "split")
        self.room = Room()
        self.pane = self.figure("spectrum", "Spectrum")
        self.sentence = self.line("spectrum_words")
        return [self.row(*controls, self.over, self.autoscale), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, known = self.hub.facts, self.hub.computing.known
        cells = facts.row(looking)
        kind: Any = looking.view
        scale: Any = looking.scale
        both = looking.split == "both"
        over = {name: [known.best(cell._replace(layer=name)) for cell in cells] for name in looking.over}
        plot = spectrum_plot(
            [known.best(cell) for cell in cells],
            facts.labels(looking),
            layer=looking.layer,
            held_out=[known.best(cell._replace(split="held_out")) for cell in cells] if both else None,
            overlay=over,
            ggn=[known.best(cell._replace(curvature="ggn")) for cell in cells] if looking.ggn else None,
            findings=[facts.findings(cell, looking) for cell in cells],
            kind=kind,
            scale=scale,
            fit=self.autoscale.fit,
        )
        plot = refused(plot, facts.reasons(cells), self._lost_over(looking, cells))
        self.pane.show(plot, kind=(kind, scale, both, len(over), looking.ggn))
        what = kind, scale, both, looking.layer, looking.over, looking.ggn, self.autoscale.fit
        drawn = {looking.labels[cell.snapshot] for cell in cells if known.best(cell) is not None}
        if self.hub.news.widened(self.room.taken_by(plot, what, drawn)):
            self.hub.changed("news")
        self.sentence.say(plot.sentences)

    def _lost_over(self, looking: Selection, cells: Sequence[Cell]) -> dict[str, list[str]]:
        """Why what lies over the spectrum could not be computed, by what sentences call it."""
        lying: dict[str, Any] = {plain(name, longest=32): {"layer": name} for name in looking.over}
        if looking.split == "both":
            lying["On held-out data"] = {"split": "held_out"}
        if looking.ggn:
            lying["The Gauss-Newton matrix"] = {"curvature": "ggn"}
        reasons = self.hub.facts.reasons
        return {called: reasons([cell._replace(**other) for cell in cells]) for called, other in lying.items()}

    def moved(self, places: Mapping[int, int]) -> None:
        self.autoscale.moved(places)

"""The spectrum of the layer on show, at every snapshot."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ..axes import SCALES
from ..choices import SPLIT_WORDS
from ..figures import spectrum_plot
from ..spectrum_figure import KINDS
from ..state import Selection
from ..view import View


class SpectrumPlot(View):
    """How the layer's eigenvalues are spread: as a histogram or a density, on training or held-out data or both."""

    wants = frozenset({"layer", "style", "findings"})
    spectra = "layer"
    says = ("view", "scale")

    def build(self) -> Sequence[w.Widget]:
        controls = [
            self.chooser("view", "View", {name: name for name in KINDS}),
            self.chooser("scale", "Scale", {name: name for name in SCALES}),
        ]
        if self.hub.offer.has_held_out:
            controls.append(self.chooser("split", "Data", SPLIT_WORDS))
        self.pane = self.figure("spectrum", "Spectrum")
        self.sentence = self.line("spectrum_words")
        return [self.row(*controls), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, known = self.hub.facts, self.hub.computing.known
        cells = facts.row(looking)
        kind: Any = looking.view
        scale: Any = looking.scale
        both = looking.split == "both"
        plot = spectrum_plot(
            [known.best(cell) for cell in cells],
            facts.labels(looking),
            layer=looking.layer,
            held_out=[known.best(cell._replace(split="held_out")) for cell in cells] if both else None,
            findings=[facts.findings(cell, looking) for cell in cells],
            kind=kind,
            scale=scale,
        )
        self.pane.show(plot, kind=(kind, scale, both))
        self.sentence.say(plot.sentences)

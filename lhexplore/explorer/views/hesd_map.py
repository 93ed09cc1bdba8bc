"""C_t against K_H over training; a click on a point leads to its snapshot."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ..figures import hesd_map
from ..refused import refused
from ..state import Entry, Selection
from ..view import View
from ..weak import weakly

BLOCKS = ("layer on show", "whole network")
HOW = "The whole network is computed when you look at it in the list of layers."


class HesdMap(View):
    """How the spectrum moves between the types over training, for the layer on show or for the whole network."""

    wants = frozenset({"layer", "map", "types"})
    spectra = "layer"

    def build(self) -> Sequence[w.Widget]:
        self.block = self.own(
            w.Dropdown(
                options=BLOCKS, description="Of", layout=w.Layout(width="auto"), style={"description_width": "initial"}
            ),
            "lhx-block",
        )
        self.block.observe(weakly(self._on_block), "value")
        self.pane = self.figure(
            "hesd", "C_t and K_H over training", picks="hesd-points", on_pick=weakly(self._on_point)
        )
        self.sentence = self.line("hesd_words")
        return [self.row(self.block), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, entry = self.hub.facts, self.entry(looking)
        cells = facts.row(looking, entry)
        types = [self.hub.computing.hesd(cell) for cell in cells]
        plot = refused(hesd_map(types, facts.labels(looking), name=entry.name), facts.reasons(cells))
        (gate,) = (getattr(model, "location", 0.0) for model in plot.root.select({"name": "hesd-gate"}))
        empty = all(h is None for h in types)
        self.pane.show(plot, kind=(entry.name, looking.main, empty, gate))
        unknown = looking.key(entry.name) is None and entry.name != looking.layer and None in types
        self.sentence.say([f"{words} {HOW}" if unknown else words for words in plot.sentences])

    def entry(self, looking: Selection) -> Entry:
        """What is drawn: the layer on show, or all layers as one block."""
        if self.block.value == BLOCKS[0]:
            return next(entry for entry in looking.entries if entry.name == looking.layer)
        return next(entry for entry in looking.entries if entry.key is None)

    def _on_block(self, _change: Any) -> None:
        self.hub.changed("layer", hurry=True)

    def _on_point(self, snapshot: int) -> None:
        if snapshot < len(self.hub.offer.labels):
            self.hub.snapshot = snapshot

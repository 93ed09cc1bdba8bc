"""The card beside the spectrum: type, numbers with their errors, and what was found in the layer on show."""

from collections.abc import Sequence

import ipywidgets as w

from ..card import Card, Text, beside, failed_card, known_card, missing_card, preliminary_card
from ..escape import plain
from ..known import words
from ..progress_texts import LONG
from ..state import Cell, Selection
from ..view import View


class HesdBadge(View):
    """The type of the spectrum on show, its numbers with their errors, and what the rules say of it."""

    wants = frozenset({"layer", "findings"})
    spectra = "layer"

    def build(self) -> Sequence[w.Widget]:
        self.card = self.own(Card(clock=self.hub.clock), "lhx-part-card")
        return [self.card]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        self.card.show([self._text(cell, looking) for cell in self.hub.facts.row(looking)])

    def _text(self, cell: Cell, looking: Selection) -> Text:
        computing = self.hub.computing
        known, trace = computing.known, computing.known.trace(cell)
        held_out = " · held-out data" if cell.split == "held_out" else ""
        title = f"{plain(cell.layer)} · {looking.places[cell.snapshot]}{held_out}"
        found, diagnosis = known.spectrum(cell), computing.diagnosis(cell)
        if found is not None and diagnosis is not None:
            judged = self.hub.facts.findings(cell, looking) if computing.run is not None else None
            return {**known_card(title, found, diagnosis, judged), "beside": self._beside(cell, looking)}
        if (failure := known.failure(cell)) is not None:
            return failed_card(title, plain(words(failure), longest=LONG))
        if (step := known.step(cell)) is not None:
            return preliminary_card(title, step, computing.hesd(cell), trace, stopped=cell != computing.current)
        return missing_card(title, trace, waiting=computing.sweeping and not computing.closed)

    def _beside(self, cell: Cell, looking: Selection) -> list[list[str]]:
        """The numbers of both kinds of data, where both are shown."""
        computing = self.hub.computing
        own, other = computing.known.spectrum(cell), cell._replace(split="held_out")
        hesd = computing.hesd(cell)
        if looking.split != "both" or own is None or hesd is None:
            return []
        found = computing.known.spectrum(other)
        return beside(own, hesd, found, None if found is None else computing.hesd(other))

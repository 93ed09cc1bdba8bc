"""What the rules found in the whole run; a click on one leads to its place."""

from collections.abc import Sequence

import ipywidgets as w

from ..findings_list import FindingsList
from ..located import run_texts, run_words
from ..state import Selection
from ..view import View
from ..weak import weakly


class Findings(View):
    """The findings of the run, most urgent first, and the rules that could not judge."""

    wants = frozenset({"findings", "choice"})
    spectra = "all"

    def build(self) -> Sequence[w.Widget]:
        self.list = self.own(FindingsList(on_go=weakly(self.hub.go)), "lhx-part-findings")
        return [self.list]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts = self.hub.facts
        if facts.located.run is None:
            return  # not judged yet: nothing can be said
        rows = run_texts(facts.located, looking.names, looking.labels, facts.steps)
        data = " on held-out data" if looking.main == "held_out" else ""
        self.list.show(rows, facts.located.silent, run_words(len(rows), data))

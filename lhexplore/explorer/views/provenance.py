"""The line of code that gives the spectrum on show, and the settings and digests it was computed with."""

from collections.abc import Sequence

import ipywidgets as w

from ..origin import origin_words
from ..state import Selection, requests
from ..view import View


class Provenance(View):
    """The call that gives exactly what is on show, to copy into a cell; settings and digests once they are known."""

    wants = frozenset({"choice", "layer"})

    def build(self) -> Sequence[w.Widget]:
        self.code = self.line("code", role="code")
        self.origin = self.line("origin")
        return [self.code, self.origin]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        calls = requests(looking.key(looking.layer), looking.labels, looking.split)
        known = self.hub.computing.known
        self.code.say([str(request) for request in calls])
        self.origin.say([origin_words(known.spectrum(cell)) for cell in self.hub.facts.row(looking)])

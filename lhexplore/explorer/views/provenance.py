"""The line of code that gives the spectrum on show."""

from collections.abc import Sequence

import ipywidgets as w

from ..state import Selection, requests
from ..view import View


class Provenance(View):
    """The call that gives exactly what is on show, to copy into a cell."""

    wants = frozenset({"choice"})

    def build(self) -> Sequence[w.Widget]:
        self.code = self.line("code", role="code")
        return [self.code]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        calls = requests(looking.key(looking.layer), looking.labels, looking.split)
        self.code.say([str(request) for request in calls])

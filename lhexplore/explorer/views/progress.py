"""What is being computed, how far it is, what went wrong; and the buttons that start and stop it."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ..progress_texts import problem_words, progress_words, status_words
from ..state import Selection
from ..status import Status
from ..view import View
from ..weak import weakly


class Progress(View):
    """How many spectra are known, how fast they come, what the rest costs, and Compute and Stop."""

    wants = frozenset({"progress"})

    def build(self) -> Sequence[w.Widget]:
        compute = w.Button(
            description="Compute", tooltip="Compute what is missing; try again what failed", disabled=True
        )
        stop = w.Button(description="Stop", tooltip="Stop after the product at hand; what is done stays", disabled=True)
        self.compute, self.stop = self.own(compute, "lhx-compute"), self.own(stop, "lhx-stop")
        self.state = self.own(Status(), "lhx-part-status")
        compute.on_click(weakly(self._on_compute))
        stop.on_click(weakly(self._on_stop))
        return [self.box(w.HBox, "lhx-doing", self.compute, self.stop, self.state)]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        computing = self.hub.computing
        done, failed, total = computing.count()
        computing.pricing.wish(computing.missing())
        self.state.show(
            share=(done + failed) / total if total else 1.0,
            progress=progress_words(computing, looking),
            text=status_words(computing),
            problem=problem_words(computing, looking),
        )
        working = computing.busy and computing.sweeping
        self.stop.disabled = not computing.busy
        self.compute.disabled = computing.closed or working or done == total

    def _on_compute(self, _button: Any) -> None:
        self.hub.compute()

    def _on_stop(self, _button: Any) -> None:
        self.stop.disabled = True
        self.hub.stop()

"""The time axis: losses over training, and below them the slider and the buttons that walk through the snapshots."""

from collections.abc import Sequence

import ipywidgets as w

from ..figures import loss_plot
from ..player import Player
from ..state import Selection
from ..view import View


class Scrubber(View):
    """Losses over training with the slider of all linked views under them; marks say where findings begin."""

    wants = frozenset({"loss", "choice", "findings"})
    spectra = "layer"

    def build(self) -> Sequence[w.Widget]:
        clock = self.hub.clock
        self.pane = self.figure("loss", "Loss over training", guides=True)
        self.player = self.own(Player(clock=clock), "lhx-part-player")
        self.player.describe(self.hub.offer.places)
        return [self.pane, self.box(w.VBox, "lhx-scrub", clock, self.player)]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts = self.hub.facts
        found = [facts.located.during(label) for label in looking.labels]
        plot = loss_plot(facts.shots, facts.losses(), findings=found, names=looking.names)
        kind = plot.legend, type(getattr(plot.root, "y_scale", None))  # another curve or scale is another figure
        self.pane.show(plot, kind=kind)

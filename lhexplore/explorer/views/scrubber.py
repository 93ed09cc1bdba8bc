"""The time axis: losses over training, and below them the slider and the buttons that walk through the snapshots."""

from collections.abc import Sequence

import ipywidgets as w
import traitlets as t

from ..figures import loss_plot
from ..growth import waiting_words
from ..player import Player
from ..state import Selection
from ..view import View
from ..words import Words


class Scrubber(View):
    """Losses over training with the slider of all linked views under them; marks say where findings begin."""

    wants = frozenset({"loss", "choice", "findings", "news"})
    spectra = "layer"
    early = True

    def build(self) -> Sequence[w.Widget]:
        clock = self.hub.clock
        self.pane = self.figure("loss", "Loss over training", guides=True)
        self.player = self.own(Player(clock=clock), "lhx-part-player")
        self.player.describe(self.hub.offer.places)
        walk = [self.player]
        if self.hub.session is not self.hub.source:  # more may come
            box = w.Checkbox(description="Follow the newest", indent=False, layout=w.Layout(width="auto"))
            self._undo.append(t.link((self.hub, "follow"), (box, "value")).unlink)
            self.news = self.own(Words(), "lhx-part-news")
            walk += [self.own(box, "lhx-follow"), self.news]
        return [self.pane, self.box(w.VBox, "lhx-scrub", clock, self.box(w.HBox, "lhx-walk", *walk))]

    def losses(self) -> list[dict[str, float]]:
        """What is drawn: the losses of every snapshot, by name."""
        return self.hub.facts.losses()

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        if self.hub.session is not self.hub.source:
            self.player.describe(looking.places)
            self.news.say([self.hub.news.words if looking.labels else waiting_words(self.hub.session)])
        if not looking.labels or stale == {"news"}:
            return
        facts = self.hub.facts
        found = [facts.located.during(label) for label in looking.labels]
        plot = loss_plot(facts.shots, self.losses(), findings=found, names=looking.names)
        kind = plot.legend, type(getattr(plot.root, "y_scale", None))  # another curve or scale is another figure
        self.pane.show(plot, kind=kind)

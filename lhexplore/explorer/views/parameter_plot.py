"""Weights and gradients of the layer on show; a click leads to a snapshot."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w

from ..escape import plain
from ..parameter_figure import gradient_plot, singular_plot, state_sentence, weights_plot
from ..places import axis_words, snapshot_ticks
from ..state import Selection
from ..view import View
from ..weak import weakly


class ParameterPlot(View):
    """How the weights of the layer are distributed over training, how large its gradient is, and its singular values.

    Distribution and gradient cost a backward pass per snapshot for all layers together. Singular values are shown where
    ``session.states`` has computed them.
    """

    wants = frozenset({"state", "choice"})

    def build(self) -> Sequence[w.Widget]:
        picked = weakly(self._on_snapshot)
        self.heading = self.line("parameter_name", role="heading")
        self.weights = self.figure("weights", "Weights over training", picks="weights-cells", on_pick=picked)
        self.gradient = self.figure("gradient", "Gradient over training", picks="gradient-cells", on_pick=picked)
        self.singular = self.figure("singular", "Singular values")
        self.sentence = self.line("parameter_words")
        self.watch(self._fetch, "split")
        self._fetch()
        return [self.heading, self.weights, self.gradient, self.singular, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, stating = self.hub.facts, self.hub.computing.stating
        key, labels = looking.key(looking.layer), facts.labels(looking)
        ticks, axis = snapshot_ticks(facts.shots), axis_words(facts.shots)
        states = [stating.of(key, k, looking.main) for k in range(len(labels))]
        self.heading.say([f"{plain(looking.layer)}: weights and gradient"])
        what = looking.layer, looking.main
        weights, gradient = (draw(states, labels, ticks, x_label=axis) for draw in (weights_plot, gradient_plot))
        scales = [type(getattr(plot.root, "y_scale", None)) for plot in (weights, gradient)]
        self.weights.show(weights, kind=(*what, scales[0]))
        self.gradient.show(gradient, kind=(*what, scales[1]))
        known = [state is not None and state.singular_values.size > 0 for state in states]
        self.singular.layout.display = "" if any(known) else "none"
        if any(known):
            singular = singular_plot(states, labels)
            longest = singular.frames["singular__x"].shape[1]
            self.singular.show(singular, kind=(*what, longest, type(getattr(singular.root, "y_scale", None))))
        self.sentence.say(
            [
                state_sentence(state, looking.layer, labels[k], stating.failure(k, looking.main))
                for k, state in enumerate(states)
            ]
        )

    def _fetch(self, _change: Any = None) -> None:
        self.hub.computing.stating.wish()

    def _on_snapshot(self, snapshot: int) -> None:
        if snapshot < len(self.hub.offer.labels):
            self.hub.snapshot = snapshot

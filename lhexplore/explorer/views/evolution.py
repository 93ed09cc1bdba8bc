"""One layer's spectrum over training; a click leads to a snapshot."""

from collections.abc import Sequence
from typing import Any

import ipywidgets as w
import traitlets as t

from ...errors import SettingError, suggest
from ..choices import SPLIT_WORDS
from ..evolution_figure import FORMS, evolution_plot
from ..places import axis_words, snapshot_ticks
from ..refused import refused
from ..state import Selection
from ..view import View
from ..weak import weakly


class Evolution(View):
    """The spectrum of the layer on show at all snapshots: as ridges one above the other, or as ribbons of quantiles.

    Args:
        source: as of any view.
        shape: "ridge" or "quantiles"; of this view alone, and a trait of it.
        choices: as of any view; ``scale`` is that of the spectrum plot.

    Raises:
        SettingError: there is no such shape; and as any view.
    """

    wants = frozenset({"layer", "style"})
    spectra = "layer"
    says = ("shape", "scale")

    shape = t.Unicode(FORMS[0], help='"ridge" or "quantiles".')

    def __init__(self, source: Any, *, shape: str = FORMS[0], **choices: Any) -> None:
        self._first = shape
        super().__init__(source, **choices)

    @t.validate("shape")
    def _drawable(self, proposal: Any) -> str:
        shape = str(proposal["value"])
        if shape not in FORMS:
            raise SettingError(f"shape cannot be {shape!r}. {suggest(shape, FORMS)}")
        return shape

    def build(self) -> Sequence[w.Widget]:
        self.shape = self._first
        made = w.Dropdown(
            options=FORMS, description="Shape", layout=w.Layout(width="auto"), style={"description_width": "initial"}
        )
        self._undo.append(t.link((self, "shape"), (made, "value")).unlink)
        self.observe(weakly(self._on_shape), "shape")
        controls = [self.own(made, "lhx-shape")]
        if self.hub.offer.has_held_out:
            controls.append(self.chooser("split", "Data", SPLIT_WORDS))
        self.pane = self.figure(
            "evolution", "Spectrum over training", picks="evolution-cells", on_pick=weakly(self._on_strip)
        )
        self.sentence = self.line("evolution_words")
        return [self.row(*controls), self.pane, self.sentence]

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        facts, known = self.hub.facts, self.hub.computing.known
        cells = facts.row(looking)
        shape: Any = self.shape
        scale: Any = "linear" if looking.scale == "linear" else "symlog"  # sizes alone would hide the signs
        both = looking.split == "both"
        plot = evolution_plot(
            [known.best(cell) for cell in cells],
            facts.labels(looking),
            layer=looking.layer,
            held_out=[known.best(cell._replace(split="held_out")) for cell in cells] if both else None,
            shape=shape,
            scale=scale,
            ticks=snapshot_ticks(facts.shots),
            time_label=axis_words(facts.shots),
        )
        over = {"On held-out data": facts.reasons([cell._replace(split="held_out") for cell in cells])} if both else {}
        plot = refused(plot, facts.reasons(cells), over)
        self.pane.show(plot, kind=(shape, scale, both))
        self.sentence.say(plot.sentences)

    def _on_shape(self, _change: Any) -> None:
        self.hub.changed("style", hurry=True)

    def _on_strip(self, snapshot: int) -> None:
        if 0 <= snapshot < len(self.hub.offer.labels):
            self.hub.snapshot = snapshot

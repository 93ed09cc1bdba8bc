"""Two runs, or two layers of one run, side by side on one pair of axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import ipywidgets as w

from ...diagnosis.side_by_side import side_by_side
from ...errors import SettingError
from ..autoscale import Autoscale
from ..choices import SPLIT_WORDS
from ..compare_figure import Side, compare_plot
from ..hub import Hub
from ..layer_chooser import LayerChooser
from ..pair import Ear, Pair, listening
from ..refused import NEVER, NOT_YET
from ..spectrum_figure import KINDS
from ..state import Cell, Entry, Selection
from ..view import View
from ..weak import weakly
from .spectrum_plot import SCALE_WORDS

A, B = NAMES = ("A", "B")


class ComparePlot(View):
    """Two spectra side by side on the same axes, with a sentence that says what differs and what stays undecided.

    ``ComparePlot(a, b)`` shows one layer of two runs at equal steps, ``ComparePlot(a, "fc1", "fc2")`` two layers of one
    run at the same snapshot. The slider of the first one moves both. What has no counterpart is said in its place;
    spectra that were not made alike are shown and not compared in numbers.

    Args:
        source: a session, an explorer or a view: A.
        beside: another one: B; or one or two names of layers of the first. Left out, the next layer is B.
        choices: as of any view; ``layer`` is that of A.

    Attributes:
        pair: the states of both sides and what ties them.

    Raises:
        SettingError: anything else is given; and as any view.
        ClosedError, UnknownLayerError, UnknownSnapshotError: as any view.
    """

    wants = frozenset({"layer", "style", "findings", "beside"})
    spectra = "layer"
    says = ("view", "scale")

    def __init__(self, source: Any, *beside: Any, **choices: Any) -> None:
        if any(each is None for each in beside):
            raise SettingError(
                "ComparePlot takes another run or names of layers beside the first; got None. Leave it out to see the "
                "next layer."
            )
        names = [each for each in beside if isinstance(each, str)]
        others = [each for each in beside if not isinstance(each, str)]
        if len(names) > 2 or len(others) > 1 or (names and others) or (names and "layer" in choices):
            raise SettingError(
                "ComparePlot shows two runs, ComparePlot(a, b, layer=…), or two layers of one, ComparePlot(a, 'fc1', "
                f"'fc2'); got {len(names)} names of layers and {len(others)} sources beside the first."
            )
        self._other: Any = others[0] if others else None
        self._second = names[1] if names[1:] else ""
        self._told = ["", ""]
        super().__init__(source, **choices, **({"layer": names[0]} if names else {}))

    def build(self) -> Sequence[w.Widget]:
        self.pair = self._paired()
        self._undo.append(self.pair.close)
        ear = Ear(frozenset({"layer", "findings"}), weakly(self._on_news), weakly(self._tell_of_b))
        self._undo.append(listening(self.pair.hubs[1], ear))
        controls: list[w.Widget] = [
            self.chooser("view", "View", {name: name for name in KINDS}),
            self.chooser("scale", "Scale", SCALE_WORDS),
        ]
        if all(hub.offer.has_held_out for hub in self.pair.hubs):
            controls.append(self.chooser("split", "Data", SPLIT_WORDS))
        self.autoscale = self.own(Autoscale(self.hub), "lhx-autoscale")
        self.watch(self.autoscale.release, "layer", "scale", "split")
        self.lists = self._layer_lists()
        self.pane = self.figure("compare", "Spectra side by side")
        self.sentence = self.line("compare_words")
        return [self.row(*self.lists, *controls, self.autoscale), self.pane, self.sentence]

    # ---- the two sides

    def _paired(self) -> Pair:
        first = self.hub
        other = first if self._other is None else Hub.of(self._other)
        if other is not first:
            return Pair(first, other)
        layer = self._second or (first.layer if self._other is not None else self._next())
        choices = {name: getattr(first, name) for name in ("view", "scale", "split", "snapshot")}
        second = Hub(first.session, layers=first.layers, layer=layer, **choices)
        try:
            return Pair(first, second, one_way=True)
        except BaseException:
            second.close()
            raise

    def _next(self) -> str:
        """The layer after the one on show; that one itself where there is no other."""
        rows = [entry.name for entry in self.hub.look().rows]
        here = rows.index(self.hub.layer) if self.hub.layer in rows else -1
        return rows[(here + 1) % len(rows)]

    def _layer_lists(self) -> list[LayerChooser]:
        first, second = self.pair.hubs
        if self.pair.layers:
            second.observe(heard := weakly(self.autoscale.release), ["layer"])
            self._undo.append(lambda: second.unobserve(heard, ["layer"]))
            return [
                self.own(LayerChooser(hub, name), f"lhx-layer-{name.lower()}")
                for hub, name in zip((first, second), NAMES, strict=True)
            ]

        def remark(entry: Entry) -> str:
            return "" if entry.name in second.offer.usable else f" (not in {B})"

        return [self.own(LayerChooser(first, "Layer", remark=remark), "lhx-layer-both")]

    # ---- drawing

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        count, (first, second) = len(looking.labels), self.pair.hubs
        beside = second.look()
        there = [k if k is None or k < len(beside.labels) else None for k in self.pair.counterparts()]
        own = self._cells(looking, looking.layer, range(count))
        other = self._cells(beside, beside.layer if self.pair.layers else looking.layer, there)
        a, b = self._side(A, first, looking, own, looking), self._side(B, second, beside, other, looking)
        kind: Any = looking.view
        scale: Any = looking.scale
        held = a.held_out is not None or b.held_out is not None
        plot = compare_plot(a, b, kind=kind, scale=scale, fit=self.autoscale.fit)
        self.pane.show(plot, kind=(kind, scale, held))
        lacking = self.pair.lacking
        self.sentence.say([f"{self._words_of(k, a, b, own[k], other[k])} {lacking}".strip() for k in range(count)])

    def _cells(self, looking: Selection, layer: str, snapshots: Sequence[int | None]) -> list[Cell | None]:
        known = {entry.name for entry in looking.entries if entry.usable}
        return [Cell(layer, k, looking.main) if k is not None and layer in known else None for k in snapshots]

    def _side(self, name: str, hub: Hub, looking: Selection, cells: Sequence[Cell | None], steps: Selection) -> Side:
        known = hub.computing.known
        facts = self.hub.facts if self.pair.layers else hub.facts  # the rules judge a run once
        labels, places = facts.labels(looking), self.hub.facts.labels(steps)
        layer = next((cell.layer for cell in cells if cell), steps.layer)
        usable = any(entry.name == layer and entry.usable for entry in looking.entries)
        lacks = "no snapshot at {}" if usable else "no such layer in this run"
        held = None
        if looking.split == "both":
            held = [known.best(cell._replace(split="held_out")) if cell else None for cell in cells]
        return Side(
            name=name,
            layer=layer,
            labels=[labels[c.snapshot] if c else places[k] for k, c in enumerate(cells)],
            spectra=[known.best(cell) if cell else None for cell in cells],
            held_out=held,
            findings=[facts.findings(cell, looking) if cell else () for cell in cells],
            absent=["" if c else lacks.format(places[k]) for k, c in enumerate(cells)],
            refused=[hub.facts.reasons([c])[0] if c else "" for c in cells],
        )

    def _words_of(self, k: int, a: Side, b: Side, own: Cell | None, other: Cell | None) -> str:
        """What differs at a snapshot, or why nothing can be said of it."""
        one, two = a.spectra[k], b.spectra[k]
        if own is not None and other is not None and one is not None and two is not None:
            computing = [hub.computing for hub in self.pair.hubs]
            left, right = computing[0].hesd(own), computing[1].hesd(other)
            return side_by_side(one, two, types=(left, right) if left and right else None)
        missing = [f"{side.name}: {_why(side, k)}" for side, found in ((a, one), (b, two)) if found is None]
        return f"Nothing to compare here. {'; '.join(missing)}."

    def moved(self, places: Mapping[int, int]) -> None:
        self.autoscale.moved(places)

    # ---- the other hub

    def _on_news(self) -> None:
        self.hub.changed("beside")

    def tell(self, words: str) -> None:
        self._tell(0, words)

    def _tell_of_b(self, words: str) -> None:
        self._tell(1, words)

    def _tell(self, side: int, words: str) -> None:
        self._told[side] = words
        one, two = self._told
        both = (
            [one, two]
            if self.pair.layers
            else [f"{name}: {x}" if x else "" for name, x in zip(NAMES, self._told, strict=True)]
        )
        self._note.say([" ".join(dict.fromkeys(filter(None, both)))])

    def settled(self, timeout: float | None = 60) -> None:
        for hub in (self.pair.hubs[1], self.hub):
            hub.settled(timeout)

    @property
    def lacking(self) -> str:
        """Which choices and snapshots the other run does not have; empty where it has all."""
        return self.pair.lacking

    def _words(self) -> str:
        return f"{super()._words()}, beside {self.pair.hubs[1].layer!r}"


def _why(side: Side, k: int) -> str:
    """Why one side has no spectrum at a snapshot."""
    return side.absent[k] or (f"{NEVER}: {side.refused[k].rstrip('.')}" if side.refused[k] else NOT_YET)

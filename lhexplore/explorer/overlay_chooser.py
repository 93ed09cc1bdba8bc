"""A list that lays layers over the one on show, and takes them away again."""

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from .escape import plain
from .hub import Hub
from .overlays import GGN, MOST_LAYERS
from .weak import weakly

LONGEST = 28  # characters of a name
NONE = "none"


class OverlayChooser(w.Dropdown):  # type: ignore[misc]
    """The first entry says what lies over the layer on show; choosing another lays it over, or takes it away.

    A fourth layer takes the place of the first.
    """

    def __init__(self, hub: Hub, watch: Callable[..., None]) -> None:
        self._hub = hub
        look = {"layout": w.Layout(width="auto"), "style": {"description_width": "initial"}}
        super().__init__(options=self._choices(), description="Over it", **look)
        watch(self._fill, "overlay", "ggn", "layer", "layers")
        self.observe(weakly(self._on_value), "value")

    def _fill(self, _change: Any = None) -> None:
        self.options = self._choices()  # and chooses the first

    def _choices(self) -> list[tuple[str, tuple[str, str]]]:
        looking, hub = self._hub.look(), self._hub
        chosen = [*looking.over, *([GGN] if hub.ggn else [])]
        head = " + ".join(plain(name, longest=LONGEST) for name in chosen) or NONE
        layers = [entry for entry in looking.shown if entry.usable and entry.name != looking.layer]
        marks = {True: "✓ ", False: ""}
        return [
            (head, ("", "")),
            (f"{marks[hub.ggn]}{GGN}: its Gauss-Newton matrix", (GGN, "")),
            *((marks[x.name in looking.over] + plain(x.name, longest=LONGEST), ("layer", x.name)) for x in layers),
            *([("take all away", (NONE, ""))] if chosen else []),
        ]

    def _on_value(self, change: Any) -> None:
        what, name = change["new"] or ("", "")
        hub = self._hub
        if what == GGN:
            hub.ggn = not hub.ggn
        elif what == NONE:
            hub.overlay, hub.ggn = (), False
        elif what:
            rest = tuple(each for each in hub.overlay if each not in (name, hub.layer))
            hub.overlay = rest if name in hub.overlay else (*rest, name)[-MOST_LAYERS:]
        if what:
            self._fill()

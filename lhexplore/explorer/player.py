"""Buttons that walk through the snapshots in the browser, and the words for where one stands."""

import json
from collections.abc import Sequence
from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

_HERE = Path(__file__).parent


class Player(AnyWidget):  # type: ignore[misc]
    """Previous, Play, Next and a label; link ``frame`` to a slider both ways.

    It also gives the slider beside it, which has none of its own, a name and a value in words.
    """

    _esm = t.Unicode((_HERE / "player.js").read_text("utf-8")).tag(sync=True)
    _css = t.Unicode((_HERE / "explorer.css").read_text("utf-8")).tag(sync=True)  # of the whole explorer
    places = t.Unicode("[]", help="JSON text: where in training each snapshot stands.").tag(sync=True)
    frame = t.Int(0).tag(sync=True)
    interval = t.Int(250, help="Milliseconds between two snapshots while playing.").tag(sync=True)

    def describe(self, places: Sequence[str]) -> None:
        """Say where each snapshot stands: ``step 128 · epoch 3``."""
        self.places = json.dumps(list(places), ensure_ascii=False)

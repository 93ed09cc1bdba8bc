"""Buttons that walk through the snapshots in the browser, and the words for where one stands."""

import json
from collections.abc import Sequence
from pathlib import Path

import traitlets as t

from .framed import Framed, script

_HERE = Path(__file__).parent


class Player(Framed):
    """Previous, Play, Next and a label; they move the clock.

    It also gives the slider beside it, which has none of its own, a name and a value in words.
    """

    _esm = script("player.js")
    _css = t.Unicode((_HERE / "explorer.css").read_text("utf-8")).tag(sync=True)  # of the whole explorer
    places = t.Unicode("[]", help="JSON text: where in training each snapshot stands.").tag(sync=True)
    interval = t.Int(250, help="Milliseconds between two snapshots while playing.").tag(sync=True)

    def describe(self, places: Sequence[str]) -> None:
        """Say where each snapshot stands: ``step 128 · epoch 3``."""
        self.places = json.dumps(list(places), ensure_ascii=False)

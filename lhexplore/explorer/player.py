"""Buttons that walk through the snapshots in the browser, and the words for where one stands."""

import json
from collections.abc import Sequence

import traitlets as t

from .framed import Framed, script


class Player(Framed):
    """Previous, Play, Next and a label; they move the clock.

    It also gives the slider beside it, which has none of its own, a name and a value in words.
    """

    _esm = script("speech.js", "player.js")
    places = t.Unicode("[]", help="JSON text: where in training each snapshot stands.").tag(sync=True)
    interval = t.Int(250, help="Milliseconds between two snapshots while playing.").tag(sync=True)

    def describe(self, places: Sequence[str]) -> None:
        """Say where each snapshot stands: ``step 128 · epoch 3``."""
        self.places = json.dumps(list(places), ensure_ascii=False)

"""A line of text per snapshot: the heading, the line of code, the sentence that says what a figure shows."""

import json
from collections.abc import Sequence

import traitlets as t

from .framed import Framed, script


class Words(Framed):
    """Shows ``texts[frame]`` as plain text (the last one where there are fewer), in an element of class ``role``."""

    _esm = script("speech.js", "words.js")
    texts = t.Unicode("[]", help="JSON text: one text per snapshot, or a single one.").tag(sync=True)
    role = t.Unicode("text", help="text, heading, code or note: its looks, and its class.").tag(sync=True)

    def say(self, texts: Sequence[str]) -> None:
        """Show these texts, one per snapshot or a single one."""
        self.texts = json.dumps(list(texts), ensure_ascii=False)

    @property
    def first(self) -> str:
        """The only text, or that of the first snapshot; empty if there is none."""
        return "".join(json.loads(self.texts)[:1])

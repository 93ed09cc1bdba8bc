"""A line of text per snapshot: the heading, the line of code, the sentence that says what a figure shows."""

import json
from collections.abc import Sequence
from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

_HERE = Path(__file__).parent


class Words(AnyWidget):  # type: ignore[misc]
    """Shows ``texts[frame]`` as plain text (the last one where there are fewer), in an element of class ``role``."""

    _esm = t.Unicode((_HERE / "words.js").read_text("utf-8")).tag(sync=True)
    texts = t.Unicode("[]", help="JSON text: one text per snapshot, or a single one.").tag(sync=True)
    role = t.Unicode("text", help="text, heading or code: how it looks and what its class is called.").tag(sync=True)
    frame = t.Int(0).tag(sync=True)

    def say(self, texts: Sequence[str]) -> None:
        """Show these texts, one per snapshot or a single one."""
        self.texts = json.dumps(list(texts), ensure_ascii=False)

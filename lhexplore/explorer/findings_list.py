"""The list of what the rules found in a whole run; every entry leads to its place."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import traitlets as t
from anywidget import AnyWidget

from .framed import script
from .located import Text

FINDINGS = Path(__file__).with_name("findings.js")  # draws one finding; reports use it, too


class FindingsList(AnyWidget):
    """Shows findings of many blocks and snapshots; ``on_go`` gets the layer and the snapshot of one that is clicked."""

    _esm = script("focus.js", FINDINGS.name, "findings_list.js")
    texts = t.Unicode(
        json.dumps({"rows": [], "silent": [], "words": ""}), help="JSON text: rows, silent rules, and a sentence."
    ).tag(sync=True)

    def __init__(self, *, on_go: Callable[[str, int], None], **traits: Any) -> None:
        self._on_go = on_go
        super().__init__(**traits)
        self.on_msg(self._heard)

    def show(self, rows: Sequence[Text], silent: Sequence[Sequence[str]], words: str) -> None:
        """Show these entries, the rules that could not judge, and a sentence above."""
        self.texts = json.dumps({"rows": list(rows), "silent": list(silent), "words": words}, ensure_ascii=False)

    def _heard(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        rows = json.loads(self.texts)["rows"]
        index = content.get("index")
        if content.get("kind") == "go" and isinstance(index, int) and 0 <= index < len(rows):
            self._on_go(rows[index]["layer"], rows[index]["frame"])

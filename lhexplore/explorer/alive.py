"""Tells a page whether the kernel of a view answers: where it does not, the static twin is shown."""

from pathlib import Path
from typing import Any

import traitlets as t
from anywidget import AnyWidget


class Alive(AnyWidget):
    """Shows nothing; answers whoever asks."""

    _esm = t.Unicode(Path(__file__).with_name("alive.js").read_text("utf-8")).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self.on_msg(_answer)


def _answer(widget: Any, content: dict[str, Any], _buffers: Any) -> None:
    if content.get("kind") == "hello":
        widget.send({"kind": "here"})

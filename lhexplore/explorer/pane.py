"""The one widget that shows a Bokeh figure: offline, in every view, scrubbed in the browser.

BokehJS comes from the installed bokeh through the kernel's own connection, once per page: no network, and its version
is always the one that made the figure. Every view asks for the figure as it is now, so second views and reloaded
pages are never stale. The rows of all snapshots travel once; linking ``frame`` to a slider then needs no kernel.
"""

import json
import threading
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import bokeh
import traitlets as t
from bokeh.document import Document
from bokeh.models.renderers import GlyphRenderer
from bokeh.protocol import Protocol

from .framed import Framed, script
from .frames import SCRIPT, Plot, pack_frames, refresh
from .theme import THEMES

_BOKEHJS = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"


class BokehPane(Framed):
    """Shows one :class:`~lhexplore.explorer.frames.Plot` at a time.

    ``on_pick`` is called with the index of a glyph that was clicked in the source called ``picks``.
    """

    _esm = script(SCRIPT.name, "pane.js")
    bokeh_version = t.Unicode(bokeh.__version__).tag(sync=True)
    themes = t.Unicode(json.dumps(THEMES)).tag(sync=True)
    frames = t.Bytes(b"", help="All rows of all snapshots, one block.").tag(sync=True)
    spec = t.Unicode("{}", help="JSON text: where in the block each column starts.").tag(sync=True)
    sentences = t.Unicode("[]", help="JSON text: what the figure shows, in words, per snapshot.").tag(sync=True)
    name = t.Unicode("", help="What a screen reader calls the figure.").tag(sync=True)
    guides = t.Bool(False, help="Whether the slider stands under its snapshots.").tag(sync=True)
    picks = t.Unicode("", help="The source whose glyphs can be clicked.").tag(sync=True)

    def __init__(self, *, on_pick: Callable[[int], None] | None = None, **traits: Any) -> None:
        self._lock = threading.RLock()
        self._plot: Plot | None = None
        self._document = Document()
        self._kind: Hashable = None
        self._on_pick = on_pick
        self._viewed = False  # whether any view ever asked: before, nobody needs to be told of changes
        super().__init__(**traits)
        self.on_msg(self._heard)

    def show(self, plot: Plot, *, kind: Hashable = None) -> None:
        """Show ``plot``. Where ``kind`` is that of the plot before, only what differs travels; nothing jumps."""
        packed, spec = pack_frames(plot)
        with self._lock:
            if self._plot is not None and kind == self._kind:
                refresh(self._plot.root, plot)
            else:
                self._replace(plot, kind)
            with self.hold_sync():
                self.frames, self.spec = packed, json.dumps(spec)
                self.sentences = json.dumps(plot.sentences)
            if self._plot is plot and self._viewed:
                self.send({"kind": "document", "document": self._text()})

    def close(self) -> None:
        """Let go of the figure and of the connection to the browser."""
        with self._lock:
            if self._plot is not None:
                self._document.clear()
                self._plot = None
        super().close()

    def _replace(self, plot: Plot, kind: Hashable) -> None:
        if self._plot is not None:
            self._document.remove_on_change(self)
        if all(rows.shape[1] == 1 for rows in plot.frames.values()):
            _lift_markers(plot)
        self._document = Document()
        self._document.add_root(plot.root)
        self._document.on_change_dispatch_to(self)
        self._plot, self._kind = plot, kind

    def _document_patched(self, event: Any) -> None:
        """Bokeh calls this for every change of the figure: pass it on to all views."""
        if not self._viewed:
            return
        message = Protocol().create("PATCH-DOC", [event])
        self.send(
            {"kind": "patch", "patch": message.content_json, "ids": [b.id for b in message.buffers]},
            buffers=[b.to_bytes() for b in message.buffers],
        )

    def _text(self) -> str:
        """The figure as JSON text: dictionaries would be re-ordered on the way and lose their references."""
        return json.dumps(self._document.to_json(deferred=False))

    def _heard(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        kind = content.get("kind")
        if kind == "need-bokehjs":
            self.send({"kind": "bokehjs"}, buffers=[_BOKEHJS.read_bytes()])
        elif kind == "hello":
            with self._lock:
                self._viewed = True
                if self._plot is not None:
                    self.send({"kind": "document", "document": self._text(), "view": content.get("view")})
                if self.frames and content.get("rows") is False:
                    self.send_state("frames")
        elif kind == "pick" and self._on_pick is not None and isinstance(content.get("index"), int):
            self._on_pick(content["index"])


def _lift_markers(plot: Plot) -> None:
    """Put what moves on a canvas of its own: the figure below is then not painted again for every frame."""
    for renderer in plot.root.references():
        if isinstance(renderer, GlyphRenderer) and renderer.data_source.name in plot.sources:
            renderer.level = "overlay"

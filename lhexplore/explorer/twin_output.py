"""The static twin in a saved notebook: what stands in a view's place where no kernel answers.

Of a bundle, JupyterLab shows a widget in preference to everything else, and where it finds no model (the usual case in
a notebook that was saved and opened again, for widget states are not saved unless somebody asks for it) an error in its
place. So the twin cannot stand in the widget's own bundle: it is an output of its own before it. Two of them, in fact:
the picture as ``image/png``, which GitHub and everybody else shows, and the words as ``text/html``. The words bring
three rules of style: the twin is hidden while the live view after it is there; and the live output is hidden while it
is empty (so is the one that holds nothing but the error) or its kernel does not answer (``alive.js`` finds out). Where
styles are taken away (GitHub, notebooks that are not trusted) widgets are not shown either, so nothing must be hidden.

When it is drawn: with a person in front of the page, when nothing moved for ``QUIET`` seconds, so that it never delays
what is live; it then follows what is looked at. Without (nbclient, nbconvert, nbval), at once; and at the end of later
cells as long as something is still being computed. A document then shows what its cell showed.
"""

import asyncio
import os
import sys
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4
from weakref import WeakSet, ref

from .known import words
from .rerun import in_a_named_cell
from .state import Selection
from .twin import Twin, picture_metadata

QUIET = 1.5  # seconds without a change before the twin is drawn
PATIENCE = 15.0  # seconds between two drawings while something is being computed …
SHARE = 30  # … and this many times what the last one took: a large run is drawn for seconds, on the main thread
PLACES = 4  # outputs of one view that are kept up to date; older ones were probably replaced
_CHILD = ".jp-OutputArea-child"
_HERE, _LIVE = f"{_CHILD} .lhx-pictured", ".lhx-kit:not(.lhx-dead, .lhx-dead *)"
STYLE = (
    # hidden while the live view stands behind: the words, and the picture before them
    f"{_CHILD}:has(.lhx-stand-in):has(+ {_CHILD} {_LIVE}),"
    f"{_CHILD}:has(+ {_HERE}):has(+ {_CHILD} + {_CHILD} {_LIVE}),"
    # a live output without anything alive: nothing but words in the place of a widget, or no kernel
    f"{_CHILD}:has(.lhx-stand-in) + {_CHILD}:has(> .lm-Panel.jp-OutputArea-output):not(:has(> .lm-Panel > *)),"
    f"{_CHILD}:has(.lhx-stand-in) + {_CHILD}:has(.lhx-dead)"
    "{display:none}"
    # in the first moment the live view is only on its way
    "@keyframes lhx-late{from{max-height:0;overflow:hidden}}.lhx-fresh{animation:lhx-late 1.5s step-end}"
)


def in_a_notebook() -> bool:
    """Whether outputs are kept: in a kernel, and not in a Voilà page."""
    if "IPython" not in sys.modules or os.environ.get("SERVER_SOFTWARE", "").startswith("voila"):
        return False
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None) is not None


def somebody_looks_on() -> bool:
    """Whether a person sits before the page, and not a program that runs notebooks."""
    return in_a_named_cell() or "google.colab" in sys.modules or "VSCODE_PID" in os.environ


class StandIn:
    """The twin of one view or page, in all the places where it was displayed.

    It hears what is drawn as a member of the audience, and wants nothing that the view does not want.
    """

    spectra = "none"
    early = False

    def __init__(self, shown: Any, hubs: Any, wants: frozenset[str]) -> None:
        self.wants = wants
        self._shown: Callable[[], Any] = ref(shown)
        self._hubs = tuple(hubs)
        self._places: dict[str, bool] = {}  # ids of outputs, and whether a picture stands before the words
        self._sent: tuple[str, bytes] = ("", b"")
        self._moved = self._next = 0.0  # when something moved last; when to draw at the earliest while it does
        self._waiting = self._final = False
        self._loop: asyncio.AbstractEventLoop | None = None
        for hub in self._hubs:
            hub.audience.join(self)

    def display(self) -> None:
        """Put the twin where a view is about to be shown."""
        shown = self._shown()
        if shown is None:
            return
        live = somebody_looks_on()
        twin = _twin(shown, picture=not live)
        new = {uuid4().hex: live or twin.picture is not None}  # a picture that comes later needs a place, too
        self._places = dict([*self._places.items(), *new.items()][-PLACES:])
        self._publish(twin, new, fresh=live)
        if live:
            loop = _running_loop()
            self._waiting = self._waiting and loop is self._loop
            self._loop = loop
            self.paint()
        else:
            self._final = self._settled()
            if not self._final:
                _unfinished.add(self)
                _listen()

    def leave(self) -> None:
        """Follow no longer; what was drawn last stays."""
        self._shown = _nobody
        for hub in self._hubs:
            hub.audience.leave(self)

    # ---- for the audience

    def paint(self, looking: Selection | None = None, stale: frozenset[str] = frozenset()) -> None:
        """Something moved: draw the twin anew when all is quiet. Comes from any thread."""
        self._moved = time.monotonic()
        if self._loop is not None and not self._waiting and not self._loop.is_closed():
            self._waiting = True
            self._loop.call_soon_threadsafe(self._later, QUIET)

    def tell(self, words: str) -> None:
        """What went wrong is part of the view's own words."""

    def moved(self, _change: Any) -> None:
        """Another snapshot is looked at, which nothing is drawn for."""
        self.paint()

    # ---- on the kernel's main thread

    def _later(self, seconds: float) -> None:
        if self._loop is not None:
            self._loop.call_later(seconds, self._due)

    def _due(self) -> None:
        now = time.monotonic()
        rest = max(self._moved + QUIET, 0.0 if self._settled() else self._next) - now
        if rest > 0:
            self._later(rest)
            return
        self._waiting = False
        self.redraw()

    def redraw(self) -> None:
        """Draw the twin as things stand, and put it in all its places; nothing is sent if nothing changed."""
        shown = self._shown()
        if shown is None or any(hub.ended for hub in self._hubs):
            return
        start = time.monotonic()
        self._publish(_twin(shown, picture=True), self._places, update=True)
        end = time.monotonic()
        self._next = end + max(PATIENCE, SHARE * (end - start))

    def after_cell(self) -> None:
        """Draw once more if all is computed by now; else as far as it is, for it may be the last cell."""
        self._final = self._settled()
        self.redraw()
        if self._final:
            _unfinished.discard(self)

    def _settled(self) -> bool:
        try:
            for hub in self._hubs:
                hub.settled(0)
        except TimeoutError:
            return False
        return True

    def _publish(self, twin: Twin, places: Mapping[str, bool], *, update: bool = False, fresh: bool = False) -> None:
        from IPython.display import publish_display_data

        publish: Any = publish_display_data
        picture, told = twin.picture, twin.words_html()
        content = told, b"" if picture is None else picture.png
        if update and content == self._sent:
            return
        self._sent = content
        image = {"text/html": "<span></span>"} if picture is None else {"image/png": b64encode(picture.png).decode()}
        about = {} if picture is None else {"image/png": picture_metadata(picture)}
        markdown, plain = twin._repr_markdown_(), repr(twin)
        for place, pictured in places.items():
            if pictured:
                publish(image, about, transient={"display_id": f"{place}-picture"}, update=update)
            classes = "lhx-stand-in" + (" lhx-pictured" if pictured else "") + (" lhx-fresh" if fresh else "")
            html = f'<div class="{classes}">{told}<style>{STYLE}</style></div>'
            data = {"text/html": html, "text/markdown": markdown, "text/plain": plain}
            publish(data, {}, transient={"display_id": f"{place}-words"}, update=update)


_unfinished: "WeakSet[StandIn]" = WeakSet()
_heard: list[Callable[..., None]] = []


def _listen() -> None:
    """Hear the ends of cells, once per kernel."""
    from IPython import get_ipython

    if not _heard:
        _heard.append(_on_cell)
        get_ipython().events.register("post_run_cell", _on_cell)


def _on_cell(_result: Any = None) -> None:
    for stand_in in list(_unfinished):
        stand_in.after_cell()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _twin(shown: Any, *, picture: bool) -> Twin:
    """The twin, or why there is none: the live view is shown in any case."""
    try:
        twin: Twin = shown.twin(picture=picture)
    except Exception as failure:  # noqa: BLE001  belongs into the words
        return Twin(type(shown).__name__, f"It cannot be shown without a kernel. {words(failure)}")
    return twin


def _nobody() -> None:
    """The view that left."""

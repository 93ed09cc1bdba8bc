"""The one state that views share: what is looked at, what is known of it, and when it is drawn.

Flow: a click or a trait only records a wish. A worker pulls the missing spectra from the session, best first; a
painter has the views draw what is known a few times a second. The clock moves the frame of every view in the browser,
so what is known is scrubbed without the kernel.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from weakref import WeakValueDictionary

import ipywidgets as w
import traitlets as t

from ..errors import ClosedError
from .audience import Audience, Viewer
from .choices import NAMES, Choices, Offer
from .closing import close_widget
from .computing import Computing
from .facts import Facts
from .given import require_session
from .growth import News, grow, waiting_words
from .known import words
from .located import Located
from .numbered import Numbered
from .painter import Painter
from .progress_texts import CLOSED, problem_words, status_words
from .sheet import Sheet
from .state import Selection
from .weak import weakly

FIRST_LOOK = 0.3  # seconds that may be spent on reading what is cached before the first drawing


class Hub(Choices):
    """Holds a session and the choices, and keeps every view that joined up to date; with a run that goes on, too.

    Views are told what went out of date by these words: "choice" (another layer, other layers or data), "style"
    (view or scale), "metric", "layer" (spectra of the layer on show), "map" (numbers of any layer), "loss",
    "findings", "types" (in the light of the run), "state" (gradients and parameters), "news" (snapshots came, or were
    seen), and "progress" (at every drawing).

    Attributes:
        session: whose spectra are shown.
        offer: what it has to choose from.
        clock: the slider that says which snapshot is on show; views follow it in the browser.
        sheet: the style sheet, shown by every view.
        waiting: True while a page is put together, whose views are drawn in one go.
        audience: the views that joined.
        computing: the worker and all it found.
        facts: what is known, as views ask for it.
        source: the session with its snapshots numbered as they are on show.
        news: the snapshots that came since somebody looked.
        labels: of the snapshots, a trait; changes when others come.
    """

    labels = t.Tuple()

    _shared: ClassVar["WeakValueDictionary[int, Hub]"] = WeakValueDictionary()  # for bare views, by session

    def __init__(self, session: Any, **choices: Any) -> None:
        require_session(session, "A page or a view shows a Session")
        if session.closed:
            raise ClosedError("This session was closed. Make a new Session: cached results are found again.")
        self.hub, self.session, self.offer = self, session, Offer.of(session)
        super().__init__()
        self.layers = choices.pop("layers", self.offer.usable)
        self.layer = choices.pop("layer", self.offer.first(self.layers))
        self.choose(**{"snapshot": -1, **choices})
        self.ended = self.waiting = False
        self.drawing = threading.RLock()  # several widgets change together
        self.audience = Audience()
        self._heading = 0  # which way the slider went last
        self._news = False  # whether the run may have to be judged again
        self.labels, self.news = self.offer.labels, News()
        self.source = Numbered(session, self.labels) if getattr(session, "grows", False) else session
        self.computing = Computing(self.source, look=self.look, changed=weakly(self.changed))
        self.facts = Facts(self.source, self.computing)
        self._painter = Painter(weakly(self._paint))
        count = len(self.offer.labels)
        self.clock = w.IntSlider(self.snapshot, 0, max(count - 1, 0), readout=False, disabled=count < 2)
        self.clock.add_class("lhx-slider")
        self.sheet = Sheet().add_class("lhx-sheet")
        self._tie = t.link((self, "snapshot"), (self.clock, "value"))
        self.observe(weakly(self._on_choice), list(NAMES))
        self._undo = [session.on_close(weakly(self.changed))]  # every view says so
        if self.source is not session:
            self._undo.append(session.follow(weakly(self._on_growth)))

    @classmethod
    def of(cls, source: Any, **choices: Any) -> "Hub":
        """The hub of a view or an explorer; of a session, the one that its bare views share. It takes the choices.

        Raises:
            ClosedError: the session was closed.
            SettingError: ``source`` is something else, or a choice does not exist.
        """
        hub = getattr(source, "hub", None)
        session = hub.session if isinstance(hub, cls) else source
        require_session(session, "A view shows a Session, an Explorer or another view")
        if not isinstance(hub, cls) or hub.ended:
            hub = cls._shared.get(id(session))
        if hub is None or hub.ended or session.closed:
            hub = cls._shared[id(session)] = cls(session, **choices)
        else:
            hub.choose(**choices)
        return hub

    # ---- views

    def leave(self, view: Viewer) -> None:
        """Let a view go; with the last one, the hub ends."""
        self.audience.leave(view)
        if self.audience.views:
            self.changed()
        else:
            self.close()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Have the views that join within this wait for :meth:`start`."""
        self.waiting = True
        try:
            yield
        finally:
            self.waiting = False

    def start(self) -> None:
        """Draw the views that joined as far as things are known, and have the rest computed if any wants spectra."""
        if self.offer.labels:
            self.computing.read_cached(seconds=FIRST_LOOK)
        self._paint()
        self.wish()
        self.changed("findings")  # drawn soon, and not here: all that is cached is read for it

    # ---- what is looked at

    def look(self) -> Selection:
        """What is chosen now, as one value."""
        offer, reach = self.offer, self.audience.reach
        return Selection(
            offer.entries, offer.labels, offer.places, self.layers, self.layer, self.snapshot,
            view=self.view, scale=self.scale, metric=self.metric, split=self.split,
            overlay=self.overlay, ggn=self.ggn, heading=self._heading, alone="layer" in reach and "all" not in reach,
        )  # fmt: skip

    def choose(self, **choices: Any) -> None:
        """Set several choices."""
        for name in sorted(choices, key=NAMES.index):
            setattr(self, name, choices[name])

    def go(self, layer: str, snapshot: int) -> None:
        """Look at a place; a layer that is not shown keeps the present one."""
        self.snapshot = snapshot
        if layer in self.layers:
            self.layer = layer

    @property
    def where(self) -> str:
        """Layer and snapshot on show, for reprs."""
        labels = self.offer.labels
        return f"{self.layer!r} at {labels[self.snapshot]!r}" if labels else "waiting for the first snapshot"

    @property
    def status(self) -> str:
        """What is going on, in words."""
        return status_words(self.computing) if self.offer.labels else waiting_words(self.session)

    @property
    def problem(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        return problem_words(self.computing, self.look())

    # ---- work

    def wish(self) -> None:
        """Have computed what the views that joined need; returns at once."""
        if self.offer.labels and self.audience.reach - {"none"}:
            self.computing.wish()

    def stop(self) -> None:
        """Stop computing within one product; what is done stays. Looking at something missing computes just that."""
        self.computing.stop()
        self._painter.ask(hurry=True)

    def compute(self) -> None:
        """Compute everything that is missing, and try again what failed."""
        self.computing.resume()
        self.changed("layer", "map", hurry=True)

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending: everything wanted is computed (or stopped, or refused) and drawn.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self.computing.pending or self._painter.busy:
            try:
                for thread in (self.computing, self._painter):
                    thread.wait(None if end is None else max(end - time.monotonic(), 0))
            except TimeoutError:
                done, failed, total = self.computing.count()
                raise TimeoutError(
                    f"Not settled after {timeout:g} s: {done + failed} of {total} spectra are there. Wait longer, or "
                    "narrow explorer.layers."
                ) from None

    def changed(self, *what: str, hurry: bool = False) -> None:
        """Have drawn again what shows any of this, soon; with ``hurry`` at once, for somebody clicked."""
        self._news = self._news or "findings" in what
        self.audience.outdated(set(what) - {"findings"})  # those once the run was judged
        self._painter.ask(hurry=hurry)

    def close(self) -> None:
        """Stop computing and drawing, and let go of the clock. Harmless when repeated."""
        if self.ended:
            return
        self.ended = True
        for undo in self._undo:
            undo()
        self.computing.close()
        self._painter.close()
        self.unobserve_all()
        with self.drawing:
            self._tie.unlink()
            close_widget(self.clock)
            close_widget(self.sheet)

    def _on_choice(self, change: Any) -> None:
        name = change["name"]
        last = len(self.offer.labels) - 1
        if name == "follow":
            self.snapshot = last if self.follow else self.snapshot
            return
        if name in ("view", "scale", "metric"):
            self.changed("metric" if name == "metric" else "style", hurry=True)
            return
        if name == "layers" and self.layer not in self.layers:
            self.layer = self.offer.first(self.layers)
        if name == "snapshot":
            self._heading = 1 if change["new"] > change["old"] else -1
            self.news.see(self.offer.rows[self.snapshot], last=self.snapshot == last)
            self.changed("news")
        else:
            self.changed("choice", "layer", "map", *(["findings"] if name == "split" else []), hurry=True)
        self.wish()

    # ---- a run that goes on

    def _on_growth(self, _new: tuple[str, ...]) -> None:
        with self.drawing:
            if not self.ended and not self.session.closed:
                self._try(grow, self)
        self.computing.judging.outdated()
        self.changed("choice", "layer", "map", "metric", "loss", "state", "news", "findings")
        self.wish()

    # ---- drawing

    def _paint(self) -> None:
        with self.drawing:
            if self.ended:
                return
            self._try(self._judge)
            taken = self.audience.take()
            looking, computing = self.look(), self.computing  # only now: what changes from here on is stale again
            for view, stale in taken:
                if stale and (looking.labels or view.early):
                    self._try(view.paint, looking, stale)
            told = problem_words(computing, looking) if looking.labels else waiting_words(self.session)
            for view, _ in taken:
                view.tell(CLOSED if computing.closed else told)
            if not looking.labels:
                return
            if self.audience.want("findings") and computing.judging.stale and not computing.closed:
                self.changed("findings")  # what came in is judged when the time has come

    def _judge(self) -> None:
        computing = self.computing
        if self._news and self.offer.labels and self.audience.want("findings"):
            self._news = False
            if computing.judge() and computing.run is None:
                self._locate()  # nothing that was said of other data
        if computing.judging.news():
            self._locate()

    def _locate(self) -> None:
        self.facts.located = Located(self.computing.run)
        self.audience.outdated({"findings", "types"})

    def _try(self, draw: Any, *arguments: Any) -> None:
        try:
            draw(*arguments)
        except Exception as failure:  # noqa: BLE001  belongs on the screen too, and the other views are drawn
            self.computing.trouble = f"The screen could not be brought up to date. {words(failure)}"

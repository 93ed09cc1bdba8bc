"""What every view is: a box with figures and controls that draws what is known when something in it is out of date."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import ipywidgets as w
import traitlets as t

from .choices import only_known
from .help import Help, example
from .hub import Hub
from .pane import BokehPane
from .rerun import close_earlier_of_this_cell
from .shown import Shown
from .state import Selection
from .view_texts import VIEW_TEXTS
from .words import Words


class View(Shown):
    """Shows a part of what is known of a session; views on one hub show the same layer and snapshot.

    A subclass says what it draws (``wants``, in the words of :class:`~lhexplore.explorer.hub.Hub`), which spectra it
    needs computed (``spectra``: those of "all" layers, of the "layer" on show, or "none") and which choices belong
    in its repr (``says``); makes its widgets in :meth:`build` and fills them in :meth:`paint`.

    Args:
        source: a session, whose bare views all share one state; or an explorer or another view, to share its state.
        choices: ``layer``, ``snapshot``, ``view``, ``scale``, ``metric``, ``split``, ``layers``: set for all views of
            that state. All are traits of every view, too.

    Raises:
        ClosedError: the session was closed.
        UnknownLayerError, UnknownSnapshotError, SettingError: with near names.
        TypeError: for a keyword that does not exist.
    """

    wants: ClassVar[frozenset[str]] = frozenset()
    spectra: ClassVar[str] = "none"
    says: ClassVar[tuple[str, ...]] = ()
    early: ClassVar[bool] = False  # whether it is painted while there is no snapshot yet

    def __init__(self, source: Any, **choices: Any) -> None:
        name = type(self).__name__
        only_known(name, choices)
        super().__init__(Hub.of(source, **choices))
        self._undo.append(lambda: self.hub.leave(self))
        try:
            self.add_class("lhx-kit" + re.sub("([A-Z])", r"-\1", name).lower())
            self._note = self.own(Words(role="note"), "lhx-note")
            self.children = (self.hub.sheet, self._help(name), *self.build(), self._note)
            self.hub.audience.join(self)  # only now: the painter must not meet half a view
            if not self.hub.waiting:
                close_earlier_of_this_cell(self)
                self.hub.start()
        except BaseException:
            self.close()
            raise

    # ---- for subclasses to say

    def build(self) -> Sequence[w.Widget]:
        """Make the widgets, in reading order, which is the tab order."""
        raise NotImplementedError

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        """Draw what is known; ``stale`` are those of ``wants`` that are out of date. Runs beside the kernel."""
        raise NotImplementedError

    def moved(self, places: Mapping[int, int]) -> None:
        """Snapshots came between others: those that are as they were now stand at ``places``."""

    # ---- for subclasses to use

    def figure(self, part: str, name: str, **how: Any) -> BokehPane:
        """A figure that follows the clock; ``name`` is what a screen reader calls it."""
        return self.own(BokehPane(name=name, clock=self.hub.clock, **how), f"lhx-pane-{part}")

    def line(self, part: str, **how: Any) -> Words:
        """A text per snapshot that follows the clock."""
        return self.own(Words(clock=self.hub.clock, **how), f"lhx-part-{part}")

    def chooser(self, choice: str, words: str, options: Mapping[str, str]) -> w.Dropdown:
        """A list of the values of a choice, each with what it is called; tied to the hub both ways."""
        made = w.Dropdown(
            options=[(called, value) for value, called in options.items()],
            description=words,
            layout=w.Layout(width="auto"),
            style={"description_width": "initial"},
        )
        self._undo.append(t.link((self.hub, choice), (made, "value")).unlink)
        return self.own(made, f"lhx-{choice}")

    def row(self, *controls: w.Widget) -> w.Box:
        """Controls side by side."""
        return self.box(w.HBox, "lhx-caption", *controls)

    # ---- for the hub

    def tell(self, words: str) -> None:
        """Say below the view what went wrong; nothing if nothing did."""
        self._note.say([words])

    @property
    def note(self) -> str:
        """What stands below the view: why it cannot be brought up to date, or nothing."""
        return self._note.first

    def _help(self, name: str) -> Help:
        about = VIEW_TEXTS.get(name)
        title, text = (about.title, " ".join(about.sentences)) if about else (name, inspect.getdoc(type(self)) or "")
        return self.own(Help(title=title, text=text, picture=example(name)), "lhx-help")

    def _words(self) -> str:
        return ", ".join([super()._words(), *(f"{name}={getattr(self, name)!r}" for name in self.says)])

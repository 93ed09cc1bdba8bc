"""What views and the explorer have in common: a box on a hub that ends without leaving anything behind."""

from collections.abc import Callable
from typing import Any, TypeVar

import ipywidgets as w
import traitlets as t

from .alive import Alive
from .choices import NAMES, Choices
from .closing import close_widget
from .hub import Hub
from .twin import Twin
from .twin_output import StandIn, in_a_notebook
from .twin_views import twin_of_page, twin_of_view
from .weak import weakly

W = TypeVar("W", bound=w.Widget)


class Shown(w.VBox, Choices):  # type: ignore[misc]
    """A box whose choices are those of its hub, both ways.

    Attributes:
        hub: the state it shares with other views.
    """

    hub: Hub
    _ended = True  # until everything is made
    _stand_in: StandIn | None = None  # once it was displayed in a notebook

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self._owned: list[w.Widget] = []
        self._undo: list[Callable[[], None]] = []
        super().__init__()
        self._ended = False
        for name in NAMES:
            self._undo.append(t.link((hub, name), (self, name)).unlink)
        self.add_class("lhx-kit")

    def own(self, widget: W, *classes: str) -> W:
        """Give a widget these classes, and close it with this box."""
        for name in classes:
            widget.add_class(name)
        self._owned.append(widget)
        return widget

    def box(self, kind: type[w.Box], name: str, *children: w.Widget) -> w.Box:
        """A box of the class ``name``."""
        return self.own(kind(children), name)

    def watch(self, heard: Callable[[Any], None], *names: str) -> None:
        """Call a method when one of these choices changes, until the end."""
        weak = weakly(heard)
        self.hub.observe(weak, list(names))
        self._undo.append(lambda: self.hub.unobserve(weak, list(names)))

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending: everything wanted is computed (or stopped, or refused) and drawn.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        self.hub.settled(timeout)

    def twin(self, *, picture: bool = True) -> Twin:
        """What is on show, for everyone who has no kernel: picture, sentence and table. Nothing is computed.

        Every view that is displayed in a notebook puts its twin there, too; one that stands in a box of your own does
        not: display its twin. Costs about 0.2 s a picture.

        Args:
            picture: draw it, if matplotlib is there; otherwise the twin says how to get it.
        """
        if isinstance(getattr(self, "views", None), tuple):
            return twin_of_page(self, picture=picture)
        return twin_of_view(self, picture=picture)

    def close(self) -> None:
        """Close every widget of this box and leave the hub, which ends with its last view. Harmless when repeated."""
        if self._ended:
            return
        with self.hub.drawing:
            self._ended = True
            self.unobserve_all()
            for undo in self._undo:
                undo()
            for widget in self._owned:
                close_widget(widget)
            self.layout.close()
            super().close()

    def __repr__(self) -> str:
        name = type(self).__name__
        return f"{name}(closed)" if self._ended else f"{name}({self._words()})"

    def _words(self) -> str:
        """What is on show, for the repr."""
        return self.hub.where

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        if not self._ended and in_a_notebook():
            self._put_twin()
        data = super()._repr_mimebundle_(**keywords)
        return {**data, "text/plain": repr(self)}  # in full: ipywidgets would cut it, and notebooks are compared by it

    def _put_twin(self) -> None:
        """Display the twin before the view itself."""
        if self._stand_in is None:
            self.children: Any = (*self.children, self.own(Alive()))
            views = getattr(self, "views", (self,))
            wants = frozenset[str]().union(*(view.wants for view in views))
            self._stand_in = StandIn(self, dict.fromkeys(view.hub for view in views), wants)
            self._undo.insert(0, self._stand_in.leave)  # first: a hub ends with the last one that looks on
            self.watch(self._stand_in.moved, "snapshot")
        self._stand_in.display()

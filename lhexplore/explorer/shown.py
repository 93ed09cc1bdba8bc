"""What views and the explorer have in common: a box on a hub that ends without leaving anything behind."""

from collections.abc import Callable
from typing import Any, TypeVar

import ipywidgets as w
import traitlets as t

from .choices import NAMES, Choices
from .closing import close_widget
from .hub import Hub
from .weak import weakly

W = TypeVar("W", bound=w.Widget)


class Shown(w.VBox, Choices):  # type: ignore[misc]
    """A box whose choices are those of its hub, both ways.

    Attributes:
        hub: the state it shares with other views.
    """

    hub: Hub
    _ended = True  # until everything is made

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
        return f"{self.layer!r} at {self.hub.offer.labels[self.snapshot]!r}"

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        data = super()._repr_mimebundle_(**keywords)
        return {**data, "text/plain": repr(self)}  # in full: ipywidgets would cut it, and notebooks are compared by it

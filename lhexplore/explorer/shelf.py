"""Further views of a page, one behind the other: each is made when its tab is opened, and asleep while it is closed."""

from collections.abc import Callable, Mapping
from typing import Any

import ipywidgets as w

from .closing import close_widget
from .hub import Hub
from .view import View
from .weak import weakly
from .words import Words


class Shelf(w.Tab):  # type: ignore[misc]
    """Tabs of views on one hub. For a closed one nothing is computed, drawn or sent.

    Args:
        hub: what the views show.
        kinds: what makes each view, by the title of its tab; the first one is open.
    """

    def __init__(self, hub: Hub, kinds: Mapping[str, Callable[[Hub], View]]) -> None:
        self._hub, self._kinds = hub, tuple(kinds.values())
        self._made: dict[int, View] = {}
        self._said: list[Words] = []
        self._boxes = tuple(w.VBox() for _ in kinds)
        for box in self._boxes:
            box.add_class("lhx-tab")
        super().__init__(children=self._boxes, titles=tuple(kinds), selected_index=0)
        self.add_class("lhx-shelf")
        self.observe(weakly(self._on_tab), "selected_index")

    def wake(self) -> None:
        """Make or wake the view of the open tab, and have it drawn soon; the others sleep."""
        chosen = self.selected_index
        for k, view in self._made.items():
            if k != chosen:
                self._hub.audience.leave(view)
        if chosen is None or self._hub.ended:
            return
        if chosen in self._made:
            self._hub.audience.join(self._made[chosen])
        elif self._hub.session.closed:
            self._say(chosen, "The session was closed before this tab was opened: nothing can be read for it any more.")
            return
        else:
            with self._hub.gathering():
                self._made[chosen] = self._kinds[chosen](self._hub)
            self._boxes[chosen].children = (self._made[chosen],)
        self._hub.changed(hurry=True)
        self._hub.wish()

    @property
    def views(self) -> tuple[View, ...]:
        """The views that were opened so far, in the order of the tabs."""
        return tuple(self._made[k] for k in sorted(self._made))

    def close(self) -> None:
        """Close the views and the tabs."""
        self.unobserve_all()
        for view in self._made.values():
            view.close()
        for widget in (*self._said, *self._boxes):
            close_widget(widget)
        super().close()

    def _say(self, tab: int, words: str) -> None:
        if not self._boxes[tab].children:
            said = Words(role="note")
            said.say([words])
            self._said.append(said)
            self._boxes[tab].children = (said,)

    def _on_tab(self, _change: Any) -> None:
        self.wake()

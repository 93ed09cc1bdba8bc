"""The button that fits the axes of a spectrum to the snapshot on show, and gives them back."""

from collections.abc import Mapping
from typing import Any

import ipywidgets as w

from .hub import Hub
from .weak import weakly

FIT, ALL = "Autoscale", "All snapshots"


class Autoscale(w.Button):  # type: ignore[misc]
    """Says to which snapshot the axes are fitted.

    Attributes:
        fit: its index; None: to all of them.
    """

    def __init__(self, hub: Hub) -> None:
        super().__init__(layout=w.Layout(width="auto"))
        self.fit: int | None = None
        self._hub = hub
        self.release()
        self.on_click(weakly(self._on_press))

    def release(self, _change: Any = None) -> None:
        """Back to axes that hold all snapshots."""
        self._fitted(None)

    def moved(self, places: Mapping[int, int]) -> None:
        """Snapshots came between others: those of before now stand at ``places``."""
        self._fitted(None if self.fit is None else places.get(self.fit))

    def _fitted(self, snapshot: int | None) -> None:
        self.fit = snapshot
        self.description = FIT if snapshot is None else ALL
        self.tooltip = (
            "Fit both axes to the snapshot on show; they hold still again while you scrub"
            if snapshot is None
            else "Back to axes that hold all snapshots"
        )

    def _on_press(self, _button: Any) -> None:
        self._fitted(self._hub.snapshot if self.fit is None else None)
        self._hub.changed("style", hurry=True)

"""A list that chooses the layer of a hub."""

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from .escape import plain
from .hub import Hub
from .state import Entry
from .weak import weakly

WIDEST = "210px"  # a name that is longer is read in full once the list is open


class LayerChooser(w.Dropdown):  # type: ignore[misc]
    """The usable layers of a hub, in their order; ``remark`` says something behind the name of one."""

    def __init__(self, hub: Hub, words: str, *, remark: Callable[[Entry], str] = lambda _: "") -> None:
        self._hub, self._remark, self._filling = hub, remark, False
        self._listed = self._choices()
        super().__init__(
            options=self._listed,
            value=hub.layer,
            description=words,
            layout=w.Layout(width="auto", max_width=WIDEST),
            style={"description_width": "initial"},
        )
        self._heard = weakly(self._fill)
        hub.observe(self._heard, ["layer", "layers"])
        self.observe(weakly(self._on_value), "value")

    def close(self) -> None:
        """Let go of the hub. Harmless when repeated."""
        if self.comm is not None:
            self._hub.unobserve(self._heard, ["layer", "layers"])
        super().close()

    def _choices(self) -> tuple[tuple[str, str], ...]:
        usable = [entry for entry in self._hub.look().shown if entry.usable]
        return tuple((plain(entry.name) + self._remark(entry), entry.name) for entry in usable)

    def _fill(self, _change: Any) -> None:
        choices = self._choices()
        self._filling = True
        try:
            if choices != self._listed:
                self.options = self._listed = choices
            self.value = self._hub.layer
        finally:
            self._filling = False

    def _on_value(self, change: Any) -> None:
        if not self._filling and change["new"] is not None:
            self._hub.layer = change["new"]

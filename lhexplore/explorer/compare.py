"""One page for a run, or for two of them side by side on one state."""

from typing import Any

import ipywidgets as w

from ..errors import SettingError
from .choices import only_known
from .escape import plain
from .explorer import Explorer
from .hub import Hub
from .rerun import close_earlier_of_this_cell
from .shown import Shown
from .view import View
from .views import ComparePlot, Findings, HesdBadge, LayerPicker, Progress
from .views.both_losses import NAMES, BothLosses
from .weak import weakly
from .words import Words

PICKER, PLOT, HALF = "1 1 200px", "4 1 440px", "1 1 420px"  # shares of a row; narrow screens stack


def explore(*sessions: Any, **choices: Any) -> "Explorer | Comparison":
    """Show a run, or two of them side by side.

    Args:
        sessions: one, for an :class:`Explorer`; or two, for a :class:`Comparison`.
        choices: what to look at first; see :class:`Explorer`.

    Raises:
        SettingError: neither one session nor two.
        ClosedError: a session was closed.
        UnknownLayerError, UnknownSnapshotError: with near names.
    """
    if len(sessions) == 1:
        return Explorer(sessions[0], **choices)
    if len(sessions) == 2:
        return Comparison(*sessions, **choices)
    raise SettingError(f"explore takes one session, or two to compare; got {len(sessions)}.")


class Comparison(Shown):
    """Two runs on one page, called A and B: one slider and one list of layers move both.

    Snapshots are matched by step, layers by name; what has no counterpart in the other run is said in its place. The
    spectra stand side by side on the same axes; below are the badges, findings and progress of either.

    Args:
        first, second: sessions.
        choices: what to look at first, as with :class:`Explorer`, in the words of the first run.

    Attributes:
        hubs: the states of both runs.
        views: the views of the page, in reading order.
    """

    hubs: tuple[Hub, ...] = ()  # until everything is made

    def __init__(self, first: Any, second: Any, **choices: Any) -> None:
        only_known("Comparison", choices)
        hubs = _hubs(first, second, choices)
        super().__init__(hubs[0])
        self.hubs = hubs
        self.views: tuple[View, ...] = ()
        try:
            with hubs[0].gathering(), hubs[1].gathering():
                self.children = self._arranged(*hubs)
            self._link = w.jslink(*((hub.clock, "value") for hub in hubs)) if self.plot.pair.equal_steps else None
            self._undo.append(self._unlink)
            for hub in hubs:
                hub.observe(weakly(self._on_growth), ["labels"])
            self.add_class("lhx-comparison")
            close_earlier_of_this_cell(self)
            for hub in hubs[::-1]:
                hub.start()
        except BaseException:
            self.close()
            raise

    def _arranged(self, first: Hub, second: Hub) -> list[w.Widget]:
        """Make the views, in reading order, which is the tab order, and put them into rows."""
        named = list(zip(NAMES, self.hubs, strict=True))
        headings = [self._heading(f"{name}: {plain(hub.session.description, longest=200)}") for name, hub in named]
        scrubber, picker = self.own(BothLosses(first, second)), self.own(LayerPicker(first))
        self.plot = self.own(ComparePlot(first, second))
        runs = [[self.own(kind(hub)) for kind in (HesdBadge, Findings, Progress)] for hub in self.hubs]
        self.views = (scrubber, picker, self.plot, *runs[0], *runs[1])
        left = self._part("lhx-left", PICKER, picker)
        middle = self._part("lhx-both", PLOT, self.plot)
        halves = (
            self._part("lhx-half", HALF, self._heading(f"Run {name}"), *views)
            for name, views in zip(NAMES, runs, strict=True)
        )
        return [*headings, scrubber, self._row(left, middle), self._row(*halves)]

    def _on_growth(self, _change: Any) -> None:
        if not self.plot.pair.equal_steps:
            self._unlink()

    def _unlink(self) -> None:
        """Have the second run follow through the kernel: positions no longer say which steps belong together."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _heading(self, text: str) -> Words:
        heading = self.own(Words(role="heading"), "lhx-part-heading")
        heading.say([text])
        return heading

    def _part(self, name: str, share: str, *inside: w.Widget) -> w.Box:
        part = self.box(w.VBox, name, *inside)
        part.layout.flex, part.layout.min_width, part.layout.width, part.layout.grid_gap = share, "0", "auto", "6px"
        return part

    def _row(self, *parts: w.Box) -> w.Box:
        row = self.box(w.HBox, "lhx-columns", *parts)
        row.layout.flex_flow, row.layout.grid_gap, row.layout.width = "row wrap", "8px 12px", "100%"
        return row

    @property
    def note(self) -> str:
        """What the other run does not have; empty where it has all."""
        return self.plot.lacking

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending in either run.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        for hub in self.hubs[::-1]:  # what is new in the second is drawn by the first
            hub.settled(timeout)

    def close(self) -> None:
        """Close the page and leave both runs. Harmless when repeated."""
        super().close()
        for hub in self.hubs:
            if not hub.audience.views:
                hub.close()

    def _words(self) -> str:
        return " beside ".join(hub.where for hub in self.hubs)


def _hubs(first: Any, second: Any, choices: dict[str, Any]) -> tuple[Hub, Hub]:
    """The states of two runs; neither, if one cannot be had."""
    one = Hub(first, **choices)
    try:
        return one, Hub(second)
    except BaseException:
        one.close()
        raise

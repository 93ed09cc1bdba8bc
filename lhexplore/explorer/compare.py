"""One page for a run, or for two of them side by side on one state."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import ipywidgets as w

from ..errors import LhexploreError, SettingError
from .choices import NAMES, only_known
from .escape import plain
from .explorer import Explorer
from .hub import Hub
from .rerun import close_earlier_of_this_cell
from .shown import Shown
from .view import View
from .views import HesdBadge, LayerPicker, Progress, Scrubber, SpectrumPlot
from .weak import weakly
from .words import Words

COLUMN = {"flex": "1 1 420px", "min_width": "0", "width": "auto", "padding": "0 8px 0 0"}  # narrow screens stack
OF_THE_RUN = ("layers", "snapshot", "follow")  # choices that mean something else in the other run


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


def matched(rows: Sequence[Any], others: Sequence[Any]) -> tuple[int | None, ...]:
    """For every snapshot of one run the one of the other run at the same step (of the same name where it has none)."""
    places: dict[Any, int] = {}
    for k, row in enumerate(others):
        places.setdefault(row.label if row.step is None else row.step, k)
    return tuple(places.get(row.label if row.step is None else row.step) for row in rows)


class Comparison(Shown):
    """Two runs side by side: what is chosen in one is chosen in the other, snapshots by step and layers by name.

    What has no counterpart leaves the other run where it is, and a line above says so. Where all steps agree, both
    columns move in the browser; else the second one follows through the kernel.

    Args:
        first, second: sessions.
        choices: what to look at first, as with :class:`Explorer`, in the words of the first run.

    Attributes:
        hubs: the states of both runs.
        views: the views of both columns, in reading order.
    """

    hubs: tuple[Hub, ...] = ()  # until everything is made

    def __init__(self, first: Any, second: Any, **choices: Any) -> None:
        only_known("Comparison", choices)
        hubs = _hubs(first, second, choices)
        super().__init__(hubs[0])
        self.hubs = hubs
        self.views: tuple[View, ...] = ()
        self._following = False
        self._without: dict[str, str] = {}  # choices that the other run does not follow, and why
        self._steps = tuple(
            matched(list(a.session.snapshots), list(b.session.snapshots)) for a, b in (hubs, hubs[::-1])
        )
        try:
            self._note = self.own(Words(role="note"), "lhx-compare-note")
            columns = [self._column(hub, words) for hub, words in zip(hubs, ("First run", "Second run"), strict=True)]
            row = self.box(w.HBox, "lhx-columns", *columns)
            row.layout.flex_flow = "row wrap"
            self.children = (self._note, row)
            self._tie()
            close_earlier_of_this_cell(self)
            for hub in hubs:
                hub.start()
        except BaseException:
            self.close()
            raise

    def _column(self, hub: Hub, name: str) -> w.Box:
        heading = self.own(Words(role="heading"), "lhx-part-heading")
        heading.say([f"{name}: {plain(hub.session.description, longest=200)}"])
        with hub.gathering():
            made: list[View] = [
                self.own(kind(hub)) for kind in (Scrubber, LayerPicker, SpectrumPlot, HesdBadge, Progress)
            ]
        self.views = (*self.views, *made)
        column = self.box(w.VBox, "lhx-column", heading, *made)
        for key, value in COLUMN.items():
            setattr(column.layout, key, value)
        return column

    def _tie(self) -> None:
        first, second = self.hubs
        if self._steps[0] == tuple(range(len(second.offer.labels))):
            link = w.jslink((first.clock, "value"), (second.clock, "value"))
            self._undo.append(link.close)
        for hub in self.hubs:
            heard = weakly(self._on_choice)
            hub.observe(heard, list(NAMES))
            self._undo.append(partial(hub.unobserve, heard, list(NAMES)))
        for name in NAMES:
            self._follow(first, second, name)

    def _on_choice(self, change: Any) -> None:
        if not self._following:
            here = self.hubs.index(change["owner"])
            self._follow(self.hubs[here], self.hubs[1 - here], change["name"])

    def _follow(self, hub: Hub, other: Hub, name: str) -> None:
        """Have the other run show the same; say what it does not have."""
        self._following, self._without[name] = True, ""
        try:
            if name == "snapshot":
                self._go(hub, other)
            elif name not in OF_THE_RUN:
                setattr(other, name, getattr(hub, name))
        except LhexploreError as failure:
            self._without[name] = f"The other run stays as it is. {plain(str(failure), longest=300)}"
        finally:
            self._following = False
        self._note.say([" ".join(filter(None, self._without.values()))])

    def _go(self, hub: Hub, other: Hub) -> None:
        at = self._steps[self.hubs.index(hub)][hub.snapshot]
        if at is None:
            where = hub.offer.places[hub.snapshot]
            self._without["snapshot"] = f"The other run has no snapshot at {where}; it stays where it is."
        else:
            other.snapshot = at

    @property
    def note(self) -> str:
        """What the other run does not have; empty where it has all."""
        return self._note.first

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending in either run.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        for hub in self.hubs:
            hub.settled(timeout)

    def close(self) -> None:
        """Close both columns and leave both runs. Harmless when repeated."""
        super().close()
        for hub in self.hubs:
            if not hub.audience.views:
                hub.close()

    def _words(self) -> str:
        first, second = (f"{hub.layer!r} at {hub.offer.labels[hub.snapshot]!r}" for hub in self.hubs)
        return f"{first} beside {second}"


def _hubs(first: Any, second: Any, choices: dict[str, Any]) -> tuple[Hub, Hub]:
    """The states of two runs; neither, if one cannot be had."""
    one = Hub(first, **choices)
    try:
        return one, Hub(second)
    except BaseException:
        one.close()
        raise

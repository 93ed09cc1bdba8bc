"""Two hubs side by side: what is chosen in one is chosen in the other, and what has no counterpart is said."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from ..diagnosis.number_texts import counted
from ..errors import LhexploreError
from .audience import Viewer
from .escape import plain
from .hub import Hub
from .protocols import SnapshotLike
from .state import Selection
from .weak import weakly

OF_TWO_RUNS = ("layer", "snapshot", "view", "scale", "metric", "split")  # what the other run has to show, too
OF_TWO_LAYERS = ("layers", "snapshot", "view", "scale", "metric", "split")


def matched(rows: Sequence[SnapshotLike], others: Sequence[SnapshotLike]) -> tuple[int | None, ...]:
    """For every snapshot of one run the one of the other run at the same step (of the same name where it has none).

    Of several at one step the one of the same name is taken, else the first. A single snapshot that stands nowhere in
    training is the counterpart of all.
    """
    named: dict[Any, int] = {}
    places: dict[Any, int] = {}
    for k, row in enumerate(others):
        named.setdefault((row.step, row.label), k)
        places.setdefault(row.label if row.step is None else row.step, k)
    if len(others) == 1 and others[0].step is None and others[0].label not in {row.label for row in rows}:
        return (0,) * len(rows)
    keys = ((row.step, row.label) for row in rows)
    fallback = (places.get(row.label if row.step is None else row.step) for row in rows)
    return tuple(named.get(key, other) for key, other in zip(keys, fallback, strict=True))


class Pair:
    """Ties the choices of two hubs; the first one leads where both differ.

    Args:
        first, second: of two runs, or of one whose layers are compared.
        one_way: whether the second only follows.

    Attributes:
        hubs: both, the leading one first.
        layers: True for two layers of one run, False for one layer of two runs.
    """

    def __init__(self, first: Hub, second: Hub, *, one_way: bool = False) -> None:
        self.hubs = (first, second)
        self._leading = self.hubs[:1] if one_way else self.hubs
        self.layers = first.session is second.session
        self._names = OF_TWO_LAYERS if self.layers else OF_TWO_RUNS
        self._following = False
        self._without: dict[str, str] = {}  # choices that the other run does not follow, and why
        self._heard, self._grown = weakly(self._on_choice), weakly(self._on_growth)
        for hub in self._leading:
            hub.observe(self._heard, list(self._names))
        for hub in self.hubs:
            hub.observe(self._grown, ["labels"])
        for name in self._names:
            self._follow(first, second, name)

    def counterparts(self, back: bool = False) -> tuple[int | None, ...]:
        """For every snapshot of the first hub the index of the second one's; with ``back`` the other way round."""
        here, there = (hub.facts.shots for hub in (self.hubs[::-1] if back else self.hubs))
        if self.layers:
            return tuple(k if k < len(there) else None for k in range(len(here)))
        return matched(here, there)

    @property
    def equal_steps(self) -> bool:
        """Whether both have the same snapshots, so that the browser can move both."""
        return self.counterparts() == tuple(range(len(self.hubs[1].facts.shots)))

    @property
    def lacking(self) -> str:
        """Which choices the other run does not have, and how many steps; empty where it has all."""
        there = self.counterparts()
        lacking = [text for text in self._without.values() if text]
        known = {k for k in there if k is not None}
        shared, more = sum(k is not None for k in there), len(self.hubs[1].facts.shots) - len(known)
        if not there and more:
            lacking.append(f"A has no snapshot yet; B has {more}.")
        elif shared < len(there) or more:
            only = f" B has {more} more; to see those, give B first." if more else ""
            have = "has" if shared == 1 else "have"
            lacking.append(f"{shared} of the {counted(len(there), 'snapshot')} of A {have} a counterpart in B.{only}")
        return " ".join(lacking)

    def close(self) -> None:
        """Let both hubs go their own ways."""
        for hub in self._leading:
            hub.unobserve(self._heard, list(self._names))
        for hub in self.hubs:
            hub.unobserve(self._grown, ["labels"])

    def _on_growth(self, _change: Any) -> None:
        self._follow(*self.hubs, "snapshot")  # its counterpart may stand elsewhere now

    def _on_choice(self, change: Any) -> None:
        hub, name = change["owner"], change["name"]
        renumbered = name == "snapshot" and hub.labels != hub.offer.labels  # nobody chose: snapshots came in between
        if not self._following and not renumbered:
            self._follow(hub, self.hubs[1 - self.hubs.index(hub)], name)

    def _follow(self, hub: Hub, other: Hub, name: str) -> None:
        self._following, self._without[name] = True, ""
        try:
            if name == "snapshot":
                there = self.counterparts(back=hub is not self.hubs[0])
                at = there[hub.snapshot] if there else None  # a run may still be without snapshots
                other.snapshot = other.snapshot if at is None else at
            else:
                setattr(other, name, getattr(hub, name))
        except LhexploreError as failure:
            stays = "B" if other is self.hubs[1] else "A"
            self._without[name] = f"{stays} stays as it is. {plain(str(failure), longest=300)}"
        finally:
            self._following = False


class Ear:
    """Joins a hub for a view that stands on another one: what is new there is told."""

    spectra = "layer"
    early = False

    def __init__(self, wants: frozenset[str], heard: Callable[[], None], told: Callable[[str], None]) -> None:
        self.wants, self._heard, self._told = wants, heard, told

    def paint(self, looking: Selection, stale: frozenset[str]) -> None:
        """Pass on that something is new."""
        self._heard()

    def tell(self, words: str) -> None:
        """Pass on what went wrong."""
        self._told(words)

    def moved(self, places: Mapping[int, int]) -> None:
        """What it tells names no snapshots."""


def listening(hub: Hub, ear: Viewer) -> Callable[[], None]:
    """Have an ear join a hub, and begin there what is to be drawn; returns how to leave."""
    hub.audience.join(ear)
    if not hub.waiting:
        hub.start()
    return partial(hub.leave, ear)

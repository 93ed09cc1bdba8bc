"""What is selected: plain values that the explorer's threads share.

Nothing here knows a widget: the order of work and the call that repeats what is on screen are tested with a canned
session and no notebook. What came back is in ``known.py``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from ..errors import UnknownLayerError, UnknownSnapshotError, suggest
from ..spectrum import WHOLE
from .protocols import LayerLike

SPLITS = ("data", "held_out", "both")  # which data spectra are shown of
BEHIND = 3  # who drags the slider goes on in the same direction more often than back


class Cell(NamedTuple):
    """One spectrum: name of an entry, index of a snapshot, which data, and which curvature if not the session's own."""

    layer: str
    snapshot: int
    split: str = "data"
    curvature: str = ""

    @property
    def how(self) -> dict[str, str]:
        """What a session is asked for beside layer and snapshot."""
        return {"split": self.split, **({"curvature": self.curvature} if self.curvature else {})}


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the layer list. ``key`` is what ``session.spectrum`` is asked for (None: the whole network)."""

    name: str
    key: str | None
    size: int
    kind: str
    usable: bool
    reason: str


def entries_of(layers: Sequence[LayerLike]) -> tuple[Entry, ...]:
    """The whole network first, then every layer; skipped layers stay in the list, with their reason."""
    names = {layer.name for layer in layers}
    whole = WHOLE
    while whole in names:  # somebody called a module so
        whole += " (all)"
    rows = tuple(Entry(x.name, x.name, x.size, x.kind, x.status == "ok", x.reason) for x in layers)
    size = sum(row.size for row in rows if row.usable)
    reason = "all layers as one block; computed for the snapshots you look at"
    return (Entry(whole, None, size, "network", any(row.usable for row in rows), reason), *rows)


def find_entry(entries: Sequence[Entry], name: str | None) -> Entry:
    """The usable entry of that name; None means the whole network.

    Raises:
        UnknownLayerError: no such layer, or it was skipped.
    """
    for entry in entries:
        if entry.name == name or (name is None and entry.key is None):
            if not entry.usable:
                raise UnknownLayerError(f"Layer {entry.name!r} has no spectrum here: {entry.reason or 'skipped'}.")
            return entry
    raise UnknownLayerError(
        f"There is no layer {name!r} in this explorer. {suggest(str(name), [x.name for x in entries if x.usable])}"
    )


def find_snapshot(labels: Sequence[str], wanted: int | str) -> int:
    """The index of a snapshot given by index (negative ones count from the end) or label.

    Raises:
        UnknownSnapshotError: out of range, or no such label; or there is none yet.
    """
    if not labels:
        raise UnknownSnapshotError("There is no snapshot yet: training has not written the first one.")
    if isinstance(wanted, str):
        if wanted not in labels:
            raise UnknownSnapshotError(f"There is no snapshot {wanted!r}. {suggest(wanted, labels)}")
        return list(labels).index(wanted)
    count = len(labels)
    if not -count <= wanted < count:
        raise UnknownSnapshotError(
            f"There is no snapshot number {wanted}: there are {count}, numbered 0 to {count - 1} (or -1 for the last)."
        )
    return wanted % count


@dataclass(frozen=True, slots=True)
class Request:
    """The call that gives exactly what is on screen; two where both kinds of data are."""

    layer: str | None
    snapshot: int | str
    split: str = "data"

    def __str__(self) -> str:
        start = f"session.spectrum({self.layer!r}, {self.snapshot!r}"
        held_out = f"{start}, split='held_out')"
        return {"data": f"{start})", "held_out": held_out, "both": f"{start}), {held_out}"}[self.split]


def requests(key: str | None, labels: Sequence[str], split: str = "data") -> tuple[Request, ...]:
    """One call per snapshot: by label where that names exactly one of them, else by index."""
    return tuple(Request(key, label if labels.count(label) == 1 else i, split) for i, label in enumerate(labels))


def nearest_first(
    selected: tuple[str, int], rows: Sequence[str], count: int, heading: int = 0
) -> Iterator[tuple[str, int]]:
    """The order of work: what is looked at, its neighbours in time, then the other layers from here outwards.

    ``rows`` are the layers that are worth filling; the selected one need not be among them. ``heading`` says which way
    the slider went last, 1 or -1: what lies behind counts as :data:`BEHIND` times as far.
    """
    name, here = selected

    def far(i: int) -> int:
        return abs(i - here) * (BEHIND if (i - here) * heading < 0 else 1)

    yield selected
    yield from ((name, i) for i in sorted(range(count), key=lambda i: (far(i), i)) if i != here)
    row = rows.index(name) if name in rows else 0
    others = ((far(i), abs(r - row), i, r) for i in range(count) for r in range(len(rows)) if rows[r] != name)
    yield from ((rows[r], i) for _, _, i, r in sorted(others))


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person looks at, at one moment: the threads read this value, never single traits that may change."""

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]
    places: tuple[str, ...]
    layers: tuple[str, ...]
    layer: str
    snapshot: int
    view: str = "histogram"
    scale: str = "symlog"
    metric: str = "lambda_max"
    split: str = "data"
    alone: bool = False  # no spectra of other layers are wanted
    overlay: tuple[str, ...] = ()  # layers that lie over the one on show
    ggn: bool = False  # whether its Gauss-Newton matrix does
    heading: int = 0  # which way the slider went last: 1 or -1

    @property
    def splits(self) -> tuple[str, ...]:
        """The kinds of data whose spectra are wanted."""
        return SPLITS[:2] if self.split == "both" else (self.split,)

    @property
    def main(self) -> str:
        """The data whose spectra are drawn filled and judged: that of training where both are shown."""
        return self.splits[0]

    @property
    def cell(self) -> Cell:
        """What is looked at."""
        return Cell(self.layer, self.snapshot, self.main)

    @property
    def cells(self) -> tuple[Cell, ...]:
        """What is looked at, on every kind of data that is shown, and what lies over it."""
        return (*(Cell(self.layer, self.snapshot, split) for split in self.splits), *self.beside(self.snapshot))

    @property
    def over(self) -> tuple[str, ...]:
        """The layers that lie over the one on show."""
        return tuple(name for name in self.overlay if name != self.layer)

    def beside(self, snapshot: int) -> tuple[Cell, ...]:
        """What lies over the layer on show at a snapshot."""
        return _beside(self.layer, snapshot, self.main, self.over, self.ggn)

    @property
    def shown(self) -> tuple[Entry, ...]:
        """Rows of the list: the wanted entries, and where all are wanted also those that were skipped."""
        return shown(self.entries, self.layers)

    @property
    def rows(self) -> tuple[Entry, ...]:
        """Rows of the map, which are filled without being asked for: the wanted layers, else the whole network."""
        usable = tuple(entry for entry in self.shown if entry.usable)
        return tuple(entry for entry in usable if entry.key is not None) or usable

    @property
    def names(self) -> dict[str | None, str]:
        """What the blocks are called that may be looked at, by what the session calls them."""
        return {entry.key: entry.name for entry in self.shown if entry.usable}

    @property
    def request(self) -> Request:
        """The call that gives what is looked at."""
        here = find_snapshot(self.labels, self.snapshot)
        return requests(self.key(self.layer), self.labels, self.split)[here]

    def key(self, name: str) -> str | None:
        """What the session is asked for."""
        return find_entry(self.entries, name).key

    def wanted(self) -> tuple[Cell, ...]:
        """All cells that are worth knowing, best first; the order for one place is formed once."""
        rows = () if self.alone else tuple(entry.name for entry in self.rows)
        here = self.layer, self.snapshot, self.heading
        return _wanted(*here, rows, len(self.labels), self.splits, self.over, self.ggn)


@lru_cache(maxsize=8)
def _wanted(
    layer: str,
    snapshot: int,
    heading: int,
    rows: tuple[str, ...],
    count: int,
    splits: tuple[str, ...],
    over: tuple[str, ...],
    ggn: bool,
) -> tuple[Cell, ...]:
    cells: dict[Cell, None] = {}
    for name, k in nearest_first((layer, snapshot), rows, count, heading):
        cells |= dict.fromkeys(Cell(name, k, split) for split in splits)
        cells |= dict.fromkeys(_beside(layer, k, splits[0], over, ggn) if name == layer else ())
    return tuple(cells)


def _beside(layer: str, snapshot: int, split: str, over: Sequence[str], ggn: bool) -> tuple[Cell, ...]:
    own = (Cell(layer, snapshot, split, "ggn"),) if ggn else ()
    return (*(Cell(name, snapshot, split) for name in over), *own)


def shown(entries: Sequence[Entry], layers: Sequence[str]) -> tuple[Entry, ...]:
    """The entries called ``layers``; where those are all usable ones, the skipped ones too."""
    wanted = frozenset(layers)
    everything = all(entry.name in wanted for entry in entries if entry.usable)
    return tuple(entry for entry in entries if entry.name in wanted or (everything and not entry.usable))

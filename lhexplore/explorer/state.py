"""What is selected and what is known: plain values that the explorer's threads share.

Nothing here knows a widget: the order of work, the call that repeats what is on screen and the memory of what came
back are tested with a canned session and no notebook.
"""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..errors import LhexploreError, UnknownLayerError, UnknownSnapshotError, suggest
from ..spectrum import WHOLE, Spectrum, Step
from .protocols import LayerLike, TraceLike, TracesLike

Cell = tuple[str, int]  # name of an entry, index of a snapshot


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
        UnknownSnapshotError: out of range, or no such label.
    """
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
    """The call that gives exactly what is on screen."""

    layer: str | None
    snapshot: int | str

    def __str__(self) -> str:
        return f"session.spectrum({self.layer!r}, {self.snapshot!r})"


def requests(key: str | None, labels: Sequence[str]) -> tuple[Request, ...]:
    """One call per snapshot: by label where that names exactly one of them, else by index."""
    return tuple(Request(key, label if labels.count(label) == 1 else i) for i, label in enumerate(labels))


def nearest_first(selected: Cell, rows: Sequence[str], count: int) -> Iterator[Cell]:
    """The order of work: what is looked at, its neighbours in time, then the other layers from here outwards.

    ``rows`` are the layers that are worth filling; the selected one need not be among them.
    """
    name, here = selected
    yield selected
    yield from ((name, i) for i in sorted(range(count), key=lambda i: (abs(i - here), i)) if i != here)
    row = rows.index(name) if name in rows else 0
    others = ((abs(i - here), abs(r - row), i, r) for i in range(count) for r in range(len(rows)) if rows[r] != name)
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

    @property
    def cell(self) -> Cell:
        """The layer and snapshot that are looked at."""
        return self.layer, self.snapshot

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
    def request(self) -> Request:
        """The call that gives what is looked at."""
        return requests(self.key(self.layer), self.labels)[self.snapshot]

    def key(self, name: str) -> str | None:
        """What the session is asked for."""
        return find_entry(self.entries, name).key

    def wanted(self) -> list[Cell]:
        """All cells that are worth knowing, best first."""
        return list(nearest_first(self.cell, [entry.name for entry in self.rows], len(self.labels)))


def shown(entries: Sequence[Entry], layers: Sequence[str]) -> tuple[Entry, ...]:
    """The entries called ``layers``; where those are all usable ones, the skipped ones too."""
    everything = all(entry.name in layers for entry in entries if entry.usable)
    return tuple(entry for entry in entries if entry.name in layers or (everything and not entry.usable))


class Known:
    """What came back so far, by cell. Every method takes the one lock; values handed out never change."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._spectra: dict[Cell, Spectrum] = {}
        self._steps: dict[Cell, Step] = {}
        self._failures: dict[Cell, Exception] = {}
        self._traces: dict[Cell, TraceLike] = {}

    def put(self, cell: Cell, spectrum: Spectrum) -> None:
        """Keep a complete value; it replaces whatever was preliminary."""
        with self._lock:
            self._spectra[cell] = spectrum
            self._steps.pop(cell, None)
            self._failures.pop(cell, None)

    def advance(self, cell: Cell, step: Step) -> None:
        """Keep how far a computation is, with the newest preliminary value."""
        with self._lock:
            before = self._steps.get(cell)
            value = step.spectrum or (before.spectrum if before else None)
            self._steps[cell] = Step(step.done, step.total, value)

    def put_traces(self, snapshot: int, traces: TracesLike) -> None:
        """Keep a snapshot's traces, which are shown until a spectrum is there."""
        with self._lock:
            self._traces |= {(trace.layer, snapshot): trace for trace in traces.layers if trace.layer is not None}

    def trace(self, cell: Cell) -> TraceLike | None:
        """The trace of a cell whose spectrum is not known yet, if it was estimated."""
        with self._lock:
            return self._traces.get(cell) if self.missing(cell) else None

    def fail(self, cell: Cell, failure: Exception) -> None:
        """Keep why a cell has no value."""
        with self._lock:
            self._failures[cell] = failure
            self._steps.pop(cell, None)

    def forgive(self) -> None:
        """Forget the failures: they will be tried again."""
        with self._lock:
            self._failures.clear()

    def spectrum(self, cell: Cell) -> Spectrum | None:
        with self._lock:
            return self._spectra.get(cell)

    def step(self, cell: Cell) -> Step | None:
        with self._lock:
            return self._steps.get(cell)

    def failure(self, cell: Cell) -> Exception | None:
        with self._lock:
            return self._failures.get(cell)

    def best(self, cell: Cell) -> Spectrum | None:
        """The complete value, else the newest preliminary one."""
        with self._lock:
            step = self._steps.get(cell)
            return self._spectra.get(cell) or (step.spectrum if step else None)

    def missing(self, cell: Cell) -> bool:
        """Neither known nor refused."""
        with self._lock:
            return cell not in self._spectra and cell not in self._failures

    def failures(self) -> dict[Cell, Exception]:
        with self._lock:
            return dict(self._failures)


def words(failure: BaseException) -> str:
    """Say a failure to the person at the screen; ours speak in sentences, foreign ones need their class."""
    text = " ".join(str(failure).split())
    if isinstance(failure, LhexploreError) and text:
        return text
    return f"Unexpected {type(failure).__name__}: {text}" if text else f"Unexpected {type(failure).__name__}."

"""What a report reads of a session, block by block, and which blocks there is room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..diagnosis import Diagnosis, Finding
from ..explorer.escape import plain
from ..explorer.located import MARKED, Located
from ..explorer.protocols import Judged, LayerLike, SnapshotLike
from ..figures.run import Run
from ..layer_state import LayerState
from ..spectrum import WHOLE, Spectrum

MOST = 4000  # spectra in one file: about 10 MB, and a minute to draw them
NAMED = 40  # layers left out that are called by name


class Session(Protocol):
    """The part of a session's public face that never computes."""

    @property
    def layers(self) -> Sequence[LayerLike]: ...
    @property
    def snapshots(self) -> Sequence[SnapshotLike]: ...
    @property
    def description(self) -> str: ...
    @property
    def has_held_out(self) -> bool: ...
    def cached(self, layer: str | None, snapshot: int | str = -1, *, split: str = "data") -> Spectrum | None: ...
    def cached_states(self, snapshot: int | str = -1) -> Mapping[str | None, LayerState]: ...
    def findings(self) -> Judged: ...
    def known_diagnosis(self, layer: str | None, snapshot: int | str = -1) -> Diagnosis | None: ...
    def losses(self, snapshot: int | str = -1) -> dict[str, float]: ...


@dataclass(frozen=True, slots=True)
class Block:
    """One row of the report: a layer, or the whole network, at every snapshot."""

    key: str | None  # what the session calls it
    name: str
    size: int
    kind: str
    spectra: tuple[Spectrum | None, ...]
    diagnoses: tuple[Diagnosis | None, ...]
    held_out: tuple[Spectrum | None, ...]  # empty where nothing is known on held-out data
    findings: tuple[Sequence[Finding], ...]

    @property
    def known(self) -> int:
        """At how many snapshots it was computed."""
        return sum(s is not None for s in self.spectra)


@dataclass(frozen=True, slots=True)
class Reading:
    """All that a report shows."""

    shots: tuple[SnapshotLike, ...]
    blocks: tuple[Block, ...]
    skipped: tuple[LayerLike, ...]  # they have no spectra
    left_out: tuple[str, ...]  # names of layers for which there is no room
    losses: tuple[Mapping[str, float], ...]
    located: Located
    run: Run  # snapshots go by their position, for labels may repeat


def read(session: Session) -> Reading:
    """Gather what is known; computes nothing."""
    shots = tuple(session.snapshots)
    located = Located(session.findings())
    rows = [row for row in session.layers if row.status == "ok"]
    chosen = _chosen(session, located, rows, len(shots))
    blocks = [_block(session, located, shots, row.name, row.name, row.size, row.kind) for row in chosen]
    whole = _block(session, located, shots, None, WHOLE, 0, "")
    if whole.known:
        blocks.append(whole)
    losses = tuple(dict(session.losses(k)) if row.status == "ok" else {} for k, row in enumerate(shots))
    kept = {row.name for row in chosen}
    states = [dict(session.cached_states(k)) if row.status == "ok" else {} for k, row in enumerate(shots)]
    table = {block.key: block for block in blocks}
    run = Run(
        layers=tuple(table),
        labels=tuple(str(k) for k in range(len(shots))),
        steps=tuple(row.step for row in shots),
        refused={},
        cached=lambda layer, k, _split: table[layer].spectra[int(k)],
        losses=lambda k: losses[int(k)],
        state=lambda layer, k: states[int(k)].get(layer),
        judge=lambda: None,
    )
    return Reading(
        shots,
        tuple(blocks),
        tuple(row for row in session.layers if row.status != "ok"),
        tuple(row.name for row in rows if row.name not in kept),
        losses,
        located,
        run,
    )


def left_out_words(names: Sequence[str]) -> str:
    """Say which layers there was no room for; empty if all are here."""
    if not names:
        return ""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    listed = ", ".join(plain(name) for name in names[:NAMED])
    return (
        f"{len(names):,} layers are left out, so that the file stays small; those with findings and with spectra come "
        f"first. Left out: {listed}{more}. Session(…, layers=[…]) chooses layers."
    )


def _chosen(session: Session, located: Located, rows: Sequence[LayerLike], shots: int) -> list[LayerLike]:
    """The layers there is room for, in the order of the network: first those with findings, then those with spectra."""
    room = max(1, MOST // max(1, shots))
    if len(rows) <= room:
        return list(rows)
    found = {name for f in located.findings if f.level in MARKED for name in (f.layer, *f.others)}
    usable = [k for k, row in enumerate(session.snapshots) if row.status == "ok"]

    def rank(row: LayerLike) -> int:
        known = any(session.cached(row.name, k) is not None for k in usable)
        return 2 - known - (known and row.name in found)

    kept = {row.name for row in sorted(rows, key=rank)[:room]}  # stable
    return [row for row in rows if row.name in kept]


def _block(
    session: Session,
    located: Located,
    shots: Sequence[SnapshotLike],
    layer: str | None,
    name: str,
    size: int,
    kind: str,
) -> Block:
    usable = [k if row.status == "ok" else None for k, row in enumerate(shots)]
    spectra = tuple(None if k is None else session.cached(layer, k) for k in usable)
    read = tuple(None if s is None else session.known_diagnosis(layer, k) for k, s in enumerate(spectra))
    beside = tuple(
        None if k is None or not session.has_held_out else session.cached(layer, k, split="held_out") for k in usable
    )
    found = tuple(located.at(layer, row.label) for row in shots)
    size = size or next((s.size for s in spectra if s is not None), 0)
    return Block(layer, name, size, kind, spectra, read, beside if any(beside) else (), found)

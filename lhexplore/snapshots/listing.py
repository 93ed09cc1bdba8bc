"""From what lies in a folder to ordered rows: steps from fields and names, aliases merged, contradictions named."""

import os
import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..errors import LhexploreError, SnapshotError
from . import names
from .contents import Look
from .folders import Item
from .formats import SUFFIXES
from .snapshot import Snapshot

FIELDS_LIMIT = 200  # torch.save files whose fields are read while listing; with more, their names have to tell


def rows_of(
    items: Sequence[Item], base: Path | None, pattern: re.Pattern[str] | None, which: str | None, *, ordered: bool
) -> tuple[list[Snapshot], tuple[str, ...]]:
    """Make the rows, with notes on the whole.

    Args:
        items: what was found.
        base: folder to which labels are relative; None labels by the bare name.
        pattern: the person's own pattern for step and epoch.
        which: the entry that holds the weights.
        ordered: keep the order given, and every row; else sort by training time and merge aliases.

    Raises:
        SnapshotError: two different checkpoints claim to be the same step.
    """
    slow = sum(item.weights.suffix != ".safetensors" for item in items)
    looks = [item.look(fields=slow <= FIELDS_LIMIT) for item in items]
    rows, numbers = [], {}
    for item, look, label in zip(items, looks, _labels(items, base), strict=True):
        numbers[label] = named(item, base, pattern)
        rows.append(_row(item, look, label, numbers[label], which))
    notes = []
    if slow > FIELDS_LIMIT:
        notes.append(f"{slow} files are not safetensors: to list them fast, step and epoch come from their names alone")
    runs = {look.run for look in looks if look.run}
    if len(runs) > 1:
        notes.append(f"{len(runs)} recordings are mixed here: their snapshots may not follow from one another")
    if ordered:
        return rows, tuple(notes)
    rows = sorted(rows, key=lambda row: numbers[row.label].tag is not None)  # "last" is an alias, not the name
    rows = _same_step_merged(tags_merged(_links_merged(rows), numbers))
    return sorted_rows(rows, numbers), tuple(notes)


def row_of(item: Item, label: str, base: Path | None, pattern: re.Pattern[str] | None, which: str | None) -> Snapshot:
    """The row of one checkpoint by itself."""
    return _row(item, item.look(), label, named(item, base, pattern), which)


def label_of(item: Item, base: Path, taken: Collection[str]) -> str:
    """A label for one more checkpoint: its path below ``base`` without its ending, with it where that is taken."""
    full = Path(os.path.relpath(item.path, base))
    tried = (_without_ending(full, item).as_posix(), full.as_posix())
    return next((label for label in tried if label not in taken), str(item.path))


def _row(item: Item, look: Look, label: str, told: names.Named, which: str | None) -> Snapshot:
    return Snapshot(label, partial(item.read, which=which), look=_completed(look, told), path=item.path)


def _labels(items: Sequence[Item], base: Path | None) -> list[str]:
    """Paths below ``base`` without their ending; with it where two would be called the same."""
    paths = [Path(os.path.relpath(item.path, base)) if base is not None else Path(item.path.name) for item in items]
    short = [_without_ending(path, item).as_posix() for path, item in zip(paths, items, strict=True)]
    full = [path.as_posix() for path in paths]
    labels = (
        [full[i] if short.count(label) > 1 else label for i, label in enumerate(short)] if _repeats(short) else short
    )
    return [str(item.path) for item in items] if _repeats(labels) else labels


def _without_ending(path: Path, item: Item) -> Path:
    """The name without what tells the format: ``.5`` in ``epoch=12.5`` does not, and a folder's name tells none."""
    if item.path != item.weights:
        return path
    while path.suffix.lower() in SUFFIXES:  # twice in checkpoint-3.pth.tar
        path = path.with_suffix("")
    return path


def _repeats(labels: list[str]) -> bool:
    return len(set(labels)) < len(labels)


def named(item: Item, base: Path | None, pattern: re.Pattern[str] | None) -> names.Named:
    """What the name tells; where it tells nothing, its folder's (``epoch_3/weights.pt``)."""
    path = Path(os.path.relpath(item.path, base)) if base is not None else item.path
    if pattern is not None and pattern.search(path.as_posix()):
        return names.parse(path.as_posix(), pattern)
    own = _without_ending(path, item)
    parts = own.parts[::-1] if base is not None else own.parts[:-3:-1]
    told = [names.parse(part) for part in parts]
    return next((named for named in told if any(part is not None for part in named)), names.Named())


def _completed(look: Look, told: names.Named) -> Look:
    """Fields inside the file count more than its name."""
    return replace(
        look,
        step=told.step if look.step is None else look.step,
        epoch=told.epoch if look.epoch is None else look.epoch,
    )


def sorted_rows(rows: list[Snapshot], numbers: dict[str, names.Named]) -> list[Snapshot]:
    """By step if all usable rows have one, else by epoch, else by the number in the name, else as people read names."""

    def place(row: Snapshot, kind: str) -> float | None:
        return {"step": row.step, "epoch": row.epoch, "number": numbers[row.label].number}[kind]

    counted = [row for row in rows if row.status == "ok" and not numbers[row.label].tag] or rows
    kind = next(
        (kind for kind in ("step", "epoch", "number") if all(place(r, kind) is not None for r in counted)), None
    )

    def order(row: Snapshot) -> tuple[bool, float, tuple[tuple[int, int, str], ...]]:
        at = place(row, kind) if kind else None
        return (at is None and kind is not None, 0.0 if at is None else float(at), names.natural(row.label))

    return sorted(rows, key=order)


def _links_merged(rows: list[Snapshot]) -> list[Snapshot]:
    """Names of one file on disk become one row."""
    kept: dict[tuple[int, int], Snapshot] = {}
    for row in rows:
        try:
            stat = Path(row.path or "").stat()
            _merge(kept, (stat.st_dev, stat.st_ino), row)
        except OSError:  # gone since it was listed
            kept[(-1, len(kept))] = row
    return [row for row in rows if row in kept.values()]


def tags_merged(rows: list[Snapshot], numbers: dict[str, names.Named]) -> list[Snapshot]:
    """``last`` and ``best`` become aliases of the row with the same weights: equal digests or signs."""
    tagged = [row for row in rows if numbers[row.label].tag]
    known = {sign: row for row in rows if row not in tagged for sign in row.evidence}
    for row in tagged:
        twin = next((known[sign] for sign in row.evidence if sign in known), None)
        if twin:
            twin.aliases = (*twin.aliases, row.label, *row.aliases)
            rows = [other for other in rows if other is not row]
    return rows


def _same_step_merged(rows: list[Snapshot]) -> list[Snapshot]:
    """Two files for one step are one row if their weights agree; only such pairs are ever read here."""
    at: dict[int, Snapshot] = {}
    gone: set[int] = set()
    for row in rows:
        if row.step is None or row.status != "ok":
            continue
        first = at.setdefault(row.step, row)
        if first is row or not (_readable(first) and _readable(row)):
            continue
        if first.digest != row.digest:
            raise SnapshotError(
                f"Two different checkpoints claim to be step {row.step}: {str(first.path)!r} and {str(row.path)!r}. "
                "Move one away, choose one run with a glob, or tell them apart with "
                "Snapshots.from_files(glob, pattern=r'…(?P<step>\\d+)…')."
            )
        first.aliases = (*first.aliases, row.label, *row.aliases)
        gone.add(id(row))
    return [row for row in rows if id(row) not in gone]


def _readable(row: Snapshot) -> bool:
    try:
        return bool(row.digest)
    except LhexploreError:
        return False  # its row says why; the other one stands


def _merge(kept: dict[tuple[int, int], Snapshot], key: tuple[int, int], row: Snapshot) -> None:
    first = kept.setdefault(key, row)
    if first is not row:
        first.aliases = (*first.aliases, row.label)

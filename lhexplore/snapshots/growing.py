"""A folder that training still writes into: looked at again and again, and what is new put among what is known.

A look compares times and sizes only. What is known stays as it is, the very same objects; only files that are new or
have changed are opened, and of these no tensors are read.
"""

import glob
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ..errors import LhexploreError
from . import names
from .folders import INDEXES, SINGLE, Item, item_of, items_in
from .formats import SUFFIXES
from .listing import label_of, named, row_of, sorted_rows, tags_merged
from .snapshot import GONE, Snapshot

Sign = tuple[tuple[int, int, int], ...]  # time of change, bytes and inode of a file, or of what a folder holds
_INSIDE = (*INDEXES, *SINGLE, "trainer_state.json")


@dataclass(frozen=True, slots=True, eq=False)
class Growth:
    """What another look at a folder found."""

    rows: tuple[Snapshot, ...]  # all of them, in order
    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()  # other weights lie under these labels now
    notes: tuple[str, ...] = ()  # what was left out, in sentences
    place: "Place | None" = None  # that knows of all this


@dataclass(eq=False)
class Place:
    """A folder, or the files that a glob matches, and what was known of it when it was last listed.

    Args:
        where: the folder, or the glob.
        pattern: the person's own pattern for step and epoch, and ``which`` entry holds the weights; see
            :meth:`Snapshots.discover`.
    """

    where: Path
    is_glob: bool
    base: Path
    pattern: re.Pattern[str] | None = None
    which: str | None = None
    _taken: dict[str, Sign] = field(default_factory=dict)  # as they were when their rows were made
    _before: dict[str, Sign] = field(default_factory=dict)  # as they were at the last look
    _named: dict[str, names.Named] = field(default_factory=dict)  # by label
    _refused: set[str] = field(default_factory=set)  # said once

    def take_in(self) -> None:
        """Count all that is there now as known: to be called before it is listed."""
        self._taken = self._before = self._scan()

    def again(self, rows: Sequence[Snapshot], *, quiet: float = 0.0) -> Growth | None:
        """Look again; None where nothing has changed.

        Costs one ``stat`` per file: about 2 ms for 1000 of them. Files that changed less than ``quiet`` seconds ago are
        left for the next time, as is what its writer has not finished.
        """
        now = self._scan()
        before, self._before = self._before, now
        if now == self._taken:
            return None
        latest = time.time_ns() - int(quiet * 1e9)
        fresh = {
            name
            for name, sign in now.items()
            if self._taken.get(name) != sign
            and (not quiet or before.get(name) == sign or max(when for when, *_ in sign) <= latest)
        }
        kept = {name: sign for name, sign in self._taken.items() if name in now}
        if not fresh and len(kept) == len(self._taken):
            return None
        items = [item for item in self._items() if self._key(item) in fresh]
        others = fresh - {self._key(item) for item in items}  # what lies beside the weights
        after = replace(self, _taken=kept | {name: now[name] for name in others}, _refused=set(self._refused))
        growth = after._merged(list(rows), items, now)
        if growth is None:
            self._taken = after._taken
        return growth

    def _merged(self, rows: list[Snapshot], items: Sequence[Item], now: Mapping[str, Sign]) -> Growth | None:
        found = _Merging(self, rows)
        found.mark_gone()
        for item in items:
            row = row_of(item, label_of(item, self.base, found.taken(item.path)), self.base, self.pattern, self.which)
            if row.status == "writing":
                continue  # it is looked at again until it is finished
            self._taken[self._key(item)] = now[self._key(item)]
            if (refusal := found.put(row)) and refusal not in self._refused:
                self._refused.add(refusal)
                found.notes.append(refusal)
        return found.growth()

    def named(self, row: Snapshot) -> names.Named:
        """What the name of a row's file tells."""
        if row.label not in self._named:
            path = row.path or Path(row.label)
            self._named[row.label] = named(item_of(path), self.base, self.pattern)
        return self._named[row.label]

    def _key(self, item: Item) -> str:
        return str(item.path) if self.is_glob else item.path.name

    def _items(self) -> list[Item]:
        if self.is_glob:
            return [item_of(Path(name)) for name in self._matches()]
        try:
            return items_in(self.where)[0]
        except OSError:  # gone since it was looked at
            return []

    def _matches(self) -> list[str]:
        return sorted(glob.glob(str(self.where), recursive=True))  # noqa: PTH207 - absolute patterns too

    def _scan(self) -> dict[str, Sign]:
        """Times and sizes of all that may be a checkpoint; nothing where the folder is not there (yet, or any more)."""
        if self.is_glob:
            return {name: sign for name in self._matches() if (sign := _sign_of(name))}
        try:
            with os.scandir(self.where) as entries:
                return {entry.name: sign for entry in entries if (sign := _sign(entry))}
        except OSError:
            return {}


class _Merging:
    """Rows that new ones are put into."""

    def __init__(self, place: Place, rows: list[Snapshot]) -> None:
        self._place, self._rows, self._before = place, rows, [*rows]
        self._new: list[Snapshot] = []
        self._changed: list[str] = []
        self._any = False
        self.notes: list[str] = []

    def taken(self, path: Path) -> set[str]:
        """Labels that a file at ``path`` may not have."""
        others = {label for row in self._rows if row.path != path for label in (row.label, *row.aliases)}
        return others.difference(self._aliases_of(path))

    def mark_gone(self) -> None:
        """Have the rows say so whose files were deleted, and those that came back."""
        for row in self._rows:
            there = row.path is None or row.path.exists()
            if not there and row.status != GONE:
                self._any = True
                row.status = GONE
                row.reason = (
                    f"{row.label!r} was deleted from the folder; what was computed of it stays, but nothing can be "
                    "added."
                )

    def put(self, row: Snapshot) -> str:
        """Put a row where it belongs; returns why it was left out, if it was."""
        self._forget_alias(row)
        old = next((one for one in self._rows if one.path == row.path), None)
        if old is not None and old.status in ("ok", GONE) and set(old.evidence) & set(row.evidence):
            if old.status == GONE:  # it came back
                old.status, old.reason, self._any = row.status, row.reason, True
            return ""
        rest = [one for one in self._rows if one is not old]
        if (twin := _same(row, rest)) and self._tagged(twin) and not self._tagged(row):
            row.aliases = (twin.label, *twin.aliases)  # "last" is an alias, not the name
            rest.remove(twin)
        elif twin:
            twin.aliases = (*twin.aliases, row.label)
            self._rows, self._any = rest, True
            return ""
        if rival := _rival(row, rest):
            return (
                f"{str(row.path)!r} claims to be step {row.step}, as {str(rival.path)!r} does, with other weights: it "
                "was left out."
            )
        self._any = True
        self._rows = [*rest, row]
        if old is None:
            self._new.append(row)
        else:
            row.label = old.label
            self._changed.append(old.label)
        return ""

    def growth(self) -> Growth | None:
        """What it has come to; None where all is as it was."""
        if not self._any and not self.notes:
            return None
        numbers = {row.label: self._place.named(row) for row in self._rows}
        merged = tags_merged(self._rows, numbers)
        rows = tuple(sorted_rows(merged, numbers))
        new = tuple(row.label for row in rows if any(row is one for one in self._new))
        return Growth(rows, new, tuple(self._changed), tuple(self.notes), self._place)

    def _tagged(self, row: Snapshot) -> bool:
        return self._place.named(row).tag is not None

    def _forget_alias(self, row: Snapshot) -> None:
        for one in self._rows:
            if row.label in one.aliases and one.path != row.path:
                one.aliases = tuple(alias for alias in one.aliases if alias != row.label)
                self._any = True

    def _aliases_of(self, path: Path) -> Iterator[str]:
        """The label under which a file is known as another name of a row's weights."""
        short = label_of(item_of(path), self._place.base, set())
        return (alias for row in self._rows for alias in row.aliases if alias == short)


def _same(row: Snapshot, rows: Sequence[Snapshot]) -> Snapshot | None:
    """The row of the same file, or of the same step with the same weights."""
    for one in rows:
        if _one_file(one, row):
            return one
        if _one_step(one, row) and (set(one.evidence) & set(row.evidence) or _digest(one) == _digest(row) != ""):
            return one
    return None


def _rival(row: Snapshot, rows: Sequence[Snapshot]) -> Snapshot | None:
    """A row of the same step with other weights."""
    return next((one for one in rows if _one_step(one, row) and _digest(one) and _digest(row)), None)


def _one_file(a: Snapshot, b: Snapshot) -> bool:
    try:
        return a.path is not None and b.path is not None and a.size == b.size and a.path.samefile(b.path)
    except OSError:
        return False


def _one_step(a: Snapshot, b: Snapshot) -> bool:
    return a.step is not None and a.step == b.step and a.status == b.status == "ok"


def _digest(row: Snapshot) -> str:
    try:
        return row.digest
    except LhexploreError:
        return ""  # its row says why


def _sign(entry: os.DirEntry[str]) -> Sign:
    """Of what may be a checkpoint: a file with one of the endings, or a folder with weights in it; else nothing."""
    try:
        if entry.is_dir():
            return _sign_of(entry.path)
        if not entry.name.endswith(SUFFIXES) and entry.name not in INDEXES:
            return ()
        stat = entry.stat()
    except OSError:
        return ()
    return ((stat.st_mtime_ns, stat.st_size, stat.st_ino),)


def _sign_of(path: str) -> Sign:
    paths = [path, *(os.path.join(path, name) for name in _INSIDE)] if os.path.isdir(path) else [path]  # noqa: PTH112, PTH118 - looked at again and again: Path takes five times as long
    signs = []
    for each in paths:
        try:
            stat = os.stat(each)  # noqa: PTH116
        except OSError:
            continue
        signs.append((stat.st_mtime_ns, stat.st_size if each != path or len(paths) == 1 else 0, stat.st_ino))
    return tuple(signs) if len(paths) == 1 or len(signs) > 1 else ()

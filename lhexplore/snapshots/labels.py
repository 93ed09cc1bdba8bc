"""Labels are what snapshots are asked for by: no two in a series may share one."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count

from .snapshot import Snapshot


def labelled_apart(rows: Sequence[Snapshot]) -> tuple[tuple[Snapshot, ...], tuple[str, ...]]:
    """Give every row a label of its own, with a note for those that got a new one.

    The first keeps its label; later ones are shown under ``"label (2)"``. The rows handed in stay as they are, since
    they may stand in another series as well. A label wins over an alias of the same name.
    """
    labels = Counter(row.label for row in rows)
    taken = set(labels)
    seen: set[str] = set()
    apart: list[Snapshot] = []
    notes: list[str] = []
    for row in rows:
        label = row.label
        if label in seen:
            label = _free(row.label, taken)
            where = f" (from {str(row.path)!r})" if row.path else ""
            notes.append(f"{labels[row.label]} snapshots have the label {row.label!r}: one{where} is {label!r} here")
        seen.add(label)
        taken.add(label)
        aliases = tuple(_aliases(row, taken))
        apart.append(row if (label, aliases) == (row.label, row.aliases) else row.called(label, aliases))
    return tuple(apart), tuple(notes)


def _aliases(row: Snapshot, taken: set[str]) -> Iterator[str]:
    for alias in row.aliases:
        free = alias if alias not in taken else _free(alias, taken)
        taken.add(free)
        yield free


def _free(name: str, taken: set[str]) -> str:
    return next(found for i in count(2) if (found := f"{name} ({i})") not in taken)

"""The snapshots of a training run, in order: from live weights, from memory, or from files that are read when asked."""

import glob
import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from ..errors import EmptyFolderError, SettingError, SnapshotError, UnknownSnapshotError, suggest
from ..trace_point import TracePoint
from . import formats, names, traces_file
from .fit import unwrapped
from .folders import is_checkpoint_folder, item_of, items_in
from .growing import Growth, Place
from .idioms import is_series
from .labels import labelled_apart
from .listing import rows_of
from .memory import held, held_all
from .paths import usable
from .recorder import Recorder
from .snapshot import Snapshot


class Snapshots(Sequence[Snapshot]):
    """Snapshots in the order of training. Ask by position, by label, or take a slice: ``snapshots[::10]``.

    A whole number is always a position and a text always a label. Where two have one label, as when two runs are put
    together, ``Snapshots([*a, *b])``, the later one is called ``"step-1 (2)"`` here, and ``notes`` says so.

    Attributes:
        where: where they come from, for messages.
        passed_over: names in the folder that are no snapshots, with the reason.
    """

    def __init__(
        self,
        snapshots: Iterable[Snapshot],
        *,
        where: str = "memory",
        notes: tuple[str, ...] = (),
        passed_over: tuple[tuple[str, str], ...] = (),
        place: Place | None = None,
    ) -> None:
        """``place`` is what :meth:`again` looks at; only with one there may be none yet."""
        given = _checked_rows(snapshots)
        if not given and place is None:
            raise EmptyFolderError(f"Expected at least one snapshot from {where}, got none.")
        self._rows, renamed = labelled_apart(given)
        self.where, self._notes, self.passed_over, self._watched = where, notes + renamed, passed_over, place
        self._positions = {alias: i for i, row in enumerate(self._rows) for alias in row.aliases}
        self._positions |= {row.label: i for i, row in enumerate(self._rows)}

    @classmethod
    def of(cls, source: object, model: nn.Module | None = None) -> "Snapshots":
        """Make snapshots of whatever a session is given.

        Args:
            source: None for the weights of ``model`` as they are now (copied); a list or dictionary of state_dicts
                (copied; whole numbers as keys are steps); a file, folder or glob; a list of files; what
                :func:`lhexplore.record` gave, for all that it has written and will write; or ready ``Snapshots``.
            model: needed for None.

        Raises:
            SettingError: it is none of these, or two entries of a dictionary have one label.
            SnapshotError: something in it cannot be used; the message names it.
        """
        if isinstance(source, Snapshots):
            return source
        if source is None:
            if model is None:
                raise SettingError("Snapshots of the live weights need the model, got None.")
            return cls([held("now", unwrapped(model).state_dict())], where="the live weights")
        if isinstance(source, Recorder):
            return cls.awaited(source.path)
        if isinstance(source, str | os.PathLike):
            return cls.from_files(source) if _is_glob(source) else cls.discover(source)
        if isinstance(source, nn.Module):
            return cls([held("now", unwrapped(source).state_dict())], where="the live weights")
        if isinstance(source, Mapping) and source:
            if is_series(source):
                return cls(held_all(source.items(), numbers_are_steps=True), where="a dictionary of state_dicts")
            return cls([held("given", source)], where="a state_dict")
        if isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | memoryview):
            given = list(source)
            if not given:
                raise SettingError("snapshots is empty: expected at least one state_dict or file, got none.")
            if all(isinstance(item, str | os.PathLike) for item in given):
                return cls._from_paths([usable(item) for item in given], where="a list of files")
            return cls(held_all(enumerate(given), numbers_are_steps=False), where="a list of state_dicts")
        raise SettingError(
            "snapshots must be None, a list or dictionary of state_dicts, a file, folder or glob, or Snapshots; got "
            f"{type(source).__name__}."
        )

    @classmethod
    def discover(
        cls, path: str | os.PathLike[str], *, pattern: str | None = None, which: str | None = None
    ) -> "Snapshots":
        """List the checkpoints in a folder (or a single file), in the order of training. Tensors are not read.

        Args:
            path: a folder with ``.safetensors``, ``.pt``, ``.pth``, ``.bin`` or ``.ckpt`` files, or with subfolders as
                the Hugging Face Trainer and accelerate write them; or one such file.
            pattern: a regular expression with groups ``step`` and ``epoch``, tried on each name before the built-in
                patterns. Fields inside a file count more.
            which: the entry that holds the weights, for files with several (``"state_dict_ema"``); None takes the raw
                weights.

        Raises:
            EmptyFolderError: nothing there that could be a checkpoint.
            SnapshotError: two different checkpoints claim to be the same step.
        """
        folder = usable(path)
        _check_entry(which)
        if not _exists(folder):
            raise EmptyFolderError(f"{_nothing_at(folder)} {_AWAIT.format(repr(str(path)))}")
        if not folder.is_dir() or is_checkpoint_folder(folder):
            return cls._from_paths([folder], where=repr(str(path)), pattern=pattern, which=which)
        place = Place(folder, False, folder, names.checked(pattern), which)
        place.take_in()
        try:
            items, passed = items_in(folder)
        except OSError as error:
            raise SnapshotError(f"{str(folder)!r} cannot be listed: {error.strerror or error}.") from error
        if not items:
            raise EmptyFolderError(f"{_nothing_in(folder, passed)} {_AWAIT.format(repr(str(path)))}")
        rows, notes = rows_of(items, folder, place.pattern, which, ordered=False)
        return cls(rows, where=repr(str(path)), notes=notes, passed_over=tuple(passed), place=place)

    @classmethod
    def from_files(
        cls, files: str | os.PathLike[str], *, pattern: str | None = None, which: str | None = None
    ) -> "Snapshots":
        r"""List the files that a glob matches, in the order of training.

        Args:
            files: for example ``"ckpts/*.pt"``; ``**`` goes into subfolders.
            pattern: for example ``r"ep(?P<epoch>\d+)_it(?P<step>\d+)"``, tried on the path as matched.
            which: as for :meth:`discover`.

        Raises:
            EmptyFolderError: nothing matches.
        """
        wanted = str(usable(files))
        _check_entry(which)
        base = _fixed_part(wanted)
        place = Place(Path(wanted), True, base, names.checked(pattern), which)
        place.take_in()
        found = [Path(name) for name in sorted(glob.glob(wanted, recursive=True))]  # noqa: PTH207 - absolute patterns too
        if not found:
            raise EmptyFolderError(
                f"No file matches {str(files)!r} (looked from {str(Path.cwd())!r}). "
                f"{_contents_of_folder(_fixed_part(wanted))}"
            )
        items = [item_of(path) for path in found]
        rows, notes = rows_of(items, base, place.pattern, which, ordered=False)
        return cls(rows, where=repr(str(files)), notes=notes, place=place)

    @classmethod
    def awaited(
        cls, where: str | os.PathLike[str], *, pattern: str | None = None, which: str | None = None
    ) -> "Snapshots":
        """Those that training has written and will write: a folder or glob in which there may be nothing yet.

        Args:
            where: the folder, which need not be there, or a glob.
            pattern: as for :meth:`discover`.
            which: as for :meth:`discover`.
        """
        path, is_glob = usable(where), _is_glob(where)
        try:
            return (cls.from_files if is_glob else cls.discover)(where, pattern=pattern, which=which)
        except EmptyFolderError:
            base = _fixed_part(str(path)) if is_glob else path
            place = Place(path, is_glob, base, names.checked(pattern), which)
            return cls((), where=repr(str(where)), place=place)

    @classmethod
    def _from_paths(
        cls, paths: list[Path], *, where: str, pattern: str | None = None, which: str | None = None
    ) -> "Snapshots":
        for path in paths:
            if not _exists(path):
                raise EmptyFolderError(_nothing_at(path))
        rows, notes = rows_of([item_of(path) for path in paths], None, names.checked(pattern), which, ordered=True)
        return cls(rows, where=where, notes=notes)

    @property
    def grows(self) -> bool:
        """Whether there is a folder or glob in which more may appear."""
        return self._watched is not None

    def again(self, *, quiet: float = 0.0) -> "tuple[Snapshots, Growth] | None":
        """Look again: the series as it is now and what is new in it; None where nothing has changed.

        What was known stays the very same object. Costs about 2 ms for a folder of 1000 files while nothing changes.

        Args:
            quiet: leave for the next time what changed less than so many seconds ago.
        """
        growth = None if self._watched is None else self._watched.again(self._rows, quiet=quiet)
        if growth is None:
            return None
        bad = (f"{row.label!r} cannot be used: {row.reason}" for row in growth.rows if _arrived_bad(row, growth))
        notes = tuple(dict.fromkeys((*self._notes, *growth.notes, *bad)))
        now = Snapshots(growth.rows, where=self.where, notes=notes, passed_over=self.passed_over, place=growth.place)
        return now, growth

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in order."""
        return tuple(row.label for row in self._rows)

    @property
    def usable(self) -> tuple[Snapshot, ...]:
        """Those that nothing is known to be wrong with."""
        return tuple(row for row in self._rows if row.status == "ok")

    @property
    def recorded_traces(self) -> tuple[TracePoint, ...]:
        """Traces measured while training, by step: with these snapshots and, in their folders, between them."""
        folders = dict.fromkeys(row.path.parent for row in self._rows if row.path is not None)
        between = (point for folder in folders for point in traces_file.read(folder))
        return traces_file.in_order((*between, *(row.traces for row in self._rows if row.traces is not None)))

    @property
    def identical(self) -> tuple[tuple[str, ...], ...]:
        """Labels of snapshots that hold the same weights, in groups, as far as that is known without reading."""
        groups: list[list[str]] = []
        by_evidence: dict[str, list[str]] = {}
        for row in self._rows:
            group = next((by_evidence[sign] for sign in row.evidence if sign in by_evidence), None)
            if group is None:
                group = []
                groups.append(group)
            group.append(row.label)
            by_evidence |= dict.fromkeys(row.evidence, group)
        return tuple(tuple(group) for group in groups if len(group) > 1)

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know of the whole series."""
        same = tuple(
            f"{len(group)} snapshots hold identical weights: {', '.join(map(repr, group[:6]))}"
            f"{' …' if len(group) > 6 else ''}. If training went on between them, look at how they were saved."
            for group in self.identical
        )
        return self._notes + same

    def index(self, value: Any, start: int = 0, stop: int | None = None) -> int:
        """The position of a label, an alias, a position (also from the end) or a snapshot.

        Raises:
            UnknownSnapshotError: with near labels, or with the label of that step.
        """
        position = self._position(value)
        if not start <= position < (len(self) if stop is None else stop):
            raise UnknownSnapshotError(f"Snapshot {value!r} is at {position}, not between {start} and {stop}.")
        return position

    def _position(self, value: object) -> int:
        if isinstance(value, Snapshot):
            return self._place(value)
        if isinstance(value, str):
            if value in self._positions:
                return self._positions[value]
            alike = [place for label, place in self._positions.items() if _unpadded(label) == _unpadded(value)]
            if len(alike) == 1:  # step-128 means step-000128
                return alike[0]
            raise UnknownSnapshotError(f"There is no snapshot labelled {value!r} in {self.where}. {self._near(value)}")
        try:
            position = operator.index(value)  # type: ignore[arg-type]  # anything that is a whole number
        except TypeError:
            raise UnknownSnapshotError(
                f"A snapshot is asked for by position or label, got {value!r} ({type(value).__name__})."
            ) from None
        if not self._rows:
            raise UnknownSnapshotError(
                f"There is no snapshot in {self.where} yet. Ask again when training has written the first one: "
                "session.refresh() looks for it."
            )
        if not -len(self) <= position < len(self):
            at = next((row.label for row in self._rows if row.step == position), None)
            hint = f"Step {position} has the label {at!r}." if at else "Positions count snapshots, not steps."
            raise UnknownSnapshotError(
                f"There is no snapshot {position}: there are {len(self)}, from 0 to {len(self) - 1} (-1 is the last). "
                f"{hint}"
            )
        return position % len(self)

    def _place(self, snapshot: Snapshot) -> int:
        """Where this very snapshot is, or else the one that was made of the same file under the same label."""
        if snapshot in self._rows:
            return self._rows.index(snapshot)
        read_from = (snapshot.path, snapshot.label)
        for i, row in enumerate(self._rows):
            if row.comes_from(snapshot) or (row.path is not None and (row.path, row.label) == read_from):
                return i
        raise UnknownSnapshotError(f"{snapshot!r} is not among the snapshots from {self.where}.")

    def _near(self, label: str) -> str:
        digits = "".join(filter(str.isdecimal, label))
        at = next((row.label for row in self._rows if digits and row.step == int(digits)), None)
        return f"Did you mean {at!r}?" if at else suggest(label, self._positions)

    @overload
    def __getitem__(self, key: int | str | Snapshot) -> Snapshot: ...
    @overload
    def __getitem__(self, key: slice) -> "Snapshots": ...
    def __getitem__(self, key: int | str | Snapshot | slice) -> "Snapshot | Snapshots":
        if isinstance(key, slice):
            return Snapshots(self._rows[key], where=self.where, notes=self._notes, passed_over=self.passed_over)
        return self._rows[self._position(key)]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Snapshot]:
        return iter(self._rows)

    def __contains__(self, value: object) -> bool:
        return value in self._positions if isinstance(value, str) else value in self._rows

    def __repr__(self) -> str:
        if not self._rows:
            return f"Snapshots(none in {self.where} yet)"
        ends = self.labels[0] if len(self) == 1 else f"{self.labels[0]!r} … {self.labels[-1]!r}"
        faulty = len(self) - len(self.usable)
        return f"Snapshots({len(self)} from {self.where}: {ends}{f'; {faulty} not usable' if faulty else ''})"


_AWAIT = "If training is still to write there, give snapshots=lhexplore.Snapshots.awaited({})."


def _arrived_bad(row: Snapshot, growth: Growth) -> bool:
    return row.status != "ok" and row.label in (*growth.new, *growth.changed)


def _checked_rows(snapshots: object) -> tuple[Snapshot, ...]:
    rows = tuple(snapshots) if isinstance(snapshots, Iterable) and not isinstance(snapshots, str) else (snapshots,)
    odd = next((row for row in rows if not isinstance(row, Snapshot)), None)
    if odd is not None or snapshots is None:
        raise SettingError(
            f"Snapshots(…) puts ready snapshots in a row, got {type(odd).__name__}. Use Snapshots.discover(folder), "
            "Snapshots.from_files(glob), or Snapshots.of(…) for state_dicts."
        )
    return rows


def _check_entry(which: object) -> None:
    if not isinstance(which, str | None):
        raise SettingError(f"which must be the name of the entry that holds the weights, or None; got {which!r}.")


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # longer than a name can be, or behind a closed folder
        return False


def _unpadded(label: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", label)


def _is_glob(source: str | os.PathLike[str]) -> bool:
    """Whether it has to be a pattern: brackets occur in real names too."""
    path = usable(source)
    return glob.has_magic(str(path)) and not _exists(path)


def _fixed_part(wanted: str) -> Path:
    """The folder above the first wildcard of a glob."""
    fixed = Path()
    for part in Path(wanted).parts[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _nothing_at(path: Path) -> str:
    return f"There is nothing at {str(path)!r} (looked from {str(Path.cwd())!r}). {_contents_of_folder(path.parent)}"


def _nothing_in(folder: Path, passed: list[tuple[str, str]]) -> str:
    over = f" Passed over: {', '.join(f'{name} ({reason})' for name, reason in passed[:3])}." if passed else ""
    return (
        f"No checkpoints in {str(folder)!r}: looked for files that end in {', '.join(formats.SUFFIXES)} and for "
        f"subfolders that hold model.safetensors or an index of shards. {_contents_of_folder(folder)}{over} Deeper "
        "folders are reached with a glob such as 'runs/**/*.pt'."
    )


def _contents_of_folder(folder: Path, most: int = 5) -> str:
    try:
        entries = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in folder.iterdir())
    except OSError:
        return f"The folder {str(folder)!r} does not exist or cannot be listed."
    if not entries:
        return f"The folder {str(folder)!r} is empty."
    rest = f" and {len(entries) - most} more" if len(entries) > most else ""
    return f"In {str(folder)!r} there are {', '.join(map(repr, entries[:most]))}{rest}."

"""The snapshots of a training run, in order: from live weights, from memory, or from files that are read when asked."""

import glob
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, overload

from torch import nn

from ..errors import EmptyFolderError, SettingError, SnapshotError, UnknownSnapshotError, suggest
from . import formats, names
from .fit import unwrapped
from .folders import is_checkpoint_folder, item_of, items_in
from .listing import rows_of
from .memory import held, held_all
from .snapshot import Snapshot


class Snapshots(Sequence[Snapshot]):
    """Snapshots in the order of training. Ask by position, by label, or take a slice: ``snapshots[::10]``.

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
    ) -> None:
        self._rows = tuple(snapshots)
        self.where, self._notes, self.passed_over = where, notes, passed_over
        if not self._rows:
            raise EmptyFolderError(f"Expected at least one snapshot from {where}, got none.")
        self._positions = {alias: i for i, row in enumerate(self._rows) for alias in row.aliases}
        self._positions |= {row.label: i for i, row in enumerate(self._rows)}

    @classmethod
    def of(cls, source: object, model: nn.Module | None = None) -> "Snapshots":
        """Make snapshots of whatever a session is given.

        Args:
            source: None for the weights of ``model`` as they are now (copied); a list or dictionary of state_dicts
                (copied; whole numbers as keys are steps); a file, folder or glob; a list of files; or ready
                ``Snapshots``.
            model: needed for None.
        """
        if isinstance(source, Snapshots):
            return source
        if source is None:
            if model is None:
                raise SettingError("Snapshots of the live weights need the model, got None.")
            return cls([held("now", unwrapped(model).state_dict())], where="the live weights")
        if isinstance(source, str | Path):
            return cls.from_files(source) if _is_glob(source) else cls.discover(source)
        if isinstance(source, nn.Module):
            return cls([held("now", unwrapped(source).state_dict())], where="the live weights")
        if isinstance(source, Mapping):
            if all(isinstance(value, Mapping | nn.Module) for value in source.values()) and source:
                return cls(held_all(source.items(), numbers_are_steps=True), where="a dictionary of state_dicts")
            return cls([held("given", source)], where="a state_dict")
        if isinstance(source, Iterable):
            given = list(source)
            if not given:
                raise SettingError("snapshots is empty: expected at least one state_dict or file, got none.")
            if all(isinstance(item, str | Path) for item in given):
                return cls._from_paths([Path(item).expanduser() for item in given], where="a list of files")
            return cls(held_all(enumerate(given), numbers_are_steps=False), where="a list of state_dicts")
        raise SettingError(
            "snapshots must be None, a list or dictionary of state_dicts, a file, folder or glob, or Snapshots; got "
            f"{type(source).__name__}."
        )

    @classmethod
    def discover(cls, path: str | Path, *, pattern: str | None = None, which: str | None = None) -> "Snapshots":
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
        folder = _path(path).expanduser()
        if not folder.exists():
            raise EmptyFolderError(_nothing_at(folder))
        if not folder.is_dir() or is_checkpoint_folder(folder):
            return cls._from_paths([folder], where=repr(str(path)), pattern=pattern, which=which)
        try:
            items, passed = items_in(folder)
        except OSError as error:
            raise SnapshotError(f"{str(folder)!r} cannot be listed: {error.strerror or error}.") from error
        if not items:
            raise EmptyFolderError(_nothing_in(folder, passed))
        rows, notes = rows_of(items, folder, names.checked(pattern), which, ordered=False)
        return cls(rows, where=repr(str(path)), notes=notes, passed_over=tuple(passed))

    @classmethod
    def from_files(cls, files: str | Path, *, pattern: str | None = None, which: str | None = None) -> "Snapshots":
        r"""List the files that a glob matches, in the order of training.

        Args:
            files: for example ``"ckpts/*.pt"``; ``**`` goes into subfolders.
            pattern: for example ``r"ep(?P<epoch>\d+)_it(?P<step>\d+)"``, tried on the path as matched.
            which: as for :meth:`discover`.

        Raises:
            EmptyFolderError: nothing matches.
        """
        wanted = str(_path(files).expanduser())
        found = [Path(name) for name in sorted(glob.glob(wanted, recursive=True))]  # noqa: PTH207 - absolute patterns too
        if not found:
            raise EmptyFolderError(
                f"No file matches {str(files)!r} (looked from {str(Path.cwd())!r}). "
                f"{_contents_of_folder(_fixed_part(wanted))}"
            )
        items = [item_of(path) for path in found]
        base = _fixed_part(wanted)
        rows, notes = rows_of(items, base, names.checked(pattern), which, ordered=False)
        return cls(rows, where=repr(str(files)), notes=notes)

    @classmethod
    def _from_paths(
        cls, paths: list[Path], *, where: str, pattern: str | None = None, which: str | None = None
    ) -> "Snapshots":
        for path in paths:
            if not path.exists():
                raise EmptyFolderError(_nothing_at(path))
        rows, notes = rows_of([item_of(path) for path in paths], None, names.checked(pattern), which, ordered=True)
        return cls(rows, where=where, notes=notes)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, in order."""
        return tuple(row.label for row in self._rows)

    @property
    def usable(self) -> tuple[Snapshot, ...]:
        """Those that nothing is known to be wrong with."""
        return tuple(row for row in self._rows if row.status == "ok")

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
            return self._position(value.label)
        if isinstance(value, str):
            if value in self._positions:
                return self._positions[value]
            raise UnknownSnapshotError(f"There is no snapshot labelled {value!r} in {self.where}. {self._near(value)}")
        try:
            position = operator.index(value)  # type: ignore[arg-type]  # anything that is a whole number
        except TypeError:
            raise UnknownSnapshotError(
                f"A snapshot is asked for by position or label, got {value!r} ({type(value).__name__})."
            ) from None
        if not -len(self) <= position < len(self):
            at = next((row.label for row in self._rows if row.step == position), None)
            hint = f"Step {position} has the label {at!r}." if at else "Positions count snapshots, not steps."
            raise UnknownSnapshotError(
                f"There is no snapshot {position}: there are {len(self)}, from 0 to {len(self) - 1} (-1 is the last). "
                f"{hint}"
            )
        return position % len(self)

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
        ends = self.labels[0] if len(self) == 1 else f"{self.labels[0]!r} … {self.labels[-1]!r}"
        faulty = len(self) - len(self.usable)
        return f"Snapshots({len(self)} from {self.where}: {ends}{f'; {faulty} not usable' if faulty else ''})"


def _path(given: object) -> Path:
    if not isinstance(given, str | Path):
        raise SettingError(f"Expected a path or a glob, got {given!r} ({type(given).__name__}).")
    return Path(given)


def _is_glob(source: str | Path) -> bool:
    """Whether it has to be a pattern: brackets occur in real names too."""
    return glob.has_magic(str(source)) and not Path(source).expanduser().exists()


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

"""A folder of results: one immutable file per key, written aside and renamed, so that no reader sees half of one.

Any number of processes may use one folder. Whatever goes wrong with the disk, results stay in memory and the person is
told once.
"""

import os
import re
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import final

from ..errors import SettingError, StoreError
from ..layer_state import LayerState
from ..spectrum import Spectrum
from . import codec
from .codec import Value
from .store import MEMORY_BYTES, MemoryStore, is_complete

DISK_BYTES = 2 * 2**30
ENDING = ".safetensors"

_WINDOWS = os.name == "nt"
_TEMPORARY = ".tmp-"
_STALE = 86_400.0  # seconds after which a temporary file cannot belong to a living writer
_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,128}")  # a key that is a file name everywhere
_PATIENCE = (0.0, 0.01, 0.05, 0.2)  # seconds between tries to rename: on Windows a reader holds the file shortly
_FULL_TO = 0.9  # share of the limit that is left after clearing, so that not every write has to clear


@final
class DirectoryStore:
    """Keeps results in a folder, and the last used ones in memory as well.

    Attributes:
        path: the folder.
        notices: what the person should be told, each once.
        damaged: how many entries were unreadable and set aside as ``*.bad`` to be computed again.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_bytes: int = DISK_BYTES,
        memory_bytes: int = MEMORY_BYTES,
        shared: bool = False,
    ) -> None:
        """Use a folder; it is made, for its owner alone, if it is not there.

        Args:
            path: the folder.
            max_bytes: least recently used files are removed beyond this.
            memory_bytes: how much to keep in memory as well.
            shared: accept a folder that other users of the machine can write to.

        Raises:
            StoreError: it can be neither written nor read, or others could plant results in it.
        """
        self.path = Path(path).expanduser()
        self.notices: list[str] = []
        self.damaged = 0
        self._memory = MemoryStore(max_bytes=memory_bytes)
        self._max_bytes = max_bytes
        self._disk_bytes: int | None = None  # counted at the first write
        self._puts = 0
        self._foreign: set[str] = set()  # keys whose files another version wrote: left alone
        self._lock = threading.Lock()
        self._prepare(shared)

    @property
    def stamp(self) -> tuple[int, ...]:
        try:
            changed = self.path.stat().st_mtime_ns  # moves when another process puts a file there
        except OSError:
            changed = -1
        return self._puts, changed

    def get(self, key: str) -> Spectrum | None:
        found = self._find(key)
        return found if isinstance(found, Spectrum) else None

    def state(self, key: str) -> LayerState | None:
        found = self._find(key)
        return found if isinstance(found, LayerState) else None

    def _find(self, key: str) -> Value | None:
        found = self._memory.find(key)
        if found is not None or key in self._foreign:
            return found
        try:
            with self._file(key).open("rb") as file:
                inode = os.fstat(file.fileno()).st_ino
                data = file.read()
        except FileNotFoundError:
            return None
        except OSError as error:
            self._tell(f"The cache {str(self.path)!r} cannot be read ({_why(error)}): results are computed again.")
            return None
        try:
            found = codec.decode(key, data)
        except codec.OtherSchemaError:
            self._foreign.add(str(key))
            self._tell(
                f"The cache {str(self.path)!r} holds results of another version of lhexplore; they are left as is."
            )
            return None
        except codec.DamagedError:
            self._set_aside(key, inode)
            return None
        self._memory.put(key, found)
        self._mark_used(key)
        return found

    def put(self, key: str, value: Value) -> None:
        name = self._file(key)
        if not is_complete(value):
            known = self._find(key)
            if known is not None and is_complete(known):
                return
        self._memory.put(key, value)
        with self._lock:
            self._puts += 1
        if key in self._foreign:
            return
        data = codec.encode(key, value)
        try:
            self._make_room(len(data))
            self._write(name, data)
        except OSError as error:
            self._tell(
                f"The cache {str(self.path)!r} cannot be written ({_why(error)}): results are kept in memory and are "
                "lost when this process ends."
            )

    def keys(self) -> Iterator[str]:
        """The keys on disk, in no order."""
        return (entry.name.removesuffix(ENDING) for entry in self._entries())

    def __repr__(self) -> str:
        return f"DirectoryStore({str(self.path)!r})"

    def _file(self, key: str) -> Path:
        if not _PLAIN.fullmatch(key):
            raise SettingError(f"A key is made of up to 128 letters, digits, '-' and '_', got {key[:140]!r}.")
        return self.path / f"{key}{ENDING}"

    def _entries(self) -> list[os.DirEntry[str]]:
        with os.scandir(self.path) as found:
            return [e for e in found if e.name.endswith(ENDING) and not e.name.startswith(_TEMPORARY)]

    def _prepare(self, shared: bool) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            held = self.path.stat()
        except OSError as error:
            raise StoreError(_unusable(self.path, _why(error))) from error
        if not shared:
            _refuse_open_to_others(self.path, held)
        probe = self.path / _temporary_name()
        try:
            probe.touch()
            probe.unlink()
            self._clear_leftovers()
        except OSError as error:
            try:
                readable = any(self._entries())
            except OSError:
                readable = False
            if not readable:  # a folder that is shipped full and read-only serves well; an empty one serves nobody
                raise StoreError(_unusable(self.path, _why(error))) from error
            self._tell(
                f"The cache {str(self.path)!r} can be read but not written ({_why(error)}): new results are kept in "
                "memory and are lost when this process ends."
            )

    def _clear_leftovers(self) -> None:
        """Remove what writers left that died more than a day ago."""
        now = time.time()
        for left in self.path.glob(f"{_TEMPORARY}*"):
            try:
                if now - left.stat().st_mtime > _STALE:
                    left.unlink()
            except FileNotFoundError:
                continue  # another process cleared it

    def _write(self, target: Path, data: bytes) -> None:
        aside = self.path / _temporary_name()
        try:
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _replace(aside, target)
        finally:
            aside.unlink(missing_ok=True)

    def _make_room(self, wanted: int) -> None:
        """Look at the limit before writing; beyond it, the files that were used longest ago go."""
        with self._lock:
            if self._disk_bytes is None:
                self._disk_bytes = sum(entry.stat().st_size for entry in self._entries())
            self._disk_bytes += wanted
            if self._disk_bytes <= self._max_bytes:
                return
            entries = sorted(((e.stat(), e.path) for e in self._entries()), key=lambda item: item[0].st_mtime)
            self._disk_bytes = wanted + sum(held.st_size for held, _ in entries)
            for held, path in entries:
                if self._disk_bytes <= self._max_bytes * _FULL_TO:
                    break
                Path(path).unlink(missing_ok=True)
                self._disk_bytes -= held.st_size

    def _mark_used(self, key: str) -> None:
        try:
            os.utime(self._file(key))
        except OSError:
            return  # read-only, or removed just now: it only costs its place in the queue

    def _set_aside(self, key: str, inode: int) -> None:
        """Rename a damaged file, unless another process has put a good one in its place in the meantime."""
        self.damaged += 1
        name = self._file(key)
        bad = self.path / f"{key}.bad"
        try:
            if name.stat().st_ino == inode:
                name.replace(bad)
                if bad.stat().st_ino != inode and not name.exists():
                    bad.replace(name)
        except OSError:
            pass  # it stays and is written over
        self._tell(
            f"An entry of the cache {str(self.path)!r} was damaged and was set aside (*.bad): it is computed again."
        )

    def _tell(self, notice: str) -> None:
        with self._lock:
            if notice not in self.notices:
                self.notices.append(notice)


def _temporary_name() -> str:
    return f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}-{secrets.token_hex(4)}"


def _replace(aside: Path, target: Path) -> None:
    for pause in _PATIENCE:
        time.sleep(pause)
        try:
            aside.replace(target)
        except PermissionError:
            if not _WINDOWS:
                raise
            continue
        return
    # Whoever holds it reads the same content: the key says what is in it.


def _refuse_open_to_others(path: Path, held: os.stat_result) -> None:
    if not hasattr(os, "geteuid") or os.geteuid() == 0:
        if held.st_mode & stat.S_IWOTH and hasattr(os, "geteuid"):
            raise StoreError(_open_to_others(path, "every user of this machine can write to it"))
        return
    if held.st_uid != os.geteuid():
        raise StoreError(_open_to_others(path, "it belongs to another user"))
    if held.st_mode & stat.S_IWOTH:
        raise StoreError(_open_to_others(path, "every user of this machine can write to it"))


def _open_to_others(path: Path, why: str) -> str:
    return (
        f"The cache should be a folder of your own, but {str(path)!r} is not safe: {why}, and could plant results. "
        "Choose a folder inside it, or pass a DirectoryStore(path, shared=True) if that is meant."
    )


def _unusable(path: Path, why: str) -> str:
    return (
        f"The cache should be a folder that can be written, but {str(path)!r} is not: {why}. Choose another with "
        "cache='folder', or cache=False to keep results in memory."
    )


def _why(error: OSError) -> str:
    return error.strerror or str(error)

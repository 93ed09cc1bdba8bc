"""What a store of results is, and the two that touch no disk."""

import threading
from collections import OrderedDict
from typing import Protocol, final

from ..spectrum import Spectrum

MEMORY_BYTES = 128 * 2**20  # some thousand exact spectra of a thousand eigenvalues each


class Store(Protocol):
    """Keeps spectra under keys. Neither method ever raises for a fault of the disk; ``notices`` tells of them."""

    @property
    def notices(self) -> list[str]:
        """What the person should be told, each once."""

    def get(self, key: str) -> Spectrum | None:
        """The spectrum under this key, or None if there is none that can be read."""

    def put(self, key: str, spectrum: Spectrum) -> None:
        """Keep a spectrum. One that is still partial never takes the place of a complete one."""


@final
class NoStore:
    """Keeps nothing, so that callers need no ``if``."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    def get(self, key: str) -> Spectrum | None:
        return None

    def put(self, key: str, spectrum: Spectrum) -> None:
        return None

    def __repr__(self) -> str:
        return "NoStore()"


@final
class MemoryStore:
    """Keeps what was used last, up to ``max_bytes``; safe to use from several threads."""

    def __init__(self, *, max_bytes: int = MEMORY_BYTES) -> None:
        self.notices: list[str] = []
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Spectrum] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Spectrum | None:
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: str, spectrum: Spectrum) -> None:
        with self._lock:
            old = self._held.get(key)
            if old is not None and old.complete and not spectrum.complete:
                return
            self._bytes += size_of(spectrum) - (size_of(old) if old is not None else 0)
            self._held[str(key)] = spectrum
            self._held.move_to_end(key)
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= size_of(dropped)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self)} spectra, {self._bytes / 1e6:.1f} MB)"


def size_of(spectrum: Spectrum) -> int:
    """Bytes a spectrum takes, nearly."""
    arrays = (spectrum.nodes, spectrum.weights, spectrum.residuals, spectrum.probe)
    return sum(array.nbytes for array in arrays) + 2048  # and about as much for the fields around them

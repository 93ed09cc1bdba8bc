"""What a store of results is, and the two that touch no disk."""

import threading
from collections import OrderedDict
from typing import Protocol, final

from ..layer_state import LayerState
from ..spectrum import Spectrum
from .codec import Value

MEMORY_BYTES = 128 * 2**20  # some thousand exact spectra of a thousand eigenvalues each


class Store(Protocol):
    """Keeps results under keys. No method ever raises for a fault of the disk; ``notices`` tells of them."""

    @property
    def notices(self) -> list[str]:
        """What the person should be told, each once."""

    @property
    def stamp(self) -> tuple[int, ...]:
        """Stays equal as long as nothing was put there: what was read from the store before holds still."""

    def get(self, key: str) -> Spectrum | None:
        """The spectrum under this key, or None if there is none that can be read."""

    def state(self, key: str) -> LayerState | None:
        """The same for the state of a layer."""

    def put(self, key: str, value: Value) -> None:
        """Keep a result. A spectrum that is still partial never takes the place of a complete one."""


@final
class NoStore:
    """Keeps nothing, so that callers need no ``if``."""

    def __init__(self) -> None:
        self.notices: list[str] = []

    @property
    def stamp(self) -> tuple[int, ...]:
        return ()

    def get(self, key: str) -> Spectrum | None:
        return None

    def state(self, key: str) -> LayerState | None:
        return None

    def put(self, key: str, value: Value) -> None:
        return None

    def __repr__(self) -> str:
        return "NoStore()"


@final
class MemoryStore:
    """Keeps what was used last, up to ``max_bytes``; safe to use from several threads."""

    def __init__(self, *, max_bytes: int = MEMORY_BYTES) -> None:
        self.notices: list[str] = []
        self._max_bytes = max_bytes
        self._held: OrderedDict[str, Value] = OrderedDict()
        self._bytes = self._puts = 0
        self._lock = threading.Lock()

    @property
    def stamp(self) -> tuple[int, ...]:
        return (self._puts,)

    def get(self, key: str) -> Spectrum | None:
        found = self.find(key)
        return found if isinstance(found, Spectrum) else None

    def state(self, key: str) -> LayerState | None:
        found = self.find(key)
        return found if isinstance(found, LayerState) else None

    def find(self, key: str) -> Value | None:
        """Whatever lies under this key."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def put(self, key: str, value: Value) -> None:
        with self._lock:
            self._puts += 1
            old = self._held.get(key)
            if old is not None and is_complete(old) and not is_complete(value):
                return
            self._bytes += size_of(value) - (size_of(old) if old is not None else 0)
            self._held[str(key)] = value
            self._held.move_to_end(key)
            while self._bytes > self._max_bytes and len(self._held) > 1:
                _, dropped = self._held.popitem(last=False)
                self._bytes -= size_of(dropped)

    def __len__(self) -> int:
        return len(self._held)

    def __repr__(self) -> str:
        return f"MemoryStore({len(self)} results, {self._bytes / 1e6:.1f} MB)"


def is_complete(value: Value) -> bool:
    """Whether no better value is still to come."""
    return not isinstance(value, Spectrum) or value.complete


def size_of(value: Value) -> int:
    """Bytes a value takes, nearly."""
    names = ("nodes", "weights", "residuals", "probe") if isinstance(value, Spectrum) else ("singular_values",)
    return sum(int(getattr(value, name).nbytes) for name in names) + 2048  # about as much for the fields around them

"""Results on disk and in memory: one file per spectrum, found again by what went into it. No pickle, no locks."""

from .directory import DirectoryStore
from .keys import Key, key
from .opening import open_store
from .store import MemoryStore, NoStore, Store

__all__ = ["DirectoryStore", "Key", "MemoryStore", "NoStore", "Store", "key", "open_store"]

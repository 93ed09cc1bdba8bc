"""From a session's ``cache`` setting to a store."""

import os
from pathlib import Path

from platformdirs import user_cache_path

from ..errors import SettingError, StoreError
from .directory import DirectoryStore
from .store import MemoryStore, Store

VARIABLE = "LHEXPLORE_CACHE"


def open_store(cache: bool | str | Path | Store = True) -> Store:
    """Open the store that ``cache`` names.

    Args:
        cache: True for the folder in the environment variable ``LHEXPLORE_CACHE``, or where that is unset or blank the
            user's cache folder; a path; False for memory alone, with nothing written; or a ready store.

    Raises:
        StoreError: a folder that was named, by argument or variable, cannot be used. If the user's cache folder
            cannot, the store is in memory and says so in its ``notices``.
    """
    if cache is False:
        return MemoryStore()
    if cache is True:
        named = os.environ.get(VARIABLE, "").strip()  # "export VARIABLE=' '" names no folder
        return DirectoryStore(named) if named else _in_user_cache()
    if isinstance(cache, str | Path):
        if not str(cache).strip():
            raise SettingError("cache must name a folder, or be True or False, got an empty text.")
        return DirectoryStore(cache)
    if all(hasattr(cache, name) for name in ("get", "state", "put", "notices", "stamp")):
        return cache
    raise SettingError(f"cache must be True, False, a path or a store, got {cache!r}.")


def _in_user_cache() -> Store:
    try:
        return DirectoryStore(user_cache_path("lhexplore", appauthor=False))
    except (StoreError, OSError, RuntimeError) as error:  # RuntimeError: no home folder can be found
        store = MemoryStore()
        store.notices.append(f"{error} Until then results are kept in memory and are lost when this process ends.")
        return store

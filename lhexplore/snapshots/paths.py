"""Paths as people give them: the ones that cannot be a path are refused before anything is looked up."""

import os
import stat
from pathlib import Path

from ..errors import FormatError, SettingError


def usable(given: object, what: str = "a path or a glob") -> Path:
    """``given`` as a path, with ``~`` as the home folder.

    Raises:
        SettingError: it is no path, it is empty, or it holds what no path can.
    """
    named = os.fspath(given) if isinstance(given, str | os.PathLike) else None
    if not isinstance(named, str):
        raise SettingError(f"Expected {what}, got {given!r} ({type(given).__name__}).")
    if not named.strip():
        raise SettingError(f"Expected {what}, got an empty text. The folder you are in is '.'.")
    if "\0" in named:
        raise SettingError(f"Expected {what}, got {given!r}: no path has a zero character in it.")
    try:
        return Path(named).expanduser()
    except RuntimeError as error:  # an unknown user, or no home
        raise SettingError(f"Expected {what}, got {given!r}: {error}") from error


def refuse_special(path: Path, mode: int) -> None:
    """Refuse what is no file of bytes: opening a named pipe waits until somebody writes into it.

    Raises:
        FormatError: a pipe, a socket, a device or a folder.
    """
    if not stat.S_ISREG(mode):
        raise FormatError(f"{path.name!r} is {kind(mode)}, not a file of weights; it was not opened.")


def kind(mode: int) -> str:
    """Name what a path leads to, other than a plain file."""
    kinds = ((stat.S_ISDIR, "a folder"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"))
    return next((word for test, word in kinds if test(mode)), "a device")

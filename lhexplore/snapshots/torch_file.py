"""Reading what ``torch.save`` wrote, without ever running what a pickle asks for.

Files are loaded with ``weights_only=True`` under a short list of further harmless types, and are never retried in
another way. Everything is read into private memory first; a memory map would end the process if the file shrank.
"""

import _codecs
import argparse
import copy
import io
import pickletools
import re
import struct
import threading
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core import multiarray
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

from ..errors import FormatError, IncompleteFileError, UnsafeFileError
from .contents import Contents, Look
from .idioms import contents_of, fields_in
from .pickles import imports, only_usual_names, outermost_class
from .torch_fields import tell

LEGACY_MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # torch.save before version 1.6
NEWEST_PROTOCOL = b"\x03"  # that torch's weights-only loading knows
SAFE_TORCH = (2, 10)  # weights-only loading ran code before 2.6 (CVE-2025-32434), corrupted memory before 2.10
TRUST = (
    "If you trust whoever wrote it, load it yourself and hand over the weights alone: "
    "snapshots={'label': state_dict}. Best is to save them as safetensors, as lhexplore.record does."
)

_LISTED = threading.Lock()  # torch keeps the list for the whole process: one thread must not clear it for another
# Plain values that training code keeps beside its weights. numpy 1 knew its module by another name.
_PLAIN: list[Any] = [
    argparse.Namespace,
    multiarray.scalar,
    (multiarray.scalar, "numpy.core.multiarray.scalar"),
    multiarray._reconstruct,
    (multiarray._reconstruct, "numpy.core.multiarray._reconstruct"),
    np.dtype,
    np.ndarray,
    _codecs.encode,  # how pickle protocol 2 spells bytes
    *sorted({type(np.dtype(code)) for code in "?bhilqBHILQefd"}, key=str),
]


def look(path: Path, *, fields: bool = True) -> Look:
    """See what the zip directory tells and, with ``fields``, the plain numbers at the top of the pickle.

    Tensors are not read. ``fields`` also finds foreign code, so that the row can say so before anybody loads.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(2) != b"PK":
            return Look("torch (before 1.6)", size)
        file.seek(max(0, size - _END_SIZE))
        if not _is_end(file.read(_END_SIZE)):
            return Look("torch", size, "partial", _no_directory(path.name, size))
    if not fields:
        return Look("torch", size)
    try:
        with zipfile.ZipFile(path) as archive:
            _refuse_other_archives(archive, path.name)
            folder, pickled = _pickle_in(archive, path.name)
            refusal = None if only_usual_names(pickled) else _refusal(path.name, pickled)
            scalars, sign = ({}, None) if refusal else tell(archive, folder, pickled)
    except (FormatError, IncompleteFileError) as error:
        return Look("torch", size, "format" if isinstance(error, FormatError) else "partial", str(error))
    except (zipfile.BadZipFile, ValueError, EOFError, OSError) as error:
        return Look("torch", size, "partial", _damaged(path.name, size, error))
    if refusal:
        return Look("torch", size, *refusal)
    step, epoch, metrics = fields_in(scalars)
    return Look("torch", size, step=step, epoch=epoch, metrics=metrics, sign=sign)


def read(path: Path, *, which: str | None = None) -> Contents:
    """Read the weights and the fields beside them into private memory.

    Raises:
        UnsafeFileError: it holds more than plain values; nothing of it was run.
        IncompleteFileError: truncated, extended or damaged.
        FormatError: TorchScript, a whole pickled module, or no weights in it.
    """
    _refuse_old_torch()
    data = path.read_bytes()
    pickled = _checked_pickle(data, path.name)
    refusal = _refusal(path.name, pickled)
    if refusal:
        raise (FormatError if refusal[0] == "format" else UnsafeFileError)(refusal[1])
    try:
        with _LISTED, safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of other pickle protocols; it reads them or raises
            saved = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True, mmap=False)
    except Exception as error:  # noqa: BLE001 - a damaged file can make the reader raise anything
        refused = re.search(r"GLOBAL (\S+) was not an allowed global|Unsupported global: GLOBAL (\S+)", str(error))
        if refused:
            raise UnsafeFileError(_unsafe(path.name, [refused[1] or refused[2]])) from None
        # torch's own text would advise to switch the protection off
        raise IncompleteFileError(_damaged(path.name, len(data), error)) from None
    return contents_of(saved, where=path.name, which=which)


_END_SIZE = 22  # bytes of a zip file's closing record; torch.save writes no comment behind it


def _is_end(tail: bytes) -> bool:
    return len(tail) == _END_SIZE and tail.startswith(b"PK\x05\x06") and tail.endswith(b"\0\0")


def _checked_pickle(data: bytes, name: str) -> bytes:
    """The object pickle of the file, once its checksums are seen to be right."""
    if not data.startswith(b"PK"):
        return _legacy_pickle(data, name)
    if not _is_end(data[-_END_SIZE:]):
        raise IncompleteFileError(_no_directory(name, len(data)))
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _refuse_other_archives(archive, name)
            if _has_checksums(archive):
                spoilt = archive.testzip()
                if spoilt:
                    raise IncompleteFileError(
                        f"{name!r} is damaged: the checksum of {spoilt!r} inside it is wrong. Copy it again or leave "
                        "it out."
                    )
            return _pickle_in(archive, name)[1]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, struct.error, ValueError) as error:
        if isinstance(error, FormatError | IncompleteFileError):
            raise
        raise IncompleteFileError(_damaged(name, len(data), error)) from error


def _pickle_in(archive: zipfile.ZipFile, name: str) -> tuple[str, bytes]:
    """The object pickle, and the folder inside of the archive it is in."""
    found = [entry for entry in archive.infolist() if entry.filename.endswith("/data.pkl")]
    if not found:
        raise FormatError(f"{name!r} is a zip archive, but not one that torch.save wrote: it has no data.pkl.")
    entry = copy.copy(found[0])
    if not _has_checksums(archive):
        del entry.CRC  # zipfile then reads without comparing
    with archive.open(entry) as file:
        return entry.filename.removesuffix("/data.pkl"), file.read()


def _has_checksums(archive: zipfile.ZipFile) -> bool:
    """Whether checksums were written; torch can be told not to, and then notes zeros."""
    return any(entry.CRC for entry in archive.infolist())


def _legacy_pickle(data: bytes, name: str) -> bytes:
    """The fourth of the pickles in a row that torch wrote before 1.6: magic number, protocol, system, object."""
    stream = io.BytesIO(data)
    try:
        for _ in range(3):
            for _operation in pickletools.genops(stream):
                pass
        start = stream.tell()
        for _operation in pickletools.genops(stream):
            pass
    except (ValueError, IndexError, OverflowError) as error:
        raise IncompleteFileError(_damaged(name, len(data), error)) from error
    return data[start : stream.tell()]


def _refuse_other_archives(archive: zipfile.ZipFile, name: str) -> None:
    names = archive.namelist()
    endings = {entry.partition("/")[2] for entry in names}
    if "constants.pkl" in endings or any(entry.startswith("code/") for entry in endings):
        raise FormatError(
            f"{name!r} is a TorchScript archive: it holds code, and is not loaded. Save model.state_dict() instead."
        )
    if "archive_format" in endings or any(entry.startswith("models/") for entry in endings):
        raise FormatError(f"{name!r} is an archive of torch.export, not weights. Save model.state_dict() instead.")
    if any(entry.endswith(".npy") for entry in names):
        raise FormatError(f"{name!r} is a numpy .npz archive; checkpoints here are torch.save or safetensors files.")
    if "config.json" in names and any(entry.endswith(".h5") for entry in names):
        raise FormatError(f"{name!r} is a Keras model; its weights cannot be put into a torch model.")
    packed = sum(entry.file_size for entry in archive.infolist())
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
        raise FormatError(
            f"{name!r} is a compressed zip archive ({packed:,} bytes unpacked); torch.save writes uncompressed ones. "
            "Unpack it first."
        )


def _unsafe_globals(pickled: bytes) -> list[str]:
    """What the pickle would import beyond torch's own list and ours. Nothing is imported or run to find out."""
    wrapped = io.BytesIO()  # a torch.save archive around the bare pickle: so the old format is judged alike
    with zipfile.ZipFile(wrapped, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        archive.writestr("archive/version", "3\n")
    wrapped.seek(0)
    try:
        with _LISTED, safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return sorted(get_unsafe_globals_in_checkpoint(wrapped))
    except Exception:  # noqa: BLE001 - damaged, or a protocol that torch does not disassemble
        try:
            return imports(pickled)
        except (ValueError, IndexError, OverflowError):
            return []  # damaged: the load itself will say so


def _refusal(name: str, pickled: bytes) -> tuple[str, str] | None:
    """Status and reason why the pickle is not loaded; None if it holds plain values."""
    unsafe, whole = _unsafe_globals(pickled), outermost_class(pickled)
    if whole and b"_parameters" in pickled and b"_modules" in pickled:
        return "format", (
            f"{name!r} is a whole pickled module ({whole}): loading it would run code, so it was not loaded. Save "
            f"model.state_dict() instead. {TRUST}"
        )
    if unsafe or whole:
        return "unsafe", _unsafe(name, unsafe or [str(whole)])
    if pickled[1:2] > NEWEST_PROTOCOL:
        return "format", (
            f"{name!r} was saved with pickle protocol {pickled[1]}, of which torch reads nothing safely; it reads "
            f"protocol {NEWEST_PROTOCOL[0]} and older. Save it again without pickle_protocol=…. {TRUST}"
        )
    return None


def _unsafe(name: str, unsafe: list[str]) -> str:
    listed = ", ".join(unsafe[:8]) + (f" and {len(unsafe) - 8} more" if len(unsafe) > 8 else "")
    return f"{name!r} was not loaded: besides weights it wants to import {listed}, and could run code. {TRUST}"


def _no_directory(name: str, size: int) -> str:
    return (
        f"{name!r} is incomplete or damaged: it has {size:,} bytes and should end in the directory of its zip archive, "
        "but does not. If training is still writing it, look again later; else copy it again or leave it out."
    )


def _damaged(name: str, size: int, error: Exception) -> str:
    said = str(error).split("\n")[0]
    said = type(error).__name__ if not said or "weights_only" in said or "Weights only" in said else said[:160]
    return (
        f"{name!r} is incomplete or damaged: its {size:,} bytes start like a torch.save file, but cannot be read to "
        f"the end ({said}). Copy it again or leave it out."
    )


def _refuse_old_torch() -> None:
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < SAFE_TORCH:
        raise UnsafeFileError(
            f"Files of torch.save are read with torch {'.'.join(map(str, SAFE_TORCH))} or newer, where weights-only "
            f"loading is safe; this is torch {torch.__version__}. Update torch, or use safetensors files."
        )

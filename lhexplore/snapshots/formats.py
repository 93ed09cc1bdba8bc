"""Which format a file has, decided by its first bytes and never by its name; and the two things done with each.

To add a format: recognise its first bytes in ``identify``, and give it a ``look`` (no tensors) and a ``read``.
"""

import os
import time
from pathlib import Path

from ..errors import FormatError, IncompleteFileError, SnapshotError
from . import safetensors_file, torch_file
from .contents import Contents, Look
from .paths import refuse_special

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar")  # where files are looked for, nothing more
RECENT = 60.0  # seconds; an incomplete file that was written to this recently may still be growing

_SHORTEST = 10  # bytes; an empty safetensors file has a length of 8 and "{}"
_START = 512  # bytes enough to know every format below
_FOREIGN = (  # first bytes, what they are, what to do
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "Fetch it with 'git lfs pull'"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file (Keras .h5 or the like)", "Convert it to safetensors first"),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first"),
    (b"\x93NUMPY", "a numpy array", "Checkpoints here are torch.save or safetensors files"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it first"),
    (b"GGUF", "a GGUF file with weights made for llama.cpp", "Use the original checkpoint"),
)


def identify(path: Path) -> str:
    """Name the format: ``"safetensors"`` or ``"torch"``.

    Raises:
        FormatError: something else, by name where it is known; what is no regular file is not opened.
        IncompleteFileError: nothing, or only zeros.
    """
    refuse_special(path, path.stat().st_mode)
    with path.open("rb") as file:
        start = file.read(_START)
    name = path.name
    if not start.strip(b"\0"):
        what = "is empty (0 bytes)" if not start else f"starts with {len(start)} zero bytes"
        raise IncompleteFileError(
            f"{name!r} {what}: its writer was interrupted before anything was stored. Copy it again or leave it out."
        )
    if len(start) < _SHORTEST:
        raise IncompleteFileError(
            f"{name!r} is incomplete: it has {len(start)} bytes, too few for any checkpoint. Copy it again or leave it "
            "out."
        )
    if start.startswith((b"PK\x03\x04", torch_file.LEGACY_MAGIC)):
        if path.suffix == ".safetensors":
            raise FormatError(
                f"{name!r} is named like safetensors, but it is a zip/pickle file of torch.save. It was not loaded: a "
                "renamed file deserves a second look. If it is what you expect, give it the ending .pt."
            )
        return "torch"
    if safetensors_file.is_header(start):
        return "safetensors"
    for magic, what, remedy in _FOREIGN:
        if start.startswith(magic):
            raise FormatError(f"{name!r} is {what}. {remedy}.")
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise FormatError(f"{name!r} is an HTML page, probably an error page of a download. Download it again.")
    if start[257:262] == b"ustar":
        raise FormatError(f"{name!r} is a tar archive, not a checkpoint. Unpack it first.")
    if start[0] == 0x80 and start[1:2] in b"\x02\x03\x04\x05":
        raise FormatError(
            f"{name!r} is a bare pickle that torch.save did not write; pickles can run code, so it was not loaded. "
            f"{torch_file.TRUST}"
        )
    if start[0] == 0x08 and start[1:2] <= b"\x20" and start[2:3] in b"\x12\x1a":
        raise FormatError(f"{name!r} is an ONNX model: a graph, not weights of a torch model. Use its checkpoint.")
    raise FormatError(
        f"{name!r} is neither a torch.save nor a safetensors file: it starts with {start[:12]!r}. Check what wrote it."
    )


def look(path: Path, *, fields: bool = True) -> Look:
    """See what can be seen without reading tensors; a file that cannot be used becomes a status with a reason."""
    try:
        stat = path.stat()
        kind = identify(path)
        seen = safetensors_file.look(path) if kind == "safetensors" else torch_file.look(path, fields=fields)
    except OSError as error:
        return Look("unknown", 0, "unreadable", f"{path.name!r} cannot be read: {error.strerror or error}.")
    except SnapshotError as error:
        status = "partial" if isinstance(error, IncompleteFileError) else "format"
        seen = Look("unknown", stat.st_size, status, str(error))
    if seen.status == "partial" and -RECENT < time.time() - stat.st_mtime < RECENT:
        return Look(seen.kind, seen.size, "writing", f"{seen.reason} It changed less than a minute ago.")
    return seen


def read(path: Path, *, which: str | None = None) -> Contents:
    """Read the weights into private memory.

    Raises:
        SnapshotError: one of its classes says what is wrong with the file.
    """
    try:
        before = path.stat()
        kind = identify(path)
        contents = safetensors_file.read(path) if kind == "safetensors" else torch_file.read(path, which=which)
        after = path.stat()
    except OSError as error:
        raise SnapshotError(f"{path.name!r} cannot be read: {error.strerror or error}.") from error
    if _stamp(before) != _stamp(after):
        raise IncompleteFileError(
            f"{path.name!r} changed while it was read (from {before.st_size:,} to {after.st_size:,} bytes). Try again "
            "when training has written it."
        )
    return contents


def _stamp(stat: os.stat_result) -> tuple[int, int, int]:
    return stat.st_ino, stat.st_size, stat.st_mtime_ns

"""What a file of ``torch.save`` tells while its weights stay unread: plain fields, and a sign of identity."""

import re
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..digests import digest_bytes, digest_json
from .idioms import is_count
from .symbols import Call, followed, stored

# Fields are looked for only where one of their names occurs at all: following a large pickle takes a while.
_FIELD = re.compile(rb"step|epoch|iter|\x02\x00\x00\x00it|loss|acc|err|metric|score|updates", re.IGNORECASE)
_STORAGES = {
    "torch LongStorage": "i8", "torch IntStorage": "i4", "torch ShortStorage": "i2", "torch CharStorage": "i1",
    "torch ByteStorage": "u1", "torch DoubleStorage": "f8", "torch FloatStorage": "f4", "torch HalfStorage": "f2",
}  # fmt: skip
_NUMPY_SCALARS = ("numpy._core.multiarray scalar", "numpy.core.multiarray scalar")
_ORDERS = {"little": "<", "big": ">"}
_LONGEST = 1000  # characters on the way to a tensor; deeper ones are left alone
_CODE = re.compile(r"[iuf][1248]")


def tell(archive: zipfile.ZipFile, folder: str, pickled: bytes) -> tuple[dict[str, Any], str | None]:
    """The plain fields of the outermost dictionary, by name, and a sign that is equal only for equal tensors.

    Args:
        archive: the file.
        folder: the folder inside of it that holds everything.
        pickled: its object pickle.

    Raises:
        ValueError: the pickle is damaged.
    """
    sums = {
        entry.filename.removeprefix(f"{folder}/data/"): (entry.CRC, entry.file_size)
        for entry in archive.infolist()
        if entry.filename.startswith(f"{folder}/data/")
    }
    plain = f"pickle {digest_bytes(pickled)} {sorted(sums.items())}" if any(crc for crc, _ in sums.values()) else None
    if not _FIELD.search(pickled):
        return {}, plain  # the usual bare state_dict
    top = followed(pickled)
    sign = _sign(top, sums, _byte_order(archive, folder)) if plain else None
    return (_fields(top, archive, folder) if isinstance(top, dict) else {}), sign or plain


def _sign(top: object, sums: Mapping[str, tuple[int, int]], order: str) -> str | None:
    """A digest of names, types, shapes and checksums of all tensors; None if some are where nobody looked.

    Checksums alone would not do: a matrix and its transpose, or two swapped names, have the same bytes.
    """
    tensors = list(_tensors(top))
    if {key for _, (_, key, *_) in tensors} != sums.keys():
        return None
    described = [
        [path, kind, offset, list(size), list(stride), *sums[key]]
        for path, (kind, key, offset, size, stride) in tensors
    ]
    return f"tensors {digest_json({'order': order, 'tensors': sorted(described)})}"


def _tensors(top: object) -> Iterator[tuple[str, tuple[Any, ...]]]:
    """All tensors in nested dictionaries and lists, with the way to them."""
    waiting, seen = [("", top)], {id(top)}
    while waiting:
        path, value = waiting.pop()
        place = stored(value)
        if place:
            yield path, place
        inner = (
            value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list | tuple) else ()
        )
        for key, item in inner if len(path) < _LONGEST else ():
            if id(item) not in seen or stored(item):
                seen.add(id(item))
                waiting.append((f"{path}[{key!r}]", item))


def _fields(top: dict[Any, Any], archive: zipfile.ZipFile, folder: str) -> dict[str, Any]:
    """The plain numbers and texts, those that numpy and torch wrap included."""
    bare = any(place and place[3] != () for place in map(stored, top.values()))  # a state_dict, not one inside it
    fields: dict[str, Any] = {}
    for name, value in top.items():
        place, plain = stored(value), value
        if place:
            plain = _of_tensor(place, archive, folder)
            if bare and not is_count(name, plain):
                continue  # a parameter may be one number, too
        elif isinstance(value, Call):
            plain = _of_numpy(value)
        if isinstance(name, str) and isinstance(plain, int | float | str):
            fields[name] = plain
    return fields


def _of_tensor(place: tuple[Any, ...], archive: zipfile.ZipFile, folder: str) -> int | float | None:
    kind, key, offset, size, _ = place
    code = _STORAGES.get(kind)
    if size != () or code is None or not isinstance(offset, int) or offset < 0:
        return None
    width = np.dtype(code).itemsize
    try:
        with archive.open(f"{folder}/data/{key}") as file:
            file.seek(offset * width)
            raw = file.read(width)
    except (KeyError, zipfile.BadZipFile):
        return None  # damaged, or written without checksums: it is known once the weights are read
    return _plain(_ORDERS.get(_byte_order(archive, folder), "<") + code, raw)


def _of_numpy(call: Call) -> int | float | None:
    if call.function not in _NUMPY_SCALARS or len(call.arguments) != 2:
        return None
    dtype, raw = call.arguments
    if not isinstance(dtype, Call) or dtype.function != "numpy dtype":
        return None
    code = _text(dtype.arguments)
    if isinstance(raw, Call) and raw.function == "_codecs encode":  # how pickle protocol 2 spells bytes
        raw = _text(raw.arguments).encode("latin-1", "replace")
    order = ">" if isinstance(dtype.state, tuple) and ">" in dtype.state else "<"
    return _plain(order + code, raw) if isinstance(raw, bytes) and _CODE.fullmatch(code) else None


def _text(arguments: tuple[Any, ...]) -> str:
    return arguments[0] if arguments and isinstance(arguments[0], str) else ""


def _plain(code: str, raw: bytes) -> int | float | None:
    kind = np.dtype(code)
    return np.frombuffer(raw, kind)[0].item() if len(raw) == kind.itemsize else None


def _byte_order(archive: zipfile.ZipFile, folder: str) -> str:
    try:
        return archive.read(f"{folder}/byteorder").decode("ascii", "replace")
    except (KeyError, zipfile.BadZipFile):
        return "little"

"""Reading ``.safetensors``: the header alone, or everything into private memory.

Nothing is memory-mapped: a mapped file that is cut short while it is in use ends the process with a signal, and one
that is overwritten in place changes weights under the reader.
"""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import Tensor

from ..errors import IncompleteFileError
from .contents import DIGEST, Contents, Look
from .idioms import as_step, number
from .traces_file import TRACES, decode

ALIASES = "lhexplore_aliases"  # metadata key: names that share one tensor, {other name: name in the file}
RUN = "lhexplore_run"
HEADER_LIMIT = 100_000_000  # bytes; the limit of the safetensors library itself


def is_header(start: bytes) -> bool:
    """Whether a file that starts with these bytes is laid out like safetensors: a length, then JSON."""
    return len(start) > 8 and start[8:9] == b"{"


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """Read names, shapes and metadata, and the size the whole file should have.

    Raises:
        IncompleteFileError: if the header is cut short or is not a header at all. Nothing large is allocated.
    """
    actual = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if length > min(HEADER_LIMIT, actual - 8) or length < 2:
            raise IncompleteFileError(
                f"{path.name!r} is incomplete or damaged: it has {actual:,} bytes, but its first 8 announce a header "
                f"of {length:,}. Copy it again or leave it out."
            )
        raw = file.read(length)
    return _parsed(raw, path.name), 8 + length


def look(path: Path) -> Look:
    """See what the header tells; a file that is shorter or longer than announced is ``partial``."""
    size = path.stat().st_size
    try:
        header, start = read_header(path)
        expected = start + _data_size(header, path.name)
    except IncompleteFileError as error:
        return Look("safetensors", size, "partial", str(error))
    if size != expected:
        return Look("safetensors", size, "partial", _wrong_size(path.name, size, expected))
    metadata = _metadata(header)
    step, epoch, metrics = _fields(metadata)
    digest = metadata.get(DIGEST)
    return Look(
        "safetensors", size, step=step, epoch=epoch, metrics=metrics, digest=digest, run=metadata.get(RUN),
        traces=decode(metadata.get(TRACES, "")),
    )  # fmt: skip


def read(path: Path) -> Contents:
    """Read all tensors into private memory.

    Raises:
        IncompleteFileError: truncated, extended or damaged.
    """
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0] if len(data) >= 8 else 0
    if not 2 <= length <= min(HEADER_LIMIT, len(data) - 8):
        raise IncompleteFileError(
            f"{path.name!r} is incomplete or damaged: it has {len(data):,} bytes, but its first 8 announce a header of "
            f"{length:,}. Copy it again or leave it out."
        )
    header = _parsed(data[8 : 8 + length], path.name)
    expected = 8 + length + _data_size(header, path.name)
    if len(data) != expected:
        raise IncompleteFileError(_wrong_size(path.name, len(data), expected))
    try:
        state: dict[str, Tensor] = safetensors.torch.load(data)
    except (safetensors.SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise IncompleteFileError(
            f"{path.name!r} is damaged: safetensors says {str(error)[:200]!r}. Copy it again or leave it out."
        ) from error
    metadata = _metadata(header)
    for other, name in _aliases(metadata, path.name).items():
        if name in state and other not in state:
            state[other] = state[name]
    step, epoch, metrics = _fields(metadata)
    return Contents(state, step, epoch, metrics, digest=metadata.get(DIGEST))


def _parsed(raw: bytes, name: str) -> dict[str, Any]:
    try:
        header = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise IncompleteFileError(
            f"{name!r} is damaged: its safetensors header is not readable JSON ({str(error)[:100]}). Copy it again "
            "or leave it out."
        ) from error
    if not isinstance(header, dict):
        raise IncompleteFileError(f"{name!r} is damaged: its safetensors header is JSON, but lists no tensors.")
    return header


def _data_size(header: Mapping[str, Any], name: str) -> int:
    """Where the last tensor ends, counted from the end of the header."""
    try:
        return max((int(entry["data_offsets"][1]) for key, entry in header.items() if key != "__metadata__"), default=0)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise IncompleteFileError(
            f"{name!r} is damaged: a tensor in its safetensors header has no valid place. Copy it again or leave it "
            "out."
        ) from error


def _wrong_size(name: str, size: int, expected: int) -> str:
    kind = "incomplete" if size < expected else "damaged"
    return (
        f"{name!r} is {kind}: it has {size:,} bytes, its header announces {expected:,}. Copy it again or leave it out."
    )


def _metadata(header: Mapping[str, Any]) -> dict[str, str]:
    found = header.get("__metadata__")
    return {str(k): v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def _fields(metadata: Mapping[str, str]) -> tuple[int | None, float | None, dict[str, float]]:
    step = as_step(_as_number(metadata.get("step", metadata.get("global_step"))))
    epoch = _as_number(metadata.get("epoch"))
    return step, epoch, decode_metrics(metadata.get("metrics", ""))


def _as_number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def encode_metrics(metrics: Mapping[str, float]) -> str:
    """Metrics as strict JSON: NaN becomes null, an infinity a string."""
    plain = {
        name: value if math.isfinite(value) else None if math.isnan(value) else str(value)
        for name, value in metrics.items()
    }
    return json.dumps(plain, allow_nan=False, sort_keys=True)


def decode_metrics(text: str) -> dict[str, float]:
    """The metrics of ``encode_metrics``; whatever else is there is left out."""
    try:
        plain = json.loads(text) if text else {}
    except ValueError:
        return {}
    if not isinstance(plain, dict):
        return {}
    special = {None: math.nan, "inf": math.inf, "-inf": -math.inf}
    found = {}
    for name, value in plain.items():
        known = special.get(value) if isinstance(value, str | None) else number(value)
        if known is not None:
            found[str(name)] = known
    return found


def _aliases(metadata: dict[str, str], name: str) -> dict[str, str]:
    """Names that share a tensor; ours, and those the safetensors library itself leaves out and notes."""
    try:
        found = json.loads(metadata.get(ALIASES, "{}"))
    except ValueError as error:
        raise IncompleteFileError(f"{name!r} is damaged: its list of shared tensors is not readable JSON.") from error
    own = {str(other): str(held) for other, held in found.items()} if isinstance(found, dict) else {}
    return metadata | own

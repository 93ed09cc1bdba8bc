"""Results as bytes of a safetensors file, and back, bit for bit; damage is noticed, never loaded."""

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy import ndarray
from safetensors.numpy import save

from ..digests import canonical_json, digest_parts
from ..errors import LhexploreError, SettingError
from ..layer_state import LayerState
from ..spectrum import Spectrum
from .keys import SCHEMA, Key

Value = Spectrum | LayerState


@dataclass(frozen=True, slots=True)
class _Kind:
    """What is written of one class: its name in the file, and which of its fields are arrays."""

    name: str
    made: type[Any]
    arrays: Mapping[str, str]

    @property
    def scalars(self) -> tuple[str, ...]:
        return tuple(field.name for field in fields(self.made) if field.name not in self.arrays)


_KINDS = (
    _Kind("spectrum", Spectrum, {"nodes": "F64", "weights": "F64", "residuals": "F64", "probe": "I64"}),
    _Kind("layer state", LayerState, {"singular_values": "F64"}),
)
_TYPES = {"F64": np.dtype("<f8"), "I64": np.dtype("<i8")}
_NAME = "lhexplore"  # the one metadata entry, JSON


class DamagedError(ValueError):
    """The bytes are not what was written. Never leaves the store."""


class OtherSchemaError(ValueError):
    """Whole, but written by another version that means something else by it. Never leaves the store."""


def encode(key: str, value: Value) -> bytes:
    """Write a spectrum or a layer's state as a safetensors file.

    Raises:
        SettingError: a field holds something that JSON cannot say.
    """
    kind = next(kind for kind in _KINDS if isinstance(value, kind.made))
    arrays = {name: np.ascontiguousarray(getattr(value, name), _TYPES[item]) for name, item in kind.arrays.items()}
    about = {
        "schema": SCHEMA,
        "version": version("lhexplore"),
        "key": str(key),
        "inputs": key.inputs if isinstance(key, Key) else "{}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "status": "partial" if isinstance(value, Spectrum) and not value.complete else "complete",
        kind.name: {name: _to_json(getattr(value, name), name) for name in kind.scalars},
    }
    about["digest"] = _digest(about, arrays)
    return bytes(save(arrays, metadata={_NAME: canonical_json(about)}))


def decode(key: str, data: bytes) -> Value:
    """Read a value back.

    Raises:
        DamagedError: truncated, extended, altered, or of another key.
        OtherSchemaError: written under another schema.
    """
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > len(data) - 8:
            raise DamagedError("shorter than its header says")
        header = json.loads(data[8 : 8 + length])
        about = json.loads(header["__metadata__"][_NAME])
        if about["schema"] != SCHEMA:
            raise OtherSchemaError(str(about["schema"])[:20])
        kind = next((kind for kind in _KINDS if kind.name in about), None)
        if kind is None:
            raise DamagedError("no kind of value that is known")
        body = memoryview(data)[8 + length :]
        arrays: dict[str, Any] = {name: _array(header[name], body, item) for name, item in kind.arrays.items()}
        if about["key"] != key or sum(array.nbytes for array in arrays.values()) != len(body):
            raise DamagedError("another key, or bytes that belong to nothing")
        if about.pop("digest") != _digest(about, arrays):
            raise DamagedError("its digest does not fit")
        values: dict[str, Any] = {name: _from_json(item) for name, item in about[kind.name].items()}
        found: Value = kind.made(**values, **arrays)
    except (struct.error, KeyError, TypeError, IndexError, AttributeError, RecursionError, LhexploreError) as error:
        raise DamagedError(str(error)) from error
    except ValueError as error:
        if isinstance(error, OtherSchemaError | DamagedError):
            raise
        raise DamagedError(str(error)) from error
    return found


def _array(entry: Mapping[str, Any], body: memoryview, kind: str) -> ndarray:
    start, stop = entry["data_offsets"]
    if entry["dtype"] != kind or not 0 <= start <= stop <= len(body):
        raise DamagedError("an array is not where it should be")
    return np.frombuffer(body[start:stop], _TYPES[kind]).reshape(entry["shape"])


def _digest(about: Mapping[str, Any], arrays: Mapping[str, ndarray]) -> str:
    """Over everything but itself: the arrays in a fixed order, and the text beside them."""
    return digest_parts([canonical_json(about).encode(), *(array.data.cast("B") for array in arrays.values())])


def _to_json(value: Any, where: str) -> Any:
    """JSON's own types; numbers that JSON lacks are spelt ``{"float": "nan"}``. A float keeps all its bits."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": str(value)}
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, tuple):
        return [_to_json(item, where) for item in value]
    if isinstance(value, Mapping):
        return {"mapping": [[str(name), _to_json(item, f"{where}.{name}")] for name, item in value.items()]}  # in order
    raise SettingError(f"A stored result holds numbers, texts and None; {where} holds {type(value).__name__}.")


def _from_json(value: Any) -> Any:
    if isinstance(value, dict):
        if "float" in value:
            return float(value["float"])
        return {name: _from_json(item) for name, item in value["mapping"]}
    return tuple(_from_json(item) for item in value) if isinstance(value, list) else value

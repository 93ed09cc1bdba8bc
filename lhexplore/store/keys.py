"""Keys: one text for everything that went into a number, so that equal questions find equal answers."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..digests import ALGORITHM, canonical_json, digest_json
from ..errors import SettingError

SCHEMA = 1  # of stored files and keys; raise it when either changes its meaning


class Key(str):
    """A key that remembers what it was made of, so that a stored file can say so."""

    __slots__ = ("inputs",)
    inputs: str

    def __new__(cls, digest: str, inputs: str = "{}") -> "Key":
        made = super().__new__(cls, digest)
        made.inputs = inputs
        return made

    def __reduce__(self) -> tuple[type["Key"], tuple[str, str]]:
        return Key, (str(self), self.inputs)  # keys travel to worker processes


def key(inputs: Mapping[str, Any]) -> Key:
    """Digest what a result depends on: digests of weights and data, loss, settings.

    The order of entries does not matter, ``1`` and ``1.0`` are one number, numpy numbers are plain ones. The schema and
    the name of the digest's algorithm are part of every key.

    Raises:
        SettingError: an entry is not a number, text, None, list or mapping, or is NaN or infinite.
    """
    plain = plain_json({**inputs, "schema": SCHEMA, "digest_algorithm": ALGORITHM})
    return Key(digest_json(plain), canonical_json(plain))


def plain_json(value: Any, where: str = "key") -> Any:
    """The same value in JSON's own types, with one spelling for each number."""
    if isinstance(value, Mapping):
        return {str(name): plain_json(item, f"{where}.{name}") for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_json(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | str | int):
        return value
    if isinstance(value, float) and np.isfinite(value):
        return int(value) if value == int(value) and abs(value) < 2**53 else value
    raise SettingError(
        f"{where} must be made of finite numbers, texts, None, lists and mappings, got {value!r} "
        f"({type(value).__name__})."
    )

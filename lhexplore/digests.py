"""Digests of what went into a number: equal bytes, equal digest, on every machine.

A digest detects change and corruption; it does not authenticate.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ALGORITHM = "blake2b-160"


def digest_json(value: Mapping[str, Any]) -> str:
    """Digest a JSON-able mapping; the order of keys does not matter."""
    return _hash([canonical_json(value).encode()])


def digest_bytes(data: bytes) -> str:
    """Digest a block of bytes."""
    return _hash([data])


def digest_tensors(tensors: Iterable[tuple[str, "torch.Tensor"]]) -> str:
    """Digest named tensors: name, dtype, shape and the contiguous little-endian bytes, sorted by name.

    A transposed view digests like its copy; ``0.0`` and ``-0.0`` differ.
    """
    import torch  # the rooms below know no torch and use the other two

    parts: list[bytes] = []
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        parts.append(f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{tuple(tensor.shape)}|".encode())
        parts.append(flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b"")
    return _hash(parts)


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _hash(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()

"""Digests of what went into a number: equal bytes, equal digest, on every machine.

A digest detects change and corruption; it does not authenticate.
"""

import hashlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

ALGORITHM = "blake2b-160"  # the standard library's; part of every cache key, so that another one can follow


def digest_json(value: Mapping[str, Any]) -> str:
    """Digest a JSON-able mapping; the order of keys does not matter."""
    return _hash([canonical_json(value).encode()])


def digest_bytes(data: bytes | memoryview) -> str:
    """Digest a block of bytes."""
    return _hash([data])


def digest_parts(parts: Iterable[bytes | memoryview]) -> str:
    """Digest blocks of bytes, each with its length: ``[b"ab"]`` and ``[b"a", b"b"]`` differ."""
    return _hash(parts)


def digest_tensors(tensors: Iterable[tuple[str, "torch.Tensor"]]) -> str:
    """Digest named tensors: name, dtype, shape and the contiguous little-endian bytes, sorted by name.

    A transposed view digests like its copy; ``0.0`` and ``-0.0`` differ. No tensor is copied that is already
    contiguous and on the CPU.
    """
    return _hash(_tensor_parts(sorted(tensors, key=lambda item: item[0])))


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)


def _tensor_parts(tensors: Iterable[tuple[str, "torch.Tensor"]]) -> Iterator[bytes | memoryview]:
    import torch  # the rooms below know no torch and use the other functions

    for name, tensor in tensors:
        yield f"{name}|{str(tensor.dtype).removeprefix('torch.')}|{tuple(tensor.shape)}|".encode()
        flat = tensor.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1)
        if not flat.numel():
            yield b""
            continue
        raw = flat.view(torch.uint8).numpy()
        if sys.byteorder == "big":
            width = flat.element_size() // (2 if flat.is_complex() else 1)
            raw = raw.reshape(-1, width)[:, ::-1].copy()
        yield raw.data.cast("B")


def _hash(parts: Iterable[bytes | memoryview]) -> str:
    """Hash each part after its length, so that no two lists of parts read alike."""
    digest = hashlib.blake2b(digest_size=20)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()

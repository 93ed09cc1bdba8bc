"""Equal bytes give equal digests; any difference in name, type, shape or value gives another."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from lhexplore.digests import canonical_json, digest_bytes, digest_json, digest_parts, digest_tensors

WEIGHT = torch.arange(6.0).reshape(2, 3)
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16, torch.complex64, torch.int64, torch.bool]


def by_hand(name: str, array: np.ndarray) -> str:
    """The digest written out with hashlib and numpy alone."""
    digest = hashlib.blake2b(digest_size=20)
    for part in (
        f"{name}|{array.dtype}|{array.shape}|".encode(),
        array.astype(array.dtype.newbyteorder("<")).tobytes(),
    ):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.complex64])
def test_digest_of_a_tensor_is_the_one_computed_by_hand(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert digest_tensors([("w", torch.from_numpy(array))]) == by_hand("w", array)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_type_has_a_digest_of_its_own(dtype):
    same = digest_tensors([("w", WEIGHT.to(dtype))])
    assert same == digest_tensors([("w", WEIGHT.to(dtype).clone())])
    assert same not in {digest_tensors([("w", WEIGHT.to(other))]) for other in DTYPES if other != dtype}


def test_a_view_digests_like_its_copy():
    view = WEIGHT.T
    assert not view.is_contiguous()
    assert digest_tensors([("w", view)]) == digest_tensors([("w", view.contiguous())])
    conjugate = torch.tensor([1 + 2j]).conj()
    assert digest_tensors([("w", conjugate)]) == digest_tensors([("w", conjugate.resolve_conj())])


def test_order_does_not_matter_but_names_shapes_and_bits_do():
    pair = [("a", WEIGHT), ("b", WEIGHT + 1)]
    assert digest_tensors(pair) == digest_tensors(pair[::-1])
    others = [
        [("a", WEIGHT + 1), ("b", WEIGHT)],
        [("a", WEIGHT.reshape(3, 2)), ("b", WEIGHT + 1)],
        [("a", WEIGHT)],
        [("a", WEIGHT), ("c", WEIGHT + 1)],
    ]
    assert digest_tensors(pair) not in {digest_tensors(other) for other in others}
    assert digest_tensors([("z", torch.tensor(0.0))]) != digest_tensors([("z", torch.tensor(-0.0))])


@given(position=st.integers(0, 5), bit=st.integers(0, 31))
def test_one_flipped_bit_is_seen(position, bit):
    raw = WEIGHT.numpy().view(np.uint32).copy().reshape(-1)
    raw[position] ^= np.uint32(1 << bit)
    assert digest_tensors([("w", torch.from_numpy(raw.view(np.float32).reshape(2, 3)))]) != digest_tensors(
        [("w", WEIGHT)]
    )


def test_empty_and_scalar_tensors_have_digests():
    digests = {
        digest_tensors([("w", t)]) for t in (torch.empty(0), torch.empty(0, 3), torch.tensor(1.0), torch.ones(1))
    }
    assert len(digests) == 4
    assert digest_tensors([]) == digest_parts([])


def test_parts_do_not_run_together():
    assert digest_parts([b"ab"]) != digest_parts([b"a", b"b"])
    assert digest_bytes(b"ab") == digest_parts([b"ab"])


def test_json_has_one_text_for_one_value():
    assert canonical_json({"b": 1, "a": [1.5, None]}) == '{"a":[1.5,null],"b":1}'
    assert digest_json({"b": 1, "a": 2}) == digest_json({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json({"a": float("nan")})


def test_another_process_gets_the_same_digest():
    code = (
        "import torch; from lhexplore.digests import *;"
        "print(digest_tensors([('w', torch.arange(6.).reshape(2, 3))]), digest_json({'a': 'é'}))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert said == [digest_tensors([("w", WEIGHT)]), digest_json({"a": "é"})]

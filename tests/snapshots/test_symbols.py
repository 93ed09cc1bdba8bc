"""Following a pickle: damage ends in one error, and nothing short takes long."""

import io
import pickle
import random
import time
import zipfile

import numpy as np
import pytest
import torch

from lhexplore.snapshots.symbols import OTHER, followed, stored
from lhexplore.snapshots.torch_fields import tell

QUICK = 5.0  # seconds; what is hidden in the nests below would take longer than the universe is old


@pytest.fixture
def saved():
    buffer = io.BytesIO()
    state = {"w": torch.ones(2, 3), "b": torch.nn.Parameter(torch.zeros(3))}
    state["tied"] = state["w"]
    torch.save({"model": state, "epoch": torch.tensor(3), "loss": np.float32(0.5), "seen": [1, (2, None)]}, buffer)
    return buffer.getvalue()


def opened(data):
    archive = zipfile.ZipFile(io.BytesIO(data))
    return archive, archive.read("archive/data.pkl")


def test_the_outermost_dictionary_is_followed(saved):
    top = followed(opened(saved)[1])
    assert list(top) == ["model", "epoch", "loss", "seen"]
    assert top["seen"] == [1, (2, None)]
    assert stored(top["model"]["w"]) == ("torch FloatStorage", "0", 0, (2, 3), (3, 1))
    assert stored(top["model"]["b"])[3] == (3,)
    assert top["model"]["tied"] is top["model"]["w"]
    assert stored(top["seen"]) is None


def test_nothing_is_made_of_what_a_pickle_asks_for(trap):
    assert followed(pickle.dumps({"a": trap, "step": 3}, 2))["step"] == 3
    assert followed(pickle.dumps({1, 2}, 4)) is OTHER


def test_fields_and_sign_of_a_file(saved):
    archive, pickled = opened(saved)
    fields, sign = tell(archive, "archive", pickled)
    assert fields == {"epoch": 3, "loss": 0.5}
    assert sign.startswith("tensors ")


@pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")  # inside a damaged text
def test_damage_is_a_value_error_and_nothing_else(saved):
    archive, pickled = opened(saved)
    generator = random.Random(0)
    damaged = 0
    for _ in range(3000):
        spoilt = bytearray(pickled)
        for _ in range(generator.randint(1, 6)):
            spoilt[generator.randrange(2, len(spoilt))] = generator.randrange(256)
        try:
            tell(archive, "archive", bytes(spoilt))
        except ValueError:
            damaged += 1
    assert damaged > 100
    for end in range(len(pickled)):
        with pytest.raises(ValueError, match=r"."):
            followed(pickled[:end])


def nest(kind):
    """A hundred tuples, each of twice the one before; as a value, a key, the size of a tensor, or a class."""
    doubled = b")" + b"".join(b"q%c0h%ch%c\x86" % (i, i, i) for i in range(100))
    around = {
        "value": b"X\x04\x00\x00\x00step" + doubled + b"s",
        "key": doubled + b"K\x01s",
        "class": b"X\x04\x00\x00\x00step" + doubled + b")Rs",
        "size": b"X\x04\x00\x00\x00step" + b"ctorch._utils\n_rebuild_tensor_v2\n(NK\x00" + doubled + b")tRs",
    }
    return b"\x80\x02}" + around[kind] + b"."


@pytest.mark.parametrize("kind", ["value", "key", "class", "size"])
def test_a_short_pickle_does_not_take_long(kind, saved):
    start = time.perf_counter()
    tell(opened(saved)[0], "archive", nest(kind) + b"step")
    assert time.perf_counter() - start < QUICK


def test_a_deep_pickle_does_not_take_long(saved):
    deep = b"\x80\x02" + b"}X\x04\x00\x00\x00step" * 100_000 + b"N" + b"s" * 100_000 + b"."
    start = time.perf_counter()
    tell(opened(saved)[0], "archive", deep)
    assert time.perf_counter() - start < QUICK

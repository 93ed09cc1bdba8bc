"""States of layers lie beside spectra: bit for bit, damage noticed, never taken for one another."""

import dataclasses

import numpy as np
import pytest

from lhexplore.layer_state import LayerState
from lhexplore.store import DirectoryStore, MemoryStore, NoStore, open_store
from lhexplore.store.codec import DamagedError, decode, encode
from lhexplore.store.store import size_of

STATES = {
    "nothing known": LayerState("fc", "now", 3),
    "all known": LayerState(
        None, "step-1", 30, "held_out", 0.1 + 0.2, -1e-300, 0.5, 4, 1.0, 2.0, -3.0, 4.0, tuple(range(7)), 5.0, 0.0,
        np.array([3.0, 1.0, 5e-324]), "ggn",
    ),
    "with a reason": LayerState("größer", "../x\0", 1, reason='"}{ has no second derivative.'),
}  # fmt: skip


def same(found, state):
    assert type(found) is LayerState
    for field in dataclasses.fields(LayerState):
        one, other = getattr(found, field.name), getattr(state, field.name)
        if isinstance(other, np.ndarray):
            assert one.tobytes() == other.tobytes()
            assert not one.flags.writeable
        else:
            assert repr(one) == repr(other), field.name
    return True


@pytest.fixture(params=["memory", "folder", "folder without memory"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    return DirectoryStore(tmp_path, memory_bytes=0 if "without" in request.param else 2**20)


@pytest.mark.parametrize("kind", STATES)
def test_a_state_comes_back_bit_for_bit(kind, store):
    assert store.state("k") is None
    store.put("k", STATES[kind])
    assert same(store.state("k"), STATES[kind])


def test_a_state_outlives_the_process(tmp_path):
    DirectoryStore(tmp_path).put("k", STATES["all known"])
    assert same(DirectoryStore(tmp_path).state("k"), STATES["all known"])


def test_neither_kind_is_taken_for_the_other(store, spectrum):
    store.put("a", spectrum)
    store.put("b", STATES["all known"])
    assert (store.state("a"), store.get("b")) == (None, None)
    assert store.get("a").nodes.tobytes() == spectrum.nodes.tobytes()
    assert store.notices == []


def test_a_damaged_state_is_set_aside_and_computed_again(tmp_path):
    DirectoryStore(tmp_path).put("k", STATES["all known"])
    (file,) = tmp_path.glob("*.safetensors")
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)
    store = DirectoryStore(tmp_path)
    assert store.state("k") is None
    assert (store.damaged, len(store.notices)) == (1, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["k.bad"]
    store.put("k", STATES["all known"])
    assert same(DirectoryStore(tmp_path).state("k"), STATES["all known"])


def test_every_cut_and_most_flipped_bits_are_noticed():
    data = encode("k", STATES["all known"])
    for cut in (0, 8, 50, -1):
        with pytest.raises(DamagedError):
            decode("k", data[:cut])
    noticed = 0
    for place in range(len(data)):
        spoilt = bytearray(data)
        spoilt[place] ^= 8
        try:
            assert same(decode("k", bytes(spoilt)), STATES["all known"])  # then it changed nothing
        except ValueError:
            noticed += 1
    assert noticed > 0.99 * len(data)


def test_a_kind_that_is_not_known_is_damage():
    data = encode("k", STATES["nothing known"]).replace(b"layer state", b"liver state")
    with pytest.raises(DamagedError, match="kind"):
        decode("k", data)


def test_memory_counts_singular_values():
    many = LayerState("fc", "now", 3, singular_values=np.ones(1000))
    assert size_of(many) - size_of(STATES["nothing known"]) == 8000


def test_nothing_is_kept_where_nothing_shall_be(tmp_path):
    store = NoStore()
    store.put("k", STATES["all known"])
    assert store.state("k") is None
    assert isinstance(open_store(store), NoStore)

"""Spectra come back bit for bit, and no damaged byte goes unnoticed."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lhexplore.errors import SettingError
from lhexplore.spectrum import Spectrum
from lhexplore.store.codec import DamagedError, OtherSchemaError, decode, encode

NODES = st.floats(-1e307, 1e307)  # eight of them have a finite sum
TRACES = st.floats(allow_infinity=False)  # NaN is computed
ANY = st.floats()
SCALARS = st.none() | st.booleans() | st.integers(-(2**62), 2**62) | st.text() | ANY


def about_of(data):
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["lhexplore"])


CHANGES = {
    "plain": {},
    "whole network": {"layer": None},
    "lanczos": {
        "method": "lanczos", "steps": 3, "probes": 2, "probe": np.array([0, 1, 0, 1, 1]), "trace": -0.0,
        "trace_stderr": 0.5, "complete": False,
    },
    "numbers that JSON lacks": {"trace_stderr": float("nan"), "seconds": float("inf"), "symmetry_defect": float("inf")},
    "no residuals": {"residuals": np.empty(0)},
    "numpy provenance": {"provenance": {"nan": float("nan"), "int": 2**61}},
    "hostile names": {"layer": "<img onerror=x>", "snapshot": "../../etc/passwd\0", "reason": '"}{\\u2028'},
    "one value": {"nodes": np.zeros(1), "weights": np.ones(1), "residuals": np.zeros(1), "size": 1},
}  # fmt: skip


@pytest.mark.parametrize("kind", CHANGES)
def test_a_spectrum_comes_back_bit_for_bit(kind, make, assert_equal):
    spectrum = make(**CHANGES[kind])
    assert_equal(decode("k", encode("k", spectrum)), spectrum)


@given(
    nodes=hnp.arrays(np.float64, st.integers(1, 8), elements=NODES),
    trace=TRACES,
    provenance=st.dictionaries(st.text(), SCALARS, max_size=4),
    notes=st.lists(st.text(), max_size=3),
)
def test_any_spectrum_comes_back(nodes, trace, provenance, notes):
    weights = np.full(len(nodes), 1 / len(nodes))
    with np.errstate(all="ignore"):
        spectrum = Spectrum(
            "l", "s", len(nodes), nodes, weights, "dense", trace=trace, provenance=provenance, notes=tuple(notes)
        )
        found = decode("k", encode("k", spectrum))
    assert found.nodes.tobytes() == spectrum.nodes.tobytes()
    assert repr(found.trace) == repr(spectrum.trace)
    assert repr(found.provenance) == repr(provenance)
    assert found.notes == tuple(notes)


def test_the_file_is_plain_safetensors_and_says_what_it_is(spectrum):
    from lhexplore.store import key

    made = key({"layer": "fc"})
    data = encode(made, spectrum)
    arrays = safetensors.numpy.load(data)  # the library itself as the second reader
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: getattr(spectrum, name).tobytes() for name in ("nodes", "weights", "residuals", "probe")
    }
    about = about_of(data)
    assert (about["schema"], about["key"], about["status"]) == (1, made, "complete")
    assert json.loads(about["inputs"])["layer"] == "fc"
    assert about["created"].endswith("+00:00")
    assert about["version"]


def test_an_object_in_the_provenance_is_refused_by_name(make):
    spectrum = make()
    spectrum.provenance["loss"] = object()
    with pytest.raises(SettingError, match=r"provenance\.loss holds object"):
        encode("k", spectrum)


def test_every_single_flipped_bit_is_noticed(spectrum, assert_equal):
    """Bits of the data and of the text; a few bits of the header's layout cannot change what is read."""
    data = encode("k", spectrum)
    unnoticed = 0
    for place in range(len(data)):
        for bit in (0, 3, 7):
            spoilt = bytearray(data)
            spoilt[place] ^= 1 << bit
            try:
                found = decode("k", bytes(spoilt))
            except (DamagedError, OtherSchemaError):
                continue
            unnoticed += 1
            assert_equal(found, spectrum)  # then it changed nothing: white space, or the name of an array's end
    assert unnoticed < len(data) * 0.01


@pytest.mark.parametrize("cut", [0, 1, 8, 20, 200, -200, -1])
def test_every_cut_is_noticed(cut, spectrum):
    with pytest.raises(DamagedError):
        decode("k", encode("k", spectrum)[:cut])


@pytest.mark.parametrize(
    "data",
    [
        b"garbage" * 100, bytes(1000), struct.pack("<Q", 2**60) + b"{}", struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 200_000) + b"[" * 200_000, struct.pack("<Q", 2) + b"{}",
    ],
)  # fmt: skip
def test_garbage_is_damage(data):
    with pytest.raises(DamagedError):
        decode("k", data)


def test_bytes_after_the_end_and_another_key_are_damage(spectrum):
    data = encode("k", spectrum)
    for key, spoilt in (("k", data + b"x"), ("other", data)):
        with pytest.raises(DamagedError):
            decode(key, spoilt)


def test_another_schema_is_not_damage(spectrum, monkeypatch):
    from lhexplore.store import codec

    with monkeypatch.context() as patch:
        patch.setattr(codec, "SCHEMA", 2)
        data = encode("k", spectrum)
    with pytest.raises(OtherSchemaError, match="2"):
        decode("k", data)

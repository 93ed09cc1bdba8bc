"""Spectra of every kind, for the tests of the store."""

import dataclasses

import numpy as np
import pytest

from lhexplore.spectrum import Spectrum


def make(size=5, seed=0, **changes):
    generator = np.random.default_rng(seed)
    values = {
        "layer": "block.0",
        "snapshot": "step-000128",
        "size": size,
        "nodes": generator.normal(size=size),
        "weights": np.full(size, 1 / size),
        "method": "dense",
        "residuals": generator.random(size),
        "reason": "25 parameters: exact and quick",
        "notes": ("weights are float16 in the snapshot", "größer als π"),
        "provenance": {"seed": 3, "dtype": "float64", "tf32": False, "device": None, "lr": 0.1, "tiny": 5e-324},
        "products": 25,
        "seconds": 0.1 + 0.2,
    }
    return Spectrum(**(values | changes))


def assert_equal(found, spectrum):
    """Every field is the same, bit for bit; NaN equals NaN."""
    assert type(found) is Spectrum
    for field in dataclasses.fields(Spectrum):
        one, other = getattr(found, field.name), getattr(spectrum, field.name)
        if isinstance(other, np.ndarray):
            assert one.dtype == other.dtype
            assert one.tobytes() == other.tobytes(), field.name
            assert not one.flags.writeable
        else:
            assert type(one) is type(other), field.name
            assert repr(one) == repr(other), field.name


@pytest.fixture(name="make")
def _make():
    return make


@pytest.fixture(name="assert_equal")
def _assert_equal():
    return assert_equal


@pytest.fixture
def spectrum():
    return make()

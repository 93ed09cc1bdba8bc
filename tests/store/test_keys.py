"""Equal questions have equal keys; any other question has another."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhexplore.digests import digest_json
from lhexplore.errors import SettingError
from lhexplore.store import Key, key

INPUTS = {"layer": "fc", "steps": 100, "width": 0.5, "tf32": None, "names": ["a", "b"], "loss": {"class": "MSELoss"}}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def test_a_key_is_the_digest_of_its_inputs_schema_and_algorithm():
    stated = {**INPUTS, "schema": 1, "digest_algorithm": "blake2b-160"}
    assert key(INPUTS) == digest_json(stated)


def test_order_and_spelling_do_not_matter():
    turned = dict(reversed(INPUTS.items()))
    turned |= {"steps": np.int64(100), "width": np.float64(0.5), "names": ("a", "b")}
    assert key(turned) == key(INPUTS)
    assert key({"x": 1}) == key({"x": 1.0})
    assert key({"x": 0.1}) == key({"x": np.float64(0.1)})


@pytest.mark.parametrize("name", INPUTS)
def test_every_entry_counts(name):
    assert key({**INPUTS, name: "other"}) != key(INPUTS)
    assert key({k: v for k, v in INPUTS.items() if k != name}) != key(INPUTS)  # an explicit None is not the same


@given(st.dictionaries(st.text(), VALUES, max_size=4))
def test_any_plain_value_makes_a_file_name_and_is_remembered(inputs):
    made = key(inputs)
    assert made == key(inputs)
    assert made.isalnum()
    assert len(made) == 40


def test_a_key_remembers_its_inputs_also_in_another_process():
    made = pickle.loads(pickle.dumps(key(INPUTS)))
    assert isinstance(made, Key)
    assert '"layer":"fc"' in made.inputs
    assert made == key(INPUTS)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), {1, 2}, np.zeros(2), b"x"])
def test_what_json_cannot_say_is_refused_by_name(value):
    with pytest.raises(SettingError, match=r"key\.loss\.margin must be made of"):
        key({"loss": {"margin": value}})

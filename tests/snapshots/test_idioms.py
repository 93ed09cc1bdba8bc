"""Which entry of a saved dictionary holds the weights."""

import numpy as np
import pytest
import torch

from lhexplore.errors import FormatError
from lhexplore.snapshots.idioms import WEIGHT_KEYS, as_step, contents_of, number

STATE = {"w": torch.ones(2), "b": torch.zeros(1)}
OPTIMISER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1}]}


@pytest.mark.parametrize("key", WEIGHT_KEYS)
def test_every_usual_entry_is_found_beside_an_optimiser(key):
    found = contents_of({"epoch": 2, key: STATE, "optimizer": OPTIMISER, "loss": torch.tensor(0.5)}, where="it")
    assert found.state.keys() == STATE.keys()
    assert (found.epoch, found.metrics) == (2.0, {"loss": 0.5})
    assert key in found.notes[0]


def test_an_unusual_entry_is_found_if_it_is_the_only_one():
    assert contents_of({"generator": STATE, "optimizer_g": OPTIMISER}, where="it").state.keys() == STATE.keys()


def test_several_unusual_entries_are_listed():
    with pytest.raises(FormatError, match=r"'generator', 'critic'\. Choose one with .*which='generator'"):
        contents_of({"generator": STATE, "critic": STATE}, where="it")


def test_an_average_is_taken_only_if_alone_or_asked_for():
    other = {"w": torch.zeros(2)}
    assert torch.equal(contents_of({"ema": other, "model": STATE}, where="it").state["w"], STATE["w"])
    assert torch.equal(contents_of({"ema": other}, where="it").state["w"], other["w"])
    assert torch.equal(contents_of({"ema": other, "model": STATE}, where="it", which="ema").state["w"], other["w"])


def test_weights_one_level_down_are_found():
    assert contents_of({"model": {"state_dict": STATE, "config": {"n": 1}}}, where="it").state.keys() == STATE.keys()


def test_numbers_between_the_tensors_are_left_out_and_told():
    found = contents_of({**STATE, "epoch": 3, "name": "x"}, where="it")
    assert found.state.keys() == STATE.keys()
    assert found.epoch == 3
    assert "'epoch', 'name'" in found.notes[0]


@pytest.mark.parametrize("saved", [torch.ones(2), [STATE], {"epoch": 1}, {}, None, {"optimizer": OPTIMISER}])
def test_what_holds_no_weights_says_what_it_holds(saved):
    with pytest.raises(FormatError, match="Save the weights alone"):
        contents_of(saved, where="it")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0), (np.float32(0.5), 0.5), (torch.tensor(2), 2.0), (np.array(1.5), 1.5), (True, None), ("3", None),
        (torch.ones(2), None), (torch.tensor(1j), None), (np.array("x"), None), (None, None),
        (torch.ones((), device="meta"), None),
    ],
)  # fmt: skip
def test_what_counts_as_one_number(value, expected):
    assert number(value) == expected


@pytest.mark.parametrize(
    ("value", "step"), [(3.0, 3), (0.5, None), (-1.0, None), (float("nan"), None), (float("inf"), None), (None, None)]
)
def test_what_counts_as_a_step(value, step):
    assert as_step(value) == step

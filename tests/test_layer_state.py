"""The state of a layer as a value: checked, frozen, and printed in a line."""

import math

import numpy as np
import pytest

from lhexplore.errors import SettingError
from lhexplore.layer_state import LayerState


def test_what_is_not_known_is_nan():
    state = LayerState("fc", "now", 10)
    assert math.isnan(state.gradient_norm)
    assert state.quantiles == ()
    assert state.singular_values.shape == (0,)
    assert repr(state).startswith("LayerState('fc' at 'now', size 10, ‖g‖ nan (data)")
    assert "whole network" in repr(LayerState(None, "now", 10))


def test_singular_values_fall_and_cannot_be_written_to():
    given = np.array([1.0, 3.0, 2.0])
    state = LayerState("fc", "now", 10, singular_values=given)
    given[0] = 9
    np.testing.assert_array_equal(state.singular_values, [3, 2, 1])
    with pytest.raises(ValueError, match="read-only"):
        state.singular_values[0] = 0


@pytest.mark.parametrize(
    "bad",
    [
        {"size": 0},
        {"size": 1.5},
        {"share_of": -1},
        {"gradient_norm": -1.0},
        {"norm": math.inf},
        {"mean": "0.1"},
        {"skew": True},
        {"quantiles": (1.0, 2.0)},
        {"singular_values": [1.0, -1.0]},
        {"singular_values": [[1.0]]},
        {"singular_values": [math.nan]},
    ],
)
def test_what_makes_no_sense_is_refused_by_name(bad):
    (name,) = bad
    with pytest.raises(SettingError, match=name):
        LayerState("fc", "now", **({"size": 10} | bad))

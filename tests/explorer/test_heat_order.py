import numpy as np
import pytest

from lhexplore.explorer.heat_order import ORDERS, order_rows, order_sentence

NAN = np.nan
NAMES = ["layer10", "Layer2", "layer1", "old"]
VALUES = np.array([[1.0, 5.0, 2.0], [3.0, 3.0, -3.0], [NAN, 4.0, 4.5], [NAN, NAN, NAN]])


@pytest.mark.parametrize(
    ("by", "snapshot", "expected"),
    [
        ("network", 2, [0, 1, 2, 3]),
        ("now", 2, [2, 0, 1, 3]),
        ("now", 0, [1, 0, 2, 3]),
        ("largest", 0, [0, 2, 1, 3]),
        ("change", 0, [1, 0, 2, 3]),
        ("name", 0, [2, 1, 0, 3]),
    ],
)
def test_rows_stand_as_asked_and_unknown_ones_last(by, snapshot, expected):
    assert list(order_rows(VALUES, NAMES, by, snapshot)) == expected


@pytest.mark.parametrize("by", ORDERS)
@pytest.mark.parametrize("values", [np.empty((0, 3)), np.full((2, 1), np.inf), np.array([[np.inf, -np.inf], [1, 1]])])
def test_odd_values_have_an_order_too(by, values):
    assert sorted(order_rows(values, ["a", "b"][: len(values)], by, 0)) == list(range(len(values)))


def test_equal_rows_stay_as_they_stood():
    assert order_rows(np.ones((4, 2)), list("dbca"), "now", 0) == (0, 1, 2, 3)


def test_every_order_but_that_of_the_network_is_said():
    said = {by: order_sentence(by, "step 64") for by in ORDERS}
    assert said.pop("network") == ""
    assert all(said.values())
    assert "step 64" in said["now"]

import json

import numpy as np
from canned import HOSTILE, LAYERS

from lhexplore.explorer.layer_list import UNKNOWN, LayerList, bar_shares
from lhexplore.explorer.state import entries_of


def test_bars_share_one_scale_and_unknown_stays_unknown():
    values = np.array([[1.0, 100.0], [np.nan, -10.0], [0.0, 50.0]])
    for log in (False, True):
        shares = bar_shares(values, log=log)
        assert np.isnan(shares[1, 0])
        assert shares[0, 1] == 1
        assert shares[2, 0] == 0
        known = shares[np.isfinite(shares)]
        assert ((known >= 0) & (known <= 1)).all()
        assert shares[1, 1] < shares[2, 1] < shares[0, 1]  # by magnitude
    assert bar_shares(values, log=True)[0, 0] > 0  # the smallest still shows a stub


def test_bars_of_one_value_of_zeros_and_of_nothing():
    assert bar_shares(np.array([[3.0]]), log=True).tolist() == [[1.0]]
    assert bar_shares(np.array([[0.0]]), log=True).tolist() == [[0.0]]
    assert np.isnan(bar_shares(np.array([[np.inf, np.nan]]), log=False)).all()


def test_numbers_travel_as_bytes_and_names_as_text():
    made = LayerList()
    entries = entries_of(LAYERS)
    made.describe(entries)
    values = np.arange(12.0).reshape(6, 2)
    marks = [[("+", "mainly positive", "positive"), None]] * 6
    made.show(values, marks, quantity="λmax", log=True)
    assert [row["name"] for row in json.loads(made.rows)][3] == HOSTILE
    assert np.frombuffer(made.numbers, "<f4").reshape(6, made.count).tolist() == values.tolist()
    assert np.frombuffer(made.marks, np.uint8).reshape(6, 2)[0].tolist() == [0, UNKNOWN]
    assert json.loads(made.legend) == [["+", "mainly positive", "positive"]]
    made.close()

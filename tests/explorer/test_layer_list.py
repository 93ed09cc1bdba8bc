import json
import re
from pathlib import Path

import numpy as np
from canned import HOSTILE, LAYERS, CannedSession

from lhexplore.explorer import layer_list, views
from lhexplore.explorer.layer_list import UNKNOWN, LayerList, bar_shares
from lhexplore.explorer.overlays import MOST_LAYERS, STROKES
from lhexplore.explorer.state import entries_of
from lhexplore.explorer.theme import DARK, LIGHT


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


def test_what_lies_over_is_shared_with_all_views():
    picker = views.LayerPicker(CannedSession(missing=set()), layer="conv1")
    try:
        index = [row["name"] for row in json.loads(picker.list.rows)].index
        picker.list.over = [index("head"), index("conv2")]
        assert picker.overlay == ("head", "conv2")
        picker.layer = "head"  # what is on show does not lie over itself
        assert picker.list.over == [index("conv2")]
        picker.overlay = [HOSTILE]
        assert picker.list.over == [index(HOSTILE)]
        assert picker.list.selected == index("head")
        picker.list.over = [index("old"), 99]  # skipped, and none at all
        assert picker.overlay == ()
    finally:
        picker.close()


def test_only_these_narrows_what_is_shown_and_computed_and_all_comes_back():
    picker = views.LayerPicker(CannedSession(missing=set()), layer="conv1")
    try:
        index = [row["name"] for row in json.loads(picker.list.rows)].index
        picker.list._heard(None, {"kind": "only", "rows": [index("conv2"), index("head"), index("old")]}, [])
        assert (picker.layers, picker.layer) == (("conv2", "head"), "conv2")
        assert [row["name"] for row in json.loads(picker.list.rows)] == ["conv2", "head"]
        assert picker.list.hidden == 3
        for odd in ([], [7], ["conv1"], "conv1", [True, None]):
            picker.list._heard(None, {"kind": "only", "rows": odd}, [])
        assert picker.layers == ("conv2", "head")
        picker.list._heard(None, {"kind": "only", "rows": None}, [])
        assert len(json.loads(picker.list.rows)) == 6
        assert picker.list.hidden == 0
    finally:
        picker.close()


def test_swatches_are_those_of_the_outlines():
    css = (Path(layer_list.__file__).parent / "layer_list.css").read_text("utf-8")
    light, dark = (
        dict(re.findall(r"--lhx-over-(\d): (#\w+)", block)) for block in re.findall(r"\{ ?\s*(--lhx-over-1[^}]*)", css)
    )
    for place, stroke in enumerate(STROKES[:MOST_LAYERS], start=1):
        assert (light[str(place)], dark[str(place)]) == (LIGHT[stroke.role], DARK[stroke.role])
        ends = [0, *np.cumsum(stroke.dash)]
        rule = css.split(f'[data-place="{place}"] {{')[1].split("}")[0]
        assert rule.count("px") == 2 * len(stroke.dash) - 1
        assert f"{ends[-1]}px)" in rule

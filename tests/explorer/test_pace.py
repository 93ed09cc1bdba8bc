import math

import pytest

from lhexplore.explorer.pace import Pace
from lhexplore.explorer.status import pace_words

EXACT = 1e-12


def test_time_left_comes_from_what_the_same_layers_took():
    pace = Pace()
    assert math.isnan(pace.left([("a", 0)]))
    pace.finished([("a", 0)], 2.0)
    pace.finished([("b", 0)], 4.0)
    pace.finished([("a", 1)], 0.0)  # cached: says nothing of the pace
    assert pace.done == 2
    assert pace.left([("a", 2), ("b", 1), ("unseen", 0)]) == pytest.approx(2 + 4 + 3, rel=EXACT)
    pace.under_way(0.5)
    assert pace.left([("a", 2)]) == pytest.approx(1.0, rel=EXACT)
    assert pace.done == 2.5
    pace.ended()
    assert pace.done == 2


def test_progress_is_said_with_pace_and_time_left():
    said = pace_words(3, 10, seconds=2.0, computed=4.0, left=3.0, where="fc1 at step 8")
    assert said == "3/10 spectra · 2.0/s · 3.0 s left · fc1 at step 8"
    assert pace_words(3, 10, seconds=8.0, computed=4.0, left=math.nan) == "3/10 spectra · 2.0 s each"
    assert pace_words(10, 10, seconds=0.0, computed=0.0, left=math.nan) == "10/10 spectra"


def test_what_the_same_work_gave_shares_its_time():
    pace = Pace()
    pace.finished([("a", 0), ("b", 0)], 4.0)
    assert pace.done == 2
    assert pace.left([("a", 1), ("b", 1), ("a", 2)]) == pytest.approx(6.0)


def test_before_a_layer_is_measured_its_price_counts_and_then_no_longer():
    pace = Pace()
    assert pace.left([("a", 0), ("b", 0)], price=lambda cell: {"a": 1.0, "b": 5.0}[cell[0]]) == pytest.approx(6.0)
    pace.finished([("a", 0)], 2.0)
    assert pace.left([("a", 1), ("b", 0)], price=lambda _: 5.0) == pytest.approx(7.0)
    assert Pace(pace).left([("a", 1)]) == pytest.approx(2.0)  # work that begins again knows it still
    assert Pace(pace).done == 0


def test_what_nobody_computes_is_said_with_its_cost():
    said = pace_words(12, 60, seconds=1.0, computed=0.0, left=math.nan, ahead="48 to go, about 40 s")
    assert said == "12/60 spectra · 48 to go, about 40 s"

"""Readings of a whole run: which layers stand for it, traces at equal loss, what a step could still gain."""

import numpy as np
import pytest

from lhexplore.diagnosis.rules.against_reference import excess
from lhexplore.diagnosis.rules.grid import Grid
from lhexplore.diagnosis.rules.narrow import headroom
from lhexplore.diagnosis.rules.of_run import blocks, steepest, total
from lhexplore.diagnosis.thresholds import Thresholds

EXACT = 1e-12  # a few operations in float64


def grid(course, **fields):
    return Grid(course, Thresholds(**fields), {})


def test_layers_that_are_always_known_stand_for_the_run(course):
    rows = {"a": [[1.0], [2.0], [4.0]], "b": [[3.0], None, [5.0]], "c": [[7.0], [1.0], [2.0]]}
    g = grid(course(rows))
    assert dict(zip(g.layers, blocks(g), strict=True)) == {"a": True, "b": False, "c": True, None: False}
    np.testing.assert_allclose(total(g, g.trace), [8, 3, 6], rtol=EXACT)
    np.testing.assert_allclose(steepest(g), [7, 2, 4], rtol=EXACT)


def test_where_no_layer_is_always_known_the_one_known_most_often_is_taken(course):
    g = grid(course({"a": [[1.0], None, [4.0]], "b": [None, [2.0], None]}))
    np.testing.assert_array_equal(total(g, g.trace), [1, np.nan, 4])


def test_without_layers_the_whole_network_stands_for_itself(course):
    g = grid(course({None: [[1.0, 2.0], [3.0, 4.0]]}))
    np.testing.assert_allclose(total(g, g.trace), [3, 7], rtol=EXACT)


def test_the_reference_is_interpolated_on_logarithms(course):
    theirs = course({"a": [[1.0], [4.0]]}, recorded={"loss": (1.0, 0.01)})
    mine = course({"a": [[1.0], [6.0], [6.0]]}, recorded={"loss": (1.0, 0.1, 0.001)})
    ratio = excess(grid(mine), grid(theirs))
    # Half-way in the logarithm of the loss lies half-way in that of the trace: 2. The last loss is out of reach.
    np.testing.assert_allclose(ratio, [np.nan, 3, 3], rtol=EXACT)
    assert np.isnan(excess(grid(mine, learning=0.05), grid(theirs))[1])


def test_only_the_descent_of_the_reference_counts(course):
    theirs = course({"a": [[1.0], [4.0], [100.0]]}, recorded={"loss": (1.0, 0.1, 0.5)})
    mine = course({"a": [[1.0], [8.0]]}, recorded={"loss": (1.0, 0.1)})
    assert excess(grid(mine), grid(theirs))[-1] == pytest.approx(2, rel=EXACT)


@pytest.mark.parametrize("theirs", [{"b": [[1.0], [4.0]]}, {"a": [[1.0, 1.0], [4.0, 4.0]]}], ids=["layers", "size"])
def test_other_blocks_do_not_compare(course, theirs):
    reference = course(theirs, recorded={"loss": (1.0, 0.1)})
    mine = course({"a": [[1.0], [8.0]]}, recorded={"loss": (1.0, 0.1)})
    assert np.isnan(excess(grid(mine), grid(reference))).all()


def test_headroom_is_what_a_newton_step_gains_on_a_parabola(course):
    curvature, away, floor = 3.0, 0.2, 1.0  # loss = floor + ½ curvature x², at x = away
    loss = floor + curvature * away**2 / 2
    rows = {"a": [[curvature], [curvature]], "b": [[10.0], [10.0]]}
    gradients = {"a": (curvature * away,) * 2, "b": (0.0, 0.0)}
    room = headroom(grid(course(rows, gradients=gradients, recorded={"loss": (loss, loss)})))
    np.testing.assert_allclose(room, (loss - floor) / loss, rtol=EXACT)

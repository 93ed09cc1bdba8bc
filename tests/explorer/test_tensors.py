import numpy as np
import pytest
from canned import HOSTILE

from lhexplore.explorer.tensors import MOST, tiles, upright


def test_the_sign_is_that_with_which_the_largest_component_is_positive():
    vector = np.array([0.3, -0.8, 0.5])
    assert upright(vector).tolist() == [-0.3, 0.8, -0.5]
    np.testing.assert_array_equal(upright(-vector), upright(vector))
    assert upright(np.zeros(3)).tolist() == [0.0, 0.0, 0.0]


def test_a_vector_is_cut_in_the_order_of_the_parameters():
    vector = np.arange(14.0)
    matrix, bias, scalar = tiles(vector, [("a.weight", (3, 4)), ("a.bias", (1,)), ("a.scale", ())])
    np.testing.assert_array_equal(matrix.dots, vector[:12].reshape(3, 4))
    assert (matrix.words, matrix.stems) == ("weight (3 × 4)", False)
    assert (bias.dots.tolist(), bias.stems) == ([[12.0]], True)
    assert scalar.dots.tolist() == [[13.0]]


def test_filters_stand_side_by_side_with_gaps():
    filters = np.arange(2 * 3 * 2 * 2.0).reshape(2, 3, 2, 2)
    (tile,) = tiles(filters.ravel(), [("c.weight", filters.shape)])
    assert tile.dots.shape == (2 * 3 - 1, 3 * 3 - 1)
    for out in range(2):
        for into in range(3):
            np.testing.assert_array_equal(tile.dots[3 * out : 3 * out + 2, 3 * into : 3 * into + 2], filters[out, into])
    assert np.isnan(tile.dots[2]).all()
    assert np.isnan(tile.dots[:, [2, 5]]).all()
    assert np.isnan(tile.dots).sum() == 5 * 8 - 24
    assert tile.square


@pytest.mark.parametrize("shape", [(6, 5, 3), (4, 2, 2, 3, 3)])
def test_filters_of_other_dimensions_keep_all_their_components(shape):
    vector = np.arange(float(np.prod(shape)))
    (tile,) = tiles(vector, [("c.weight", shape)])
    assert sorted(tile.dots[np.isfinite(tile.dots)]) == vector.tolist()


def test_pictures_that_would_stand_upright_lie_down():
    filters = np.arange(4 * 2 * 2.0 * 2).reshape(4, 2, 2, 2)
    matrix = np.arange(6.0).reshape(3, 2)
    conv, linear = tiles(np.concatenate([filters.ravel(), matrix.ravel()]), [("c", filters.shape), ("m", (3, 2))])
    assert (conv.dots.shape, conv.axes) == ((5, 11), ("output channel", "input channel"))
    np.testing.assert_array_equal(conv.dots[3:5, 6:8], filters[2, 1])  # a filter itself is not turned
    np.testing.assert_array_equal(linear.dots, matrix.T)
    assert linear.axes == ("output", "input")


def test_large_matrices_show_the_largest_component_of_every_block():
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((130, 250))
    matrix[3, 57] = -9.0
    (tile,) = tiles(matrix.ravel(), [("weight", matrix.shape)])
    assert tile.dots.shape == (65, 84)
    assert max(tile.dots.shape) <= MOST
    for r, c in ((0, 0), (1, 19), (30, 40)):
        block = matrix[2 * r : 2 * r + 2, 3 * c : 3 * c + 3]
        assert tile.dots[r, c] == block.ravel()[np.abs(block).argmax()]
    assert tile.dots[1, 19] == -9.0
    assert tile.words == "weight (130 × 250), each dot the largest of 2 × 3 neighbours"


def test_many_filters_leave_those_with_the_largest_components():
    filters = np.full((60, 2, 3, 3), 1e-3)
    filters[50] = 1.0
    (tile,) = tiles(filters.ravel(), [("weight", filters.shape)])
    assert max(tile.dots.shape) <= MOST
    assert tile.words == "weight (60 × 2 × 3 × 3), the largest 25 of 60 outputs, a tile per filter"
    assert np.nansum(tile.dots == 1.0) == 18


def test_long_vectors_become_stems_of_neighbours():
    vector = np.zeros(250)
    vector[7] = -2.0
    (tile,) = tiles(vector, [("bias", (250,))])
    assert tile.dots.shape == (1, 84)
    assert tile.dots[0, 2] == -2.0
    assert tile.words.endswith("each stem the largest of 3 neighbours")


def test_names_are_plain_text():
    (tile,) = tiles(np.ones(2), [(HOSTILE, (2,))])
    assert "$$" not in tile.words

"""Exact spectra of matrices that are known."""

import numpy as np
import pytest
import torch
from curvature.matrices import MatrixOperator, rotated

from lhexplore.curvature.dense import columns, eigenvalues
from lhexplore.curvature.zero_band import zero_band
from lhexplore.errors import NotFiniteError

EXACT = 1e-13  # float64 round-off of a matrix of this size, relative to the largest eigenvalue


def filled(op, *, chunk):
    *_, (done, matrix) = columns(op, chunk=chunk)
    assert done == op.size
    return matrix


@pytest.mark.parametrize("chunk", [1, 7, 50, 64])
def test_columns_give_the_matrix_whatever_the_chunk(chunk):
    matrix = rotated(np.arange(-10.0, 40.0))
    op = MatrixOperator(matrix)
    assert torch.allclose(filled(op, chunk=chunk), matrix, atol=EXACT * 40)
    assert op.products == 50


def test_progress_counts_columns():
    op = MatrixOperator(rotated(np.arange(10.0)))
    assert [done for done, _ in columns(op, chunk=4)] == [4, 8, 10]


@pytest.mark.parametrize("size", [1, 2, 30])
def test_eigenvalues_of_a_rotated_diagonal(size):
    values = np.sort(np.random.default_rng(0).standard_normal(size))
    exact = eigenvalues(rotated(values), epsilon=2.2e-16)
    np.testing.assert_allclose(exact.eigenvalues, values, atol=EXACT)
    assert exact.trace == pytest.approx(values.sum(), abs=EXACT * size)
    assert exact.defect <= 1e-15


def test_defect_is_the_relative_size_of_the_antisymmetric_part():
    # [[1, 2], [0, 1]]: H − Hᵀ = [[0, 2], [−2, 0]], so √8 / √6; symmetrised it is [[1, 1], [1, 1]].
    exact = eigenvalues(torch.tensor([[1.0, 2.0], [0.0, 1.0]]).double(), epsilon=2.2e-16)
    assert exact.defect == pytest.approx(np.sqrt(8 / 6))
    np.testing.assert_allclose(exact.eigenvalues, [0, 2], atol=1e-15)


def test_zero_matrix_divides_nothing():
    exact = eigenvalues(torch.zeros((4, 4), dtype=torch.float64), epsilon=2.2e-16)
    assert exact.eigenvalues.tolist() == [0.0] * 4
    assert (exact.defect, exact.residual, exact.trace) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_residual_bounds_the_rounding_of_float32_entries(seed):
    values = np.sort(np.random.default_rng(seed).standard_normal(150))
    matrix = rotated(values, seed=seed)
    exact = eigenvalues(matrix.float().double(), epsilon=torch.finfo(torch.float32).eps)
    assert np.abs(exact.eigenvalues - values).max() <= exact.residual


def test_nan_is_never_drawn():
    matrix = rotated(np.arange(4.0))
    matrix[2, 1] = float("inf")
    with pytest.raises(NotFiniteError, match="NaN or infinite"):
        filled(MatrixOperator(matrix), chunk=2)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_zero_band_scales_and_takes_the_larger_effect(scale):
    assert zero_band(scale, 100, epsilon=1e-7, defect=0.0) == pytest.approx(1e-6 * scale, rel=1e-12)
    assert zero_band(scale, 100, epsilon=1e-7, defect=1e-3) == pytest.approx(1e-3 * scale, rel=1e-12)

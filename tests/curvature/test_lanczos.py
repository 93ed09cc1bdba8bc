"""Lanczos against spectra that are known."""

import numpy as np
import pytest
import torch
from curvature.matrices import DiagonalOperator, MatrixOperator, rotated, run

from lhexplore.curvature.lanczos import Quadrature, lanczos, merge, start_vector
from lhexplore.errors import NotFiniteError

EXACT = 1e-10  # float64 round-off with a wide margin, relative to the largest eigenvalue
SINGLE = 1e-5  # the same in float32
OUTLIERS = np.array([7.0, 8.0, 9.0, 10.0])


def planted(dtype):
    """A bulk in [−1, 1] and four outliers, n = 1000."""
    bulk = np.random.default_rng(0).uniform(-1, 1, 996)
    return DiagonalOperator(torch.tensor(np.concatenate([bulk, OUTLIERS])).to(dtype))


def basis_of(op, *, steps):
    """The Lanczos basis, read off the vectors that the operator was asked to multiply."""
    asked, matvec = [], op.matvec
    op.matvec = lambda v: (asked.append(v.clone()), matvec(v))[1]
    run(op, steps=steps)
    return torch.stack(asked).double()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [10, 32, 64, 80, 100, 200])
def test_planted_outliers_come_exactly_once(dtype, steps):
    found = run(planted(dtype), steps=steps).quadrature()
    above = found.nodes[found.nodes > 4]
    assert len(above) == 4
    if steps >= 32:
        np.testing.assert_allclose(above, OUTLIERS, rtol=SINGLE if dtype == torch.float32 else EXACT)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-6), (torch.float64, 1e-13)])
def test_basis_stays_orthogonal(dtype, bound):
    basis = basis_of(planted(dtype), steps=100)
    assert (basis @ basis.T - torch.eye(100)).abs().max() <= bound


@pytest.mark.parametrize("size", [1, 2, 3, 53])
def test_more_steps_than_parameters_give_the_whole_spectrum(size):
    values = np.sort(np.random.default_rng(size).standard_normal(size))
    op = MatrixOperator(rotated(values))
    last = run(op, steps=100)
    assert last.finished
    assert op.products == size
    np.testing.assert_allclose(last.quadrature().nodes, values, atol=EXACT)


def test_enough_steps_reproduce_a_spectrum_of_few_values():
    values = np.array([-2.0, -0.5, 0.0, 1.0, 3.0, 11.0])
    op = MatrixOperator(rotated(np.repeat(values, 50)))
    found = run(op, steps=60).quadrature()
    assert abs(found.weights.sum() - 1) <= 1e-12
    # Further copies of a multiple eigenvalue may come up later through rounding, with next to no weight.
    heavy = found.weights > 1e-12
    np.testing.assert_allclose(found.nodes[heavy], values, atol=EXACT * 11)
    distance = np.abs(found.nodes[:, None] - values).min(axis=1)
    assert (distance <= found.residuals).all()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_clusters_are_merged_into_their_true_masses(dtype, tolerance):
    # Five eigenvalues × 400 copies: rounding splits nodes of a run that went past the invariant subspace.
    values = np.array([-3.0, -1.0, 0.0, 2.0, 5.0])
    op = DiagonalOperator(torch.tensor(np.repeat(values, 400)).to(dtype))
    found = run(op, steps=60).quadrature()
    np.testing.assert_allclose(found.nodes, values, atol=tolerance * 5)
    # Random signs have equal components, so each group of 400 has a mass of exactly one fifth; so has any function of
    # the masses, such as Σ w |λ|^½ over the negative ones.
    np.testing.assert_allclose(found.weights, 0.2, rtol=tolerance)
    negative = found.nodes < -1e-3
    expected = 0.2 * (np.sqrt(3) + 1)
    assert found.weights[negative] @ np.sqrt(-found.nodes[negative]) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rank", [1, 3, 20])
def test_low_rank_stops_by_itself(dtype, rank):
    values = np.zeros(600)
    values[:rank] = np.linspace(1, 2, rank)
    last = run(DiagonalOperator(torch.tensor(values).to(dtype)), steps=100)
    assert rank + 1 <= last.steps <= rank + 2
    found = last.quadrature()
    assert (found.nodes > 0.5).sum() == rank
    assert found.nodes.min() >= -SINGLE


def test_zero_operator_gives_zeros_without_dividing():
    op = MatrixOperator(torch.zeros(7, 7, dtype=torch.float64))
    last = run(op, steps=5)
    assert last.steps == 1
    assert last.finished
    found = last.quadrature()
    assert found.nodes.tolist() == [0.0]
    assert found.weights.tolist() == [1.0]
    assert found.residuals.tolist() == [0.0]


def test_residuals_contain_a_true_eigenvalue():
    for seed in range(10):
        values = np.random.default_rng(seed).standard_normal(120) ** 3
        op = MatrixOperator(rotated(values, seed=seed))
        for steps in (5, 20, 60):
            found = run(op, steps=steps, seed=seed).quadrature()
            distance = np.abs(found.nodes[:, None] - values).min(axis=1)
            assert (distance <= found.residuals).all()


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [(torch.float64, 1e20), (torch.float64, 1e-20), (torch.float32, 1e6), (torch.float32, 1e-6)],
)
def test_scaling_the_operator_scales_the_spectrum(dtype, factor):
    values = np.concatenate([np.random.default_rng(1).standard_normal(120), np.zeros(80)])
    # A scale in two powers of two would be exact; any other rounds the matrix, so compare within round-off.
    matrix = rotated(values)
    plain, scaled = (run(MatrixOperator(m.to(dtype)), steps=40) for m in (matrix, matrix * factor))
    assert plain.steps == scaled.steps
    expected, found = plain.quadrature(), scaled.quadrature()
    tolerance = 1e-4 if dtype == torch.float32 else 1e-9
    np.testing.assert_allclose(found.nodes / factor, expected.nodes, atol=tolerance * np.abs(values).max())
    np.testing.assert_allclose(found.weights, expected.weights, atol=tolerance)


@pytest.mark.parametrize("power", [-60, 60])
def test_a_power_of_two_scales_bit_for_bit(power):
    matrix = rotated(np.random.default_rng(1).standard_normal(100))
    plain, scaled = (run(MatrixOperator(m), steps=30).quadrature() for m in (matrix, matrix * 2.0**power))
    np.testing.assert_array_equal(scaled.nodes, plain.nodes * 2.0**power)
    np.testing.assert_array_equal(scaled.weights, plain.weights)
    np.testing.assert_array_equal(scaled.residuals, plain.residuals * 2.0**power)


def test_nan_in_a_product_stops_the_run():
    matrix = rotated(np.arange(1.0, 11.0))
    matrix[3, 4] = float("nan")
    with pytest.raises(NotFiniteError, match="'matrix'"):
        run(MatrixOperator(matrix), steps=5)


def test_one_item_per_product():
    op = MatrixOperator(rotated(np.arange(1.0, 31.0)))
    start = start_vector(op, seed=0, name="a", index=0)
    for count, known in enumerate(lanczos(op, start, steps=12), start=1):
        assert known.steps == op.products == count
        assert known.quadrature().weights.sum() == pytest.approx(1, abs=1e-12)
    assert count == 12


def test_a_known_first_product_is_not_computed_again():
    op = MatrixOperator(rotated(np.arange(1.0, 31.0)))
    start = start_vector(op, seed=0, name="a", index=0)
    product = op.matvec(start)
    *_, known = lanczos(op, start, steps=12, product=product)
    assert op.products == 12
    *_, again = lanczos(op, start, steps=12)
    np.testing.assert_array_equal(known.diagonal, again.diagonal)


def test_start_vectors_depend_on_seed_name_and_index_only():
    op = MatrixOperator(torch.eye(64, dtype=torch.float64))

    def draw(**changes):
        return start_vector(op, **{"seed": 0, "name": "fc1", "index": 0, **changes})

    first = draw()
    draw(index=5)
    torch.rand(3)
    assert torch.equal(draw(), first)
    assert torch.equal(first.abs(), torch.full((64,), 1 / 8, dtype=torch.float64))
    for changes in ({"seed": 1}, {"name": "fc2"}, {"index": 1}):
        assert not torch.equal(draw(**changes), first)


def test_drawing_leaves_the_global_generator_alone():
    op = MatrixOperator(torch.eye(8))
    before = torch.get_rng_state()
    start_vector(op, seed=0, name="fc1", index=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_merging_adds_weights_and_keeps_a_valid_bound():
    found = Quadrature(np.array([0.0, 1.0, 1.1, 5.0]), np.array([0.1, 0.3, 0.1, 0.5]), np.array([0.1, 0.2, 0.01, 0.3]))
    merged = merge(found, distance=0.2)
    np.testing.assert_allclose(merged.nodes, [0, 1.025, 5])
    np.testing.assert_allclose(merged.weights, [0.1, 0.4, 0.5])
    # The eigenvalue within 0.01 of 1.1 is within 0.085 of 1.025.
    np.testing.assert_allclose(merged.residuals, [0.1, 0.085, 0.3])


def test_moments_are_those_of_the_start_vector():
    # Gauss quadrature with k nodes is exact for polynomials of degree 2k − 1.
    matrix = rotated(np.random.default_rng(3).standard_normal(80))
    op = MatrixOperator(matrix)
    v = start_vector(op, seed=0, name=op.name, index=0)
    found = run(op, steps=4).quadrature()
    w = v
    for order in range(8):
        assert found.weights @ found.nodes**order == pytest.approx(float(v @ w), rel=1e-10, abs=1e-12)
        w = matrix @ w

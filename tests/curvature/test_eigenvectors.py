"""Eigenpairs against dense float64 solutions: vectors where they are separated, the spaces they span where not."""

import numpy as np
import pytest
import torch
from curvature.matrices import DiagonalOperator, MatrixOperator, rotated
from curvature.objectives import NetObjective, classes, gauss_newton, hessian, mlp
from torch import nn

from lhexplore.curvature import eigenvectors as module
from lhexplore.curvature.eigenvectors import ENDS, from_rows, top_eigenvectors
from lhexplore.curvature.operators import LayerGGN, LayerHessian
from lhexplore.errors import NotFiniteError, SettingError, TooLargeError

LARGE = 300  # beyond the dense route, which the tests make shorter
SQUARED = {
    torch.float64: 1e-9,
    torch.float32: 1e-6,
}  # of a value, relative to the largest: (residual / gap)² and rounding
SAME_SPACE = 1e-3  # sine of an angle: tolerance 1e-5 over gaps of a hundredth of the largest value
ORTHONORMAL = {torch.float64: 1e-12, torch.float32: 1e-5}

random = np.random.default_rng(0)
BULK = random.standard_normal(LARGE)
SPECTRA = {
    "bulk": BULK,
    "outliers on both sides": np.concatenate([0.1 * BULK[5:], [3.0, 4.0, 5.0, -6.0, 4.5]]),
    "threefold and fourfold": np.concatenate([np.full(3, 2.0), np.full(4, -1.9), 0.1 * BULK[7:]]),
    "more copies than wanted": np.concatenate([np.full(6, 2.0), 0.1 * BULK[6:]]),
    "power law": np.arange(1, LARGE + 1.0) ** -1,
    "rank two": np.concatenate([[1.0, -0.5], np.zeros(LARGE - 2)]),
}


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Three hundred parameters are many, and sixty basis vectors the most: restarts happen."""
    monkeypatch.setattr(module, "DENSE_SIZE", 200)
    monkeypatch.setattr(module, "LARGEST_BASIS", 60)


def dense(matrix):
    values, vectors = torch.linalg.eigh(torch.tensor(matrix))  # numpy's would not obey the thread count
    return values.numpy(), vectors.numpy()


def last(op, k=3, **settings):
    *_, pairs = top_eigenvectors(op, k, **settings)
    return pairs


def expected(values, k, largest="magnitude"):
    key = {"magnitude": -np.abs(values), "largest": -values, "smallest": values}[largest]
    return values[np.argsort(key, kind="stable")][:k]


def sine(found, basis):
    """The largest sine of an angle between the rows of ``found`` and the space that the rows of ``basis`` span."""
    found = found / np.linalg.norm(found, axis=1, keepdims=True)
    return float(np.linalg.norm(found - found @ basis.T @ basis, axis=1).max())


def check(pairs, matrix, values, *, largest="magnitude", dtype=torch.float64):
    """Everything that is promised of a complete result, against the dense solution of ``matrix``."""
    exact, vectors = dense(matrix)
    magnitude = np.abs(exact).max()
    assert pairs.complete
    assert pairs.converged.all()
    np.testing.assert_allclose(np.abs(pairs.values), np.abs(values), atol=SQUARED[dtype] * magnitude)
    assert np.abs(pairs.vectors @ pairs.vectors.T - np.eye(len(values))).max() <= ORTHONORMAL[dtype]
    for value, vector, residual in zip(pairs.values, pairs.vectors.astype(float), pairs.residuals, strict=True):
        rest = np.linalg.norm(matrix @ vector - value * vector)
        assert rest <= residual + 100 * torch.finfo(dtype).eps * magnitude
        assert np.abs(exact - value).min() <= residual + 10 * torch.finfo(dtype).eps * magnitude
        assert vector[np.abs(vector).argmax()] > 0
        near = np.abs(exact - value) <= 1e-2 * magnitude
        assert sine(vector[None], vectors.T[near]) <= SAME_SPACE


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("largest", ENDS)
@pytest.mark.parametrize("name", ["bulk", "outliers on both sides", "threefold and fourfold"])
def test_planted_spectra(name, largest, dtype):
    matrix = rotated(SPECTRA[name], dtype=dtype)
    op = MatrixOperator(matrix)
    pairs = last(op, largest=largest)
    check(pairs, matrix.double().numpy(), expected(SPECTRA[name], 3, largest), largest=largest, dtype=dtype)
    assert pairs.products == op.products
    if name == "threefold and fourfold":  # all three copies, one of each sign's set
        assert np.ptp(pairs.values) <= 1e-5


@pytest.mark.parametrize("name", ["more copies than wanted", "power law", "rank two"])
def test_multiplicity_decay_and_rank(name):
    matrix = rotated(SPECTRA[name])
    check(last(MatrixOperator(matrix), 4), matrix.numpy(), expected(SPECTRA[name], 4))


def test_copies_on_few_coordinates():
    # Two vectors of random signs are parallel on two coordinates in every second case; normal numbers never.
    values = np.concatenate([[1.0, 1.0], np.zeros(LARGE - 2)])
    for seed in range(10):
        pairs = last(DiagonalOperator(torch.tensor(values)), 2, seed=seed)
        np.testing.assert_allclose(pairs.values, 1.0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("size", [60, LARGE])
@pytest.mark.parametrize("factor", [1e20, 1e-20])
def test_scale(factor, size, dtype):
    values = np.concatenate([[3.0, -2.0, 1.5], 0.1 * BULK[: size - 3]])
    matrix = rotated(values, dtype=dtype)
    plain, scaled = last(MatrixOperator(matrix)), last(MatrixOperator(matrix * factor))
    assert scaled.products == plain.products
    assert scaled.converged.all()
    np.testing.assert_allclose(scaled.values / factor, plain.values, rtol=SQUARED[dtype])
    assert np.abs(scaled.vectors - plain.vectors).max() <= SAME_SPACE
    exact = last(MatrixOperator(matrix * 2.0**66))  # a power of two rounds nothing
    np.testing.assert_array_equal(exact.values / 2.0**66, plain.values)


@pytest.mark.parametrize("size", [50, LARGE])
def test_zero_operator(size):
    pairs = last(DiagonalOperator(torch.zeros(size).double()), 3)
    assert pairs.values.tolist() == pairs.residuals.tolist() == [0.0] * 3
    assert pairs.converged.all()
    np.testing.assert_allclose(pairs.vectors @ pairs.vectors.T, np.eye(3), atol=1e-12)
    assert pairs.products <= max(size, 10)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_more_wanted_than_there_are(size):
    matrix = rotated(np.arange(1.0, size + 1))
    pairs = last(MatrixOperator(matrix), 9)
    np.testing.assert_allclose(pairs.values, np.arange(size, 0.0, -1), atol=1e-13)
    check(pairs, matrix.numpy(), pairs.values)


def test_nearly_all_of_a_large_block_is_dense():
    values = np.linspace(-1, 2, LARGE)
    op = DiagonalOperator(torch.tensor(values))
    pairs = last(op, 150)
    np.testing.assert_allclose(pairs.values, expected(values, 150), atol=1e-12)
    assert op.products == LARGE


@pytest.mark.parametrize("largest", ENDS)
def test_small_memory_means_restarts_and_the_same_pairs(largest):
    values = SPECTRA["outliers on both sides"]
    op = DiagonalOperator(torch.tensor(values))
    plenty, little = (last(op, 3, largest=largest, steps=400, memory=m) for m in (2**30, 60 * 8 * LARGE))
    np.testing.assert_allclose(little.values, plenty.values, atol=1e-9)
    assert little.converged.all()
    assert little.products >= plenty.products


def test_what_does_not_fit_is_refused_with_the_bytes():
    op = DiagonalOperator(torch.ones(10**5))
    with pytest.raises(TooLargeError, match="fewer"):
        top_eigenvectors(op, 3, memory=10**7)
    with pytest.raises(TooLargeError, match="whole matrix"):
        top_eigenvectors(op, 50_000, memory=10**9)
    assert op.products == 0


def test_the_basis_obeys_its_bound(monkeypatch):
    made = []

    class Watched(module.Basis):
        def __init__(self, op, capacity):
            super().__init__(op, capacity)
            made.append(self._vectors.numel() + self._products.numel())

    monkeypatch.setattr(module, "Basis", Watched)
    memory = 100 * 8 * LARGE
    last(DiagonalOperator(torch.tensor(BULK)), 3, memory=memory)
    assert made[0] * 8 <= memory


def test_unconverged_pairs_are_marked_and_their_residuals_hold():
    values = np.linspace(-1, 2, LARGE)  # no gaps at the ends: the hard case
    pairs = last(DiagonalOperator(torch.tensor(values)), 3, steps=4)
    assert not pairs.converged.any()
    for value, residual in zip(pairs.values, pairs.residuals, strict=True):
        assert np.abs(values - value).min() <= residual
    vectors = pairs.vectors
    rest = vectors * values - pairs.values[:, None] * vectors
    np.testing.assert_allclose(np.linalg.norm(rest, axis=1), pairs.residuals, rtol=1e-10)


def test_every_item_is_usable_and_the_last_one_complete():
    op = DiagonalOperator(torch.tensor(SPECTRA["outliers on both sides"]))
    items = list(top_eigenvectors(op, 3))
    assert [item.complete for item in items] == [False] * (len(items) - 1) + [True]
    products = [item.products for item in items]
    assert products == sorted(products)
    assert products[-1] == items[-1].planned <= items[0].planned
    assert max(np.diff(products)) <= 4
    assert items[0].vectors.shape == (3, LARGE)
    assert items[-1].residuals.max() < items[0].residuals.max() / 100
    assert not items[-1].values.flags.writeable
    small = list(top_eigenvectors(MatrixOperator(rotated(BULK[:150])), 3))
    assert len(small) > 1  # columns in chunks: it can be stopped
    assert small[0].vectors.shape == (0, 150)
    work = top_eigenvectors(op, 3)
    next(work)
    work.close()


def test_seeds():
    op = DiagonalOperator(torch.tensor(BULK))
    one, same, other = (last(op, 2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one.vectors, same.vectors)
    assert (one.vectors != other.vectors).any()
    assert np.abs(one.vectors - other.vectors).max() <= SAME_SPACE  # other start, same answer, same sign


def test_nan_stops():
    for size in (30, LARGE):
        with pytest.raises(NotFiniteError):
            last(DiagonalOperator(torch.full((size,), torch.nan).double()))


@pytest.mark.parametrize(
    "settings",
    [{"k": 0}, {"k": 1.5}, {"steps": 0}, {"seed": -1}, {"largest": "top"}, {"tolerance": 0}, {"tolerance": 2}],
)
def test_settings_that_make_no_sense(settings):
    with pytest.raises(SettingError):
        top_eigenvectors(DiagonalOperator(torch.ones(5)), **settings)


# ---- networks


def network(activation, *, dtype=torch.float64, sizes=(30, 10, 20, 4)):
    objective = NetObjective(
        mlp(activation, sizes=sizes, dtype=dtype),
        classes(examples=60, features=sizes[0], count=sizes[-1], cuts=(25,), dtype=dtype),
        nn.CrossEntropyLoss(),
    )
    return objective, objective.block("0.")


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_layer_of_a_network(dtype):
    objective, block = network(nn.Tanh, dtype=dtype)
    exact_objective, _ = network(nn.Tanh)
    if dtype == torch.float32:  # the same weights and data, rounded
        exact_objective.tensors = {name: t.double() for name, t in objective.tensors.items()}
        exact_objective.batches = [(x.double(), y) for x, y in objective.batches]
    matrix = hessian(exact_objective, block).numpy()
    assert len(matrix) > module.DENSE_SIZE
    exact, vectors = dense(matrix)
    order = np.argsort(-np.abs(exact))
    pairs = last(LayerHessian(objective, block), 4)
    assert pairs.converged.all()
    np.testing.assert_allclose(pairs.values, exact[order[:4]], atol=SQUARED[dtype] * np.abs(exact).max())
    separated = 0
    for i, vector in enumerate(pairs.vectors.astype(float)):
        gap = np.abs(np.delete(exact, order[i]) - exact[order[i]]).min()
        if gap >= 1e-2 * np.abs(exact).max():
            separated += 1
            assert abs(vector @ vectors[:, order[i]]) >= 1 - 1e-6
    assert separated >= 2
    assert sine(pairs.vectors.astype(float), vectors[:, order[:8]].T) <= SAME_SPACE


def test_multiple_eigenvalues_of_a_last_layer():
    # Mean squares: H = I ⊗ (2/CN) X̃ᵀX̃, so every eigenvalue of the last layer comes once per output.
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 220), nn.Tanh(), nn.Linear(220, 5)).double()
    x = classes(examples=40)[0][0]
    objective = NetObjective(model, [(x, torch.zeros(40, 5).double())], nn.MSELoss())
    with torch.no_grad():
        hidden = torch.cat([model[:-1](x), torch.ones(40, 1).double()], dim=1)
    exact = torch.linalg.eigvalsh(2 / (5 * 40) * hidden.T @ hidden).flip(0).numpy()
    pairs = last(LayerHessian(objective, objective.block("2.")), 7)
    np.testing.assert_allclose(pairs.values, np.repeat(exact, 5)[:7], rtol=1e-9)


# ---- from a factor


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("shape", [(40, 300), (300, 40), (50, 50), (3, 400)])
@pytest.mark.parametrize("factor", [1.0, 1e15, 1e-15])
def test_from_rows(shape, dtype, factor):
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(*shape, generator=generator, dtype=torch.float64) * torch.logspace(0, -1, shape[1]).double()
    rows = (rows * factor).to(dtype)
    matrix = (rows.double().T @ rows.double()).numpy()
    pairs = from_rows(rows, 5)
    check(pairs, matrix, dense(matrix)[0][::-1][:5])
    assert pairs.products == 0


def test_from_rows_beyond_the_rank():
    generator = torch.Generator().manual_seed(1)
    u = torch.randn(2, 9, generator=generator).double()
    rows = torch.cat([u, u, 2 * u])  # six rows of rank two
    pairs = from_rows(rows, 20)
    matrix = (rows.T @ rows).numpy()
    assert len(pairs.values) == 9
    np.testing.assert_allclose(pairs.values, dense(matrix)[0][::-1], atol=1e-13)
    assert np.abs(pairs.vectors @ pairs.vectors.T - np.eye(9)).max() <= 1e-13
    for empty in (torch.zeros(4, 6), torch.zeros(0, 6)):
        zero = from_rows(empty, 2)
        assert zero.values.tolist() == [0.0, 0.0]
        assert zero.converged.all()


def test_from_rows_reads_in_pieces(monkeypatch):
    generator = torch.Generator().manual_seed(1)
    for shape in ((7, 90), (90, 7)):
        rows = torch.randn(*shape, generator=generator).double()
        whole = from_rows(rows, 4)
        with monkeypatch.context() as patch:
            patch.setattr(module, "COLUMNS", 13)
            parts = from_rows(rows, 4)
        np.testing.assert_allclose(parts.values, whole.values, rtol=1e-13)
        np.testing.assert_allclose(parts.vectors, whole.vectors, atol=1e-12)


def test_from_rows_agrees_with_products():
    objective, block = network(nn.ReLU)
    matrix = gauss_newton(objective, block)
    values, vectors = torch.linalg.eigh(matrix)
    rows = (vectors * values.clamp(min=0).sqrt()).T
    factor, products = from_rows(rows, 3), last(LayerGGN(objective, block), 3)
    np.testing.assert_allclose(factor.values, products.values, rtol=1e-8)
    assert sine(products.vectors, factor.vectors) <= SAME_SPACE


def test_from_rows_refuses_nan():
    with pytest.raises(NotFiniteError):
        from_rows(torch.full((2, 3), torch.nan))


@pytest.mark.cross_library
@pytest.mark.parametrize(("largest", "which"), [("magnitude", "LM"), ("largest", "LA"), ("smallest", "SA")])
def test_against_arpack(largest, which):
    from scipy.sparse.linalg import eigsh

    matrix = rotated(SPECTRA["outliers on both sides"])
    values, vectors = eigsh(matrix.numpy(), k=3, which=which, tol=1e-10)
    pairs = last(MatrixOperator(matrix), 3, largest=largest)
    np.testing.assert_allclose(np.sort(pairs.values), np.sort(values), atol=1e-9)
    assert sine(pairs.vectors, vectors.T) <= SAME_SPACE


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["outliers on both sides", "threefold and fourfold"])
def test_pairs_on_a_gpu_are_those_of_the_processor(name):
    matrix = rotated(SPECTRA[name])
    here, there = (last(MatrixOperator(matrix.to(device)), 3) for device in ("cpu", "cuda"))
    np.testing.assert_allclose(there.values, here.values, atol=1e-12)
    np.testing.assert_allclose(from_rows(matrix.cuda(), 3).values, from_rows(matrix, 3).values, atol=1e-12)
    if name == "outliers on both sides":  # three vectors of a fourfold value may be any
        assert sine(there.vectors, here.vectors) <= SAME_SPACE

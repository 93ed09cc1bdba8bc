"""Runs that go on together are the runs that would go on alone, wherever their bases are kept."""

import numpy as np
import pytest
import torch
from curvature.matrices import DiagonalOperator, MatrixOperator, rotated
from curvature.objectives import FunctionObjective

from lhexplore.curvature import bases, estimate
from lhexplore.curvature.bases import Bases
from lhexplore.curvature.batching import FEWEST, Batching
from lhexplore.curvature.engine import measure
from lhexplore.curvature.lanczos import Runs, dots, lanczos, start_vector
from lhexplore.curvature.planner import CHUNK_BYTES, lanczos_bytes, runs_together

ORDER = 1e-12  # sums in another order, relative to the largest value
CPU = torch.device("cpu")


def starts_of(op, count):
    return torch.stack([start_vector(op, seed=0, name="x", index=i) for i in range(count)])


def driven(op, starts, *, steps, **settings):
    """All runs to their end, each product computed alone."""
    runs = Runs(op, starts, steps=steps, **settings)
    while runs.running:
        runs.advance(torch.stack([op.matvec(v) for v in runs.vectors]))
    return runs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_together_they_are_bit_for_bit_what_they_are_alone(dtype):
    op = MatrixOperator(rotated(np.random.default_rng(0).standard_normal(80), dtype=dtype))
    starts = starts_of(op, 5)
    together = driven(op, starts, steps=30)
    for start, known in zip(starts, together.known, strict=True):
        *_, alone = lanczos(op, start, steps=30)
        np.testing.assert_array_equal(known.diagonal, alone.diagonal)
        np.testing.assert_array_equal(known.off_diagonal, alone.off_diagonal)


def test_each_run_ends_by_itself_and_the_others_go_on():
    op = DiagonalOperator(torch.arange(1.0, 41.0, dtype=torch.float64))
    starts = torch.zeros(4, 40, dtype=torch.float64)
    for row, width in enumerate((1, 7, 3, 40)):  # as many distinct eigenvalues are in reach of the run
        starts[row, :width] = width**-0.5
    runs = driven(op, starts, steps=20)
    assert [known.steps for known in runs.known] == [1, 7, 3, 20]
    assert op.products == 1 + 7 + 3 + 20
    for known, width in zip(runs.known, (1, 7, 3), strict=False):
        assert known.broken_down
        np.testing.assert_allclose(known.quadrature().nodes, np.arange(1, width + 1), rtol=ORDER)
    np.testing.assert_allclose(runs.quadratures()[3].weights.sum(), 1, rtol=ORDER)


@pytest.fixture
def small_blocks(monkeypatch):
    """A few rows at a time, as for bases that are gigabytes large."""
    monkeypatch.setattr(bases, "BLOCK_BYTES", 1)
    monkeypatch.setattr(bases, "FEWEST_ROWS", 3)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-6), (torch.float64, 1e-13)])
@pytest.mark.parametrize("batched", [False, True])
@pytest.mark.parametrize("host", [False, True])
@pytest.mark.usefixtures("small_blocks")
def test_new_vectors_are_orthogonal_to_a_basis_of_blocks(dtype, bound, batched, host):
    size, steps = 200, 50
    stored = Bases(3, steps, size, dtype=dtype, device=CPU, host=host, batched=batched)
    generator, kept = torch.Generator().manual_seed(0), []
    running = [0, 1, 2]
    for at in range(steps):
        if at == steps // 2:
            running = [0, 2]
        # Hardly any of it is new: what the second pass is for.
        common = torch.randn(size, generator=generator, dtype=dtype) * 1e-3
        old = sum(kept[at - 1], torch.zeros_like(common)) if kept else common
        w = stored.orthogonalised((common + old).expand(len(running), -1), running, at)
        w = w / w.norm(dim=1, keepdim=True)
        stored.append(at, running, w)
        kept.append(w)
    for row in (0, -1):
        basis = torch.stack([vectors[row] for vectors in kept]).double()
        assert (basis @ basis.T - torch.eye(steps)).abs().max() <= bound


@pytest.mark.usefixtures("small_blocks")
def test_bases_in_main_memory_give_the_same_numbers():
    op = MatrixOperator(rotated(np.random.default_rng(1).standard_normal(60)))
    here, there = (driven(op, starts_of(op, 3), steps=25, host=host) for host in (False, True))
    for one, other in zip(here.known, there.known, strict=True):
        np.testing.assert_array_equal(one.diagonal, other.diagonal)
        np.testing.assert_array_equal(one.off_diagonal, other.off_diagonal)


def test_dots_are_taken_in_float64():
    a = torch.tensor([[1e8, 1.0, -1e8], [1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(dots(a, torch.ones(2, 3)), [1.0, 6.0])


class Told:
    """An operator that notes how many vectors it is given at once, on a clock of its own."""

    size, dtype, device, products = 50, torch.float64, CPU, 0

    def __init__(self, *, graph_bytes=1, single=1.0, column=1.0):
        self.graph_bytes, self.single, self.column = graph_bytes, single, column
        self.now, self.given = 0.0, []

    def matvec(self, v):
        self.given.append(1)
        self.now += self.single
        return 2 * v

    def matmat(self, vectors):
        self.given.append(vectors.shape[1])
        self.now += self.column * vectors.shape[1]
        return 2 * vectors

    def rounds(self, batching, *, count, rounds):
        vectors = torch.randn(count, self.size, dtype=torch.float64)
        for _ in range(rounds):
            self.given.clear()
            assert torch.equal(torch.cat(list(batching.parts(vectors))), 2 * vectors)
        return list(self.given)


@pytest.mark.parametrize(
    ("graph", "given"),
    [(1, [10]), (CHUNK_BYTES // 6, [6, 4]), (CHUNK_BYTES // FEWEST, [4, 4, 2]), (CHUNK_BYTES // 3, [1] * 10)],
)
def test_the_size_of_the_graph_decides_on_a_cpu(graph, given):
    op = Told(graph_bytes=graph)
    assert op.rounds(Batching(op), count=10, rounds=4) == given
    assert op.rounds(Batching(op), count=FEWEST - 1, rounds=1) == [1] * (FEWEST - 1)
    assert max(op.rounds(Batching(op, most=5), count=10, rounds=1)) <= 5


def test_no_clock_is_looked_at_on_a_cpu():
    def clock():
        raise AssertionError("asked for the time")

    op = Told(column=100.0)
    assert op.rounds(Batching(op, clock=clock), count=10, rounds=4) == [10]


@pytest.mark.parametrize(("column", "given"), [(0.5, [10]), (2.0, [1] * 10)])
def test_the_clock_decides_where_it_is_asked(column, given):
    op = Told(column=column)
    timed = Batching(op, timed=True, clock=lambda: op.now)
    seen = [op.rounds(timed, count=10, rounds=1) for _ in range(5)]
    assert seen == [[1] * 10, [10], [10], given, given]


def form(size, *, seed=0):
    matrix = rotated(np.random.default_rng(seed).standard_normal(size))
    return FunctionObjective(lambda a: a @ matrix @ a / 2, a=torch.ones(size, dtype=torch.float64))


def spectrum_of(objective, **settings):
    *_, last = measure(objective, objective.block(), label="x", snapshot="now", method="lanczos", **settings)
    return last.spectrum


@pytest.mark.parametrize("together", [1, 2, 3, 5])
def test_groups_that_memory_allows_give_the_same_numbers(together, monkeypatch):
    size, steps, probes = 70, 20, 5
    memory = lanczos_bytes(size, steps, 8, runs=together)
    assert runs_together(size, steps, probes, 8, memory=memory) == together
    groups = []
    monkeypatch.setattr(
        estimate, "Runs", lambda op, starts, **settings: groups.append(len(starts)) or Runs(op, starts, **settings)
    )
    found = spectrum_of(form(size), steps=steps, probes=probes, memory=memory)
    assert groups == [min(together, probes - first) for first in range(0, probes, together)]
    alone = spectrum_of(form(size), steps=steps, probes=probes)
    np.testing.assert_allclose(found.nodes, alone.nodes, atol=ORDER * alone.magnitude)
    np.testing.assert_array_equal(found.probe, alone.probe)
    assert found.products == alone.products == probes + probes * (steps - 1)
    assert (found.trace, found.trace_stderr) == pytest.approx((alone.trace, alone.trace_stderr), rel=ORDER)


def test_low_rank_ends_early_and_is_counted():
    matrix = rotated(np.array([1.0, 2.0, 3.0] + [0.0] * 57))
    objective = FunctionObjective(lambda a: a @ matrix @ a / 2, a=torch.ones(60, dtype=torch.float64))
    *_, last = measure(objective, objective.block(), label="x", snapshot="now", method="lanczos", steps=50, probes=6)
    assert last.done == last.total == last.spectrum.products <= 6 * 5
    np.testing.assert_allclose(sorted({round(x, 6) for x in last.spectrum.nodes + 0.0}), [0, 1, 2, 3], atol=1e-6)


def test_runs_fit_into_memory_as_planned():
    one = lanczos_bytes(1000, 100, 4)
    assert [runs_together(1000, 100, 8, 4, memory=m) for m in (0, one, 10**12)] == [1, 1, 8]
    for runs in (2, 3, 8):
        assert runs_together(1000, 100, 8, 4, memory=lanczos_bytes(1000, 100, 4, runs=runs)) == runs

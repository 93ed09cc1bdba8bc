"""Eigenvalues of Gram matrices: those of low rank take a shorter way to the same numbers."""

import numpy as np
import pytest
import torch

from lhexplore.curvature.factor.gram import solve


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_large_gram_matrix_of_low_rank_has_the_same_eigenvalues(dtype):
    generator = torch.Generator().manual_seed(0)
    rows, rank = 1200, 300
    decay = torch.logspace(0, -12, rank, dtype=torch.float64)
    m = torch.randn(rows, rank, generator=generator, dtype=torch.float64) * decay.sqrt()
    total = (m @ m.T).to(dtype)
    want = np.linalg.eigvalsh(total.double().numpy()).clip(0)
    found = solve(total.clone())
    assert len(found.eigenvalues) == rows
    assert np.abs(found.eigenvalues - want).max() <= found.residual
    assert found.residual <= 300 * torch.finfo(dtype).eps * want[-1]  # a bound that is worth something
    assert found.trace == pytest.approx(want.sum(), rel=1e-5)


def test_a_large_gram_matrix_of_full_rank_is_solved_as_it_is():
    generator = torch.Generator().manual_seed(1)
    m = torch.randn(1100, 1400, generator=generator, dtype=torch.float64)
    found = solve(m @ m.T)
    np.testing.assert_allclose(found.eigenvalues, np.linalg.eigvalsh((m @ m.T).numpy()), rtol=1e-11)

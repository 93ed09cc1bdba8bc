"""AdaHessian against its closed form: one and two steps on quadratics, signs, kernels, bad use."""

import numpy as np
import pytest
import torch
from torch import nn

from lhexplore.demo.adahessian import AdaHessian

EXACT = 1e-13  # float64 round-off of a few operations
A = np.array([[3.0, 1.0, 0.0], [1.0, -2.0, 0.5], [0.0, 0.5, 4.0]])
START = np.array([1.0, -2.0, 0.5])
LR, EPS, DECAY = 0.15, 1e-4, 0.1


def quadratic(matrix, p):
    return 0.5 * p @ torch.from_numpy(matrix) @ p


def descend(matrix, steps, **settings):
    p = nn.Parameter(torch.from_numpy(START.copy()))
    optimiser = AdaHessian([p], **settings)
    for _ in range(steps):
        optimiser.backward(quadratic(matrix, p))
        optimiser.step()
    return p.detach().numpy()


def signs(steps, seed=0):
    """The random signs a seed stands for."""
    generator = torch.Generator().manual_seed(seed)
    return [2.0 * torch.randint(2, (3,), generator=generator).numpy() - 1 for _ in range(steps)]


def test_one_step_on_a_diagonal_quadratic_divides_by_its_curvature():
    curvature = np.array([3.0, -2.0, 4.0])  # |Hz| = |curvature|, whatever the signs z are
    expected = START - LR * (curvature * START / (np.abs(curvature) + EPS) + DECAY * START)
    found = descend(np.diag(curvature), 1, weight_decay=DECAY)
    np.testing.assert_allclose(found, expected, rtol=EXACT)


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_two_steps_on_a_full_quadratic(power):
    (z1, z2), p = signs(2), START
    g1, d1 = A @ p, np.abs(A @ z1)
    p = p - LR * (g1 / (d1**power + EPS))  # corrected for their start at zero, the means are the first values
    g2, d2 = A @ p, np.abs(A @ z2)
    mean = (0.9 * 0.1 * g1 + 0.1 * g2) / (1 - 0.9**2)
    square = (0.999 * 0.001 * d1**2 + 0.001 * d2**2) / (1 - 0.999**2)
    expected = p - LR * (mean / (np.sqrt(square) ** power + EPS))
    np.testing.assert_allclose(descend(A, 2, power=power), expected, rtol=EXACT * 1e3)  # 1 − 0.999² cancels digits


def test_the_seed_decides_the_signs():
    assert (descend(A, 3, seed=1) == descend(A, 3, seed=1)).all()
    assert any((descend(A, 3, seed=1) != descend(A, 3, seed=other)).any() for other in (2, 3, 4))


def test_kernels_share_one_size_per_position_and_linear_weights_do_not():
    curvature = torch.arange(1.0, 19.0, dtype=torch.float64).reshape(1, 2, 3, 3)
    kernel = nn.Parameter(torch.ones_like(curvature))
    flat = nn.Parameter(torch.ones(2, 9, dtype=torch.float64))
    optimiser = AdaHessian([kernel, flat])
    optimiser.backward((curvature * kernel**2).sum() / 2 + (curvature.reshape(2, 9) * flat**2).sum() / 2)
    optimiser.step()
    size = curvature.reshape(2, 9).mean(1).reshape(1, 2, 1, 1)  # 5 and 14
    torch.testing.assert_close(kernel.detach(), 1 - LR * curvature / (size + EPS), rtol=EXACT, atol=EXACT)
    expected = 1 - LR * curvature.reshape(2, 9) / (curvature.reshape(2, 9) + EPS)
    torch.testing.assert_close(flat.detach(), expected, rtol=EXACT, atol=EXACT)


def test_the_gradient_is_left_where_others_look_for_it():
    p = nn.Parameter(torch.from_numpy(START.copy()))
    AdaHessian([p]).backward(quadratic(A, p))
    np.testing.assert_allclose(p.grad, A @ START, rtol=EXACT)
    assert not p.grad.requires_grad


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    descend(A, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_closure_is_refused():
    with pytest.raises(TypeError, match=r"call backward\(loss\), then step"):
        AdaHessian([nn.Parameter(torch.ones(1))]).step(lambda: 0.0)

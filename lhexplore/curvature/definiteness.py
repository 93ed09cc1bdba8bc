"""Whether a block has no negative curvature by structure: its Hessian is its Gauss-Newton block, and that is convex.

In a network that is piecewise linear after a layer, H = G = Σ JᵀΛJ for that layer whatever the weights: "no negative
eigenvalues" is then no sign of health. Decided by numbers, never by the names of modules.
"""

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from .operators import Objective, OutputCurvature

BASE_TOLERANCE = {torch.float64: 1e-10, torch.float32: 1e-5}  # rounding of a product, with a wide margin
# Autograd's product drifts by about 0.2 ε/(1−p) where a softmax is confident (measured). Above this cap the drift would
# hide real differences (0.27 and 0.40 in the hidden layers of a small tanh network), so nothing is claimed.
LARGEST_TOLERANCE = 0.02
EXACT_OUTPUTS = 128  # up to so many outputs per example their curvature matrices are computed in full
FORMS = 8  # random vectors per example beyond that

_CONFIDENT: tuple[Any, ...] = (nn.CrossEntropyLoss, F.cross_entropy, nn.BCEWithLogitsLoss)
_CONFIDENT += (F.binary_cross_entropy_with_logits,)
_CONVEX = (*_CONFIDENT, nn.MSELoss, F.mse_loss, nn.L1Loss, F.l1_loss, nn.SmoothL1Loss, F.smooth_l1_loss, nn.HuberLoss)
_CONVEX += (F.huber_loss, nn.SoftMarginLoss, F.soft_margin_loss)


def gauss_newton_gap(hessian: Float[Tensor, " n"], ggn: Float[Tensor, " n"]) -> float:
    """Return ‖Hv − Gv‖ / ‖Gv‖, with 0/0 = 0: both are zero operators then."""
    difference, norm = float((hessian.double() - ggn.double()).norm()), float(ggn.double().norm())
    if not difference:
        return 0.0
    return difference / norm if norm else math.inf


def tolerance(objective: Objective, dtype: torch.dtype) -> float:
    """How large the gap may be from rounding alone: max(base, ε / median(1 − max p)), capped."""
    base = BASE_TOLERANCE.get(dtype, 10 * torch.finfo(dtype).eps)
    if criterion_kind(objective) not in _CONFIDENT:
        return base
    doubts = []
    with objective.guard(), torch.no_grad():
        for i in range(objective.count):
            outputs = objective.batch_outputs(i, {}).double()
            if criterion_kind(objective) in (nn.CrossEntropyLoss, F.cross_entropy):
                axis = 1 if outputs.ndim > 1 else 0
                first, second = outputs.softmax(axis), outputs.argmax(axis, keepdim=True)
                doubts.append(first.scatter(axis, second, 0.0).sum(axis).flatten())  # 1 − max p without cancelling
            else:
                doubts.append(torch.sigmoid(-outputs.abs()).flatten())
    median = float(torch.cat(doubts).median())
    if median <= 0:
        return LARGEST_TOLERANCE
    return min(max(base, torch.finfo(dtype).eps / median), LARGEST_TOLERANCE)


def is_convex(objective: Objective) -> bool:
    """Whether the loss has no negative curvature in the network's outputs, at the outputs as they are."""
    if criterion_kind(objective) in _CONVEX:
        return True
    with objective.guard():
        return all(_convex_batch(objective, i) for i in range(objective.count))


def _convex_batch(objective: Objective, i: int) -> bool:
    outputs = objective.batch_outputs(i, {}).detach()
    curve = OutputCurvature(objective, i, outputs, name="the outputs")
    if curve.gradient is None:
        return True
    generator = torch.Generator(device="cpu").manual_seed(0)

    def signs() -> Tensor:
        drawn = torch.randint(0, 2, tuple(outputs.shape[:1]), generator=generator, device="cpu") * 2 - 1
        return drawn.to(device=outputs.device, dtype=outputs.dtype).reshape(-1, *[1] * (outputs.ndim - 1))

    rows = outputs.reshape(len(outputs), -1) if outputs.ndim else outputs.reshape(1, 1)
    width = rows.shape[1]
    epsilon = torch.finfo(curve.at.dtype).eps
    if outputs.ndim >= 1 and width <= EXACT_OUTPUTS:
        # Random signs per example: what one example adds to another's row shows as asymmetry, and nothing is claimed.
        matrices = torch.empty((len(rows), width, width), dtype=torch.float64, device="cpu")
        for c in range(width):
            sign = signs()
            unit = torch.zeros_like(rows)
            unit[:, c] = 1
            product = curve.multiply(unit.reshape(outputs.shape) * sign) * sign
            matrices[:, :, c] = product.reshape(len(rows), width).cpu().double()
        size = matrices.abs().max()
        if float((matrices - matrices.mT).abs().max()) > 1e3 * epsilon * width * float(size):
            return False
        return bool(torch.linalg.eigvalsh(matrices).min() >= -1e3 * epsilon * width * size)
    for _ in range(FORMS):
        vector = torch.randn(tuple(outputs.shape), generator=generator, device="cpu").to(outputs)
        forms = (vector * curve.multiply(vector)).double().reshape(len(rows), -1).sum(1)
        if bool(forms.min() < -1e3 * epsilon * forms.abs().max()):
            return False
    return True


def criterion_kind(objective: Objective) -> Any:
    """The criterion's type or function, if the loss shows one."""
    criterion = getattr(objective.loss, "criterion", None)
    if isinstance(criterion, functools.partial):
        criterion = criterion.func
    return type(criterion) if isinstance(criterion, nn.Module) else criterion

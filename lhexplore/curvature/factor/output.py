"""Take the curvature of the loss in the network's outputs apart: Λ = L Lᵀ, for every example by itself.

The factored form is what keeps digits: p⊙u − p(pᵀu) loses all of them where a softmax is confident, while each entry of
the L below is a product of numbers that are known to the last digit. Scales (class weights, smoothing, masked labels,
the micro-batch's share) are never computed here but read off the loss itself, so that they cannot disagree with it.
"""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ...errors import LhexploreError, UnsupportedError
from ..definiteness import criterion_kind
from ..operators import Objective, OutputCurvature

MOST_OUTPUTS = 128  # numbers per example; each costs a backward pass
ROUNDING = 1e3  # epsilons by which two ways to the same product may differ
CHUNK_BYTES = 32 * 2**20  # columns of Λ that are computed at once
_SOFTMAX = (nn.CrossEntropyLoss, F.cross_entropy)
_LOGISTIC = (nn.BCEWithLogitsLoss, F.binary_cross_entropy_with_logits)


def output_factor(objective: Objective, i: int, outputs: Tensor) -> Float[Tensor, "r ..."]:
    r"""Factor the second derivative of micro-batch ``i``'s part of the loss in the network's outputs.

    For example ``n``, with ``v`` one of its output vectors, Λ_n v = Σ_c L[c, n] (L[c, n]·v); the micro-batch's part of
    a Gauss-Newton block is then Σ_n Σ_c (J_nᵀ L[c, n]) (J_nᵀ L[c, n])ᵀ.

    A softmax with C classes has C − 1 columns. Its usual root diag(√p) − p√pᵀ has C of rank C − 1; a reflection that
    turns √p into the axis of the most probable class k makes that column zero, and the others
    √p_j (e_j − √p_k/(1+√p_k) e_k − p/(1+√p_k)), whose entry k is −√(p_j p_k) exactly. A loss of each number by itself
    (squared error, logistic) has a diagonal L. Any other loss goes by the eigenvectors of its Λ_n.

    Args:
        objective: whose loss shows outputs and criterion apart.
        i: the micro-batch.
        outputs: of that micro-batch, one row per example. Computed with in float64, where the device has it.

    Returns:
        L, in the dtype of ``outputs``; columns that are zero for all examples are left out, so ``r`` may be 0. Costs a
        few backward passes from the loss to the outputs, and as many as there are outputs where no formula holds.

    Raises:
        UnsupportedError: more than 128 outputs per example or no examples, a loss that couples the examples or is not
            convex in the outputs, or one that does not show them.
        SecondDerivativeError: the criterion cannot be differentiated twice.
    """
    if not objective.loss.splits:
        raise UnsupportedError(
            "The factor method needs the network's outputs and the criterion apart, but this loss only gives a number. "
            "Pass a criterion for (outputs, targets), or use method='lanczos'."
        )
    if not outputs.ndim:
        raise UnsupportedError("The factor method needs outputs with one row per example; these are a single number.")
    width = _width(outputs)
    if width > MOST_OUTPUTS:
        raise UnsupportedError(
            f"The factor method takes a backward pass per output, and this network has {width:,} outputs per example "
            f"(at most {MOST_OUTPUTS} are taken). Use method='lanczos'."
        )
    with objective.guard():
        curve = _curvature(objective, i, outputs.detach())
        if curve.gradient is None:
            return outputs.new_zeros((0, *outputs.shape))
        factor = _softmax(objective, i, curve, outputs.dtype)
        if factor is None:
            diagonal = _logistic(objective, i, curve)
            diagonal = _separate(curve) if diagonal is None else diagonal
            factor = _matrices(curve) if diagonal is None else _root(diagonal)
        live = factor.flatten(1).any(1)
        return (factor if bool(live.all()) else factor[live]).to(outputs)


def _width(outputs: Tensor) -> int:
    return outputs[:1].numel()


def _curvature(objective: Objective, i: int, at: Tensor) -> OutputCurvature:
    """Λ at any outputs, in float64 where device and criterion know it."""
    if at.device.type != "mps":
        try:
            return OutputCurvature(objective, i, at.double(), name="the outputs")
        except LhexploreError:
            raise
        except RuntimeError:  # a criterion with float32 tensors of its own takes nothing else
            pass
    return OutputCurvature(objective, i, at, name="the outputs")


def _limit(curve: OutputCurvature) -> float:
    return ROUNDING * torch.finfo(curve.at.dtype).eps


def _noise(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    return torch.randn(tuple(like.shape), generator=generator, dtype=torch.float64, device="cpu").to(like)


# ---- softmax


def _softmax(objective: Objective, i: int, curve: OutputCurvature, dtype: torch.dtype) -> Tensor | None:
    """L of cross-entropy over axis 1, each example and position with a scale of its own; None if that does not hold.

    Where the outputs are zero all classes are as likely, and Λ e_0 shows the scales without any cancellation.
    """
    at = curve.at.detach()
    if criterion_kind(objective) not in _SOFTMAX or at.ndim < 2:
        return None
    classes = at.shape[1]
    origin = _curvature(objective, i, torch.zeros_like(at))
    first = torch.zeros_like(at)
    first[:, 0] = 1
    scale = origin.multiply(first)[:, :1] * classes**2 / max(classes - 1, 1)
    if bool((scale < 0).any()):
        return None
    elsewhere = _curvature(objective, i, _noise(at, 0))
    if not (_is_softmax(elsewhere, scale) and _is_softmax(curve, scale)):
        return None
    count, positions = len(at), at[0, 0].numel()
    factor = torch.zeros((classes - 1, positions, count, classes, positions), dtype=dtype, device=at.device)
    for place, column in zip(factor, _columns(at, scale), strict=True):  # one by one: all in float64 may be too much
        place.diagonal(dim1=0, dim2=3).copy_(column.reshape(count, classes, positions))
    return factor.reshape((classes - 1) * positions, *at.shape)


def _columns(at: Tensor, scale: Tensor) -> Iterator[Tensor]:
    """Yield the C − 1 columns of L, one after the other; the most probable class of each example has none.

    With that class k every difference is one of far unequal numbers, so nothing cancels however confident p is.
    """
    p = at.softmax(1)
    best = at.argmax(1, keepdim=True)
    root = p.sqrt()
    common = -p / (1 + root.gather(1, best))
    common.scatter_(1, best, -root.gather(1, best))
    root *= scale.sqrt()
    last = at.shape[1] - 1
    for j in range(last):
        mine = torch.where(best == j, last, j)
        yield common.scatter_add(1, mine, torch.ones_like(scale)) * root.gather(1, mine)


def _is_softmax(curve: OutputCurvature, scale: Tensor) -> bool:
    """Compare one product; autograd's is off by ε of the scale, whatever is left of Λ where p is confident."""
    at = curve.at.detach()
    v = _noise(at, 1)
    mine = torch.zeros_like(at)
    for column in _columns(at, scale):
        mine += column * (column * v).sum(1, keepdim=True)
    return bool(((mine - curve.multiply(v)).abs() <= _limit(curve) * at.shape[1] * scale).all())


# ---- losses of each number by itself


def _logistic(objective: Objective, i: int, curve: OutputCurvature) -> Tensor | None:
    """Λ's diagonal for a logistic loss of each number: a scale times p(1 − p), which is 1/4 at zero."""
    if criterion_kind(objective) not in _LOGISTIC:
        return None
    at = curve.at.detach()
    scale = 4 * _curvature(objective, i, torch.zeros_like(at)).multiply(torch.ones_like(at))
    if bool((scale < 0).any()):
        return None
    for known in (_curvature(objective, i, _noise(at, 0)), curve):
        z, v = known.at.detach(), _noise(at, 1)
        product = scale * torch.sigmoid(z) * torch.sigmoid(-z) * v
        if not bool(((product - known.multiply(v)).abs() <= _limit(known) * scale).all()):
            return None
    return scale * torch.sigmoid(at) * torch.sigmoid(-at)


def _separate(curve: OutputCurvature) -> Tensor | None:
    """Λ's diagonal where it has nothing else; None where numbers or examples depend on each other.

    Raises:
        UnsupportedError: the loss is not convex.
    """
    at = curve.at.detach()
    diagonal, v = curve.multiply(torch.ones_like(at)), _noise(at, 1)
    if not bool(((diagonal * v - curve.multiply(v)).abs() <= _limit(curve) * (diagonal * v).abs()).all()):
        return None
    if bool(diagonal.min() < -_limit(curve) * diagonal.abs().max()):
        raise _indefinite()
    return diagonal.clamp(min=0)


def _root(diagonal: Tensor) -> Tensor:
    width = _width(diagonal)
    rows = diagonal.reshape(-1, width)
    return rows.sqrt().T[:, :, None].mul(torch.eye(width).to(rows)[:, None]).reshape(width, *diagonal.shape)


# ---- any other loss


def _matrices(curve: OutputCurvature) -> Tensor:
    """L from the eigenvectors of every example's Λ.

    Each column of all Λ comes from one product, with a random sign per example: what one example adds to the rows of
    another has the sign of both, and shows against a product with a random vector.

    Raises:
        UnsupportedError: the loss couples the examples, or is not convex.
    """
    at, width = curve.at.detach(), _width(curve.at)
    rows = at.reshape(-1, width)
    signs = _noise(rows.T, 2).sign()  # one row of signs per column of Λ
    matrices = torch.empty((len(rows), width, width), dtype=at.dtype, device=at.device)
    step = max(1, CHUNK_BYTES // (at.numel() * at.element_size()))
    for start in range(0, width, step):
        chosen = torch.arange(start, min(start + step, width), device=at.device)
        units = torch.zeros((len(chosen), *rows.shape), dtype=at.dtype, device=at.device)
        units[torch.arange(len(chosen), device=at.device), :, chosen] = signs[chosen]
        products = _many(curve, units.reshape(len(chosen), *at.shape)).reshape(units.shape)
        matrices[:, :, chosen] = (products * signs[chosen][:, :, None]).permute(1, 2, 0)
    size, v = matrices.abs().amax(), _noise(rows, 3)
    limit = float(size) * _limit(curve) * width
    product = curve.multiply(v.reshape(at.shape)).reshape(rows.shape)
    if float(((matrices @ v[:, :, None])[:, :, 0] - product).abs().max()) > limit:
        raise UnsupportedError(
            "The loss couples the examples of a batch, so its curvature is no sum over examples and the factor method "
            "does not apply. Use method='dense' or 'lanczos'."
        )
    values, vectors = torch.linalg.eigh((matrices + matrices.mT) / 2)
    if float(values.min()) < -limit:
        raise _indefinite()
    live = values.amax(0) > float(values.max()) * width * torch.finfo(at.dtype).eps  # ascending: the first ones are 0
    values, vectors = values[:, live], vectors[:, :, live]
    factor: Tensor = vectors * values.clamp(min=0).sqrt()[:, None]
    return factor.permute(2, 0, 1).reshape(-1, *at.shape)


def _many(curve: OutputCurvature, vectors: Tensor) -> Tensor:
    try:
        return curve.multiply(vectors, batched=True)
    except RuntimeError:  # an operation that cannot be batched, or one whose error the next line names
        return torch.stack([curve.multiply(v) for v in vectors])


def _indefinite() -> UnsupportedError:
    return UnsupportedError(
        "The loss is not convex in the network's outputs at these weights, so the Gauss-Newton matrix is indefinite "
        "and has no real factor. Use method='dense' or 'lanczos'."
    )

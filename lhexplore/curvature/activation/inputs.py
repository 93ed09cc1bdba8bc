"""The span of a layer's inputs: what is orthogonal to it cannot move the layer's output, so no curvature is there."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SKETCHES = (8, 4, 2)  # random sketches of these parts of the largest possible rank are tried
DECOMPOSED = 256  # up to here singular values cost little; beyond it they cost more than cutting less than half brings


@dataclass(frozen=True, slots=True, eq=False)
class Span:
    """X = S Vᵀ + E with orthonormal V: ``coordinates`` S, ``basis`` V (None is the identity), ``rest`` ≥ ‖E‖."""

    coordinates: Float[Tensor, "rows rank"]
    basis: Float[Tensor, "p rank"] | None
    norm: float  # ‖X‖ (Frobenius)
    rest: float

    @property
    def rank(self) -> int:
        return int(self.coordinates.shape[1])


def span(x: Float[Tensor, "rows p"], *, resolution: float = 0.0) -> Span:
    """Find the row space of ``x`` in float64.

    Left out are directions that together have at most √min(rows, p) · max(ε, resolution) of the norm of ``x``, with ε
    of its dtype. A sketch costs 4·rows·p·k multiply-adds, k its width, and is believed only where the residual, which
    is computed and not estimated, is that small; otherwise the rank may come out larger than it is, which is no error.
    """
    home, dtype = x.device, x.dtype
    wide = x.to("cpu" if home.type == "mps" else home).to(torch.float64)
    norm, most = float(torch.linalg.vector_norm(wide)), min(wide.shape)
    cut = max(torch.finfo(dtype).eps, resolution) * most**0.5 * norm
    basis, missed = _sketched(wide, most, cut)
    if basis is None and wide.shape[0] < wide.shape[1]:
        basis = torch.linalg.qr(wide.T).Q
    inner = wide if basis is None else wide @ basis
    rank = inner.shape[1]
    if rank <= DECOMPOSED or missed:
        # Of the triangle alone: its right singular vectors are those of `inner`.
        values, turn = torch.linalg.svd(torch.linalg.qr(inner).R, full_matrices=False)[1:]
        tails = torch.cat([values.square().flip(0).cumsum(0).flip(0), values.new_zeros(1)]).add(missed**2).sqrt()
        rank, missed = max(1, int((tails > cut).sum())), float(tails[max(1, int((tails > cut).sum()))])
        if rank < wide.shape[1]:
            basis = turn[:rank].T if basis is None else basis @ turn[:rank].T
    if rank == wide.shape[1] or basis is None:
        return Span(x, None, norm, 0.0)
    return Span((wide @ basis).to(dtype).to(home), basis.to(dtype).to(home), norm, missed)


def _sketched(x: Float[Tensor, "rows p"], most: int, cut: float) -> tuple[Float[Tensor, "p k"] | None, float]:
    """An orthonormal basis from few random combinations of the rows, and the norm of what it misses; or None."""
    generator = torch.Generator(device="cpu").manual_seed(0)
    for part in SKETCHES:
        mix = torch.randn(-(-most // part), x.shape[0], generator=generator, dtype=torch.float64, device="cpu")
        basis = torch.linalg.qr((mix.to(x.device) @ x).T).Q
        missed = float(torch.linalg.vector_norm(x - (x @ basis) @ basis.T))
        if missed <= cut:
            return basis, missed
    return None, 0.0

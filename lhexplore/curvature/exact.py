"""Every eigenvalue of one block: all columns of its matrix, then the eigenvalues, as a generator of steps."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..spectrum import Step
from .activation import ActivationBlock
from .batching import suitable
from .dense import columns, eigenvalues
from .lanczos import start_vector
from .listed import listed
from .operators import LayerGGN, LayerHessian
from .planner import CHECKS, LARGEST_CHUNK, Choice
from .request import Progress, Request, defect_notes, definite, zeros
from .zero_band import zero_band


def compressed_steps(
    request: Request, op: LayerHessian | LayerGGN, choice: Choice, block: ActivationBlock
) -> Iterator[Step]:
    """Every eigenvalue in the few dimensions that the layer's inputs span; all others are exact zeros."""
    progress = Progress(0, CHECKS + 1)
    exact = block.eigenvalues()
    yield progress.step()
    vectors = [start_vector(op, seed=request.seed, name=op.name, index=i) for i in range(CHECKS)]
    psd, checks = yield from definite(request, vectors, [block.matvec(v) for v in vectors], progress)
    magnitude = float(np.abs(exact.eigenvalues).max())
    band = zero_band(magnitude, op.size, epsilon=torch.finfo(op.dtype).eps, defect=exact.defect)
    spectrum = request.spectrum(
        op,
        choice,
        **listed(exact.eigenvalues, op.size, residual=exact.residual),
        method="dense",
        trace=exact.trace,
        symmetry_defect=exact.defect,
        zero_band=max(band, -float(exact.eigenvalues.min())) if psd else band,
        psd=psd,
        checks=checks,
        reason=f"every eigenvalue: the layer's inputs span so few directions that {block.rank:,} dimensions hold all "
        "that is not zero",
        notes=defect_notes(exact.defect, op.dtype),
    )
    yield progress.finish(spectrum)


def exact_steps(
    request: Request, op: LayerHessian | LayerGGN, choice: Choice, *, most: int = LARGEST_CHUNK
) -> Iterator[Step]:
    """Multiply with every unit vector and solve; the last step holds the complete spectrum.

    Args:
        request: what was asked for.
        op: the operator.
        choice: the plan.
        most: columns to compute at once, at most.
    """
    progress = Progress(0, choice.products)
    matrix: Tensor | None = None
    for done, filled in columns(op, chunk=suitable(op, most=most)):
        matrix = filled
        yield progress.step(by=done - progress.done)
    assert matrix is not None  # noqa: S101  # a block has at least one column
    if not bool(matrix.any()):
        yield progress.finish(zeros(request, op, choice, "each of its columns is zero"))
        return
    vectors = [start_vector(op, seed=request.seed, name=op.name, index=i) for i in range(CHECKS)]
    products = [(matrix @ v.cpu().to(torch.float64)).to(device=op.device, dtype=op.dtype) for v in vectors]
    psd, checks = yield from definite(request, vectors, products, progress)
    epsilon = torch.finfo(op.dtype).eps
    exact = eigenvalues(matrix, epsilon=epsilon)
    magnitude = float(np.abs(exact.eigenvalues).max())
    band = zero_band(magnitude, op.size, epsilon=epsilon, defect=exact.defect)
    if psd:  # what is negative in spite of that is rounding, also where the asymmetry does not show it
        band = max(band, -float(exact.eigenvalues.min()))
    notes = defect_notes(exact.defect, op.dtype)
    if op.column_by_column:
        notes += ("An operation in this model cannot be differentiated in batches; columns were computed one by one.",)
    spectrum = request.spectrum(
        op,
        choice,
        **listed(exact.eigenvalues, op.size, residual=exact.residual),
        method="dense",
        trace=exact.trace,
        symmetry_defect=exact.defect,
        zero_band=band,
        psd=psd,
        checks=checks,
        notes=notes,
    )
    yield progress.finish(spectrum)

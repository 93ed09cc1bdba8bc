"""What was asked for, and what every way of answering shares: values, progress, notes, the Gauss-Newton check."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..spectrum import Spectrum, Step
from .definiteness import gauss_newton_gap, is_convex, tolerance
from .operators import Block, LayerGGN, LayerHessian, Objective
from .planner import Choice

NOTICEABLE_DEFECT = 1e-4  # from here on the asymmetry is worth a sentence


@dataclass(frozen=True, slots=True)
class Request:
    """The request, and what every value of it has in common."""

    replica: Objective
    layer: Block
    label: str | None
    snapshot: str
    method: str
    curvature: str
    split: str
    steps: int
    probes: int
    seed: int
    memory: int

    def spectrum(
        self,
        op: LayerHessian | LayerGGN,
        choice: Choice,
        *,
        checks: int = 0,
        reason: str = "",
        notes: tuple[str, ...] = (),
        **values: Any,
    ) -> Spectrum:
        return Spectrum(
            layer=self.label,
            snapshot=self.snapshot,
            size=op.size,
            curvature=self.curvature,
            split=self.split,
            reason=reason or choice.reason,
            notes=tuple(getattr(self.replica, "notes", ())) + notes,
            products=op.products + checks,
            provenance={
                "seed": self.seed,
                "dtype": str(op.dtype).removeprefix("torch."),
                "device": op.device.type,
                "start_vectors": "random signs",
                "reorthogonalisation": "full, two passes",
            },
            **values,
        )


@dataclass(slots=True)
class Progress:
    """How many products are done, and of how many."""

    done: int
    total: int

    def step(self, spectrum: Spectrum | None = None, *, by: int = 1) -> Step:
        self.done += by
        self.total = max(self.total, self.done)
        return Step(self.done, self.total, spectrum)

    def finish(self, spectrum: Spectrum) -> Step:
        return Step(self.done, self.done, spectrum)


def zeros(request: Request, op: LayerHessian | LayerGGN, choice: Choice, why: str) -> Spectrum:
    """Return the spectrum of a block that is known to be zero."""
    return request.spectrum(
        op,
        choice,
        nodes=np.zeros(1),
        weights=np.ones(1),
        method="dense",
        trace=0.0,
        reason=f"exact zeros: {why}",
    )


def definite(
    request: Request, vectors: list[Tensor], products: list[Tensor], progress: Progress
) -> Generator[Step, None, tuple[bool, int]]:
    """Return whether H v = G v and G has no negative direction by structure, and the products spent on it."""
    replica = request.replica
    if not replica.loss.splits:
        return False, 0
    spent = 0
    if request.curvature == "hessian":
        ggn = LayerGGN(replica, request.layer)
        gaps = []
        for v, product in zip(vectors, products, strict=True):
            gaps.append(gauss_newton_gap(product, ggn.matvec(v)))
            yield progress.step()
        spent = ggn.products
        if not max(gaps) <= tolerance(replica, products[0].dtype):
            return False, spent
    return is_convex(replica), spent


def defect_notes(defect: float, dtype: torch.dtype) -> tuple[str, ...]:
    """Say so where the operator is noticeably asymmetric."""
    if defect <= NOTICEABLE_DEFECT:
        return ()
    cure = "dtype=torch.float64 tells the first from the others" if dtype != torch.float64 else "it is not rounding"
    return (
        f"The Hessian as computed is not symmetric (relative defect {defect:.1e}): confident outputs in float32, "
        f"randomness in the model, or data that changes between products; {cure}.",
    )

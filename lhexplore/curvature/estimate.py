"""The estimated spectrum of one block: stochastic Lanczos quadrature as a generator of steps."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..spectrum import Step
from .hutchinson import Sample, sample, symmetry_defect, trace_estimate
from .lanczos import Quadrature, lanczos, require_finite, start_vector
from .operators import LayerGGN, LayerHessian
from .planner import CHECKS, START_VECTORS, Choice
from .request import Progress, Request, defect_notes, definite, zeros
from .zero_band import zero_band

SHOW_EVERY = 10  # products between two better values
CONVERGED = 1e-3  # residual of an end, relative to |λ|max, up to which it is called converged


@dataclass(slots=True)
class _Runs:
    """What the start vectors of one block have told so far."""

    size: int
    epsilon: float
    steps: int
    samples: list[Sample]
    defect: float
    psd: bool = False
    checks: int = 0
    finished: list[Quadrature] = field(default_factory=list)

    def values(self, current: Quadrature | None) -> dict[str, Any]:
        runs = [*self.finished, current] if current is not None else self.finished
        nodes = np.concatenate([run.nodes for run in runs])
        magnitude = float(np.abs(nodes).max())
        trace, stderr = trace_estimate(self.samples, magnitude=magnitude)
        return {
            "nodes": nodes,
            "weights": np.concatenate([run.weights for run in runs]) / len(runs),
            "residuals": np.concatenate([run.residuals for run in runs]),
            "probe": np.repeat(np.arange(len(runs)), [len(run.nodes) for run in runs]),
            "method": "lanczos",
            "steps": self.steps,
            "probes": len(runs),
            "trace": trace,
            "trace_stderr": stderr,
            "symmetry_defect": self.defect,
            "zero_band": zero_band(magnitude, self.size, epsilon=self.epsilon, defect=self.defect),
            "psd": self.psd,
            "checks": self.checks,
        }


def estimate_steps(request: Request, op: LayerHessian | LayerGGN, choice: Choice) -> Iterator[Step]:
    """Stochastic Lanczos quadrature.

    The first products of the first few runs come first: they give the symmetry defect, the comparison with the
    Gauss-Newton block and a first estimate of the trace (Hutchinson) at no extra product. Later start vectors are
    drawn when their run begins, so that memory does not grow with their number.
    """
    progress = Progress(0, choice.products)
    vectors, products = list[Tensor](), list[Tensor]()
    for i in range(START_VECTORS):
        vectors.append(start_vector(op, seed=request.seed, name=op.name, index=i))
        products.append(op.matvec(vectors[-1]))
        require_finite(products[-1], op)
        yield progress.step()
    epsilon, defect = torch.finfo(op.dtype).eps, symmetry_defect(vectors, products)
    samples = [sample(v, product) for v, product in zip(vectors, products, strict=True)]
    runs = _Runs(op.size, epsilon, request.steps, samples, defect)
    if not any(bool(product.any()) for product in products):
        yield progress.finish(zeros(request, op, choice, f"{len(products)} random vectors were multiplied to zero"))
        return
    runs.psd, runs.checks = yield from definite(request, vectors[:CHECKS], products[:CHECKS], progress)
    notes = defect_notes(runs.defect, op.dtype)
    notes += ("One start vector sees a multiple eigenvalue once: multiplicities are not resolved.",)
    planned = min(request.steps, op.size)
    for i in range(request.probes):
        if vectors:
            start, product = vectors.pop(0), products.pop(0)
        else:
            start = start_vector(op, seed=request.seed, name=op.name, index=i)
            product = op.matvec(start)
            require_finite(product, op)
            runs.samples.append(sample(start, product))
            yield progress.step()
        last = None
        for known in lanczos(op, start, steps=planned, product=product):
            last = known
            if known.steps == 1:
                continue  # its product was counted above
            if known.finished:
                break
            value = None
            if known.steps % SHOW_EVERY == 0:
                value = request.spectrum(op, choice, complete=False, notes=notes, **runs.values(known.quadrature()))
            yield progress.step(value)
        assert last is not None  # noqa: S101  # at least one step was planned
        runs.finished.append(last.quadrature())
        progress.total -= planned - last.steps
        values = runs.values(None)
        if i + 1 < request.probes:
            yield progress.step(
                request.spectrum(op, choice, complete=False, notes=notes, **values), by=int(last.steps > 1)
            )
        else:
            progress.done += int(last.steps > 1)
            notes += _end_notes(values["nodes"], values["residuals"], steps=request.steps, size=op.size)
            yield progress.finish(request.spectrum(op, choice, notes=notes, **values))


def _end_notes(
    nodes: Float[ndarray, " m"], residuals: Float[ndarray, " m"], *, steps: int, size: int
) -> tuple[str, ...]:
    """Say so where the outermost nodes are known to be on their way still."""
    order = np.argsort(nodes, kind="stable")
    limit = CONVERGED * float(np.abs(nodes).max())
    ends = [name for name, at in (("lower", order[0]), ("upper", order[-1])) if residuals[at] > limit]
    if not ends or steps >= size:
        return ()
    which = "ends have" if len(ends) > 1 else f"{ends[0]} end has"
    return (f"The {which} not converged: ask for more steps (now {steps}). The true extremes lie further out.",)

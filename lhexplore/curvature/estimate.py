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
from .batching import Batching
from .hutchinson import Sample, sample, symmetry_defect, trace_estimate
from .lanczos import Quadrature, Runs, require_finite, start_vector
from .memory import free_bytes
from .operators import LayerGGN, LayerHessian
from .planner import CHECKS, LARGEST_CHUNK, START_VECTORS, Choice, lanczos_bytes, runs_together
from .request import Progress, Request, defect_notes, definite, zeros
from .zero_band import zero_band

SHOW_FIRST = 5  # steps after which there is a first value
SHOW_EVERY = 10  # steps between two better values
DEVICE_SHARE = 2  # of an accelerator's free memory, bases may take one in so many parts
CONVERGED = 1e-3  # residual of an end, relative to |λ|max, up to which it is called converged


@dataclass(slots=True)
class _Told:
    """What the start vectors of one block have told so far."""

    op: LayerHessian | LayerGGN
    steps: int
    samples: list[Sample] = field(default_factory=list)
    defect: float = 0.0
    psd: bool = False
    checks: int = 0
    finished: list[Quadrature] = field(default_factory=list)

    def values(self, under_way: Runs | None = None) -> dict[str, Any]:
        """The fields of a spectrum, from the finished runs and those under way."""
        found = [*self.finished, *(under_way.quadratures() if under_way else ())]
        nodes = np.concatenate([one.nodes for one in found])
        magnitude = float(np.abs(nodes).max())
        trace, stderr = trace_estimate(self.samples, magnitude=magnitude)
        epsilon = torch.finfo(self.op.dtype).eps
        band = zero_band(magnitude, self.op.size, epsilon=epsilon, defect=self.defect)
        if self.psd:  # what is negative in spite of that is rounding, also where the asymmetry does not show it
            band = max(band, -float(nodes.min()))
        return {
            "nodes": nodes,
            "weights": np.concatenate([one.weights for one in found]) / len(found),
            "residuals": np.concatenate([one.residuals for one in found]),
            "probe": np.repeat(np.arange(len(found)), [len(one.nodes) for one in found]),
            "method": "lanczos",
            "steps": self.steps,
            "probes": len(found),
            "trace": trace,
            "trace_stderr": stderr,
            "symmetry_defect": self.defect,
            "zero_band": band,
            "psd": self.psd,
            "checks": self.checks,
        }


def estimate_steps(
    request: Request,
    op: LayerHessian | LayerGGN,
    choice: Choice,
    *,
    most: int = LARGEST_CHUNK,
    host: bool | None = None,
) -> Iterator[Step]:
    """Stochastic Lanczos quadrature.

    The first products come first: they give the symmetry defect, the comparison with the Gauss-Newton block and a first
    estimate of the trace (Hutchinson) at no extra product. Then all runs go on together, as many as fit into memory at
    once, so that a value after few steps is already one of all of them.

    Args:
        request: what was asked for.
        op: the operator.
        choice: the plan.
        most: vectors to multiply at once, at most.
        host: keep the bases in main memory; None is: where an accelerator has no room for them.
    """
    progress, told = Progress(0, choice.products), _Told(op, request.steps)
    kept, products = list[Tensor](), list[Tensor]()
    for i in range(START_VECTORS):
        kept.append(start_vector(op, seed=request.seed, name=op.name, index=i))
        products.append(op.matvec(kept[-1]))
        require_finite(products[-1], op)
        yield progress.step()
    told.defect = symmetry_defect(kept, products)
    told.samples = [sample(v, product) for v, product in zip(kept, products, strict=True)]
    if not any(bool(product.any()) for product in products):
        yield progress.finish(zeros(request, op, choice, f"{len(products)} random vectors were multiplied to zero"))
        return
    told.psd, told.checks = yield from definite(request, kept[:CHECKS], products[:CHECKS], progress)
    notes = defect_notes(told.defect, op.dtype)
    notes += ("One start vector sees a multiple eigenvalue once: multiplicities are not resolved.",)
    planned, itemsize = min(request.steps, op.size), torch.finfo(op.dtype).bits // 8
    together = runs_together(op.size, planned, request.probes, itemsize, memory=request.memory)
    if host is None:
        needed = lanczos_bytes(op.size, planned, itemsize, runs=together)
        host = op.device.type != "cpu" and needed > free_bytes(op.device) // DEVICE_SHARE
    batching = Batching(op, most=most)
    for first in range(0, request.probes, together):
        indices = range(first, min(first + together, request.probes))
        starts = torch.stack(
            [kept[i] if i < len(kept) else start_vector(op, seed=request.seed, name=op.name, index=i) for i in indices]
        )
        runs, found = Runs(op, starts, steps=planned, host=host), products[first : indices.stop]
        fresh = starts[len(found) :]
        for part in batching.parts(fresh) if len(fresh) else ():
            found.extend(part)
            yield progress.step(by=len(part))
        told.samples += [sample(v, product) for v, product in zip(fresh, found[len(found) - len(fresh) :], strict=True)]
        runs.advance(torch.stack(found))
        del starts, fresh, found
        if indices.stop >= min(START_VECTORS, request.probes):
            kept.clear()
            products.clear()
        progress.total -= (len(indices) - len(runs.running)) * (planned - 1)
        while runs.running:
            before, parts = len(runs.running), list[Tensor]()
            for part in batching.parts(runs.vectors):
                if parts:
                    yield progress.step(by=len(parts[-1]))
                parts.append(part)
            runs.advance(torch.cat(parts))
            progress.total -= (before - len(runs.running)) * (planned - runs.steps)
            value = None
            if runs.steps == SHOW_FIRST or runs.steps % SHOW_EVERY == 0:
                value = request.spectrum(op, choice, complete=False, notes=notes, **told.values(runs))
            yield progress.step(value, by=len(parts[-1]))
        told.finished += runs.quadratures()
    values = told.values()
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

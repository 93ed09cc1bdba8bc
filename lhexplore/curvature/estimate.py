"""The estimated spectrum of one block: stochastic Lanczos quadrature as a generator of steps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..spectrum import Step
from .activation import ActivationBlock
from .batching import Batching
from .hutchinson import Sample, trace_estimate
from .lanczos import Quadrature, Runs, require_finite, start_vector
from .memory import free_bytes
from .operators import LayerGGN, LayerHessian
from .planner import CHECKS, LARGEST_CHUNK, START_VECTORS, Choice, lanczos_bytes, runs_together
from .request import Progress, Request, defect_notes, definite, zeros
from .space import Everywhere, Inside, Space
from .zero_band import zero_band

SHOW_FIRST = 5  # steps after which there is a first value
SHOW_EVERY = 10  # steps between two better values
DEVICE_SHARE = 2  # of an accelerator's free memory, bases may take one in so many parts
CONVERGED = 1e-3  # residual of an end, relative to |λ|max, up to which it is called converged


@dataclass(slots=True)
class _Told:
    """What the start vectors of one block have told so far."""

    op: LayerHessian | LayerGGN
    space: Space
    steps: int
    samples: list[Sample] = field(default_factory=list)
    defect: float = 0.0
    psd: bool = False
    checks: int = 0
    finished: list[Quadrature] = field(default_factory=list)

    def whole(self, runs: Runs, shares: Sequence[float]) -> list[Quadrature]:
        """What runs know of their whole start vectors."""
        return [self.space.whole(found, share) for found, share in zip(runs.quadratures(), shares, strict=True)]

    def values(self, under_way: Sequence[Quadrature] = ()) -> dict[str, Any]:
        """The fields of a spectrum, from the finished runs and those under way."""
        found = [*self.finished, *under_way]
        nodes = np.concatenate([one.nodes for one in found])
        magnitude = float(np.abs(nodes).max())
        if self.space.trace is None:
            trace, stderr = trace_estimate(self.samples, magnitude=magnitude)
        else:
            trace, stderr = self.space.trace, 0.0
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
            "checks": self.checks + (0 if self.space.op is self.op else self.space.op.products),
        }


def estimate_steps(
    request: Request,
    op: LayerHessian | LayerGGN,
    choice: Choice,
    *,
    most: int = LARGEST_CHUNK,
    host: bool | None = None,
    block: ActivationBlock | None = None,
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
        block: the same block without autograd, where it can be had.
    """
    space: Space = Everywhere(op) if block is None else Inside(block)
    progress, told = Progress(0, choice.products), _Told(op, space, request.steps)

    def start(i: int) -> tuple[Tensor, float]:
        return space.enter(start_vector(op, seed=request.seed, name=op.name, index=i))

    kept, parts_of, products = list[Tensor](), list[float](), list[Tensor]()
    for i in range(START_VECTORS):
        inside, share = start(i)
        kept.append(inside)
        parts_of.append(share)
        products.append(space.op.matvec(inside))
        require_finite(products[-1], op)
        yield progress.step()
    told.defect = space.defect(kept, products)
    told.samples = [space.sample(*each) for each in zip(kept, products, parts_of, strict=True)]
    if not any(bool(product.any()) for product in products):
        yield progress.finish(zeros(request, op, choice, f"{len(products)} random vectors were multiplied to zero"))
        return
    vectors = kept[:CHECKS]
    if block is not None:  # the comparison wants the whole vectors
        vectors = [start_vector(op, seed=request.seed, name=op.name, index=i) for i in range(CHECKS)]
    whole = [space.leave(product, share) for product, share in zip(products[:CHECKS], parts_of, strict=False)]
    told.psd, told.checks = yield from definite(request, vectors, whole, progress)
    del vectors, whole
    notes = defect_notes(told.defect, op.dtype)
    notes += (space.note,) if space.note else ()
    notes += ("One start vector sees a multiple eigenvalue once: multiplicities are not resolved.",)
    planned, itemsize = min(request.steps, space.op.size), torch.finfo(op.dtype).bits // 8
    together = runs_together(space.op.size, planned, request.probes, itemsize, memory=request.memory)
    if host is None:
        needed = lanczos_bytes(space.op.size, planned, itemsize, runs=together)
        host = op.device.type != "cpu" and needed > free_bytes(op.device) // DEVICE_SHARE
    batching = Batching(space.op, most=most)
    for first in range(0, request.probes, together):
        indices = range(first, min(first + together, request.probes))
        shares = list[float]()

        def begin(i: int, shares: list[float] = shares) -> Tensor:
            inside, share = (kept[i], parts_of[i]) if i < len(kept) else start(i)
            shares.append(share)
            return inside

        starts = torch.stack([begin(i) for i in indices])
        runs, found = Runs(space.op, starts, steps=planned, host=host), products[first : indices.stop]
        fresh = starts[len(found) :]
        for part in batching.parts(fresh) if len(fresh) else ():
            found.extend(part)
            yield progress.step(by=len(part))
        new = len(starts) - len(fresh)
        told.samples += [space.sample(*each) for each in zip(fresh, found[new:], shares[new:], strict=True)]
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
                value = request.spectrum(
                    op, choice, complete=False, notes=notes, **told.values(told.whole(runs, shares))
                )
            yield progress.step(value, by=len(parts[-1]))
        told.finished += told.whole(runs, shares)
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

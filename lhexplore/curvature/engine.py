"""One layer at one snapshot: operator, method, checks and the finished `Spectrum`, as a generator of steps."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..errors import SettingError
from ..spectrum import Spectrum, Step
from .definiteness import gauss_newton_gap, is_convex, tolerance
from .dense import columns, eigenvalues
from .hutchinson import Sample, sample, symmetry_defect, trace_estimate
from .lanczos import Quadrature, lanczos, require_finite, start_vector
from .operators import Block, LayerGGN, LayerHessian, Objective
from .planner import CHECKS, MEMORY, START_VECTORS, Choice, choose, chunk_size
from .states import check_seed
from .zero_band import zero_band

CURVATURES = ("hessian", "ggn")
SPLITS = ("data", "held_out")
SHOW_EVERY = 10  # products between two better values
CONVERGED = 1e-3  # residual of an end, relative to |λ|max, up to which it is called converged
NOTICEABLE_DEFECT = 1e-4  # from here on the asymmetry is worth a sentence


def measure(
    replica: Objective,
    layer: Block,
    *,
    label: str | None,
    snapshot: str,
    method: str = "auto",
    curvature: str = "hessian",
    split: str = "data",
    steps: int = 100,
    probes: int = 5,
    seed: Any = 0,
    memory: int = MEMORY,
) -> Iterator[Step]:
    """Compute the spectrum of one block, one `Step` per product (or batch of columns); the last one is complete.

    Nothing is held between two steps: no lock, no switch, no grad mode. Whoever drives the generator may close it.

    Args:
        replica: the loss over frozen data, as a function of parameters.
        layer: which parameters.
        label: the layer's name in the spectrum; None for the whole network.
        snapshot: label of the weights that the replica holds.
        method: "auto", "dense" or "lanczos"; what was chosen and why is in ``Spectrum.reason``.
        curvature: "hessian" or "ggn".
        split: which data the replica holds, "data" or "held_out".
        steps: Lanczos steps per start vector.
        probes: start vectors.
        seed: of the start vectors, together with the layer's name.
        memory: most bytes for matrices and bases.

    Raises:
        SettingError: an argument that makes no sense.
        TooLargeError: the wanted method does not fit into ``memory``.
        NotFiniteError: a product held NaN or infinity.
        SecondDerivativeError: an operation of the model cannot be differentiated twice.
    """
    if curvature not in CURVATURES:
        raise SettingError(f"curvature must be one of {CURVATURES}, got {curvature!r}.")
    if split not in SPLITS:
        raise SettingError(f"split must be one of {SPLITS}, got {split!r}.")
    seed = check_seed(seed)
    template = _Template(replica, layer, label, snapshot, method, curvature, split, steps, probes, seed, memory)
    return _timed(_measure(template), replica)


@dataclass(frozen=True, slots=True)
class _Template:
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
class _Progress:
    done: int
    total: int

    def step(self, spectrum: Spectrum | None = None, *, by: int = 1) -> Step:
        self.done += by
        self.total = max(self.total, self.done)
        return Step(self.done, self.total, spectrum)

    def finish(self, spectrum: Spectrum) -> Step:
        return Step(self.done, self.done, spectrum)


def _timed(work: Iterator[Step], replica: Objective) -> Iterator[Step]:
    """Stamp values with the time spent computing, not waiting for the one who drives."""
    seconds = 0.0
    while True:
        started = perf_counter()
        try:
            # Around the vector algebra too: with more threads than free cores it is a thousand times slower than the
            # products, and vectors made in a caller's inference mode could not be used in later steps.
            with replica.guard():
                step = next(work)
        except StopIteration:
            return
        seconds += perf_counter() - started
        if step.spectrum is not None:
            step = replace(step, spectrum=replace(step.spectrum, seconds=seconds))
        yield step


def _measure(template: _Template) -> Iterator[Step]:
    replica, layer = template.replica, template.layer
    op = (LayerHessian if template.curvature == "hessian" else LayerGGN)(replica, layer)
    checks = CHECKS if template.curvature == "hessian" and replica.loss.splits else 0
    choice = choose(
        op.size,
        method=template.method,
        steps=template.steps,
        probes=template.probes,
        itemsize=torch.finfo(op.dtype).bits // 8,
        checks=checks,
        memory=template.memory,
    )
    why = op.zero
    if why:
        yield Step(1, 1, _zeros(template, op, choice, why))
    elif choice.method == "dense":
        yield from _dense(template, op, choice)
    else:
        yield from _lanczos(template, op, choice)


def _zeros(template: _Template, op: LayerHessian | LayerGGN, choice: Choice, why: str) -> Spectrum:
    return template.spectrum(
        op,
        choice,
        nodes=np.zeros(1),
        weights=np.ones(1),
        method="dense",
        trace=0.0,
        reason=f"exact zeros: {why}",
    )


def _dense(template: _Template, op: LayerHessian | LayerGGN, choice: Choice) -> Iterator[Step]:
    progress = _Progress(0, choice.products)
    matrix: Tensor | None = None
    for done, filled in columns(op, chunk=chunk_size(op.size, graph_bytes=op.graph_bytes)):
        matrix = filled
        yield progress.step(by=done - progress.done)
    assert matrix is not None  # noqa: S101  # a block has at least one column
    if not bool(matrix.any()):
        yield progress.finish(_zeros(template, op, choice, "each of its columns is zero"))
        return
    vectors = [start_vector(op, seed=template.seed, name=op.name, index=i) for i in range(CHECKS)]
    products = [(matrix @ v.cpu().to(torch.float64)).to(device=op.device, dtype=op.dtype) for v in vectors]
    psd, checks = yield from _definite(template, vectors, products, progress)
    epsilon = torch.finfo(op.dtype).eps
    exact = eigenvalues(matrix, epsilon=epsilon)
    magnitude = float(np.abs(exact.eigenvalues).max())
    notes = _defect_notes(exact.defect, op.dtype)
    if op.column_by_column:
        notes += ("An operation in this model cannot be differentiated in batches; columns were computed one by one.",)
    spectrum = template.spectrum(
        op,
        choice,
        nodes=exact.eigenvalues,
        weights=np.full(op.size, 1 / op.size),
        residuals=np.full(op.size, exact.residual),
        method="dense",
        trace=exact.trace,
        symmetry_defect=exact.defect,
        zero_band=zero_band(magnitude, op.size, epsilon=epsilon, defect=exact.defect),
        psd=psd,
        checks=checks,
        notes=notes,
    )
    yield progress.finish(spectrum)


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


def _lanczos(template: _Template, op: LayerHessian | LayerGGN, choice: Choice) -> Iterator[Step]:
    """Stochastic Lanczos quadrature.

    The first products of the first few runs come first: they give the symmetry defect, the comparison with the
    Gauss-Newton block and a first estimate of the trace (Hutchinson) at no extra product. Later start vectors are
    drawn when their run begins, so that memory does not grow with their number.
    """
    progress = _Progress(0, choice.products)
    vectors, products = list[Tensor](), list[Tensor]()
    for i in range(START_VECTORS):
        vectors.append(start_vector(op, seed=template.seed, name=op.name, index=i))
        products.append(op.matvec(vectors[-1]))
        require_finite(products[-1], op)
        yield progress.step()
    epsilon, defect = torch.finfo(op.dtype).eps, symmetry_defect(vectors, products)
    samples = [sample(v, product) for v, product in zip(vectors, products, strict=True)]
    runs = _Runs(op.size, epsilon, template.steps, samples, defect)
    if not any(bool(product.any()) for product in products):
        yield progress.finish(_zeros(template, op, choice, f"{len(products)} random vectors were multiplied to zero"))
        return
    runs.psd, runs.checks = yield from _definite(template, vectors[:CHECKS], products[:CHECKS], progress)
    notes = _defect_notes(runs.defect, op.dtype)
    notes += ("One start vector sees a multiple eigenvalue once: multiplicities are not resolved.",)
    planned = min(template.steps, op.size)
    for i in range(template.probes):
        if vectors:
            start, product = vectors.pop(0), products.pop(0)
        else:
            start = start_vector(op, seed=template.seed, name=op.name, index=i)
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
                value = template.spectrum(op, choice, complete=False, notes=notes, **runs.values(known.quadrature()))
            yield progress.step(value)
        assert last is not None  # noqa: S101  # at least one step was planned
        runs.finished.append(last.quadrature())
        progress.total -= planned - last.steps
        values = runs.values(None)
        if i + 1 < template.probes:
            yield progress.step(
                template.spectrum(op, choice, complete=False, notes=notes, **values), by=int(last.steps > 1)
            )
        else:
            progress.done += int(last.steps > 1)
            notes += _end_notes(values["nodes"], values["residuals"], steps=template.steps, size=op.size)
            yield progress.finish(template.spectrum(op, choice, notes=notes, **values))


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


def _definite(
    template: _Template, vectors: list[Tensor], products: list[Tensor], progress: _Progress
) -> Generator[Step, None, tuple[bool, int]]:
    """Return whether H v = G v and G has no negative direction by structure, and the products spent on it."""
    replica = template.replica
    if not replica.loss.splits:
        return False, 0
    spent = 0
    if template.curvature == "hessian":
        ggn = LayerGGN(replica, template.layer)
        gaps = []
        for v, product in zip(vectors, products, strict=True):
            gaps.append(gauss_newton_gap(product, ggn.matvec(v)))
            yield progress.step()
        spent = ggn.products
        if not max(gaps) <= tolerance(replica, products[0].dtype):
            return False, spent
    return is_convex(replica), spent


def _defect_notes(defect: float, dtype: torch.dtype) -> tuple[str, ...]:
    if defect <= NOTICEABLE_DEFECT:
        return ()
    cure = "dtype=torch.float64 tells the first from the others" if dtype != torch.float64 else "it is not rounding"
    return (
        f"The Hessian as computed is not symmetric (relative defect {defect:.1e}): confident outputs in float32, "
        f"randomness in the model, or data that changes between products; {cure}.",
    )

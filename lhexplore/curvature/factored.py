"""Exact spectra of many layers at once, from the factor of their Gauss-Newton blocks, as a generator of steps."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from ..spectrum import Spectrum, Step
from .eigenvectors import Eigenpairs, from_rows
from .factor import FactorResult, factor_rows, factor_spectra
from .factor.agreement import Agreement, agreement
from .layers import Layer
from .listed import listed
from .planner import MEMORY, Choice
from .replica import Replica
from .timing import timed
from .zero_band import zero_band


def agreements(replica: Replica, layers: Sequence[Layer], *, curvature: str = "hessian") -> Mapping[str, Agreement]:
    """Find out by numbers, in float64 on a few examples, for which layers the factor gives the curvature asked for."""
    with replica.guard():
        return agreement(replica, layers, curvature=curvature)


def fits(verdict: Agreement, *, curvature: str) -> bool:
    """Whether the factor gives the curvature asked for."""
    return verdict.verdict != "unusable" and (curvature == "ggn" or verdict.is_hessian)


def factor_eigenvectors(replica: Replica, layer: Layer, k: int, *, verdict: Agreement, seed: int = 0) -> Eigenpairs:
    """The ``k`` largest eigenpairs of one layer that :func:`fits` allows, from its rows, all of which are held.

    Costs C − 1 backward passes to the layer and the eigenvectors of the smaller Gram matrix.
    """
    examples = (layer.name,) if verdict.verdict == "examples" else ()
    with replica.guard():
        rows = [factor_rows(replica, i, [layer], examples=examples)[layer.name] for i in range(replica.count)]
        return from_rows(torch.cat(rows), k, seed=seed)


def measure_layers(
    replica: Replica,
    layers: Sequence[Layer],
    *,
    labels: Mapping[str, str | None],
    choice: Choice,
    verdicts: Mapping[str, Agreement],
    snapshot: str,
    curvature: str = "hessian",
    split: str = "data",
    memory: int = MEMORY,
) -> Iterator[Step]:
    """Compute the exact spectra of ``layers``, all of which :func:`fits` allows; one complete spectrum per layer.

    Costs C − 1 backward passes for all of them (C outputs, softmax), and per layer a Gram matrix of
    min(size, rows) and its eigenvalues.

    Args:
        replica: the loss over frozen data, at one snapshot's weights.
        layers: which blocks.
        labels: layer name -> its name in the spectrum; None for the whole network.
        choice: what the planner chose, for its number of passes.
        verdicts: layer name -> what :func:`agreements` found.
        snapshot: label of the weights that the replica holds.
        curvature: "hessian" or "ggn".
        split: which data the replica holds.
        memory: most bytes for matrices and what is kept between passes.
    """
    examples = {layer.name for layer in layers if verdicts[layer.name].verdict == "examples"}
    sizes = {layer.name: layer.size for layer in layers}

    def work() -> Iterator[Step]:
        for step in factor_spectra(replica, layers, memory=memory, examples=examples):
            found = None
            if step.result is not None:
                name = step.result.layer
                found = _spectrum(
                    step.result,
                    sizes[name],
                    choice,
                    verdicts[name],
                    replica,
                    layer=labels[name],
                    snapshot=snapshot,
                    curvature=curvature,
                    split=split,
                )
            yield Step(step.done, step.total, found)

    return timed(work(), replica, apiece=True)


def _spectrum(
    result: FactorResult, size: int, choice: Choice, verdict: Agreement, replica: Replica, **place: Any
) -> Spectrum:
    magnitude = float(result.eigenvalues.max(initial=0.0))
    epsilon = torch.finfo(replica.dtype).eps
    notes = () if not result.fallback else ("Rows of the factor were computed example by example.",)
    return Spectrum(
        **place,
        size=size,
        **listed(result.eigenvalues, size, residual=result.residual),
        method="factor",
        trace=result.trace,
        zero_band=zero_band(magnitude, size, epsilon=epsilon, defect=0.0),
        psd=True,
        reason=(
            f"every eigenvalue, from {result.rows:,} rows of its Gauss-Newton factor"
            + ("" if place["curvature"] == "ggn" else ": the Hessian equals it here (checked by products)")
        ),
        notes=(*replica.notes, *notes),
        products=choice.products,
        provenance={
            "dtype": str(replica.dtype).removeprefix("torch."),
            "device": replica.device.type,
            "rows": result.rows,
            "frobenius": result.frobenius,
            "agreement": verdict.hessian,
            "agreement_tolerance": verdict.tolerance,
        },
    )

"""The spectrum of one block under a local functional: neuron by neuron where that is exact, else as for the loss."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, TypeGuard

import numpy as np
import torch

from ...errors import TooLargeError
from ...spectrum import Spectrum, Step
from ..engine import SPLITS, measure
from ..listed import listed
from ..planner import MEMORY
from ..timing import timed
from ..zero_band import zero_band
from .neurons import NeuronBlocks, neuron_flops, neuron_steps, why_not
from .objective import LocalObjective, ModelObjective

MOST_FLOPS = 1e13  # some minutes of a CPU: beyond it the neurons take longer than an estimate


def measure_functional(
    objective: LocalObjective | ModelObjective,
    layer: Any,
    *,
    label: str | None,
    snapshot: str,
    method: str = "auto",
    curvature: str = "hessian",
    split: str = "data",
    memory: int = MEMORY,
    **settings: Any,
) -> Iterator[Step]:
    """`lhexplore.curvature.measure` for an objective from `local_objective`; spectra name its functional.

    Where the Hessian falls apart into neurons ("sum" and "half_square" of Linear and convolutions), its eigenvalues
    come from them, all of them exactly, whatever the size of the layer: for ``method="dense"``, and for "auto" where
    that is a matter of minutes. Anything else goes the ways of the loss.

    Args:
        objective: of ``layer``.
        layer: which parameters.
        label: the layer's name in the spectrum.
        snapshot: label of the weights that the objective was made with.
        method: "auto", "dense" or "lanczos".
        curvature: "hessian" or "ggn".
        split: which data the replica holds.
        memory: most bytes for matrices and bases.
        settings: steps, probes and seed of an estimate.

    Raises:
        LhexploreError: as `measure`.
    """
    if split in SPLITS and curvature == "hessian" and _by_neurons(objective, method):
        work = _neurons(objective, label=label, snapshot=snapshot, split=split, memory=memory)
        try:
            yield from timed(work, objective)
        except (TooLargeError, _WrongFormulaError):  # raised before the first value
            pass
        else:
            return
    for step in measure(
        objective,
        layer,
        label=label,
        snapshot=snapshot,
        method=method,
        curvature=curvature,
        split=split,
        memory=memory,
        **settings,
    ):
        named = None if step.spectrum is None else replace(step.spectrum, functional=objective.loss.name)
        yield replace(step, spectrum=named)


def _by_neurons(objective: LocalObjective | ModelObjective, method: str) -> TypeGuard[LocalObjective]:
    if method not in ("auto", "dense") or not isinstance(objective, LocalObjective) or why_not(objective):
        return False
    return method == "dense" or neuron_flops(objective) <= MOST_FLOPS


class _WrongFormulaError(Exception):
    """The product by the neurons' formula was not autograd's."""


def _neurons(objective: LocalObjective, *, label: str | None, snapshot: str, split: str, memory: int) -> Iterator[Step]:
    for step in neuron_steps(objective, memory=memory):
        if isinstance(step, str):
            raise _WrongFormulaError(step)
        found = None
        if step.result is not None:
            found = _spectrum(step.result, objective, layer=label, snapshot=snapshot, split=split)
        yield Step(step.done, step.total, found)


def _spectrum(blocks: NeuronBlocks, objective: LocalObjective, **place: Any) -> Spectrum:
    magnitude, epsilon = float(np.abs(blocks.eigenvalues).max(initial=0.0)), torch.finfo(objective.dtype).eps
    how = f"every eigenvalue of {blocks.size:,}, from the blocks of {blocks.neurons:,} neurons"
    if not magnitude:
        how = f"exact zeros: {objective.zero or 'no neuron has curvature'}"
    return Spectrum(
        **place,
        size=blocks.size,
        **listed(blocks.eigenvalues, blocks.size, residual=blocks.residual),
        method="dense",
        functional=objective.loss.name,
        trace=blocks.trace,
        zero_band=max(zero_band(magnitude, blocks.size, epsilon=epsilon, defect=0.0), blocks.residual),
        psd=blocks.psd,
        reason=how,
        notes=objective.notes,
        products=1,
        provenance={
            "dtype": str(objective.dtype).removeprefix("torch."),
            "device": objective.device.type,
            "neurons": blocks.neurons,
            "agreement": blocks.gap,
        },
    )

"""What makes a spectrum look mainly negative without meaning it: named one by one, with what is known about each.

Untrained networks, dropout, moving batch statistics, weights that were not really loaded and lost orthogonality all do
it. Each is ruled out by evidence, left to be ruled out, or likely; nothing is ruled out by silence. Limits are
lhexplore's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from ...spectrum import Spectrum
from ..losses import TRAIN_ACCURACY, train_loss
from ..measure import dtype_name, recorded_count
from ..number_texts import short

Verdict = Literal["ruled out", "to rule out", "likely"]
FEW_EXAMPLES = 1024  # fewer make a noisy type, unless they are all there are (heuristic)
SYMMETRIC = 1e-4  # asymmetry up to here does not move C_t by more than about its double
NOISY = 10  # times the zero band: a largest eigenvalue up to there may be rounding, too
LEARNED = 0.5  # of the first loss, or of the way from chance to certainty: it has learned something
HARDLY = 0.95  # of the first loss: it has not
DIFFERENT = 2.0  # times the recorded loss: not the loss of the same weights on such data
TINY_LOSS = 0.05  # losses below it are not told apart: a few examples make up the difference

_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Cause:
    """One plain cause of negative curvature, and whether it can be excluded."""

    name: str
    verdict: Verdict
    why: str

    def __str__(self) -> str:
        return f"{self.verdict.capitalize()}: {self.name} ({self.why})."


@dataclass(frozen=True, slots=True)
class Context:
    """What is known of network, data and snapshot beside the spectrum; None and NaN where it is not known."""

    dropout: tuple[str, ...] | None = None  # names of the modules that drop out
    batch_norm: tuple[str, ...] | None = None  # names of the modules with batch statistics
    first: bool | None = None  # whether there is no earlier snapshot
    step: int | None = None  # optimiser steps done
    loaded: tuple[str, ...] | None = None  # what was adapted to put a file's weights into the model
    recorded_loss: float = math.nan  # in training, beside the weights
    evaluated_loss: float = math.nan  # with these weights, on the data of the spectrum
    whole_data: bool | None = None  # whether the spectrum's data are all there are


def mundane_causes(
    spectrum: Spectrum,
    *,
    losses: Mapping[str, float] = _NOTHING,
    past_losses: Sequence[Mapping[str, float]] = (),
    context: Context = Context(),
) -> tuple[Cause, ...]:
    """Judge every plain cause by what is known; likely ones come first.

    Args:
        spectrum: its provenance tells mode, data, arithmetic and method.
        losses: loss and accuracy at this snapshot.
        past_losses: the same at earlier snapshots, oldest first.
        context: what is known of network, data and snapshot.
    """
    found = (
        _untrained(spectrum, losses, past_losses, context),
        _not_loaded(context),
        _dropout(spectrum, context),
        _batch_norm(spectrum, context),
        _fresh_batches(spectrum),
        _ghosts(spectrum),
        _noise(spectrum),
        _too_little_data(spectrum, context),
    )
    return tuple(sorted(found, key=lambda cause: cause.verdict != "likely"))


def _untrained(
    spectrum: Spectrum, losses: Mapping[str, float], past: Sequence[Mapping[str, float]], context: Context
) -> Cause:
    name = "an untrained network"
    if context.step == 0:
        return Cause(name, "likely", "no optimiser step has been made at this snapshot")
    loss = train_loss(losses)
    first = next((value for row in past if (value := train_loss(row)) is not None), None)
    accuracy = next((losses[key] for key in TRAIN_ACCURACY if key in losses), math.nan)
    outputs = recorded_count(spectrum, "outputs") or 0
    if outputs > 1 and not math.isnan(accuracy):
        chance, examples = 1 / outputs, recorded_count(spectrum, "examples") or math.inf
        told = f"the accuracy is {short(accuracy)}, chance is {short(chance)}"
        if accuracy <= chance + 2 * math.sqrt(chance * (1 - chance) / examples):
            return Cause(name, "likely", told)
        if accuracy >= chance + LEARNED * (1 - chance):
            return Cause(name, "ruled out", f"{told}; look again if one class makes up most of the data")
    if loss is not None and first is not None and first > 0:
        told = f"the loss is {short(loss)}, at the first known snapshot it was {short(first)}"
        if loss >= HARDLY * first:
            return Cause(name, "likely", told)
        if loss <= LEARNED * first:
            return Cause(name, "ruled out", told)
        return Cause(name, "to rule out", told)
    if context.first:
        return Cause(name, "to rule out", "this is the first snapshot; look at its loss and accuracy")
    return Cause(name, "to rule out", "look at loss and accuracy of this snapshot")


def _not_loaded(context: Context) -> Cause:
    name = "weights that were not really loaded"
    recorded, evaluated = context.recorded_loss, context.evaluated_loss
    if not (math.isnan(recorded) or math.isnan(evaluated)):
        told = f"the loss recorded in training is {short(recorded)}, with these weights it is {short(evaluated)}"
        if evaluated > max(DIFFERENT * recorded, TINY_LOSS):
            return Cause(name, "likely", f"{told}; other data or another loss would explain it as well")
        return Cause(name, "ruled out", told)
    advice = "compare the loss recorded in training with the one that evaluate() finds"
    if context.loaded:
        return Cause(name, "to rule out", f"every name fits the model after {'; '.join(context.loaded)}; {advice}")
    if context.loaded is not None:
        return Cause(name, "to rule out", f"every name and shape fits the model as it is; {advice}")
    return Cause(name, "to rule out", advice)


def _dropout(spectrum: Spectrum, context: Context) -> Cause:
    mode = spectrum.provenance.get("mode")
    if context.dropout == ():
        return Cause("dropout", "ruled out", "the network has no dropout module")
    which = f"; the network has {_named(context.dropout)}" if context.dropout else ""
    if mode in ("eval", "train-frozen"):
        return Cause("dropout", "ruled out", f"it was off, mode {mode}{which}")
    known = "the mode was not recorded" if mode is None else f"mode {mode}"
    return Cause("dropout", "to rule out", f"{known}{which}; compute in eval mode")


def _batch_norm(spectrum: Spectrum, context: Context) -> Cause:
    name, mode = "BatchNorm in training mode", spectrum.provenance.get("mode")
    if context.batch_norm == ():
        return Cause(name, "ruled out", "the network has no batch statistics")
    which = f"; the network has {_named(context.batch_norm)}" if context.batch_norm else ""
    if mode == "eval":
        return Cause(name, "ruled out", f"running statistics were used, mode eval{which}")
    known = "the mode was not recorded" if mode is None else f"mode {mode}"
    return Cause(name, "to rule out", f"{known}{which}; compare with eval mode")


def _fresh_batches(spectrum: Spectrum) -> Cause:
    name = "a batch that changes between products"
    if spectrum.provenance.get("data_digest"):
        return Cause(name, "ruled out", "the data were drawn once and frozen")
    return Cause(name, "to rule out", "how the data were kept was not recorded")


def _ghosts(spectrum: Spectrum) -> Cause:
    name = "ghost eigenvalues from lost orthogonality"
    if spectrum.exact:
        return Cause(name, "ruled out", "the spectrum is exact")
    if str(spectrum.provenance.get("reorthogonalisation", "")).startswith("full"):
        return Cause(name, "ruled out", "all Lanczos vectors were kept orthogonal")
    return Cause(name, "to rule out", "compare with method='dense' where the size allows")


def _noise(spectrum: Spectrum) -> Cause:
    dtype = dtype_name(spectrum)
    name, where = "round-off", f" in {dtype}" if dtype else ""
    if spectrum.magnitude <= NOISY * spectrum.zero_band:
        told = f"the largest absolute eigenvalue is {short(spectrum.magnitude / spectrum.zero_band)} zero bands"
        return Cause(name, "likely", f"{told}{where}; repeat in float64")
    told = f"asymmetry of the products {short(spectrum.symmetry_defect, digits=2)}{where}"
    if spectrum.symmetry_defect <= SYMMETRIC:
        return Cause(name, "ruled out", told)
    return Cause(name, "to rule out", f"{told}; repeat in float64")


def _too_little_data(spectrum: Spectrum, context: Context) -> Cause:
    name, examples = "too little data", recorded_count(spectrum, "examples")
    if context.whole_data:
        return Cause(name, "ruled out", "all the data there are were used")
    if examples is None:
        return Cause(name, "to rule out", "the number of examples was not recorded")
    if examples >= FEW_EXAMPLES:
        return Cause(name, "ruled out", f"{examples:,} examples")
    return Cause(name, "to rule out", f"{examples:,} examples; {FEW_EXAMPLES:,} or the whole set are advised")


def _named(modules: tuple[str, ...]) -> str:
    more = f" and {len(modules) - 3} more" if len(modules) > 3 else ""
    return ", ".join(map(repr, modules[:3])) + more

"""Name the type of a Hessian eigenspectral density (HESD) and say how sure that is.

The three criteria follow the public code of Gabdullin (arXiv 2412.10146 and 2504.17618), where they are computed on
the whole network's spectrum. Intervals, guards, the zero band, the use on single layers and the quasi-singular flag are
lhexplore's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ...errors import ComparisonError, SettingError
from ...spectrum import Spectrum
from .. import texts
from ..arguments import a_number, a_spectrum, is_number, not_negative, spectra
from ..measure import psd_by_structure, zero_band
from ..thresholds import COLLAPSE, SMALL_LOSS
from .causes import Context, mundane_causes
from .criteria import criteria
from .quasi_singular import quasi_singular

Type = Literal["MP", "MN", "undecided"]

LIMIT = -0.6  # C_t from here up is "mainly positive": the constant of the authors' code
EXPONENT = 0.5  # the power in K_H, the default of the authors' code
DEFECT_LIMIT = 0.05  # an operator this far from symmetric has no reliable signs (lhexplore's choice)
PREVIEW_PROBES = 3  # fewer are good for a preview only
# |λmin| ≥ 0.6 λmax near the limit, so round-off in both ends moves their ratio by at most 27 eps of itself.
SLACK = 64 * float(np.finfo(np.float64).eps)
_NOTHING: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Hesd:
    """The type of one spectrum, its criteria and why. ``re == -ct`` wherever both are finite."""

    type: Type
    quasi_singular: bool
    ct: float  # mean over probes of λmin / λmax; 0 without negative values, −∞ without positive ones
    re: float
    kh: float  # K_H with the power ``exponent``, per probe, then averaged
    interval: tuple[float, float]  # of ct
    reasons: tuple[str, ...]
    psd: bool  # by structure
    flat: bool  # nothing leaves the zero band
    kh_basis: str  # "exact" or "m=100": what ``kh`` was computed on, part of its definition
    symbol: str
    word: str
    colour: str = "undecided"  # key of a colour: "positive" | "negative" | "undecided" | "structure" | "flat"
    kh_stderr: float = 0.0  # over probes; NaN where one probe cannot tell
    kh_interval: tuple[float, float] = (0.0, math.inf)  # covers 95 % of start vectors, at this number of steps
    exponent: float = EXPONENT
    preliminary: bool = False  # the spectrum was still to be improved


def hesd(
    spectrum: Spectrum,
    *,
    band: float | None = None,
    history: Sequence[Spectrum] = (),
    held_out: Spectrum | None = None,
    floor: float = 0.0,
    train_loss: float | None = None,
    small_loss: float = SMALL_LOSS,
    collapse: float = COLLAPSE,
    exponent: float = EXPONENT,
    losses: Mapping[str, float] = _NOTHING,
    past_losses: Sequence[Mapping[str, float]] = (),
    context: Context = Context(),
) -> Hesd:
    """Compute C_t, r_e and K_H of a spectrum and name its type.

    Args:
        spectrum: one layer, or the whole network for which the criteria were made.
        band: half-width of the zero band; None takes the spectrum's own, 0 gives the bare formula.
        history: the same layer at earlier snapshots, for the quasi-singular flag.
        held_out: the same weights on held-out data, likewise.
        floor: below this largest absolute eigenvalue no type is named.
        train_loss: mean loss at these weights; without it no flag is raised.
        small_loss: what counts as a small training loss.
        collapse: below this ratio of λmax to its past, or to held-out data, the scale has collapsed.
        exponent: the power in K_H, between 0 and 1.
        losses: loss and accuracy at these weights, to judge what else may make a type mainly negative.
        past_losses: the same at earlier snapshots, oldest first.
        context: what is known of network, data and snapshot, likewise.

    Raises:
        SettingError: for what is no spectrum or no list of them, a negative ``band`` or ``floor``, or an exponent
            outside (0, 1).
        ComparisonError: if a spectrum of ``history`` is not of the same block, data, method and steps at another
            snapshot, or ``held_out`` not of the same block and weights on other data; if one is preliminary.
    """
    _check(spectrum, history, held_out)
    if not (is_number(exponent) and 0 < exponent < 1):
        raise SettingError(f"exponent must be a number between 0 and 1, got {exponent!r}.")
    not_negative(band, "band", optional=True, unit=", in the unit of the eigenvalues,")
    not_negative(floor, "floor", unit=", in the unit of the eigenvalues")
    not_negative(small_loss, "small_loss")
    not_negative(collapse, "collapse")
    a_number(train_loss, "train_loss", optional=True)
    floor, exponent = float(floor), float(exponent)  # numpy's numbers are fine, too
    tau = zero_band(spectrum, None if band is None else float(band))
    psd = psd_by_structure(spectrum)
    no_negative = psd and band is None  # an explicit band asks for the formula, whatever the structure
    found = criteria(spectrum, tau, exponent=exponent, no_negative=no_negative)
    flat = math.isnan(found.ct)
    type_, why = _type(spectrum, found.ct, found.interval, flat=flat, floor=floor, psd=psd)
    if type_ == "MN":
        causes = mundane_causes(spectrum, losses=losses, past_losses=past_losses, context=context)
        why = (*why, *map(str, causes))
    qs = quasi_singular(
        spectrum, history=history, held_out=held_out, train_loss=train_loss, small_loss=small_loss, collapse=collapse
    )
    flag = qs.flag and not flat
    badge = texts.badge(type_, psd=psd, flat=flat, quasi_singular=flag, preliminary=not spectrum.complete)
    return Hesd(
        type=type_,
        quasi_singular=flag,
        ct=found.ct,
        re=abs(found.ct),
        kh=found.kh,
        interval=found.interval,
        reasons=(*why, *qs.reasons, *texts.hesd_remarks(spectrum, psd=psd, preview=PREVIEW_PROBES)),
        psd=psd,
        flat=flat,
        kh_basis="exact" if spectrum.exact else f"m={spectrum.steps}",
        symbol=badge.symbol,
        word=badge.word,
        colour=badge.colour,
        kh_stderr=found.kh_stderr,
        kh_interval=found.kh_interval,
        exponent=exponent,
        preliminary=not spectrum.complete,
    )


def compare_kh(a: Hesd, b: Hesd) -> float:
    """Return the change of K_H from ``a`` to ``b``.

    K_H is not additive over nodes: it grows with the number of Lanczos steps, so only equal bases compare.

    Raises:
        SettingError: if one is no :class:`Hesd`.
        ComparisonError: if basis or exponent differ, one is preliminary, or the type of one rules K_H out.
    """
    for given in (a, b):
        if not isinstance(given, Hesd):
            raise SettingError(f"Expected what hesd() returns, got {given!r:.60} ({type(given).__name__}).")
    if (a.kh_basis, a.exponent) != (b.kh_basis, b.exponent):
        raise ComparisonError(
            f"K_H depends on the number of Lanczos steps and on its exponent: ({a.kh_basis}, n={a.exponent:g}) and "
            f"({b.kh_basis}, n={b.exponent:g}) do not compare. Compute both with the same method, steps and exponent."
        )
    if a.preliminary or b.preliminary:
        raise ComparisonError("K_H of a preliminary spectrum still moves. Wait until both spectra are complete.")
    if not (math.isfinite(a.kh) and math.isfinite(b.kh)):
        raise ComparisonError(
            f"K_H is {a.kh:g} and {b.kh:g}: a difference needs two finite values. "
            "It is infinite without positive eigenvalues and undefined for a flat spectrum."
        )
    return b.kh - a.kh


def _check(spectrum: Any, history: Any, held_out: Any) -> None:
    a_spectrum(spectrum)
    spectra(history, "history")
    a_spectrum(held_out, "held_out", optional=True)


def _type(
    spectrum: Spectrum, ct: float, interval: tuple[float, float], *, flat: bool, floor: float, psd: bool
) -> tuple[Type, tuple[str, ...]]:
    """Name the type, or say why it cannot be named."""
    if flat:
        return "undecided", (texts.flat_reason(spectrum),)
    why = []
    if spectrum.magnitude < floor:
        why.append(texts.BELOW_FLOOR.format(magnitude=spectrum.magnitude, floor=floor))
    if spectrum.symmetry_defect > DEFECT_LIMIT:
        why.append(texts.ASYMMETRIC.format(defect=spectrum.symmetry_defect, limit=DEFECT_LIMIT))
    low, high = (_mainly_positive(end) for end in interval)
    if low != high:
        why.append(texts.straddles(interval, LIMIT, exact=spectrum.exact))
    if why:
        return "undecided", tuple(why)
    if _mainly_positive(ct):
        return "MP", ((texts.PSD if psd else texts.MP).format(ct=ct, limit=LIMIT),)
    return "MN", (texts.MN.format(ct=ct, limit=LIMIT),)


def _mainly_positive(ct: float) -> bool:
    return ct >= LIMIT * (1 + SLACK)

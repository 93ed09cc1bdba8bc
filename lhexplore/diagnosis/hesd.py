"""Name the type of a Hessian eigenspectral density (HESD) and say how sure that is.

The three criteria follow the public code of Gabdullin (arXiv 2412.10146 and 2504.17618), where they are computed on
the whole network's spectrum. Intervals, guards, the zero band, the use on single layers and the quasi-singular flag are
lhexplore's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from ..errors import ComparisonError, SettingError
from ..spectrum import Spectrum
from . import texts
from .arguments import a_number, a_spectrum, is_number, not_negative, spectra
from .measure import Probe, by_probe, psd_by_structure, zero_band
from .quasi_singular import COLLAPSE, SMALL_LOSS, quasi_singular

Type = Literal["MP", "MN", "undecided"]

LIMIT = -0.6  # C_t from here up is "mainly positive": the constant of the authors' code
EXPONENT = 0.5  # the power in K_H, the default of the authors' code
DEFECT_LIMIT = 0.05  # an operator this far from symmetric has no reliable signs (lhexplore's choice)
FEW_PROBES = 5  # below it a standard error means little: the envelope of the probes is taken instead
PREVIEW_PROBES = 3  # fewer are good for a preview only
ROUND_OFF = 10 * float(np.finfo(np.float64).eps)  # of one extreme eigenvalue of a float64 decomposition, relative
# |λmin| ≥ 0.6 λmax near the limit, so round-off in both ends moves their ratio by at most 27 eps of itself.
SLACK = 64 * float(np.finfo(np.float64).eps)


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
    exponent: float = EXPONENT
    preliminary: bool = False  # the spectrum was still to be improved


class _Reading(NamedTuple):
    """The criteria as one probe gives them."""

    ct: float
    low: float
    high: float
    kh: float


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
) -> Hesd:
    """Compute C_t, r_e and K_H of a spectrum and name its type.

    Args:
        spectrum: one layer, or the whole network for which the criteria were made.
        band: half-width of the zero band; None takes the spectrum's own, 0 gives the bare formula.
        history: the same layer at earlier snapshots, for the quasi-singular flag.
        held_out: the same weights on held-out data, likewise.
        floor: below this largest absolute eigenvalue no type is named.
        train_loss: mean loss at these weights; ``history`` alone raises no flag without it.
        small_loss: what counts as a small training loss.
        collapse: below this ratio of λmax to its past, or to held-out data, the scale has collapsed.
        exponent: the power in K_H, between 0 and 1.

    Raises:
        SettingError: for what is no spectrum or no list of them, a negative ``band`` or ``floor``, or an exponent
            outside (0, 1).
        ComparisonError: if ``history`` or ``held_out`` is of another layer, curvature or functional.
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
    round_off = spectrum.magnitude * max(spectrum.symmetry_defect, ROUND_OFF)
    read = [_read(p, tau, exponent, round_off, spectrum.exact, no_negative) for p in by_probe(spectrum)]
    readings = [r for r in read if not math.isnan(r.ct)]  # a probe that sees only the zero band says nothing
    flat = not readings
    ct, interval = _combine(readings)
    kh, kh_stderr = _mean([r.kh for r in readings], exact=spectrum.exact)
    type_, why = _type(spectrum, ct, interval, flat=flat, floor=floor)
    qs = quasi_singular(
        spectrum, history=history, held_out=held_out, train_loss=train_loss, small_loss=small_loss, collapse=collapse
    )
    flag = qs.flag and not flat
    badge = texts.badge(type_, psd=psd, flat=flat, quasi_singular=flag, preliminary=not spectrum.complete)
    return Hesd(
        type=type_,
        quasi_singular=flag,
        ct=ct,
        re=abs(ct),
        kh=kh,
        interval=interval,
        reasons=(*why, *qs.reasons, *texts.hesd_remarks(spectrum, psd=psd, preview=PREVIEW_PROBES)),
        psd=psd,
        flat=flat,
        kh_basis="exact" if spectrum.exact else f"m={spectrum.steps}",
        symbol=badge.symbol,
        word=badge.word,
        colour=badge.colour,
        kh_stderr=kh_stderr,
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


def _read(p: Probe, tau: float, exponent: float, round_off: float, exact: bool, no_negative: bool) -> _Reading:
    """Apply the formulas to one probe, after the zero band."""
    below, above = (float(residual) + round_off for residual in (p.residuals[0], p.residuals[-1]))
    down, up = -float(p.nodes[0]), float(p.nodes[-1])  # sizes of the two ends; below zero where a sign is absent
    if no_negative:
        down, below = 0.0, 0.0
    ct = -_ratio(down, up, tau)
    low = -_ratio(down + below, up - above, tau)
    high = -_ratio(down - below, up + above, tau)
    if math.isnan(ct):
        return _Reading(ct, ct, ct, ct)
    low = ct if math.isnan(low) else min(low, ct)  # the widened ends may both vanish in the band
    high = ct if math.isnan(high) else max(high, ct)
    return _Reading(ct + 0.0, low + 0.0, high + 0.0, _kh(p, tau, exponent, exact, no_negative))


def _ratio(down: float, up: float, tau: float) -> float:
    """Divide |λmin| by λmax, both zero inside the band: 0 without negative, ∞ without positive, NaN without either."""
    down, up = (down if down > tau else 0.0), (up if up > tau else 0.0)
    if up == 0:
        return math.inf if down else math.nan
    return down / up


def _kh(p: Probe, tau: float, exponent: float, exact: bool, no_negative: bool) -> float:
    """Σ over negative of |λ w|ⁿ / Σ over positive of (λ w)ⁿ; an exact spectrum has w = 1/size per eigenvalue."""
    first_inside = 0 if no_negative else int(np.searchsorted(p.nodes, -tau, side="left"))
    first_above = int(np.searchsorted(p.nodes, tau, side="right"))
    scale = max(abs(p.nodes[0]), abs(p.nodes[-1]))  # keeps the powers in range; cancels in the quotient
    # Of a merged node with k eigenvalues each counts by itself: k · (λ/size)ⁿ, and size cancels.
    shares = p.weights if exact else p.weights**exponent
    terms = shares * (np.abs(p.nodes) / scale) ** exponent
    negative, positive = float(terms[:first_inside].sum()), float(terms[first_above:].sum())
    if positive == 0:
        return math.inf if negative else math.nan
    return negative / positive


def _combine(readings: list[_Reading]) -> tuple[float, tuple[float, float]]:
    """Average C_t over the probes and give it an interval."""
    if not readings:
        return math.nan, (math.nan, math.nan)
    ct = float(np.mean([r.ct for r in readings]))
    low, high = [r.low for r in readings], [r.high for r in readings]
    if len(readings) < FEW_PROBES or not np.isfinite([*low, *high]).all():
        return ct, (min(low), max(high))
    spread = 2 * float(np.std([r.ct for r in readings], ddof=1)) / math.sqrt(len(readings))
    return ct, (float(np.mean(low)) - spread, min(0.0, float(np.mean(high)) + spread))


def _mean(values: list[float], *, exact: bool) -> tuple[float, float]:
    """Average over probes, with the standard error of the mean."""
    if not values:
        return math.nan, math.nan
    if exact or not np.isfinite(values).all():
        return float(np.mean(values)), 0.0 if exact else math.nan
    stderr = float(np.std(values, ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return float(np.mean(values)), stderr


def _type(
    spectrum: Spectrum, ct: float, interval: tuple[float, float], *, flat: bool, floor: float
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
        return "MP", (texts.MP.format(ct=ct, limit=LIMIT),)
    return "MN", (texts.MN.format(ct=ct, limit=LIMIT), *texts.mundane_causes(spectrum))


def _mainly_positive(ct: float) -> bool:
    return ct >= LIMIT * (1 + SLACK)

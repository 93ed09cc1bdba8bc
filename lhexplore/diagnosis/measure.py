"""What every judgement reads from a spectrum: signs beyond the zero band, shares, single probes, the rank cut."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..errors import ComparisonError, SettingError
from ..spectrum import Spectrum
from .remembered import once

# Below these shares of |λ|max a value is no longer told from zero when ranks and condition numbers are formed. A cut
# proportional to size × machine epsilon would discard everything below 1 % of λmax at a size of 1e5 in float32.
CUT_SINGLE = 1e-6
CUT_DOUBLE = 1e-10


class Probe(NamedTuple):
    """What one start vector saw: ascending nodes, their weights (sum 1) and residuals."""

    nodes: Float[ndarray, " k"]
    weights: Float[ndarray, " k"]
    residuals: Float[ndarray, " k"]


class Fractions(NamedTuple):
    """Shares of all eigenvalues below, inside and above the zero band; they sum to 1."""

    negative: float
    zero: float
    positive: float


def zero_band(spectrum: Spectrum, band: float | None = None) -> float:
    """Return the half-width of the zero band: ``band`` where given, else the spectrum's own."""
    if band is None:
        return spectrum.zero_band
    if not band >= 0:
        raise SettingError(f"band must be zero or positive, in the unit of the eigenvalues, got {band!r}.")
    return float(band)


def dtype_name(spectrum: Spectrum) -> str:
    """Name the arithmetic the products were made in; an empty text where it was not recorded."""
    return str(spectrum.provenance.get("dtype") or "").removeprefix("torch.")


def recorded_count(spectrum: Spectrum, name: str) -> int | None:
    """Look up a positive whole number that was stored with the spectrum; None where there is none."""
    value = spectrum.provenance.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


@once
def rank_cut(spectrum: Spectrum) -> float:
    """Return the cut for ranks and condition numbers; an unrecorded dtype counts as float64."""
    double = dtype_name(spectrum) in ("", "float64", "double")
    return max(spectrum.zero_band, (CUT_DOUBLE if double else CUT_SINGLE) * spectrum.magnitude)


def is_flat(spectrum: Spectrum, band: float | None = None) -> bool:
    """Whether no eigenvalue leaves the zero band."""
    return spectrum.magnitude <= zero_band(spectrum, band)


def psd_by_structure(spectrum: Spectrum) -> bool:
    """Whether the block is PSD by structure and its smallest value does not contradict that beyond its error."""
    return spectrum.psd and spectrum.smallest >= -max(spectrum.zero_band, spectrum.error)


def share_below(spectrum: Spectrum, i: int) -> float:
    """Share of eigenvalues at the first ``i`` nodes."""
    return i / spectrum.size if _one_each(spectrum) else float(_cumulated(spectrum)[i])


def first_above(spectrum: Spectrum, share: float) -> int:
    """The last node below which no more than ``share`` of the eigenvalues are."""
    if _one_each(spectrum):
        return min(int(share * spectrum.size), spectrum.size - 1)
    at = int(_cumulated(spectrum).searchsorted(share, "right")) - 1
    return min(max(0, at), len(spectrum.nodes) - 1)


def _one_each(spectrum: Spectrum) -> bool:
    """Whether each node is one eigenvalue, so that shares need no sums."""
    return spectrum.exact and len(spectrum.nodes) == spectrum.size


@once
def _cumulated(spectrum: Spectrum) -> Float[ndarray, " edges"]:
    return np.concatenate([[0.0], spectrum.weights.cumsum()])


def outside(spectrum: Spectrum, cut: float) -> tuple[int, int]:
    """Where in the nodes [-cut, cut] begins and ends."""
    nodes = spectrum.nodes
    return int(nodes.searchsorted(-cut, "left")), int(nodes.searchsorted(cut, "right"))


@once
def fractions(spectrum: Spectrum) -> Fractions:
    """Count signs outside the zero band; a block that is PSD by structure has no negative ones."""
    first, last = outside(spectrum, spectrum.zero_band)
    negative = 0.0 if psd_by_structure(spectrum) else share_below(spectrum, first)
    inside = share_below(spectrum, last)
    return Fractions(negative, inside - negative, share_below(spectrum, len(spectrum.nodes)) - inside)


def by_probe(spectrum: Spectrum) -> Iterator[Probe]:
    """Take the probes apart; an exact spectrum is one probe."""
    numbers = np.unique(spectrum.probe)
    if len(numbers) == 1:
        yield Probe(spectrum.nodes, spectrum.weights / spectrum.weights.sum(), spectrum.residuals)
        return
    for number in numbers:
        mine = spectrum.probe == number
        weights = spectrum.weights[mine]
        yield Probe(spectrum.nodes[mine], weights / weights.sum(), spectrum.residuals[mine])


def require_comparable(spectrum: Spectrum, other: Spectrum, *, role: str) -> None:
    """Refuse to set two spectra of different mathematical objects side by side.

    Raises:
        ComparisonError: if curvature or functional differ.
    """
    for name in ("curvature", "functional"):
        mine, theirs = getattr(spectrum, name), getattr(other, name)
        if mine != theirs:
            raise ComparisonError(
                f"The {role} spectrum of {_name(other)} at {other.snapshot!r} has "
                f"{name} {theirs!r}, but the spectrum to be judged has {mine!r}: their scales do not compare. "
                f"Compute both with {name}={mine!r}."
            )


def require_same_layer(spectrum: Spectrum, other: Spectrum, *, role: str) -> None:
    """Refuse to read the course of one layer off another one.

    Raises:
        ComparisonError: if layer, curvature or functional differ.
    """
    require_comparable(spectrum, other, role=role)
    if other.layer != spectrum.layer:
        raise ComparisonError(
            f"The {role} spectrum is of {_name(other)}, the one to be judged of {_name(spectrum)}. "
            "Pass spectra of the same layer."
        )


def _name(spectrum: Spectrum) -> str:
    return "the whole network" if spectrum.layer is None else repr(spectrum.layer)

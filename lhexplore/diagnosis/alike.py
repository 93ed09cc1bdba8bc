"""Whether spectra were made in the same way, so that differences between them are differences of what they describe."""

from typing import Any

from ..errors import ComparisonError
from ..spectrum import WHOLE, Spectrum

_ALWAYS = ("layer", "size", "curvature", "functional", "method", "steps", "mode")
_DATA = ("split", "data")


def require_alike(first: Spectrum, other: Spectrum, *, data: bool = True) -> None:
    """Refuse spectra that differ in more than the weights, and preliminary ones.

    Exact spectra are alike whichever the method; what was not recorded of one of them is not compared.

    Args:
        first: one of them.
        other: another one.
        data: whether the data must be the same, too.

    Raises:
        ComparisonError: naming what differs, or which one is preliminary.
    """
    for s in (first, other):
        if not s.complete:
            raise ComparisonError(f"{_called(s)} is preliminary and will still change: wait until it is complete.")
    for name in (*_ALWAYS, *(_DATA if data else ())):
        mine, theirs = _of(first, name), _of(other, name)
        if mine != theirs and None not in (mine, theirs):
            raise ComparisonError(
                f"{_called(first)} has {name} {mine!r}, {_called(other)} has {theirs!r}: their difference would be "
                f"read as one of the weights. Compute both with the same {name}."
            )


def _of(s: Spectrum, name: str) -> Any:
    if name == "layer":
        return s.layer or WHOLE
    if name == "method":
        return "exact" if s.exact else s.method
    if name == "mode":
        return s.provenance.get("mode")
    if name == "data":
        return s.provenance.get("data_digest")
    return getattr(s, name)


def _called(s: Spectrum) -> str:
    return f"The spectrum of {f'the {WHOLE}' if s.layer is None else repr(s.layer)} at {s.snapshot!r}"

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
    _require_complete(first)
    _require_complete(other)
    _require_same(first, other, (*_ALWAYS, *(_DATA if data else ())))


def unlike(first: Spectrum, other: Spectrum) -> tuple[str, Any, Any] | None:
    """Tell in what two spectra differ beside the weights, and the block where its name differs; None: in nothing.

    Returns:
        The name of the first difference with the value of either.
    """
    names = [name for name in (*_ALWAYS[1:], *_DATA) if name != "steps" or not (first.exact and other.exact)]
    for name in names if first.layer == other.layer else names[1:]:
        mine, theirs = _of(first, name), _of(other, name)
        if mine != theirs and None not in (mine, theirs):
            return name, mine, theirs
    return None


def require_earlier(spectrum: Spectrum, past: Spectrum) -> None:
    """Refuse a past that is not the same block on the same data, found in the same way, at another snapshot.

    The spectrum that is judged may still be on its way, its past may not.

    Raises:
        ComparisonError: naming what does not fit.
    """
    _require_complete(past)
    _require_same(spectrum, past, (*_ALWAYS, *_DATA))
    if spectrum.snapshot == past.snapshot and _same_weights(spectrum, past):
        raise ComparisonError(
            f"{_called(past)} is given as history of the same snapshot. Give spectra of earlier snapshots, each with "
            "a label of its own (snapshot=)."
        )


def require_held_out(spectrum: Spectrum, held_out: Spectrum) -> None:
    """Refuse held-out spectra of another block, of other weights, or of the data that the spectrum itself is of.

    How the eigenvalues were found may differ: their ends compare all the same.

    Raises:
        ComparisonError: naming what does not fit.
    """
    _require_complete(held_out)
    _require_same(spectrum, held_out, ("layer", "size", "curvature", "functional", "mode"))
    if not _same_weights(spectrum, held_out):
        raise ComparisonError(
            f"{_called(spectrum)} and the held-out one at {held_out.snapshot!r} are of different weights: give that of "
            "the same snapshot on held-out data."
        )
    mine, theirs = _of(spectrum, "data"), _of(held_out, "data")
    if mine == theirs and (mine or spectrum.split == held_out.split):
        raise ComparisonError(
            f"{_called(held_out)} that is given as held-out was computed on the same data (split "
            f"{held_out.split!r}). Compute it with split='held_out', on other examples."
        )


def _require_complete(s: Spectrum) -> None:
    if not s.complete:
        raise ComparisonError(f"{_called(s)} is preliminary and will still change: wait until it is complete.")


def _require_same(first: Spectrum, other: Spectrum, names: tuple[str, ...]) -> None:
    for name in names:
        mine, theirs = _of(first, name), _of(other, name)
        if mine != theirs and None not in (mine, theirs):
            raise ComparisonError(
                f"{_called(first)} has {name} {mine!r}, {_called(other)} has {theirs!r}: their difference would be "
                f"read as one of the weights. Compute both with the same {name}."
            )


def _same_weights(a: Spectrum, b: Spectrum) -> bool:
    """By their digests, or by label where one of them has none."""
    digests = [s.provenance.get("snapshot_digest") for s in (a, b)]
    return a.snapshot == b.snapshot if None in digests else digests[0] == digests[1]


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

"""Refuse a course whose spectra do not belong together, before any rule compares them."""

from collections.abc import Callable, Mapping
from itertools import chain
from typing import Any

from ...errors import ComparisonError, SettingError
from ...spectrum import WHOLE, Spectrum
from ..arguments import is_number
from ..course import Cell, Course
from ..losses import NUMBERS

_SAME: dict[str, tuple[Callable[[Spectrum], Any], str]] = {
    "curvature": (lambda s: s.curvature, "Compute all with one curvature=."),
    "functional": (lambda s: s.functional, "Compute all with one functional=."),
    "split": (lambda s: s.split, "Compute all on one split; held-out spectra have a place of their own (held_out=)."),
    "data digest": (
        lambda s: s.provenance.get("data_digest") or None,
        "They were computed on different examples; compute all with the same data.",
    ),
    "loss": (lambda s: s.provenance.get("loss") or None, "Compute all with one loss."),
    "loss digest": (
        lambda s: s.provenance.get("loss_digest") or None,
        "The losses are of one name and differ in their settings; compute all with one loss.",
    ),
    "mode": (lambda s: s.provenance.get("mode") or None, "Compute all in one mode, mode='eval' as a rule."),
}
_NONE = "which is none of its snapshots: {!r:.80}."
_OBJECT = ("curvature", "functional")  # what two runs must have in common, and two data sets
_MEASURED = (*_OBJECT, "loss", "loss digest", "mode")


def require_one_run(course: Course) -> None:
    """Check labels and losses, and that all spectra are of the same mathematical object on the same data.

    Raises:
        SettingError: a cell's snapshot is none of ``course.snapshots``, or these repeat; a spectrum is of another layer
            or snapshot than its cell; a loss is no number; the reference is no course.
        ComparisonError: spectra of different curvature, functional, split, data, loss or mode, or of one layer in two
            sizes.
    """
    _fits_together(course)
    if course.reference is not None:
        if not isinstance(course.reference, Course):
            raise SettingError(
                f"Course.reference must be a Course, as session.course() returns it, or None; got "
                f"{course.reference!r:.60} ({type(course.reference).__name__})."
            )
        require_one_run(course.reference)
        sample = dict(list(course.spectra.items())[:1])
        _alike(sample | _aside(course.reference.spectra, "the reference run"), _OBJECT)
    _alike(course.spectra, tuple(_SAME))
    _alike(course.held_out, tuple(_SAME))
    _one_size(course.spectra, course.held_out)
    for cell, held_out in course.held_out.items():
        if cell in course.spectra:
            aside = _aside({cell: held_out}, "held-out data")
            _alike({cell: course.spectra[cell], **aside}, _MEASURED)
            _other_data(course.spectra[cell], held_out)


def _fits_together(course: Course) -> None:
    labels = set(course.snapshots)
    if len(labels) < len(course.snapshots):
        raise SettingError(f"Snapshots must have different labels, got {course.snapshots!r:.80}.")
    for name in ("spectra", "held_out", "states"):
        for cell, value in getattr(course, name).items():
            if cell[1] not in labels:
                raise SettingError(f"Course.{name} has an entry for {_name(cell)}, {_NONE.format(course.snapshots)}")
            if (value.layer, value.snapshot) != cell:
                raise SettingError(
                    f"Course.{name} has at the place of {_name(cell)} what is of {_name((value.layer, value.snapshot))}"
                    ". Put each where it belongs, under its own (layer, snapshot)."
                )
    for label, row in course.losses.items():
        if label not in labels:
            raise SettingError(f"Course.losses has an entry for {label!r}, {_NONE.format(course.snapshots)}")
        for name in NUMBERS:
            if name in row and not is_number(row[name]):
                raise SettingError(
                    f"Course.losses must have numbers under names that the rules read; {name!r} at {label!r} is "
                    f"{row[name]!r:.60} ({type(row[name]).__name__}). Leave out what is not known."
                )


def _aside(spectra: Mapping[Cell, Spectrum], whose: str) -> dict[Cell, Spectrum]:
    """One of the spectra, under a name that says whose it is."""
    return {(f"{layer or WHOLE} of {whose}", label): s for (layer, label), s in list(spectra.items())[:1]}


def _alike(spectra: Mapping[Cell, Spectrum], names: tuple[str, ...]) -> None:
    for name in names:
        read, advice = _SAME[name]
        first: dict[Any, Cell] = {}
        for cell, spectrum in spectra.items():
            value = read(spectrum)
            if value is not None:
                first.setdefault(value, cell)
        if len(first) > 1:
            (a, here), (b, there) = list(first.items())[:2]
            raise ComparisonError(
                f"The spectrum of {_name(here)} has {name} {a!r}, that of {_name(there)} has {b!r}: they do not "
                f"compare. {advice}"
            )


def _one_size(*kinds: Mapping[Cell, Spectrum]) -> None:
    sizes: dict[str | None, tuple[int, str]] = {}
    for (layer, label), spectrum in chain.from_iterable(spectra.items() for spectra in kinds):
        size, before = sizes.setdefault(layer, (spectrum.size, label))
        if size != spectrum.size:
            raise ComparisonError(
                f"{layer or WHOLE!r} has {size:,} parameters at {before!r} and {spectrum.size:,} at {label!r}: these "
                "are two networks. Give the snapshots of one."
            )


def _other_data(spectrum: Spectrum, held_out: Spectrum) -> None:
    """Of the same weights on other data."""
    weights = [s.provenance.get("snapshot_digest") for s in (spectrum, held_out)]
    if None not in weights and weights[0] != weights[1]:
        raise ComparisonError(
            f"The held-out spectrum of {_name((held_out.layer, held_out.snapshot))} is of other weights than the "
            "training one. Give both of one snapshot."
        )
    mine, theirs = (s.provenance.get("data_digest") for s in (spectrum, held_out))
    if mine == theirs and (mine or spectrum.split == held_out.split):
        raise ComparisonError(
            f"The held-out spectrum of {_name((held_out.layer, held_out.snapshot))} was computed on the same data as "
            f"the training one (split {held_out.split!r}). Compute it with split='held_out'."
        )


def _name(cell: Cell) -> str:
    return f"{cell[0] or WHOLE!r} at {cell[1]!r}"

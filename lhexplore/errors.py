"""Every way lhexplore says no: what was expected, what came, what to do.

LhexploreError
├── SettingError            (also ValueError)       an argument has a value that makes no sense
├── ClosedError             (also RuntimeError)     the session was closed
├── NotExactError           (also ValueError)       an estimate was asked for something only exact spectra have
├── ComparisonError         (also ValueError)       two results that must not be compared
├── UnknownLayerError       (also LookupError)      no such layer, or nothing in it to differentiate
├── UnknownSnapshotError    (also LookupError)      no such snapshot
├── ModelError              (also ValueError)       the model cannot be analysed as it is
├── DataError               (also ValueError)       the loader or a batch cannot be used
│   └── EmptyDataError                              the loader yielded nothing
├── LossError               (also ValueError)       the loss returned something that is not a finite scalar
├── NotFiniteError          (also ArithmeticError)  NaN or infinity in a loss, gradient or product
├── SecondDerivativeError   (also RuntimeError)     an operation has no second derivative
├── NondeterministicError   (also RuntimeError)     the same product twice gave two results
├── UnsupportedError        (also NotImplementedError)  asked for something this version does not do
├── TooLargeError           (also MemoryError)      the plan does not fit in memory
├── SnapshotError           (also ValueError)       a snapshot cannot be used
│   ├── EmptyFolderError    (also LookupError)      no checkpoints where they were looked for
│   ├── FormatError                                 not a format that is read here
│   ├── IncompleteFileError                         truncated, extended or damaged
│   ├── UnsafeFileError                             loading it could run code
│   └── MismatchError                               names or shapes do not fit the model
└── StoreError              (also OSError)          the cache folder cannot be used
"""

from collections.abc import Iterable
from difflib import get_close_matches
from operator import index
from typing import SupportsIndex


class LhexploreError(Exception):
    """Root of the tree: every bad input ends in one of its classes."""


class SettingError(LhexploreError, ValueError):
    """An argument has a value that makes no sense."""


class ClosedError(LhexploreError, RuntimeError):
    """The session was closed."""


class NotExactError(LhexploreError, ValueError):
    """An estimate was asked for something that only exact spectra have."""


class ComparisonError(LhexploreError, ValueError):
    """Two results that must not be compared."""


class UnknownLayerError(LhexploreError, LookupError):
    """No such layer, or nothing in it to differentiate."""


class UnknownSnapshotError(LhexploreError, LookupError):
    """No such snapshot."""


class ModelError(LhexploreError, ValueError):
    """The model cannot be analysed as it is."""


class DataError(LhexploreError, ValueError):
    """The loader or a batch cannot be used."""


class EmptyDataError(DataError):
    """The loader yielded nothing."""


class LossError(LhexploreError, ValueError):
    """The loss returned something that is not a finite scalar."""


class NotFiniteError(LhexploreError, ArithmeticError):
    """NaN or infinity in a loss, gradient or product."""


class SecondDerivativeError(LhexploreError, RuntimeError):
    """An operation has no second derivative."""


class NondeterministicError(LhexploreError, RuntimeError):
    """The same product twice gave two results."""


class UnsupportedError(LhexploreError, NotImplementedError):
    """Asked for something this version does not do."""


class TooLargeError(LhexploreError, MemoryError):
    """The plan does not fit in memory."""


class SnapshotError(LhexploreError, ValueError):
    """A snapshot cannot be used."""


class EmptyFolderError(SnapshotError, LookupError):
    """No checkpoints where they were looked for."""


class FormatError(SnapshotError):
    """Not a format that is read here."""


class IncompleteFileError(SnapshotError):
    """Truncated, extended or damaged."""


class UnsafeFileError(SnapshotError):
    """Loading it could run code."""


class MismatchError(SnapshotError):
    """Names or shapes do not fit the model."""


class StoreError(LhexploreError, OSError):
    """The cache folder cannot be used."""


def whole_number(name: str, value: object, *, least: int = 1) -> int:
    """``value`` as an int; numpy's integers count as well.

    Raises:
        SettingError: it is no whole number, or smaller than ``least``.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex) or index(value) < least:
        raise SettingError(f"{name} must be a whole number from {least} up; got {value!r}.")
    return index(value)


def suggest(wanted: object, known: Iterable[str], *, most: int = 5) -> str:
    """Say which known names are near ``wanted``, or list the first of them."""
    names = list(known)
    near = get_close_matches(str(wanted), names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(map(repr, near))}?"
    if not names:
        return "There are none."
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return f"There are {', '.join(map(repr, names[:most]))}{rest}."

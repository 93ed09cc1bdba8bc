"""What was found out about a spectrum, kept as long as the spectrum lives: it is frozen, so that stays true.

Every step is one operation on a dictionary, so threads need no lock; at worst two of them compute the same value.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from ..spectrum import Spectrum

Value = TypeVar("Value")

_KNOWN: WeakKeyDictionary[Spectrum, dict[object, Any]] = WeakKeyDictionary()


def remembered(spectrum: Spectrum) -> dict[object, Any]:
    """The notes on one spectrum, to be read and written."""
    known = _KNOWN.get(spectrum)
    return _KNOWN.setdefault(spectrum, {}) if known is None else known


def once(function: Callable[[Spectrum], Value]) -> Callable[[Spectrum], Value]:
    """Let a pure function of a spectrum be called once per spectrum."""

    @wraps(function)
    def from_notes(s: Spectrum) -> Value:
        known = remembered(s)
        if function not in known:
            known[function] = function(s)
        value: Value = known[function]
        return value

    return from_notes

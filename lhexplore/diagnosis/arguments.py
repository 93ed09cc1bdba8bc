"""Checks of what people hand over: each refusal names the argument, what was expected and what came."""

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from numpy import ndarray

from ..errors import SettingError
from ..spectrum import Spectrum


def a_spectrum(value: Any, name: str = "spectrum", *, optional: bool = False) -> None:
    """Refuse what is not a Spectrum.

    Raises:
        SettingError: saying so.
    """
    if not (isinstance(value, Spectrum) or (optional and value is None)):
        expected = "a Spectrum or None" if optional else "a Spectrum, as session.spectrum() returns it"
        raise SettingError(f"{name} must be {expected}; got {_what(value)}.")


def spectra(value: Any, name: str) -> None:
    """Refuse what is not a list of spectra.

    Raises:
        SettingError: saying so.
    """
    if isinstance(value, Spectrum):
        raise SettingError(f"{name} must be a list of spectra, got a single Spectrum: put it into a list, [spectrum].")
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise SettingError(f"{name} must be a list of spectra, got {_what(value)}.")
    for i, item in enumerate(value):
        a_spectrum(item, f"{name}[{i}]")


def numbers(value: Any, name: str) -> None:
    """Refuse what is not a list of numbers.

    Raises:
        SettingError: saying so.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Sequence | ndarray) or not all(map(is_number, value)):
        raise SettingError(f"{name} must be a list of numbers, got {_what(value)}.")


def named_numbers(value: Any, name: str) -> None:
    """Refuse what is not a dictionary from names to numbers.

    Raises:
        SettingError: saying so.
    """
    if not isinstance(value, Mapping) or not all(map(is_number, value.values())):
        raise SettingError(f"{name} must be a dictionary from names to numbers, got {_what(value)}.")


def not_negative(value: Any, name: str, *, optional: bool = False, unit: str = "") -> None:
    """Refuse what is not a number from 0 up.

    Raises:
        SettingError: saying so.
    """
    if not ((optional and value is None) or (is_number(value) and value >= 0)):
        raise SettingError(
            f"{name} must be zero or positive{unit}{' or None' if optional else ''}, got {_what(value)}."
        )


def a_number(value: Any, name: str, *, optional: bool = False) -> None:
    """Refuse what is not a number; NaN and infinity are numbers here, as a diverged loss is.

    Raises:
        SettingError: saying so.
    """
    if not ((optional and value is None) or is_number(value)):
        raise SettingError(f"{name} must be a number{' or None' if optional else ''}, got {_what(value)}.")


def is_number(value: Any) -> bool:
    """Whether it is one real number, also of numpy; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def _what(value: Any) -> str:
    return repr(value) if value is None or is_number(value) else f"{value!r:.60} ({type(value).__name__})"

"""Writes numbers as people read them, in every sentence and on every screen: 0.0312, 1,240, −2.1×10⁻⁷."""

import math
import re
from string import Formatter
from typing import Any

PLAIN = (1e-3, 1e4)  # sizes written without a power of ten
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_DIGITS = re.compile(r"(?:\.(\d+))?g")


def short(value: float, *, digits: int = 3) -> str:
    """Write a number with few digits for a title or a sentence."""
    if not math.isfinite(value):
        return "unknown" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    sign = "−" if value < 0 else ""
    size = abs(float(value))
    mantissa, exponent = f"{size:.{digits - 1}e}".split("e")
    if PLAIN[0] <= size and float(f"{mantissa}e{exponent}") < PLAIN[1]:
        text = f"{size:,.{max(digits - 1 - int(exponent), 0)}f}"
        return sign + (text.rstrip("0").rstrip(".") if "." in text else text)
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    factor = "" if mantissa == "1" else f"{mantissa}×"
    return f"{sign}{factor}{_ten_to(int(exponent))}"


def counted(count: int, what: str) -> str:
    """Write how many of something there are: 1 snapshot, 1,240 snapshots."""
    return f"{count:,} {what}{'s' * (count != 1)}"


def power_of_ten(exponent: int, *, negative: bool = False) -> str:
    """Write ±10^exponent: 0.1, 1, 100, and 10⁻⁵ where zeros would have to be counted."""
    sign = "−" if negative else ""
    if -2 <= exponent <= 3:
        return f"{sign}{10.0**exponent:,.{max(-exponent, 0)}f}"
    return f"{sign}{_ten_to(exponent)}"


class Phrase(str):
    """A text with gaps whose ``format`` writes numbers as :func:`short` does; ``{x:.3g}`` asks for three digits."""

    __slots__ = ()

    def format(self, *values: Any, **facts: Any) -> str:
        """Fill the gaps."""
        return _WRITER.vformat(self, values, facts)


class _Writer(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        asked = _DIGITS.fullmatch(format_spec)
        if asked and isinstance(value, int | float):
            return short(value, digits=int(asked[1] or 6))
        return format(value, format_spec)


_WRITER = _Writer()


def _ten_to(exponent: int) -> str:
    return f"10{str(exponent).translate(_SUPERSCRIPT)}"

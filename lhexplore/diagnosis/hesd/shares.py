"""Between which values a share of counted examples lies, and the difference of two of them: 95 % intervals.

Wilson's score interval (JASA 22, 1927) does not collapse at 0 and 1 as the textbook one does; Newcombe's hybrid score
interval (Statistics in Medicine 17, 1998, method 10) puts two of them together. Both take the examples as drawn
independently of each other, and the two sets, too.
"""

import math

from ...errors import SettingError, whole_number
from ..arguments import is_number

Interval = tuple[float, float]
_NORMAL = 1.959963984540054  # 97.5 % point of the normal distribution


def share_between(share: float, examples: int) -> Interval:
    """Return Wilson's interval of a share that was counted on so many examples.

    Raises:
        SettingError: it is no share, or there are no examples.
    """
    if not (is_number(share) and 0 <= share <= 1):
        raise SettingError(f"An accuracy that was counted on examples is between 0 and 1; got {share!r}.")
    n, p = whole_number("examples", examples), float(share)
    square = _NORMAL**2
    centre = (p + square / (2 * n)) / (1 + square / n)
    reach = _NORMAL / (1 + square / n) * math.sqrt(p * (1 - p) / n + square / (4 * n**2))
    return min(p, max(0.0, centre - reach)), max(p, min(1.0, centre + reach))  # p: rounding at 0 and 1


def difference_between(before: float, after: float, examples: tuple[int, int]) -> Interval:
    """Return Newcombe's interval of ``after`` − ``before``, counted on so many examples each."""
    (low, high), (low_after, high_after) = (
        share_between(share, n) for share, n in zip((before, after), examples, strict=True)
    )
    down, up = math.hypot(after - low_after, high - before), math.hypot(high_after - after, before - low)
    return after - before - down, after - before + up

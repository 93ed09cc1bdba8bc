"""The same network on two data sets: how the criteria change beside the accuracy.

What is claimed of the criteria (arXiv 2412.10146) is that their changes across data sets go with changes of accuracy.
That a rising K_H lets one expect a lower accuracy is lhexplore's reading, and so are all errors here.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from numpy import ndarray

from ...errors import ComparisonError, SettingError, whole_number
from ...spectrum import WHOLE, Spectrum
from ..alike import require_alike
from ..arguments import a_spectrum, is_number
from ..laid_out import as_html, as_text
from ..number_texts import short
from ..thresholds import Thresholds
from .hesd import Hesd, compare_kh, hesd
from .shares import Interval, difference_between

COLUMNS = ("what", "on A", "on B", "B − A", "interval of B − A")


@dataclass(frozen=True, slots=True)
class Change:
    """One quantity on both data sets; ``interval`` is of the difference, NaN where it is not known."""

    name: str
    before: float
    after: float
    interval: Interval

    @property
    def difference(self) -> float:
        """What it is on B less what it is on A."""
        return self.after - self.before

    @property
    def direction(self) -> str:
        """The word "rises" or "falls", or "undecided" where the interval holds zero or is not known."""
        low, high = self.interval
        return "rises" if low > 0 else "falls" if high < 0 else "undecided"


@dataclass(frozen=True, slots=True)
class Relative:
    """Changes of the criteria between two data sets, and of the accuracy where it is known."""

    layer: str | None  # None for the whole network
    snapshot: str
    kh: Change
    ct: Change
    accuracy: Change | None

    @property
    def reading(self) -> str:
        """What the changes say together, in sentences."""
        rises = self.kh.direction
        words = {
            "rises": "K_H rises: a lower accuracy on B is to be expected.",
            "falls": "K_H falls: a higher accuracy on B is to be expected.",
            "undecided": "Whether K_H rises is undecided: its change lies within its error.",
        }[rises]
        if self.accuracy is None:
            return f"{words} No accuracies were given to compare it with."
        if "undecided" in (rises, self.accuracy.direction):
            return f"{words} The accuracy {_moves(self.accuracy)}."
        agrees = rises != self.accuracy.direction
        return f"{words} The accuracy {_moves(self.accuracy)}: {'as expected' if agrees else 'against it'}."

    def __repr__(self) -> str:
        return as_text(self._title, COLUMNS, self._rows, (self.reading,))

    def _repr_html_(self) -> str:
        return as_html(self._title, COLUMNS, self._rows, (self.reading,))

    @property
    def _title(self) -> str:
        where = f"the {WHOLE}" if self.layer is None else repr(self.layer)
        return f"Criteria of {where} at {self.snapshot!r} on two data sets"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (c.name, short(c.before), short(c.after), short(c.difference), " to ".join(map(short, c.interval)))
            for c in (self.kh, self.ct, self.accuracy)
            if c is not None
        ]


def relative(
    a: Spectrum,
    b: Spectrum,
    *,
    accuracy: tuple[float, float] | None = None,
    examples: tuple[int, int] | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Relative:
    """Compare the criteria of one network (or layer) on data A with those on data B.

    Args:
        a: the spectrum on data A.
        b: the spectrum of the same weights on data B, computed in the same way.
        accuracy: on A and on B, between 0 and 1.
        examples: how many they were counted on; gives their difference an interval (Newcombe's, 95 %).
        thresholds: for the floor below which no type is named.

    Raises:
        SettingError: for what is no spectrum, accuracies that are not two shares, or examples that are not two
            counts.
        ComparisonError: if the two differ in anything but the data, or one of them is not mainly positive for certain.
    """
    for name, value in (("a", a), ("b", b)):
        a_spectrum(value, name)
    require_alike(a, b, data=False)
    weights = [s.provenance.get("snapshot_digest", s.snapshot) for s in (a, b)]
    if weights[0] != weights[1]:
        raise ComparisonError(
            f"The spectra are of different weights ({a.snapshot!r} and {b.snapshot!r}): compare the same network on "
            "two data sets, or several snapshots with pick_snapshots()."
        )
    before, after = (_readable(name, hesd(s, floor=thresholds.floor)) for name, s in (("A", a), ("B", b)))
    compare_kh(before, after)
    kh = Change(f"K_H ({before.kh_basis})", before.kh, after.kh, _apart(before.kh_interval, after.kh_interval))
    ct = Change("C_t", before.ct, after.ct, _apart(before.interval, after.interval))
    return Relative(a.layer, a.snapshot, kh, ct, _accuracy(accuracy, examples))


def _readable(which: str, found: Hesd) -> Hesd:
    if found.type != "MP" or found.psd:
        raise ComparisonError(
            f"The spectrum on {which} is {found.word}: the criteria are read of mainly positive spectra only. "
            f"{found.reasons[0]}"
        )
    return found


def _accuracy(values: Any, examples: Any) -> Change | None:
    if values is None:
        return None
    if not (_is_pair(values) and all(is_number(value) and 0 <= value <= 1 for value in values)):
        raise SettingError(f"accuracy must be two shares between 0 and 1, on A and on B; got {values!r:.60}.")
    a, b = (float(value) for value in values)
    if examples is None:
        return Change("accuracy", a, b, (math.nan, math.nan))
    if not _is_pair(examples):
        raise SettingError(f"examples must be two counts, on A and on B; got {examples!r:.60}.")
    m, n = (whole_number("examples", count) for count in examples)
    return Change("accuracy", a, b, difference_between(a, b, (m, n)))


def _is_pair(value: object) -> bool:
    return isinstance(value, Sequence | ndarray) and not isinstance(value, str) and len(value) == 2


def _apart(a: Interval, b: Interval) -> Interval:
    """Return between which values b − a lies."""
    return b[0] - a[1], b[1] - a[0]


def _moves(change: Change) -> str:
    if change.direction == "undecided":
        size = "by " + short(abs(change.difference))
        return f"changes {size}, within its error or without a known one"
    return f"{change.direction} by {short(abs(change.difference))}"

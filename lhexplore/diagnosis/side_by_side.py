"""Two spectra side by side in one sentence: what is larger, by which factor, and what their errors leave undecided."""

import math
from dataclasses import dataclass

import numpy as np

from ..spectrum import Spectrum
from .alike import unlike
from .hesd.hesd import Hesd, hesd
from .metrics.table import metric, metric_error
from .number_texts import short

QUANTITIES = {"λmax": "lambda_max", "trace": "trace"}
WORDS = {"steps": "number of Lanczos steps (m)", "mode": "mode of the network"}  # where the name is not enough
Names = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Value:
    """A number and the interval that covers it in 95 % of cases; NaN ends where one cannot tell."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, quantity: str, spectrum: Spectrum) -> "Value":
        """A metric of a spectrum, ± 2 of its error."""
        value, error = metric(quantity, spectrum), metric_error(quantity, spectrum)
        return cls(value, value - 2 * error, value + 2 * error)

    @property
    def told(self) -> bool:
        """Whether its error is known."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    def overlaps(self, other: "Value") -> bool:
        """Whether both may be equal."""
        return self.low <= other.high and other.low <= self.high

    def __str__(self) -> str:
        value, low, high = (short(each) for each in (self.value, self.low, self.high))
        if not self.told:
            return f"{value} (error unknown)"
        if low == value == high:
            error = max(self.value - self.low, self.high - self.value)
            return f"{value} ± {short(error, digits=1)}" if error else value
        return f"{value} ({low} to {high})"


def side_by_side(a: Spectrum, b: Spectrum, *, types: tuple[Hesd, Hesd] | None = None, names: Names = ("A", "B")) -> str:
    """Compare λmax, trace, C_t and type of two spectra in words; say why not, where they were not made alike.

    Ratios are those of ``b`` to ``a``. Their intervals span every quotient of two values within the errors of both, so
    they hold whether or not the errors depend on each other.

    Args:
        a: one of them.
        b: the other one: another block, or the same one with other weights.
        types: what is said of their types; formed here if left out.
        names: what they are called.
    """
    here, there = names
    if refusal := _refusal(a, b, names):
        return refusal
    if a.layer == b.layer and np.array_equal(a.nodes, b.nodes) and np.array_equal(a.weights, b.weights):
        return f"{here} and {there} are the same spectrum: nothing differs."
    one, two = types or (hesd(a), hesd(b))
    parts = [_ratio(word, Value.of(name, a), Value.of(name, b), names) for word, name in QUANTITIES.items()]
    ct = _apart("C_t", Value(one.ct, *one.interval), Value(two.ct, *two.interval), names)
    if one.word == two.word:
        kinds = f"type of both: “{one.word}”"
    else:
        kinds = f"type: “{one.word}” in {here}, “{two.word}” in {there}"
    return f"{there} against {here}: {'; '.join([*parts, ct, kinds])}."


def _refusal(a: Spectrum, b: Spectrum, names: Names) -> str:
    early = [name for name, each in zip(names, (a, b), strict=True) if not each.complete]
    if early:
        return f"{' and '.join(early)} will still change: both are compared once they are complete."
    found = unlike(a, b)
    if found is None:
        return ""
    name, mine, theirs = found
    here, there = names
    if name == "size":
        return (
            f"Not compared in numbers: the layer has {mine:,} parameters in {here} and {theirs:,} in {there}, so it is "
            "not the same block. Compare layers of one shape."
        )
    if name == "data":
        return (
            f"Not compared in numbers: {here} and {there} were computed on different data, and a difference may come "
            "from that. Compute both on the same examples."
        )
    return (
        f"Not compared in numbers: the {WORDS.get(name, name)} is {mine} in {here} and {theirs} in {there}, and a "
        f"difference may come from that. Compute both with the same {name}."
    )


def _ratio(word: str, a: Value, b: Value, names: Names) -> str:
    """By which factor the second is larger; without one where either may be zero or below."""
    if not (a.told and b.told) or min(a.low, b.low) <= 0:
        return _apart(word, a, b, names)
    ratio = Value(b.value / a.value, b.low / a.high, b.high / a.low)
    return f"{word} ratio {ratio}{_undecided(a, b)}"


def _apart(word: str, a: Value, b: Value, names: Names) -> str:
    return f"{word} {a} in {names[0]}, {b} in {names[1]}{_undecided(a, b)}"


def _undecided(a: Value, b: Value) -> str:
    if not (a.told and b.told):
        return ", undecided"
    return ", undecided" if a.overlaps(b) and not (a.low == a.high == b.low == b.high) else ""

"""Counts of right and wrong, rank correlation, and intervals by resampling whole data sets.

Runs on one data set are alike, so a data set is what is drawn again: its runs come along together.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy.stats import rankdata

DRAWS, SEED = 1000, 0
LEVEL = 0.95
T = TypeVar("T")


@dataclass(frozen=True)
class Counts:
    """What a rule said beside what was true."""

    hits: int = 0  # said and true
    false: int = 0  # said, not true
    missed: int = 0  # true, not said
    quiet: int = 0  # neither

    @property
    def total(self) -> int:
        return self.hits + self.false + self.missed + self.quiet

    @property
    def right(self) -> int:
        return self.hits + self.quiet

    @property
    def precision(self) -> float:
        return ratio(self.hits, self.hits + self.false)

    @property
    def recall(self) -> float:
        return ratio(self.hits, self.hits + self.missed)

    @property
    def alarms(self) -> float:
        """False alarms per case in which the rule should be silent."""
        return ratio(self.false, self.false + self.quiet)


@dataclass(frozen=True)
class Answer:
    """One case: its data set, what was said, what is true."""

    dataset: str
    said: bool
    true: bool


def ratio(part: float, whole: float) -> float:
    return part / whole if whole else math.nan


def count(answers: Sequence[Answer]) -> Counts:
    """Put answers into the four fields of a confusion matrix."""
    pairs = [(answer.said, answer.true) for answer in answers]
    return Counts(*(pairs.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))))


def interval(
    cases: Sequence[T], dataset: Callable[[T], str], statistic: Callable[[Sequence[T]], float]
) -> tuple[float, float]:
    """Bootstrap interval of a statistic at 95 %, data sets drawn with replacement; NaN where it is never defined."""
    groups: dict[str, list[T]] = {}
    for case in cases:
        groups.setdefault(dataset(case), []).append(case)
    rng = np.random.default_rng(SEED)
    blocks = list(groups.values())
    values = []
    for _ in range(DRAWS):
        value = statistic([case for i in rng.integers(len(blocks), size=len(blocks)) for case in blocks[i]])
        if not math.isnan(value):
            values.append(value)
    if not values:
        return math.nan, math.nan
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def spearman(pairs: Sequence[tuple[float, float]]) -> float:
    """Correlation of the ranks of what is finite; NaN for fewer than three pairs or where one side is constant."""
    known = np.array([pair for pair in pairs if np.isfinite(pair).all()])
    if len(known) < 3:
        return math.nan
    a, b = rankdata(known[:, 0]), rankdata(known[:, 1])
    if a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])

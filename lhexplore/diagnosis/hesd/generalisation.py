"""How every metric goes with the generalisation gap over the snapshots of one run."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..arguments import named_numbers
from ..losses import HELD_OUT, TRAIN, TRAIN_ACCURACY
from .correlation import LEAST, Correlation, rank_correlation
from .picker import HELD_OUT_ACCURACY

CAUTION = (
    "Snapshots of one run follow each other: whatever moves through training goes with everything else that does, so "
    "a strong correlation here is no evidence of a cause. The intervals count a run as the few independent pairs "
    "that it is worth."
)


@dataclass(frozen=True, slots=True)
class Generalisation:
    """The gap at each snapshot, and the rank correlation of every metric with it."""

    gap: str  # what it is, in words
    gaps: tuple[float, ...]  # per snapshot, NaN where one side is not known
    correlations: Mapping[str, Correlation]
    left_out: Mapping[str, str]  # metrics without a correlation, and why
    caution: str = CAUTION


def generalisation(rows: Sequence[Mapping[str, float]], metrics: Sequence[str], *, seed: int = 0) -> Generalisation:
    """Correlate every metric with the gap between held-out and training data over snapshots.

    The gap is that of the loss (held-out less training) where both are known, else that of the accuracy (training less
    held-out), so that a larger one is always worse.

    Args:
        rows: per snapshot, oldest first, metrics and losses by name; what is missing is not there or NaN.
        metrics: which names to correlate.
        seed: of the bootstrap.

    Raises:
        SettingError: for rows that are no dictionaries from names to numbers.
    """
    for i, row in enumerate(rows):
        named_numbers(row, f"rows[{i}]")
    name, gaps = _gaps(rows)
    block = max(1, round(len(rows) ** (1 / 3)))  # the usual length of blocks for a series
    found, left_out = dict[str, Correlation](), dict[str, str]()
    for metric in metrics:
        values = [float(row.get(metric, math.nan)) for row in rows]
        known = sum(math.isfinite(v) and math.isfinite(g) for v, g in zip(values, gaps, strict=True))
        finite = [v if math.isfinite(v) else math.nan for v in values]
        if not name:
            left_out[metric] = "no loss or accuracy is known on both training and held-out data"
        elif known < LEAST:
            left_out[metric] = f"known at {known} snapshots together with the gap; {LEAST} are needed"
        elif math.isnan((one := rank_correlation(finite, gaps, block=block, seed=seed)).value):
            left_out[metric] = "it or the gap does not vary"
        else:
            found[metric] = one
    return Generalisation(name, tuple(gaps), found, left_out)


def _gaps(rows: Sequence[Mapping[str, float]]) -> tuple[str, list[float]]:
    for what, inside, outside, sign in (
        ("loss", TRAIN, HELD_OUT, 1.0),
        ("accuracy", TRAIN_ACCURACY, HELD_OUT_ACCURACY, -1.0),
    ):
        for held_out in outside:
            for train in inside:
                gaps = [sign * (row.get(held_out, math.nan) - row.get(train, math.nan)) for row in rows]
                if any(map(math.isfinite, gaps)):
                    words = f"{held_out} − {train}" if what == "loss" else f"{train} − {held_out}"
                    return words, [float(gap) if math.isfinite(gap) else math.nan for gap in gaps]
    return "", [math.nan] * len(rows)

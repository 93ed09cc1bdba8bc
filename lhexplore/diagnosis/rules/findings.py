"""The shape of a finding, and how much it weighs beside others."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Level = Literal["info", "note", "warning"]
LEVELS: tuple[Level, ...] = ("warning", "note", "info")  # most urgent first
_SHARE: dict[Level, float] = {"warning": 1.0, "note": 0.5, "info": 0.2}  # of the weight a level can have at most


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule saw, with the ratio that made it speak.

    ``heuristic`` marks lhexplore's own reading; the others are facts about the block.
    """

    rule: str
    level: Level
    title: str
    text: str
    value: float
    threshold: float
    action: str  # what to do next
    heuristic: bool
    eigenvalue: float | None = None  # its place in the plot
    evidence: str = ""  # what the rule rests on
    refute: str = ""  # what would show that it is wrong
    window: tuple[str, ...] = ()  # snapshots it rests on, oldest first
    layer: str | None = None  # the block it is about; None for the whole network or the run as a whole
    snapshot: str = ""  # where on the time axis it belongs: the first snapshot at which the rule speaks
    others: tuple[str, ...] = ()  # layers it was compared with; of a finding about the run, those it shows in
    weight: float = 0.0  # how much it matters beside other findings, 0 to 1
    record: str = ""  # how often the rule was right in lhexplore's own study; empty where it was not tried


def weigh(level: Level, value: float, threshold: float) -> float:
    """Weigh a finding by its level and by how far its value is from the limit, on a logarithmic scale.

    A warning weighs up to 1, a note up to 0.5, a piece of information up to 0.2: half of that at the limit and all of
    it a factor of ten beyond. What has no scale (a limit of zero, a value of another sign) weighs half.
    """
    ratio = value / threshold if threshold else math.nan
    beyond = min(1.0, abs(math.log10(ratio))) if ratio > 0 else 0.0
    return _SHARE[level] * (0.5 + 0.5 * beyond)


def in_order(found: Iterable[Finding]) -> tuple[Finding, ...]:
    """Warnings first; of one level, what weighs more."""
    return tuple(sorted(found, key=lambda item: (LEVELS.index(item.level), -item.weight)))

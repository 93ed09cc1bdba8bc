"""The shape of a finding, the limits that may be edited, and what a rule is given to look at."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Literal

from ..errors import SettingError
from ..spectrum import Spectrum
from .arguments import is_number
from .finding_texts import FINDINGS
from .hesd import Hesd
from .losses import course, small
from .quasi_singular import COLLAPSE, SMALL_LOSS

Level = Literal["info", "note", "warning"]
LEVELS: tuple[Level, ...] = ("warning", "note", "info")  # most urgent first


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule saw, with the ratio that made it speak.

    ``heuristic`` marks lhexplore's own, uncalibrated reading; the others are facts about the block.
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
    window: tuple[str, ...] = ()  # snapshots looked at, oldest first
    layer: str | None = None  # the block it is about; None for the whole network or the run as a whole
    snapshot: str = ""  # where on the time axis it belongs
    others: tuple[str, ...] = ()  # layers it was compared with
    weight: float = 0.0  # how much it matters beside other findings, 0 to 1
    record: str = ""  # how often the rule was right in lhexplore's own study; empty where it was not tried


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Limits of the rules. All are heuristic ratios: against the layer's own past or the median of the other layers."""

    window: int = 3  # consecutive snapshots a rule about time needs
    others: int = 2  # other layers a rule about layers needs
    flat_loss: float = 0.01  # relative change of the training loss over the window
    small_loss: float = SMALL_LOSS  # in nats; used only while no earlier loss is known
    small_loss_ratio: float = 0.1  # of the largest known training loss
    high: float = 5.0  # λmax against the other layers
    low: float = 0.1  # rank and effective rank against the other layers
    condition: float = 10.0  # percentile condition and peakedness against the other layers
    saddle: float = 0.1  # |λmin| / λmax
    gradient: float = 0.1  # gradient norm against its own past
    collapse: float = COLLAPSE  # λmax against its own past, or against held-out data
    asymmetry: float = 1e-4  # symmetry defect worth a word
    unresolved: float = 1e-3  # error of the ends against the largest absolute eigenvalue
    floor: float = 0.0  # largest absolute eigenvalue below which no type is named, in the unit of the eigenvalues
    good_re: float = 0.1
    good_kh: float = 0.5
    moderate_kh: float = 1.0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if not (is_number(value) and math.isfinite(value) and value >= 0):
                raise SettingError(f"Threshold {entry.name} must be finite and not negative, got {value!r}.")
        if self.window < 2 or self.others < 1:
            raise SettingError(
                f"window must be at least 2 and others at least 1, got {self.window!r} and {self.others!r}."
            )


@dataclass(frozen=True, slots=True)
class Case:
    """All that is known about one block at one snapshot. Lists over time are oldest first and end before now."""

    spectrum: Spectrum
    hesd: Hesd
    metrics: Mapping[str, float]
    history: Sequence[Spectrum] = ()
    peers: Sequence[Spectrum] = ()  # other layers at the same snapshot
    held_out: Spectrum | None = None
    losses: Mapping[str, float] = field(default_factory=dict)
    past_losses: Sequence[Mapping[str, float]] = ()  # as long as ``history``, or empty
    gradient_norms: Sequence[float] = ()  # one per snapshot of ``history`` and one for now, or empty
    thresholds: Thresholds = Thresholds()

    def recent(self) -> tuple[Spectrum, ...]:
        """The last snapshots including this one; empty while they are too few for a rule about time."""
        past = self.thresholds.window - 1
        return (*self.history[-past:], self.spectrum) if len(self.history) >= past else ()

    def recent_losses(self, names: Sequence[str]) -> tuple[float, ...]:
        """The course of the first loss of ``names`` that is known throughout the recent snapshots, or nothing."""
        past = self.thresholds.window - 1
        return course((*self.past_losses[-past:], self.losses), names) if len(self.past_losses) >= past else ()

    def small_loss(self) -> float:
        """Below what the training loss counts as small."""
        limits = self.thresholds
        return small(self.losses, self.past_losses, ratio=limits.small_loss_ratio, absolute=limits.small_loss)


def finding(
    rule: str,
    wording: str,
    level: Level,
    *,
    value: float,
    threshold: float,
    heuristic: bool,
    eigenvalue: float | None = None,
    window: tuple[str, ...] = (),
    **facts: object,
) -> Finding:
    """Fill one wording with ``facts``."""
    words = FINDINGS[wording]
    facts |= {"value": value}
    return Finding(
        rule=rule,
        level=level,
        title=words.title.format(**facts),
        text=words.text.format(**facts),
        value=float(value),
        threshold=float(threshold),
        action=words.action,
        heuristic=heuristic,
        eigenvalue=eigenvalue,
        evidence=words.evidence,
        refute=words.refute,
        window=window,
    )

"""What a rule says of a whole grid: where it fires, with which numbers, or why it cannot judge."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .chain import Chain
from .finding_texts import FINDINGS
from .findings import Finding, Level, weigh
from .grid import Grid
from .records import RECORDS

Facts = Callable[[int, int], Mapping[str, Any]]  # what the sentence is filled with, at a row and a column


def _nothing(_i: int, _t: int) -> Mapping[str, Any]:
    return {}


@dataclass(frozen=True, slots=True, eq=False)
class Sign:
    """One wording and the cells at which it holds."""

    rule: str
    wording: str
    level: Level
    fires: Bool[ndarray, "layers snapshots"]
    value: Float[ndarray, "layers snapshots"]
    threshold: float
    chain: Chain  # through the cells that could be judged
    heuristic: bool = True
    facts: Facts = _nothing
    eigenvalue: Float[ndarray, "layers snapshots"] | None = None
    reach: int = 1  # snapshots in a row, up to and including the one at which it fires, that belong to it
    looked_back: int = 0  # snapshots that entered the reading, where these are more
    compared: bool = False  # with the other layers
    together: bool = False  # said once of all layers in which it shows, rather than of each

    def weight(self, i: int, t: int) -> float:
        """How much one cell matters."""
        return weigh(self.level, float(self.value[i, t]), self.threshold)

    def finding(self, grid: Grid, i: int, t: int) -> Finding:
        """Put one cell into words."""
        words = FINDINGS[self.wording]
        value, threshold = float(self.value[i, t]), float(self.threshold)
        facts = {"value": value, "threshold": threshold, "count": self.reach, **self.facts(i, t)}
        eigenvalue = np.nan if self.eigenvalue is None else float(self.eigenvalue[i, t])
        count = max(self.reach, self.looked_back)
        return Finding(
            rule=self.rule,
            level=self.level,
            title=words.title.format(**facts),
            text=words.text.format(**facts),
            value=value,
            threshold=threshold,
            action=words.action,
            heuristic=self.heuristic,
            eigenvalue=None if np.isnan(eigenvalue) else eigenvalue,
            evidence=words.evidence,
            refute=words.refute,
            window=tuple(grid.labels[k] for k in self.chain.columns(i, t, count)),
            layer=grid.layers[i],
            snapshot=grid.labels[t],
            others=grid.others(i, t) if self.compared else (),
            weight=weigh(self.level, value, threshold),
            record=RECORDS.get(self.rule, ""),
        )


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a rule could not judge, or not everywhere: a key of the silences in words, and what fills it."""

    rule: str
    why: str
    facts: Mapping[str, Any] = field(default_factory=dict)

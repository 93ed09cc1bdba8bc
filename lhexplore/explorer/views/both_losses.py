"""The time axis of two runs: the losses of both at the snapshots of the first."""

from typing import Any

from ..hub import Hub
from ..loss_figure import loss_name
from ..pair import matched
from .scrubber import Scrubber

NAMES = ("A", "B")


class BothLosses(Scrubber):
    """Losses of two runs over the snapshots of the first one, with the slider that moves both.

    Args:
        source: the first run: A.
        other: the second one: B; its losses stand where it has a snapshot at the same step.
        choices: as of any view.
    """

    wants = Scrubber.wants | {"beside"}

    def __init__(self, source: Any, other: Any, **choices: Any) -> None:
        self._other = Hub.of(other)
        super().__init__(source, **choices)

    def losses(self) -> list[dict[str, float]]:
        facts, others = self.hub.facts, self._other.facts
        there, known = matched(facts.shots, others.shots), others.losses()
        return [
            {
                f"{run} {loss_name(key)}": value
                for run, losses in zip(NAMES, (own, {} if k is None else known[k]), strict=True)
                for key, value in losses.items()
            }
            for own, k in zip(facts.losses(), there, strict=True)
        ]

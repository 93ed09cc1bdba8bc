"""What is known, as views ask for it: a selection or a cell in, plain values out."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import Finding
from ..diagnosis import metric as form
from ..figures.numbers import error_of
from .computing import Computing
from .escape import plain
from .known import words
from .located import Located
from .places import step_words
from .protocols import SnapshotLike
from .state import Cell, Entry, Selection

BRIEF = 240  # characters of a reason within a sentence
HELD_OUT = ", held-out data"  # said of a place where not training data is shown
_SENTENCES = re.compile(r"(?<=\.) (?=[A-Z])")


class Facts:
    """Reads what the worker found; never computes a spectrum."""

    def __init__(self, session: Any, computing: Computing) -> None:
        self.located = Located()  # what the rules last found in the run, by place
        self.shots: tuple[SnapshotLike, ...] = tuple(session.snapshots)
        self.steps: tuple[str, ...] = tuple(step_words(row) for row in self.shots)
        self._session, self._computing, self._known = session, computing, computing.known
        self._table: tuple[Selection | None, Float[ndarray, "e s"]] = (None, np.empty((0, 0)))
        self._errors: tuple[Selection | None, Float[ndarray, "e s"]] = self._table

    def losses(self) -> list[dict[str, float]]:
        """Losses and accuracies of every snapshot, by name."""
        return [self._session.losses(k) for k in range(len(self.shots))]

    def labels(self, looking: Selection) -> list[str]:
        """What every snapshot is called in a figure; which data, where it is not that of training."""
        return [step + (HELD_OUT if looking.main == "held_out" else "") for step in self.steps]

    def row(self, looking: Selection, entry: Entry | None = None) -> list[Cell]:
        """One layer (that on show if none is given) at every snapshot."""
        name = looking.layer if entry is None else entry.name
        return [Cell(name, k, looking.main) for k in range(len(looking.labels))]

    def findings(self, cell: Cell, looking: Selection) -> Sequence[Finding]:
        """What the rules say of one cell."""
        return self.located.at(looking.key(cell.layer), looking.labels[cell.snapshot])

    def reasons(self, cells: Sequence[Cell]) -> list[str]:
        """Why each of these could not be computed, in a sentence; empty where it could, or was not tried yet."""
        return [_brief(failure) for failure in self._known.all_failures(cells)]

    def table(self, looking: Selection) -> Float[ndarray, "e s"]:
        """The chosen metric of every entry on show at every snapshot; NaN where it is not known.

        A painting has one selection, so the views of a painting share one table.
        """
        if self._table[0] is not looking:
            rows = [[self._value(cell, looking.metric) for cell in self.row(looking, e)] for e in looking.shown]
            self._table = looking, np.array(rows)
        return self._table[1]

    def errors(self, looking: Selection) -> Float[ndarray, "e s"]:
        """One standard error of every number of the table; NaN where it is not known, 0 where the number is exact."""
        if self._errors[0] is not looking:
            rows = [[self._error(cell, looking.metric) for cell in self.row(looking, e)] for e in looking.shown]
            self._errors = looking, np.array(rows)
        return self._errors[1]

    def map_rows(self, looking: Selection) -> tuple[Entry, ...]:
        """Rows of a map: the layers, and the whole network below as soon as it is known somewhere or looked at."""
        whole = [entry for entry in looking.shown if entry.key is None and entry not in looking.rows]
        cells = [cell for entry in whole for cell in self.row(looking, entry)]
        wanted = any(cell.layer == looking.layer or self._known.spectrum(cell) is not None for cell in cells)
        return (*looking.rows, *whole) if wanted else looking.rows

    def _value(self, cell: Cell, metric: str) -> float:
        found = self._known.spectrum(cell)
        return float("nan") if found is None else form(metric, found)  # one's own may be younger than the diagnosis

    def _error(self, cell: Cell, metric: str) -> float:
        found = self._known.spectrum(cell)
        return float("nan") if found is None else error_of(metric, found)


def _brief(failure: Exception | None) -> str:
    """The first sentence of a failure, which says what it is; the note below a view says what to do, too."""
    return "" if failure is None else plain(_SENTENCES.split(words(failure))[0], longest=BRIEF)

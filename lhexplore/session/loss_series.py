"""Losses and accuracies through a run as the rules read them: one source for each series."""

from typing import TYPE_CHECKING

from .on_frozen_data import evaluated

if TYPE_CHECKING:
    from .session import Session


def loss_series(session: "Session") -> dict[str, dict[str, float]]:
    """Losses and accuracies by snapshot.

    What training recorded was measured on a batch, what was evaluated on the frozen data: a step from one to the other
    is no change of the run. So a name is read as recorded where it was recorded at every usable snapshot or was not
    evaluated at all of them, and else as evaluated.
    """
    usable = [row for row in session.snapshots if row.status == "ok"]
    recorded = {row.label: {name: float(value) for name, value in row.metrics.items()} for row in session.snapshots}
    found = {row.label: evaluated(session, row.label) for row in session.snapshots}

    def from_recorded(name: str) -> bool:
        known = [name in recorded[row.label] for row in usable]
        return all(known) or (any(known) and not all(name in found[row.label] for row in usable))

    names = dict.fromkeys(name for rows in (recorded, found) for row in rows.values() for name in row)
    source = {name: recorded if from_recorded(name) else found for name in names}
    return {
        row.label: {name: source[name][row.label][name] for name in names if name in source[name][row.label]}
        for row in session.snapshots
    }

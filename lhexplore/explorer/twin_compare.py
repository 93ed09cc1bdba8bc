"""The twin of two spectra side by side: at equal steps of two runs, or of two layers of one."""

from typing import Any, NamedTuple

from .. import figures
from ..diagnosis.number_texts import short
from .escape import plain
from .hub import Hub
from .state import Cell, Selection
from .twin_run import KnownRun
from .twin_table import SHARES, Table, quantiles

NAMES = ("A", "B")


class Side(NamedTuple):
    """What stands on one side; ``snapshot`` is None where the other run has no counterpart."""

    hub: Hub
    looking: Selection
    layer: str
    snapshot: int | None


def sides(view: Any, looking: Selection) -> tuple[Side, Side]:
    """Both sides at the snapshot on show."""
    first, second = view.pair.hubs
    beside = second.look()
    at = view.pair.counterparts()[looking.snapshot] if looking.labels else None
    there = None if at is None or at >= len(beside.labels) else at
    layer = beside.layer if view.pair.layers else looking.layer
    here = looking.snapshot if looking.labels else None
    return Side(first, looking, looking.layer, here), Side(second, beside, layer, there)


def compare_table(view: Any, looking: Selection) -> Table | None:
    """Where the eigenvalues of both sides lie."""
    columns, found = [], []
    for name, (hub, beside, layer, k) in zip(NAMES, sides(view, looking), strict=True):
        best = None if k is None else hub.computing.known.best(Cell(layer, k, beside.main))
        if best is not None and k is not None:
            columns.append(f"{name}: {layer} at {hub.facts.steps[k]}")
            found.append(quantiles(best))
    lines = [[what, *(short(at[i]) for at in found)] for i, what in enumerate(SHARES)]
    return Table.of("Where the eigenvalues of both lie.", ["eigenvalue", *columns], lines) if found else None


def compare_picture(view: Any, looking: Selection, _run: KnownRun) -> figures.Picture:
    """Both sides on one pair of axes."""
    (a, layer_a), (b, layer_b) = (
        (KnownRun(hub, beside, [] if k is None else [k]), beside.key(layer))
        for hub, beside, layer, k in sides(view, looking)
    )
    names = tuple(f"{name}: {plain(side.layer)}" for name, side in zip(NAMES, sides(view, looking), strict=True))
    scale: Any = looking.scale
    return figures.compare(
        a, b, layer=(layer_a, layer_b), kind=looking.view, scale=scale, names=(names[0], names[1]), width="page"
    )

"""D7: the quasi-singular flag, of the run as a whole."""

from collections.abc import Iterator

import numpy as np

from ..hesd.quasi_singular import has_collapsed
from .grid import Grid
from .of_run import Row, blocks, row, run_chain, steepest
from .sign import Sign, Silence


def collapsed(grid: Grid) -> Iterator[Sign | Silence]:
    """The steepest layer's λmax far below its own past or held-out data, with a training loss that is next to zero."""
    limit, loss, now = grid.limits.collapse, grid.train_loss, steepest(grid)
    own = np.where(now > 0, now / np.fmax.accumulate(now), np.nan)
    own[np.flatnonzero(~np.isnan(own))[:1]] = np.nan  # nothing before it
    gap = np.where(now > 0, now / _held_out(grid), np.nan)
    if (np.isnan(gap) & np.isnan(own)).all() or np.isnan(loss).all():
        yield Silence("D7", "no collapse")
        return
    small = grid.limits.vanishing * np.fmax.accumulate(loss)
    by_own, by_gap = has_collapsed(own, gap, loss, small_loss=small, limit=limit)
    value = np.where(by_gap, gap, own)
    yield Sign(
        "D7",
        "quasi-singular",
        "warning",
        fires=row(grid, (by_own | by_gap).astype(float)) == 1,
        value=row(grid, value),
        threshold=limit,
        chain=run_chain(grid, ~np.isnan(value)),
        facts=lambda _i, t: {"reference": "λmax on held-out data" if by_gap[t] else "its largest value so far"},
        looked_back=len(grid.labels),
    )


def _held_out(grid: Grid) -> Row:
    """Largest λmax of the same blocks on held-out data."""
    return np.asarray(grid.held_out[blocks(grid)].max(axis=0))

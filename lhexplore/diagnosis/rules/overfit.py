"""D1: the held-out loss has risen from its lowest while the training loss went on falling."""

from collections.abc import Iterator

import numpy as np

from ..losses import HELD_OUT
from .grid import Grid
from .of_run import row, run_chain, total
from .sign import Sign, Silence

_AGAIN = 2  # snapshots in a row: once may be chance


def overfit(grid: Grid) -> Iterator[Sign | Silence]:
    """Losses decide; the trace of all layers tells whether the curvature has collapsed with the training loss."""
    train, held_out = grid.train_loss, grid.recorded(HELD_OUT)
    known = (train > 0) & (held_out > 0)
    if np.isnan(train).all():
        yield Silence("D1", "no loss")
    elif np.isnan(held_out).all():
        yield Silence("D1", "no held-out loss")
    elif known.sum() < 2:
        yield Silence("D1", "one snapshot")
    else:
        chain = run_chain(grid, known)
        lowest = _lowest_so_far(np.where(known, held_out, np.inf))
        rise, fall = held_out / held_out[lowest], train / train[lowest]
        trace = total(grid, grid.trace)
        own = trace / np.fmax.accumulate(trace)
        yield Sign(
            "D1",
            "overfit",
            "warning",
            fires=chain.lasting(row(grid, np.where(fall < 1, rise, np.nan)) >= grid.limits.rise, _AGAIN),
            value=row(grid, rise),
            threshold=grid.limits.rise,
            chain=chain,
            facts=lambda _i, t: {
                "lowest": repr(grid.labels[lowest[t]]),
                "train": fall[t],
                "trace": "" if np.isnan(own[t]) else f" The trace of all layers is {own[t]:.3g} of its largest so far.",
            },
            looked_back=len(grid.labels),
        )


def _lowest_so_far(losses: np.ndarray) -> np.ndarray:
    """The column of the smallest loss up to each snapshot."""
    columns = np.arange(len(losses))
    return np.maximum.accumulate(np.where(losses <= np.minimum.accumulate(losses), columns, 0))

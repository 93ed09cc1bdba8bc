"""D3: the training loss stands still above its aim, and a layer is steep and uses most of its directions."""

from collections.abc import Iterator

import numpy as np

from .grid import Grid
from .sign import Sign, Silence


def bottleneck(grid: Grid) -> Iterator[Sign | Silence]:
    """Training loss flat and not small; λmax high and effective rank per parameter highest among the layers."""
    limits, window = grid.limits, grid.limits.window
    chain = grid.chain()
    if np.isnan(grid.train_loss).all():
        yield Silence("D3", "no loss")
        return
    if chain.length < window:
        yield Silence("D3", "few snapshots", {"window": window, "length": chain.length})
        return
    steep = grid.beside(grid.largest)
    if np.isnan(steep).all():
        yield Silence("D3", "few layers", {"others": limits.others})
        return
    recent = chain.recent(np.broadcast_to(grid.train_loss, grid.shape), window)
    change = (recent.max(axis=0) - recent.min(axis=0)) / recent.mean(axis=0)  # NaN where one is not known
    stuck = (change < limits.flat_loss) & (recent[0] > grid.small_loss)
    high = steep >= limits.high
    columns = high.any(axis=0) if (stuck & high).any() else np.zeros(high.shape[1], bool)
    rank = grid.metric("effective_rank_ratio", grid.layer_rows & columns)
    every = (~np.isnan(rank) | ~(grid.known & grid.layer_rows)).all(axis=0)  # of the layers is known
    if columns.any() and not every[columns].any():
        yield Silence("D3", "no effective rank")
        return
    top = every & (rank >= np.fmax.reduce(rank, axis=0))
    yield Sign(
        "D3",
        "bottleneck",
        "warning",
        fires=stuck & grid.chain(~np.isnan(steep)).settled(high & top, window),
        value=steep,
        threshold=limits.high,
        chain=chain,
        facts=lambda i, t: {"flat": change[i, t]},
        eigenvalue=grid.largest,
        reach=window,
        compared=True,
    )

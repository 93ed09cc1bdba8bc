"""D3: the training loss stands still above its aim, though the run has learnt and no step would lower it much."""

from collections.abc import Iterator

import numpy as np

from .grid import Grid
from .of_run import Row, blocks, row, run_chain, steepest
from .sign import Sign, Silence

# Losses of torch whose minimum is the noise in the targets, and whose λmax does not fall with them as that of a
# cross-entropy does: λmax per loss grows in every training.
_OF_REGRESSION = frozenset(
    {"MSELoss", "mse_loss", "L1Loss", "l1_loss", "SmoothL1Loss", "smooth_l1_loss", "HuberLoss", "huber_loss"}
)


def bottleneck(grid: Grid) -> Iterator[Sign | Silence]:
    """A flat loss, steep for its height, with no headroom left: a network that cannot do better, not one still slow."""
    limits, window, loss = grid.limits, grid.limits.window, grid.train_loss
    if np.isnan(loss).all():
        yield Silence("D3", "no loss")
        return
    if of_regression := _losses(grid) & _OF_REGRESSION:
        yield Silence("D3", "regression", {"loss": min(of_regression)})
        return
    if _linear(grid):
        yield Silence("D3", "linear")
        return
    steep = steepest(grid) / loss
    judged = (loss > 0) & (steep > 0)
    chain = run_chain(grid, judged)
    if chain.length < window:
        yield Silence("D3", "few snapshots", {"window": window, "length": chain.length})
        return
    if not np.isfinite(steep[0]):
        yield Silence("D3", "no start")
        return
    recent = chain.recent(row(grid, loss), window)[:, -1]
    flat = (recent.max(axis=0) - recent.min(axis=0)) / recent.mean(axis=0)  # NaN where one is not known
    grown = steep / steep[np.flatnonzero(judged)[0]]
    room = headroom(grid)
    stuck = (flat <= limits.flat_loss) & (loss > grid.small_loss) & (grown >= limits.grown)
    if np.isnan(room).all():
        yield Silence("D3", "no gradient")
        return
    yield Sign(
        "D3",
        "bottleneck",
        "warning",
        fires=row(grid, np.where(stuck, room, np.nan)) <= limits.headroom,
        value=row(grid, room),
        threshold=limits.headroom,
        chain=chain,
        facts=lambda _i, t: {"flat": flat[t], "grown": grown[t], "share": loss[t] / np.nanmax(loss[: t + 1])},
        reach=window,
    )


def headroom(grid: Grid) -> Row:
    """Share of the training loss that one step along a layer's gradient would take off, for the best of the layers.

    ‖g‖² / (2 λmax): what a step of 1 / λmax gains on a quadratic of that curvature, or more where it is curved less.
    """
    gain = np.where(grid.largest > grid.band, grid.gradient**2 / (2 * grid.largest), np.nan)
    return np.asarray(np.fmax.reduce(gain, axis=0) / grid.train_loss)


def _losses(grid: Grid) -> set[str]:
    """Names of the loss, where the spectra tell."""
    return {str(s.provenance.get("loss")) for s in grid.spectra[grid.known]}


def _linear(grid: Grid) -> bool:
    """Whether all that is known is one block which the loss alone follows: a linear model has no width."""
    used = grid.known & blocks(grid)[:, None]
    return bool(used.any(axis=1).sum() == 1 and grid.psd[used].all())

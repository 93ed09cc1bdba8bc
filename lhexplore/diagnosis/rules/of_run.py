"""Readings of a run as a whole: sums and largest values over its layers, placed in the grid's last row."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .chain import Chain
from .grid import Grid, Numbers

Row = Float[ndarray, " snapshots"]


def blocks(grid: Grid) -> Bool[ndarray, " layers"]:
    """Which rows stand for the run: layers known at every snapshot at which any is, so that sums compare.

    Else the layer that is known most often, of several the first by name; the whole network where no layer is known.
    """
    layers = grid.known & grid.layer_rows
    if not layers.any():
        return ~grid.layer_rows[:, 0]
    counts = layers.sum(axis=1)
    always = counts == layers.any(axis=0).sum()
    if always.any():
        return np.asarray(always)
    often = min(np.flatnonzero(counts == counts.max()).tolist(), key=lambda i: str(grid.layers[i]))
    return np.asarray(np.arange(len(counts)) == often)


def total(grid: Grid, values: Numbers) -> Row:
    """Sum over the blocks; NaN where they are not known."""
    return np.asarray(values[blocks(grid)].sum(axis=0))


def steepest(grid: Grid) -> Row:
    """Largest λmax of the blocks; NaN where they are not known."""
    return np.asarray(grid.largest[blocks(grid)].max(axis=0))


def row(grid: Grid, numbers: Row) -> Numbers:
    """Numbers of the run in the grid's last row, NaN elsewhere."""
    values = np.full(grid.shape, np.nan)
    values[-1] = numbers
    return values


def run_chain(grid: Grid, judged: Bool[ndarray, " snapshots"]) -> Chain:
    """The run through the snapshots at which it can be judged, however its single spectra were made."""
    cells = np.zeros(grid.shape, bool)
    cells[-1] = judged
    return Chain(cells, np.zeros(grid.shape, int))

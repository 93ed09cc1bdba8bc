"""The trace of a run beside that of a reference run where both had the same training loss."""

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .grid import Grid
from .of_run import Row, blocks, total


def excess(grid: Grid, reference: Grid) -> Row:
    """Largest ratio so far of the traces of all layers at equal training loss; NaN where nothing compares.

    Ratios count from where the loss has fallen to a share (``Thresholds.learning``) of its largest: before, both runs
    are still near their random start. The reference is interpolated in log loss and log trace, on the snapshots at
    which its loss was lowest so far; where this run's loss is lower than any of them, its last one is taken as long
    as the losses differ by no more than ``Thresholds.comparable``. A loss higher than any of them compares with
    nothing: traces are larger there, and the reference's are not known.
    """
    loss, trace = grid.train_loss, total(grid, grid.trace)
    ratio = np.full(len(grid.labels), np.nan)
    if _kinds(grid) != _kinds(reference):
        return ratio
    theirs = _descent(reference)
    if len(theirs) < 2:
        return ratio
    lowest, highest = theirs[[0, -1], 0]
    usable = (
        (loss <= grid.limits.learning * np.fmax.accumulate(loss))
        & (loss >= lowest / grid.limits.comparable)
        & (loss <= highest)
        & (loss > 0)
        & (trace > 0)
    )
    at = np.exp(np.interp(np.log(loss[usable]), np.log(theirs[:, 0]), np.log(theirs[:, 1])))
    ratio[usable] = trace[usable] / at
    return np.asarray(np.where(np.isnan(trace), np.nan, np.fmax.accumulate(ratio)))


def differently_measured(grid: Grid, reference: Grid) -> str:
    """Say in what the losses or modes of both runs differ, as far as their spectra tell; empty where they do not."""
    for key in ("loss", "mode", "loss_digest"):
        mine, theirs = _said(grid, key), _said(reference, key)
        if None not in (mine, theirs) and mine != theirs:
            if key == "loss_digest":
                return f"their losses, {_said(grid, 'loss')}, differ in settings"
            return f"this one has {key} {mine!r}, the reference run {theirs!r}"
    return ""


def _said(grid: Grid, key: str) -> Any:
    """What the provenance of a run's spectra says, alike in all that say it."""
    return next((said for s in grid.spectra[grid.known] if (said := s.provenance.get(key))), None)


def _descent(reference: Grid) -> Float[ndarray, "points 2"]:
    """Loss and trace of the snapshots with a loss below all before them, in ascending order of the loss."""
    loss, trace = reference.train_loss, total(reference, reference.trace)
    before = np.fmin.accumulate(np.append(np.inf, loss[:-1]))
    keep = (loss < before) & (loss > 0) & (trace > 0)
    return np.asarray(np.column_stack([loss[keep], trace[keep]])[::-1])


def _kinds(grid: Grid) -> dict[str | None, set[tuple[int, bool]]]:
    """The blocks a trace is summed over, with their sizes and whether they are exact."""
    return {
        name: {(s.size, s.exact) for s in spectra if s is not None}
        for name, spectra, used in zip(grid.layers, grid.spectra, blocks(grid), strict=True)
        if used
    }

"""D2: the training data are fitted and the curvature has not fallen as it does where there is something to learn."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from .grid import Grid, Numbers
from .losses import TRAIN, TRAIN_ACCURACY
from .sign import Sign, Silence


def memorisation(grid: Grid) -> Iterator[Sign | Silence]:
    """Traces against those of a reference run where it was fitted as well, or an alarm of the trace monitor."""
    fit = fitted(grid)
    if fit is None:
        yield Silence("D2", "no fit")
        return
    if grid.course.reference is None and not grid.alarms:
        yield Silence("D2", "no reference")
        return
    if grid.course.reference is not None:
        yield from _against_reference(grid, fit)
    if grid.alarms:
        yield from _alarmed(grid, fit)


def fitted(grid: Grid) -> Bool[ndarray, " snapshots"] | None:
    """At which snapshots the training data count as fitted: by accuracy where it is known, else by loss."""
    accuracy, loss = grid.recorded(TRAIN_ACCURACY), grid.train_loss
    if np.isnan(accuracy).all() and np.isnan(loss).all():
        return None
    return np.where(np.isnan(accuracy), loss <= grid.small_loss, accuracy >= grid.limits.accuracy)


def _against_reference(grid: Grid, fit: Bool[ndarray, " snapshots"]) -> Iterator[Sign | Silence]:
    ratio = _to_reference(grid)
    if np.isnan(ratio).all():
        yield Silence("D2", "other reference")
        return
    chain = grid.chain(~np.isnan(ratio))
    yield Sign(
        "D2",
        "memorisation",
        "warning",
        fires=chain.settled((ratio >= grid.limits.reference) & fit, grid.limits.window),
        value=ratio,
        threshold=grid.limits.reference,
        chain=chain,
        eigenvalue=grid.largest,
        reach=grid.limits.window,
        together=True,
    )


def _to_reference(grid: Grid) -> Numbers:
    """Traces over those of the same blocks in the reference run, at its snapshot of most similar fit."""
    course = grid.course.reference
    ratio = np.full(grid.shape, np.nan)
    if course is None:
        return ratio
    reference = Grid(course, grid.limits, {})
    same = _most_similar(grid, reference)
    rows = {name: i for i, name in enumerate(reference.layers)}
    for i, t in np.argwhere(grid.known).tolist():
        theirs = reference.spectra[rows[grid.layers[i]], same[t]] if grid.layers[i] in rows and same[t] >= 0 else None
        mine = grid.spectra[i, t]
        if theirs is not None and (theirs.exact, theirs.size) == (mine.exact, mine.size) and theirs.trace > 0:
            ratio[i, t] = mine.trace / theirs.trace
    return ratio


def _most_similar(grid: Grid, reference: Grid) -> list[int]:
    """For every snapshot the reference's of nearest training loss, else of nearest accuracy; −1 where none is near."""
    with np.errstate(invalid="ignore", divide="ignore"):
        losses = np.abs(np.log(grid.recorded(TRAIN)[:, None] / reference.recorded(TRAIN)))
    accuracies = np.abs(grid.recorded(TRAIN_ACCURACY)[:, None] - reference.recorded(TRAIN_ACCURACY))
    by_loss = _nearest(losses, float(np.log(grid.limits.comparable)))
    by_accuracy = _nearest(accuracies, grid.limits.comparable_accuracy)
    return [a if a >= 0 else b for a, b in zip(by_loss, by_accuracy, strict=True)]


def _nearest(distances: Float[ndarray, "mine theirs"], most: float) -> list[int]:
    known = np.where(np.isnan(distances), np.inf, distances)
    return [int(row.argmin()) if row.min() <= most else -1 for row in known]


def _alarmed(grid: Grid, fit: Bool[ndarray, " snapshots"]) -> Iterator[Sign | Silence]:
    """From a layer's alarm on, at every fitted snapshot."""
    steps = np.array([grid.course.steps.get(label, np.nan) for label in grid.labels], float)
    if np.isnan(steps).all():
        yield Silence("D2", "no steps")
        return
    first = np.array([[grid.alarms.get(name, np.inf) if name is not None else np.inf] for name in grid.layers])
    yield Sign(
        "D2",
        "memorisation, alarm",
        "warning",
        fires=grid.known & (steps >= first) & fit,
        value=np.broadcast_to(first, grid.shape),
        threshold=0.0,
        chain=grid.chain(),
        facts=lambda i, _t: {"step": int(first[i, 0])},
        eigenvalue=grid.largest,
        together=True,
    )

"""D2: the training data are fitted, and curvature or held-out loss say that it was by heart."""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ..losses import HELD_OUT, TRAIN_ACCURACY
from .against_reference import differently_measured, excess
from .grid import Grid
from .of_run import Row, row, run_chain, total
from .sign import Sign, Silence


def memorisation(grid: Grid) -> Iterator[Sign | Silence]:
    """Three witnesses: a reference run, the run's own held-out loss and trace, the trace monitor.

    A held-out loss below that of the first snapshot contradicts the latter two: something was learnt that holds
    elsewhere. A clean run of the same network at the same training loss is a witness that needs no other.
    """
    fit = fitted(grid)
    if fit is None:
        yield Silence("D2", "no fit")
        return
    rise = held_out_rise(grid)
    nothing_general = fit & ~(rise < 1)
    said = [
        _against_reference(grid, fit),
        _against_start(grid, nothing_general, rise),
        _alarmed(grid, nothing_general),
    ]
    yield from (sign for sign in said if isinstance(sign, Sign))
    silent = [item for item in said if isinstance(item, Silence)]
    if grid.course.reference is not None and isinstance(said[0], Silence):
        yield said[0]  # it was given to be compared with, and cannot be
    elif len(silent) == len(said):
        yield silent[-1]
    elif elsewhere := _elsewhere(grid):
        yield elsewhere


def fitted(grid: Grid) -> Bool[ndarray, " snapshots"] | None:
    """At which snapshots the training data count as fitted: by accuracy where it is known, else by loss."""
    accuracy, loss = grid.recorded(TRAIN_ACCURACY), grid.train_loss
    if np.isnan(accuracy).all() and np.isnan(loss).all():
        return None
    return np.where(np.isnan(accuracy), loss <= grid.small_loss, accuracy >= grid.limits.accuracy)


def held_out_rise(grid: Grid) -> Row:
    """Held-out loss over that of the first snapshot; NaN where one of the two is not known.

    A later one does not stand for the first: the lowest of a run that overfits would make memorising of it.
    """
    held_out = grid.recorded(HELD_OUT)
    first, later = held_out[0], held_out[1:]
    rise = np.full(len(held_out), np.nan)
    if 0 < first < np.inf:
        rise[1:] = np.where(later > 0, later / first, np.nan)
    return rise


def _against_reference(grid: Grid, fires: Bool[ndarray, " snapshots"]) -> Sign | Silence:
    if grid.course.reference is None:
        return Silence("D2", "no witness")
    reference = Grid(grid.course.reference, grid.limits, {})
    if not reference.known.any():
        return Silence("D2", "no reference spectra")
    if what := differently_measured(grid, reference):
        return Silence("D2", "reference measured otherwise", {"what": what})
    ratio = excess(grid, reference)
    if np.isnan(ratio).all():
        return Silence("D2", "other reference")
    return _sign(grid, "memorisation", fires, ratio, grid.limits.reference)


def _against_start(grid: Grid, fires: Bool[ndarray, " snapshots"], rise: Row) -> Sign | Silence:
    trace = total(grid, grid.trace)
    own = trace / np.fmax.accumulate(trace)
    if np.isnan(rise).all() or np.isnan(own).all():
        return Silence("D2", "no held-out loss")
    kept = own >= grid.limits.kept
    return _sign(grid, "memorisation, held-out", fires & kept, rise, grid.limits.worse, {"own": own})


def _alarmed(grid: Grid, fires: Bool[ndarray, " snapshots"]) -> Sign | Silence:
    """From the first alarm of a layer on."""
    if not grid.alarms:
        return Silence("D2", "no witness")
    steps = np.array([grid.course.steps.get(label, np.nan) for label in grid.labels], float)
    if np.isnan(steps).all():
        return Silence("D2", "no steps")
    elsewhere = _elsewhere(grid)
    if elsewhere and not grid.alarms.keys() & set(grid.layers):
        return elsewhere
    first = np.array([[grid.alarms.get(name, np.inf) if name is not None else np.inf] for name in grid.layers])
    return Sign(
        "D2",
        "memorisation, alarm",
        "warning",
        fires=grid.known & (steps >= first) & fires,
        value=np.broadcast_to(first, grid.shape),
        threshold=0.0,
        chain=grid.chain(),
        facts=lambda i, _t: {"step": int(first[i, 0])},
        eigenvalue=grid.largest,
        together=True,
    )


def _elsewhere(grid: Grid) -> Silence | None:
    """Alarms of layers that there are no spectra of have no place."""
    layers = sorted(grid.alarms.keys() - set(grid.layers))
    return Silence("D2", "alarm elsewhere", {"layers": ", ".join(map(repr, layers))}) if layers else None


def _sign(
    grid: Grid,
    wording: str,
    where: Bool[ndarray, " snapshots"],
    value: Row,
    threshold: float,
    more: dict[str, Float[ndarray, " snapshots"]] | None = None,
) -> Sign:
    return Sign(
        "D2",
        wording,
        "warning",
        fires=row(grid, np.where(where, value, np.nan)) >= threshold,
        value=row(grid, value),
        threshold=threshold,
        chain=run_chain(grid, ~np.isnan(value)),
        facts=lambda _i, t: {name: numbers[t] for name, numbers in (more or {}).items()},
        looked_back=len(grid.labels),
    )

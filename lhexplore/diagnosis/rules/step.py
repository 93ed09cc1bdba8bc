"""D8: the step size against the curvature, for plain gradient descent."""

from collections.abc import Iterator

import numpy as np

from ..losses import RATE
from .grid import Grid
from .sign import Sign, Silence

_PLAIN = ("sgd", "gd", "gradient descent")
_MOMENTUM = ("momentum", "beta", "beta1", "betas")


def edge_of_stability(grid: Grid) -> Iterator[Sign | Silence]:
    """Learning rate × λmax of the whole network; the largest layer's is a lower bound of it."""
    rate = grid.recorded(RATE)
    if np.isnan(rate).all():
        yield Silence("D8", "no rate")
        return
    if other := _not_plain(grid):
        yield Silence("D8", "not plain", {"what": other})
        return
    whole = grid.largest[-1]
    bound = np.fmax.reduce(grid.largest, axis=0)
    exact = ~np.isnan(whole)
    value = np.full(grid.shape, np.nan)
    value[-1] = rate * np.where(exact, whole, bound)
    largest = np.full(grid.shape, np.nan)
    largest[-1] = np.where(exact, whole, np.nan)
    chain = grid.chain(~np.isnan(value))
    yield Sign(
        "D8",
        "edge",
        "note",
        fires=chain.settled(value >= grid.limits.edge, grid.limits.window),
        value=value,
        threshold=grid.limits.edge,
        chain=chain,
        facts=lambda _i, t: {
            "rate": rate[t],
            "bound": "" if exact[t] else "at least ",
            "source": "of the whole network" if exact[t] else "of the steepest layer known, which bounds it from below",
        },
        eigenvalue=largest,
        reach=grid.limits.window,
    )


def _not_plain(grid: Grid) -> str:
    """What was recorded that makes it another optimiser than plain gradient descent; empty where nothing was."""
    for row in grid.course.losses.values():
        for name in _MOMENTUM:
            if row.get(name):
                return f"{name} = {row[name]}"
        clips = [name for name, value in row.items() if "clip" in name and value]
        if clips:
            return f"{clips[0]} = {row[clips[0]]}"
        optimiser = row.get("optimizer", row.get("optimiser"))
        if optimiser is not None and str(optimiser).lower() not in _PLAIN:
            return f"the optimiser {optimiser}"
    return ""

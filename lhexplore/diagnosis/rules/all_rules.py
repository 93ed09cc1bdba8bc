"""Rules on a whole run: a layer against its own past or against the other layers, never against an absolute level.

None of them is taken from a paper; limits and evidence are lhexplore's own. Every rule takes the grid and yields signs
(where it fires, with which numbers) and silences (why it could not judge). Rules about memorised labels, bottlenecks,
dead layers and the step size have files of their own.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .collapse import collapsed
from .facts import FACTS
from .grid import Grid
from .idle import underused
from .memorised import memorisation
from .narrow import bottleneck
from .overfit import overfit
from .sign import Sign, Silence
from .step import edge_of_stability
from .type_ import hesd_type

Rule = Callable[[Grid], Iterator[Sign | Silence]]


def ill_conditioned(grid: Grid) -> Iterator[Sign | Silence]:
    """D5: percentile condition or peakedness far above that of the other layers."""
    limit, window = grid.limits.condition, grid.limits.window
    chain = grid.chain(grid.among_others)
    if not chain.length:
        yield Silence("D5", "few layers", {"others": grid.limits.others})
        return
    own = [grid.metric(name) for name in ("condition_50", "peakedness")]
    ratios = [np.where(np.isfinite(values), grid.beside(values), np.nan) for values in own]
    by_median, by_mean = (chain.settled(ratio >= limit, window) for ratio in ratios)
    what = ("λmax over the median eigenvalue", "λmax over the mean")
    yield Sign(
        "D5",
        "ill-conditioned",
        "note",
        fires=by_median | by_mean,
        value=np.where(by_median, *ratios),
        threshold=limit,
        chain=chain,
        facts=lambda i, t: {"what": what[0 if by_median[i, t] else 1], "own": own[0 if by_median[i, t] else 1][i, t]},
        eigenvalue=grid.largest,
        reach=window,
        compared=True,
    )


def saddle_like(grid: Grid) -> Iterator[Sign | Silence]:
    """D6: clearly negative curvature that stays while the gradient vanishes; silent without gradient norms."""
    limits, chain = grid.limits, grid.chain()
    if np.isnan(grid.gradient[grid.known]).all():
        yield Silence("D6", "no gradient")
    elif chain.length < limits.window:
        yield Silence("D6", "few snapshots", {"window": limits.window, "length": chain.length})
    elif grid.psd[grid.known].all():
        yield Silence("D6", "structure")
    else:
        clear = (grid.smallest < -grid.band) & (-grid.smallest > limits.saddle * grid.largest) & ~grid.psd
        gradient = chain.own(grid.gradient)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.where(grid.largest > grid.band, -grid.smallest / grid.largest, np.inf)
        yield Sign(
            "D6",
            "saddle-like",
            "note",
            fires=chain.lasting(clear, limits.window) & (gradient <= limits.gradient),
            value=size,
            threshold=limits.saddle,
            chain=chain,
            facts=lambda i, t: {"smallest": grid.smallest[i, t], "gradient": gradient[i, t]},
            eigenvalue=grid.smallest,
            reach=limits.window,
        )


RULES: tuple[Rule, ...] = (
    overfit,
    memorisation,
    bottleneck,
    underused,
    ill_conditioned,
    saddle_like,
    collapsed,
    edge_of_stability,
    hesd_type,
    *FACTS,
)
FOLLOW = ("D6",)  # rules that follow a layer's numbers through time

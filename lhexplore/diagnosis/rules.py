"""Rules on a whole run: a layer against its own past or against the other layers, never against an absolute level.

None of them is taken from a paper; limits and evidence are lhexplore's own. Every rule takes the grid and yields signs
(where it fires, with which numbers) and silences (why it could not judge). Rules about memorised labels, bottlenecks,
dead layers and the step size have files of their own.
"""

from collections.abc import Callable, Iterator

import numpy as np

from .facts import FACTS
from .grid import Grid
from .losses import HELD_OUT
from .quasi_singular import has_collapsed
from .rule_bottleneck import bottleneck
from .rule_memorisation import memorisation
from .rule_step import edge_of_stability
from .rule_type import hesd_type
from .rule_underused import underused
from .sign import Sign, Silence

Rule = Callable[[Grid], Iterator[Sign | Silence]]


def overfit(grid: Grid) -> Iterator[Sign | Silence]:
    """D1: training loss, trace and negative share fall while the held-out loss rises."""
    window, chain = grid.limits.window, grid.chain()
    train, held_out = grid.train_loss, grid.recorded(HELD_OUT)
    if np.isnan(train).all():
        yield Silence("D1", "no loss")
    elif np.isnan(held_out).all():
        yield Silence("D1", "no held-out loss")
    elif chain.length < window:
        yield Silence("D1", "few snapshots", {"window": window, "length": chain.length})
    else:
        train, held_out = np.broadcast_to(train, grid.shape), np.broadcast_to(held_out, grid.shape)
        falls = (train < chain.back(train)) & (train > 0) & (grid.trace < chain.back(grid.trace)) & (grid.trace > 0)
        step = falls & (held_out > chain.back(held_out)) & (chain.back(held_out) > 0)
        may_fire = chain.lasting(step, window - 1)
        reached = np.zeros(grid.shape, bool)
        for i, t in np.argwhere(may_fire).tolist():
            reached[i, chain.columns(i, t, window)] = True
        negative = grid.metric("negative_fraction", reached)
        step &= ~(negative > chain.back(negative))
        rise, fall, own = (
            held_out / chain.back(held_out, window - 1),
            train / chain.back(train, window - 1),
            chain.own(grid.trace),
        )
        yield Sign(
            "D1",
            "overfit",
            "warning",
            fires=chain.lasting(step, window - 1),
            value=rise,
            threshold=1.0,
            chain=chain,
            facts=lambda i, t: {"train": fall[i, t], "held_out": rise[i, t], "trace": own[i, t]},
            reach=window,
            together=True,
        )


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


def collapsed(grid: Grid) -> Iterator[Sign | Silence]:
    """D7: the quasi-singular flag."""
    limit, chain = grid.limits.collapse, grid.chain()
    judged = (grid.largest > grid.band) & ~grid.flat
    own = np.where(judged & ~np.isnan(chain.back(grid.largest)), chain.own(grid.largest), np.nan)
    gap = np.where(judged, grid.largest / grid.held_out, np.nan)
    loss = np.broadcast_to(grid.train_loss, grid.shape)
    if np.isnan(gap).all() and (np.isnan(own) | np.isnan(loss)).all():
        yield Silence("D7", "no collapse")
        return
    by_own, by_gap = has_collapsed(own, gap, loss, small_loss=grid.small_loss, limit=limit)
    yield Sign(
        "D7",
        "quasi-singular",
        "warning",
        fires=by_own | by_gap,
        value=np.where(by_gap, gap, own),
        threshold=limit,
        chain=chain,
        facts=lambda i, t: {"reference": "λmax on held-out data" if by_gap[i, t] else "its largest value so far"},
        eigenvalue=grid.largest,
        looked_back=len(grid.labels),
        together=True,
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
FOLLOW = ("D1", "D6", "D7")  # rules that follow a layer's numbers through time

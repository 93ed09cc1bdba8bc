"""D4: a layer that uses few of its directions, is next to flat beside the others, or has no curvature at all."""

from collections.abc import Iterator

import numpy as np

from ...spectrum import Spectrum
from ..measure import recorded_count
from .findings import Level
from .grid import Grid, Mask
from .sign import Sign, Silence

_CAP = 2.0  # times the limit on the layer's directions: the limit on those that the frozen data can show


def underused(grid: Grid) -> Iterator[Sign | Silence]:
    """Numerical rank of the layer's size and of what the frozen data allow; mean |λ| of the most curved layer's."""
    yield from _zero(grid)
    limits, window = grid.limits, grid.limits.window
    chain = grid.chain(grid.known & grid.layer_rows & ~grid.flat)
    share = grid.metric("rank_ratio", chain.judged)
    possible = share / grid.of(_possible_share, chain.judged)
    yield Sign(
        "D4",
        "low rank",
        "warning",
        fires=chain.settled((share <= limits.low) & (possible <= _CAP * limits.low), window),
        value=share,
        threshold=limits.low,
        chain=chain,
        facts=lambda i, t: {"possible": possible[i, t]},
        eigenvalue=np.zeros(grid.shape),
        reach=window,
    )
    beside = grid.chain(grid.among_others & ~grid.flat)
    if not beside.length:
        yield Silence("D4", "few layers", {"others": limits.others})
        return
    size = grid.of(lambda s: float(np.abs(s.nodes) @ s.weights), beside.judged)
    faint = size / np.fmax.reduce(size, axis=0)
    yield Sign(
        "D4",
        "faint",
        "warning",
        fires=beside.judged & (faint <= limits.faint),
        value=faint,
        threshold=limits.faint,
        chain=beside,
        eigenvalue=grid.largest,
        compared=True,
    )


def _zero(grid: Grid) -> Iterator[Sign]:
    """No curvature; a gradient like that of the other layers makes the warning a note."""
    degenerate = grid.of(lambda s: float(s.functional == "sum")) == 1  # there a zero block is no sign
    chain = grid.chain()
    zero = chain.settled(grid.flat & ~degenerate, grid.limits.window)
    alive = _alive(grid)
    cases: tuple[tuple[str, Level, Mask], ...] = (
        ("no curvature", "warning", ~alive),
        ("no curvature, alive", "note", alive),
    )
    for wording, level, where in cases:
        yield Sign(
            "D4",
            wording,
            level,
            fires=zero & where,
            value=grid.magnitude,
            threshold=0.0,
            chain=chain,
            eigenvalue=np.zeros(grid.shape),
            reach=grid.limits.window,
        )


def _alive(grid: Grid) -> Mask:
    """Where the gradient per root of a parameter is not far below that of the other layers."""
    sizes = grid.of(lambda s: float(s.size))
    return np.asarray(grid.beside(grid.gradient / np.sqrt(sizes)) > grid.limits.alive)


def _possible_share(s: Spectrum) -> float:
    """The largest rank the frozen data allow, per parameter: examples × (outputs − 1) of a softmax, where recorded."""
    examples, outputs = recorded_count(s, "examples"), recorded_count(s, "outputs")
    if examples and outputs:
        return float(min(1.0, examples * max(1, outputs - 1) / s.size))
    return 1.0

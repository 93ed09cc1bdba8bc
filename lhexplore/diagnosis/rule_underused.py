"""D4: a layer whose rank is far below that of the other layers, or that has no curvature at all."""

from collections.abc import Iterator

import numpy as np

from ..spectrum import Spectrum
from .findings import Level
from .grid import Grid, Mask
from .measure import recorded_count
from .sign import Sign, Silence


def underused(grid: Grid) -> Iterator[Sign | Silence]:
    """Rank or effective rank, each as a share of what the frozen data allow, against the other layers.

    A gradient like that of the other layers contradicts: where it is known, the warning becomes a note.
    """
    limit, window = grid.limits.low, grid.limits.window
    alive = _alive(grid)
    degenerate = grid.of(lambda s: float(s.functional == "sum")) == 1  # there a zero block is no sign
    everywhere = grid.chain()
    zero = everywhere.settled(grid.flat & ~degenerate, window)
    for wording, level, where in _gradient_says("no curvature", alive):
        yield Sign(
            "D4",
            wording,
            level,
            fires=zero & where,
            value=grid.magnitude,
            threshold=0.0,
            chain=everywhere,
            eigenvalue=np.zeros(grid.shape),
            reach=window,
        )
    chain = grid.chain(grid.among_others & ~grid.flat)
    if not chain.length:
        yield Silence("D4", "few layers", {"others": grid.limits.others})
        return
    possible = grid.of(_possible_rank)
    shares = [grid.metric(n) / possible for n in ("numerical_rank", "effective_rank")]
    ratios = [grid.beside(np.where(grid.flat, np.nan, share)) for share in shares]
    by_rank, by_effective = (chain.settled(ratio <= limit, window) for ratio in ratios)
    what = ("The numerical rank", "The effective rank")
    for wording, level, where in _gradient_says("underused", alive):
        yield Sign(
            "D4",
            wording,
            level,
            fires=(by_rank | by_effective) & where,
            value=np.where(by_rank, *ratios),
            threshold=limit,
            chain=chain,
            facts=lambda i, t: {
                "what": what[0 if by_rank[i, t] else 1],
                "share": shares[0 if by_rank[i, t] else 1][i, t],
            },
            eigenvalue=np.zeros(grid.shape),
            reach=window,
            compared=True,
        )


def _gradient_says(wording: str, alive: Mask) -> tuple[tuple[str, Level, Mask], ...]:
    return (wording, "warning", ~alive), (f"{wording}, alive", "note", alive)


def _alive(grid: Grid) -> Mask:
    """Where the gradient per root of a parameter is not far below that of the other layers."""
    sizes = grid.of(lambda s: float(s.size))
    return np.asarray(grid.beside(grid.gradient / np.sqrt(sizes)) > grid.limits.alive)


def _possible_rank(s: Spectrum) -> float:
    """The largest rank the frozen data allow: examples × (outputs − 1) of a softmax, where both are recorded."""
    examples, outputs = recorded_count(s, "examples"), recorded_count(s, "outputs")
    if examples and outputs:
        return float(min(s.size, examples * max(1, outputs - 1)))
    return float(s.size)

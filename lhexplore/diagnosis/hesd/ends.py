"""How far the true ends of a spectrum may lie beyond the outermost Ritz values.

A residual says that *some* eigenvalue is near; after few steps that may be an inner one, while the outermost was not
seen yet. What bounds the outermost one is the run's own polynomial. After k steps χ(H)v = β₁⋯β_k v_{k+1} with
χ(x) = Π(x − θ_j) (Parlett, The Symmetric Eigenvalue Problem, chapter 13), so that an eigenvalue λ with unit eigenvector
u obeys |uᵀv| · |χ(λ)| ≤ β₁⋯β_k: one far outside, where χ is huge, can hide only if the start vector hardly contains it.
The right-hand side is known at an end θ as r √w · Π|θ − θ_j|, with its residual r and weight w.

How little of u a random start may contain is a statement about chance: √size · uᵀv is all but normal for random signs,
unless u lives on very few parameters. Of a u that takes two parameters in equal parts, every second vector of
random signs contains nothing: one start vector misses it half of the time, five in 3 %. Below five the types say so.
The bound is lhexplore's.
"""

import math
from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np

from ...spectrum import Spectrum
from ..measure import Probe, by_probe

ROUND_OFF = 10 * float(np.finfo(np.float64).eps)  # of one extreme eigenvalue of a float64 decomposition, relative
MISSED = 0.02  # chance that every start vector hides the same end: two ends leave 96 %
CONVERGED = 1e-9  # of the end: a bound this near needs no refinement
REFINEMENTS = 6  # of a bound that holds after each of them; a seventh changes it by less than a hundredth (measured)


def outermost(probes: Sequence[Probe], *, size: int) -> tuple[float, float]:
    """Return how low the smallest and how high the largest eigenvalue may be, each with a chance of 1 − ``MISSED``.

    Of every probe the bound is one that it breaks with a chance of ``MISSED`` to the power 1/probes; the starts are
    independent, so all of them break theirs, and with it the outermost bound, with a chance of ``MISSED``.
    """
    mirrored = [Probe(-p.nodes[::-1], p.weights[::-1], p.residuals[::-1]) for p in probes]
    least = _least_share(len(probes), size)
    return -max(_above(mirrored, least=least)), max(_above(probes, least=least))


def largest_between(spectrum: Spectrum) -> tuple[float, float]:
    """Return between which values the largest eigenvalue lies: up to rounding of an exact spectrum, else see above."""
    if spectrum.exact:
        return spectrum.largest - spectrum.error, spectrum.largest + spectrum.error
    _, high = outermost(list(by_probe(spectrum)), size=spectrum.size)
    round_off = spectrum.magnitude * max(spectrum.symmetry_defect, ROUND_OFF)
    return spectrum.largest - round_off, high + round_off


@cache
def _least_share(probes: int, size: int) -> float:
    """What |uᵀv| stays below in all of the probes with a chance of ``MISSED``."""
    return NormalDist().inv_cdf((1 + MISSED ** (1 / probes)) / 2) / math.sqrt(size)


def _above(probes: Sequence[Probe], *, least: float) -> list[float]:
    """Solve δ · Π(1 + δ/g_j) = r √w / least for the way δ beyond the last node, g_j the gaps from it to the others.

    In the logarithm of δ the left side is convex and rises, so every Newton step from the right stays on the right.
    A node left out makes δ larger. Exact zeros are left out: they may have been known without a step.
    """
    ends = np.zeros(len(probes))
    rates = np.zeros((len(probes), max(len(p.nodes) for p in probes)))  # 1/g; 0 for a node that is left out
    right = np.zeros(len(probes))
    for i, p in enumerate(probes):
        seen = np.flatnonzero(p.nodes)
        if not len(seen):
            continue
        last = seen[-1]
        ends[i] = p.nodes[last]
        right[i] = p.residuals[last] * math.sqrt(p.weights[last]) / least
        gaps = ends[i] - p.nodes[seen[:-1]]
        rates[i, : len(seen) - 1] = np.divide(1, gaps, out=np.zeros_like(gaps), where=gaps > 0)
    open_ = right > CONVERGED * np.abs(ends)
    if open_.any():
        logs, rates, goal = np.log(right[open_]), rates[open_], np.log(right[open_])
        for _ in range(REFINEMENTS):
            ratios = np.exp(logs)[:, None] * rates
            logs = logs - (logs + np.log1p(ratios).sum(axis=1) - goal) / (1 + (ratios / (1 + ratios)).sum(axis=1))
        right[open_] = np.exp(logs)
    return [max(float(p.nodes[-1]), float(end + way)) for p, end, way in zip(probes, ends, right, strict=True)]

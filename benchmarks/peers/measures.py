"""What two results are compared by: pure functions of numbers, without torch."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import wasserstein_distance


def distance(nodes: ArrayLike, weights: ArrayLike, exact: ArrayLike) -> float:
    """Wasserstein-1 between an estimate and all exact eigenvalues, in units of the exact spectrum's range."""
    values = np.asarray(exact, dtype=float)
    width = float(np.ptp(values)) or float(np.abs(values).max()) or 1.0
    return float(wasserstein_distance(np.asarray(nodes, float), values, np.asarray(weights, float))) / width


def largest_error(nodes: ArrayLike, exact: ArrayLike) -> float:
    """Error of the largest eigenvalue, relative to the largest absolute one."""
    values = np.asarray(exact, dtype=float)
    return abs(float(np.max(nodes)) - float(values.max())) / (float(np.abs(values).max()) or 1.0)


def invented(nodes: ArrayLike, exact: ArrayLike) -> float:
    """How far below the smallest exact eigenvalue the smallest node lies, relative to the largest absolute one."""
    values = np.asarray(exact, dtype=float)
    return max(0.0, float(values.min()) - float(np.min(nodes))) / (float(np.abs(values).max()) or 1.0)


def trace_error(value: float, exact: ArrayLike) -> float:
    """Error of a trace, relative to the sum of absolute eigenvalues: traces of smooth networks may cancel."""
    values = np.asarray(exact, dtype=float)
    return abs(value - float(values.sum())) / (float(np.abs(values).sum()) or 1.0)


def top_errors(found: Sequence[float], exact: Sequence[float]) -> list[float]:
    """Relative errors of the values of largest magnitude, both sorted; a value listed twice shifts all that follow."""
    both = zip(*(sorted(values, key=abs, reverse=True) for values in (found, exact)), strict=False)
    return [abs(value - true) / abs(true) for value, true in both]


def extrapolated(setup: float, sampled: float, *, sample: int, full: int) -> float:
    """Seconds of ``full`` products when ``sample`` of them took ``sampled`` after a set-up that is paid once."""
    if not 0 < sample <= full:
        raise ValueError(f"A sample of {sample} products cannot stand for {full}.")
    return setup + sampled * full / sample


def human(seconds: float) -> str:
    """Two digits and a unit: "0.42 s", "12 s", "3.4 min", "5.1 h"."""
    for unit, size in (("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size * (1 if unit == "s" else 2):
            return f"{seconds / size:.3g} {unit}" if seconds / size >= 10 else f"{seconds / size:.2g} {unit}"
    return f"{1e3 * seconds:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"


def columns(rows: Sequence[Sequence[str]], *, gap: int = 2) -> str:
    """A table with the first column to the left and the others to the right; one line per row."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append((" " * gap).join(cells).rstrip())
    return "\n".join(lines)

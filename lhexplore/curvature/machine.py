"""How fast this machine is: measured once per process on small matrices, in about a tenth of a second."""

import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch

from .costs import Rates

MATRIX = 512  # of the matrix products and the larger eigenvalue problem
SMALL = 128  # of the smaller one
LONG = 4 * 2**20  # numbers that are read from memory: more than caches hold
REPEATS = 3
CALLS = 50


def machine_rates(device: torch.device, dtype: torch.dtype) -> Rates:
    """Measure the speed of matrix products, memory and single calls on ``device`` in ``dtype``, and of eigenvalues.

    Eigenvalues are measured in float64 on the CPU, where they are computed. The best of a few tries counts. What was
    measured with as many threads is remembered.
    """
    return _measured(device, dtype, torch.get_num_threads())


@cache
def _measured(device: torch.device, dtype: torch.dtype, threads: int) -> Rates:
    del threads  # only a part of the key
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        square = torch.randn(MATRIX, MATRIX, generator=generator, dtype=torch.float64)
        symmetric = square + square.T
        matrix = square.to(device=device, dtype=dtype)
        long, one = torch.ones(LONG, dtype=dtype, device=device), torch.ones(1)
        small = _best(lambda: torch.linalg.eigvalsh(symmetric[:SMALL, :SMALL]), torch.device("cpu"))
        large = _best(lambda: torch.linalg.eigvalsh(symmetric), torch.device("cpu"))
        return Rates(
            flops=2 * MATRIX**3 / _best(lambda: matrix @ matrix, device),
            bandwidth=LONG * long.element_size() / _best(lambda: torch.dot(long, long), device),
            call=_best(lambda: [one + one for _ in range(CALLS)], torch.device("cpu")) / CALLS,
            **_powers(small, large),
        )


def _powers(small: float, large: float) -> dict[str, float]:
    """The two unknowns of a n² + b n³ from two sizes; neither is negative."""
    growth = MATRIX / SMALL
    cube = max(large - growth**2 * small, 0.0) / (MATRIX**3 - growth**2 * SMALL**3)
    return {"square": max(small - cube * SMALL**3, 0.0) / SMALL**2, "cube": cube or large / MATRIX**3}


def _best(work: Callable[[], Any], device: torch.device) -> float:
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - began)
    return min(times)


def synchronise(device: torch.device) -> None:
    """Wait until all that was started on ``device`` is done; nothing to wait for on a CPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()

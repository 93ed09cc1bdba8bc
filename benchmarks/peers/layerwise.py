"""Run a tool over many layers within a budget: cheap layers in full, of the others a few products, the rest computed.

Peers need up to hours for all layers of a network. Per layer, the set-up and a few products are timed; where the whole
work fits into what is left of the budget, it is done, else its time is what the set-up and that many products take.
Nothing but products is scaled up, so what is computed this way is rather too kind to the tool.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from measures import extrapolated

SAMPLES = (2, 8)  # products; the larger sample where the smaller one took no time
QUICK = 0.1  # seconds


@dataclass(frozen=True)
class Run:
    """Results of the layers that were run in full, and the cost of all of them."""

    results: dict[str, Any]
    seconds: float
    products: float
    measured: str


def layer_by_layer(
    layers: Sequence[str],
    *,
    start: Callable[[str], Any],
    work: Callable[[Any, int], tuple[Any, int]],
    full: Callable[[str], int],
    budget: float,
) -> Run:
    """Work through ``layers``, the last first: they are the cheap ones.

    Args:
        layers: names.
        start: sets a layer up; its time counts once.
        work: ``(what start returned, products) -> (result, products really used)``; may use fewer (a rule to stop) and
            is asked for ``full(layer)`` or for a few.
        full: products of the whole work on a layer.
        budget: seconds that may go into whole works.
    """
    results: dict[str, Any] = {}
    done: list[tuple[float, int, int]] = []  # seconds, products used, products planned
    rest: list[tuple[float, float, int, int]] = []  # set-up, seconds, products sampled, products planned
    work(start(layers[-1]), SAMPLES[0])  # the first double backward of a process takes a while
    for layer in reversed(layers):
        began = time.perf_counter()
        handle = start(layer)
        setup = time.perf_counter() - began
        planned = full(layer)
        for size in SAMPLES:
            began = time.perf_counter()
            result, used = work(handle, min(size, planned))
            sampled = time.perf_counter() - began
            if sampled > QUICK or size >= planned:
                break
        need = extrapolated(setup, sampled, sample=min(used, planned), full=planned)
        if used < planned:
            if sum(row[0] for row in done) + need > budget:
                rest.append((setup, sampled, used, planned))
                del handle, result
                continue
            began = time.perf_counter()
            result, used = work(handle, planned)
            sampled = time.perf_counter() - began
        results[layer] = result
        done.append((setup + sampled, used, planned))
        del handle
    # a rule to stop early is expected to stop as early on the layers that were not run in full
    share = statistics.fmean(used / planned for _, used, planned in done) if done else 1.0
    seconds = sum(row[0] for row in done)
    products = float(sum(row[1] for row in done))
    for setup, sampled, used, planned in rest:
        amount = max(float(used), share * planned)
        seconds += setup + sampled * amount / used
        products += amount
    measured = ""
    if rest:
        spent = sum(row[2] for row in rest)
        measured = f"{len(done)} of {len(layers)} layers in full, {spent} products of the others"
    return Run(results, seconds, products, measured)

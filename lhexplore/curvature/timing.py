"""How long a value took to compute, whoever drives the computation and however slowly."""

from collections.abc import Iterator
from dataclasses import replace
from time import perf_counter

from ..spectrum import Step
from .operators import Objective


def timed(work: Iterator[Step], replica: Objective, *, apiece: bool = False) -> Iterator[Step]:
    """Hold the guard within each step, and stamp values with the time spent computing, not waiting for the driver.

    ``apiece`` counts from one value to the next: for work that gives one value after another, not ever better ones.
    """
    seconds = 0.0
    while True:
        started = perf_counter()
        try:
            # Around the vector algebra too: with more threads than free cores it is a thousand times slower than the
            # products, and vectors made in a caller's inference mode could not be used in later steps.
            with replica.guard():
                step = next(work)
        except StopIteration:
            return
        seconds += perf_counter() - started
        if step.spectrum is not None:
            step = replace(step, spectrum=replace(step.spectrum, seconds=seconds))
            seconds = 0.0 if apiece else seconds
        yield step

"""The monitor's limit from simulation: healthy runs like those of the reference, drawn again and again.

lhexplore definition. A layer's log-trace is its mean course plus a Gaussian deviation whose neighbours are correlated
(first-order autoregressive), with the s.d. and correlation that the reference runs show. Each simulation draws as many
reference runs as there are and one run to watch, estimates mean and s.d. anew from the drawn ones, and keeps the
largest sum over all layers: so what few runs leave uncertain is in the limit. Layers are drawn independently, which is
cautious where they move together.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from numpy.random import Generator

from ...errors import SettingError, whole_number
from ..arguments import is_number
from .cusum import MonitorSettings
from .healthy import MOST_PERSISTENCE, Healthy, Reference, Run, spread

LEAST_RUNS = 3
LEAST_POINTS = 8
CHUNK = 500  # simulations at once: a few tens of MB


@dataclass(frozen=True, slots=True, repr=False)
class Calibration:
    """A limit with what it was made from, and what it costs in power.

    Attributes:
        settings: those given, with the limit ``h``.
        runs: reference runs.
        points: points of the layer that has most.
        simulations: simulated runs.
        power: share of simulated runs in which a shift of ``settings.shift`` s.d. in one layer, from a third of the run
            on, is found before its end; the mean over layers.
        delay: points until it is found, the median where it is; NaN where it never is.
    """

    settings: MonitorSettings
    runs: int
    points: int
    simulations: int
    power: float
    delay: float

    def __repr__(self) -> str:
        s = self.settings
        return (
            f"h = {s.h:.3g} s.d.: designed for any alarm in {s.false_alarms:.1%} of healthy runs, by "
            f"{self.simulations:,} runs simulated like {self.runs} reference runs of {self.points} points. A lasting "
            f"shift of {s.shift:g} s.d. in one layer is found in {self.power:.0%} of runs, half of them within "
            f"{self.delay:g} points."
        )


def calibrate(
    reference_runs: Sequence[Run],
    *,
    false_alarms: Any = 0.05,
    simulations: Any = 4000,
    seed: Any = 0,
    settings: MonitorSettings = MonitorSettings(),
) -> Calibration:
    """Find the limit that at most ``false_alarms`` of healthy runs exceed in any layer, on the sides that are watched.

    It holds for runs that are looked at no more often than the reference, and only as far as a Gaussian first-order
    series resembles real ones. Costs about a second for 20 layers of 50 points.

    Args:
        reference_runs: at least three healthy runs; eight steps with usable traces in common, in one layer at least.
        false_alarms: designed share of healthy runs with any alarm.
        simulations: simulated runs; the share that is reached varies by about √(false_alarms / simulations).
        seed: of the simulation.
        settings: shift, sides and floor; its ``h`` is replaced.

    Raises:
        SettingError: too few runs or points, or an argument that makes no sense.
        ComparisonError: runs of different layers or kinds.
    """
    if not (is_number(false_alarms) and 0 < false_alarms < 1):
        raise SettingError(f"false_alarms must be a share between 0 and 1, got {false_alarms!r}.")
    simulations, seed = whole_number("simulations", simulations, least=100), whole_number("seed", seed, least=0)
    if len(reference_runs) < LEAST_RUNS:
        raise SettingError(
            f"Calibration needs at least {LEAST_RUNS} healthy runs to tell how far they lie apart, got "
            f"{len(reference_runs)}. Train with other seeds and record them, or use the textbook's h = 5."
        )
    reference = Reference.of(reference_runs, floor=settings.floor)
    courses = [course for course in reference.courses.values() if course is not None]
    points = max(len(course.steps) for course in courses)
    if points < LEAST_POINTS:
        raise SettingError(
            f"Calibration needs at least {LEAST_POINTS} steps with usable traces that the reference runs share, got "
            f"{points}. Record traces more often, or use the textbook's h = 5."
        )
    seeds = np.random.SeedSequence(seed).spawn(len(courses))
    drawn = [
        _simulated(course, simulations, settings, np.random.default_rng(s))
        for course, s in zip(courses, seeds, strict=True)
    ]
    largest = np.max([healthy for healthy, _ in drawn], axis=0)
    h = float(np.quantile(largest, 1 - false_alarms, method="higher"))
    delays = [_delays(shifted, h) for _, shifted in drawn]
    found = np.concatenate([delay[np.isfinite(delay)] for delay in delays])
    return Calibration(
        replace(settings, h=h, false_alarms=float(false_alarms)),
        runs=reference.runs,
        points=points,
        simulations=simulations,
        power=float(np.mean([np.isfinite(delay).mean() for delay in delays])),
        delay=float(np.median(found)) if len(found) else np.nan,
    )


def _simulated(
    course: Healthy, simulations: int, settings: MonitorSettings, draw: Generator
) -> tuple[Float[ndarray, " n"], Float[ndarray, "n s"]]:
    """Of each simulated run the largest sum, and the sums of the same run with a shift, from the shift on."""
    largest, shifted = [], []
    start = len(course.steps) // 3
    shift = np.zeros(len(course.steps))
    shift[start:] = settings.shift
    for first in range(0, simulations, CHUNK):
        deviations = _series(course, min(CHUNK, simulations - first), draw)
        known, watched = deviations[:, :-1], deviations[:, -1]
        unit = spread(known, settings.floor) * np.sqrt(1 + 1 / known.shape[1])
        x = (watched - known.mean(axis=1)) / unit
        moved = shift * course.sd / unit
        signs = [{"upper": 1, "lower": -1}[side] for side in settings.watched]
        largest.append(np.max([sums(sign * x, settings.k).max(axis=1) for sign in signs], axis=0))
        shifted.append(sums(signs[0] * x + moved, settings.k)[:, start:])
    return np.concatenate(largest), np.concatenate(shifted)


def _series(course: Healthy, count: int, draw: Generator) -> Float[ndarray, "n r t"]:
    """Deviations of the reference runs and of one more; the correlation is drawn too, as it is only estimated."""
    runs, points = course.logs.shape
    error = np.sqrt((1 - course.persistence**2) / ((runs - 1) * (points - 1)))
    phi = np.clip(course.persistence + error * draw.standard_normal((count, 1)), 0.0, MOST_PERSISTENCE)
    series = draw.standard_normal((count, runs + 1, points))
    for t in range(1, points):
        series[:, :, t] = phi * series[:, :, t - 1] + np.sqrt(1 - phi**2) * series[:, :, t]
    return np.asarray(series * course.sd)


def sums(x: Float[ndarray, "n t"], k: float) -> Float[ndarray, "n t"]:
    """S_t = max(0, S_{t−1} + x_t − k) along the last axis."""
    found = np.empty_like(x)
    now = np.zeros(len(x))
    for t in range(x.shape[1]):
        now = np.maximum(0.0, now + x[:, t] - k)
        found[:, t] = now
    return found


def _delays(after: Float[ndarray, "n s"], h: float) -> Float[ndarray, " n"]:
    """Points from the shift to the alarm; infinite where there is none."""
    above = after > h
    return np.where(above.any(axis=1), above.argmax(axis=1) + 1.0, np.inf)

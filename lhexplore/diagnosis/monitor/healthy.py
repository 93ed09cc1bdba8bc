"""How the traces of healthy runs go: the course of each layer's logarithm over the steps, and its spread.

A healthy trace is not constant: it rises, and collapses when the network interpolates its data. So a run is compared
with others at the same step, in between by a straight line over the logarithm of the step.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ...errors import ComparisonError, SettingError
from ...trace_point import TracePoint

LEAST_POINTS = 3  # a course needs a point with neighbours on both sides
MOST_PERSISTENCE = 0.98  # nearer to 1 a series of some tens of points has no spread of its own
PRIOR = 4.0  # runs' worth of weight that a layer's spread over all steps has in its spread at one step

Run = Sequence[TracePoint]


def log_trace(value: float, stderr: float) -> tuple[float, str]:
    """The natural logarithm of a trace, or NaN and why there is none."""
    if math.isnan(value) or math.isnan(stderr):
        return math.nan, "no number was measured"
    if value <= stderr or not math.isfinite(value):
        return math.nan, "the trace is not above zero within its error, so that it has no logarithm"
    return math.log(value), ""


@dataclass(frozen=True, slots=True, eq=False)
class Healthy:
    """The log-traces of one layer in R runs at T common steps, and what they amount to."""

    steps: Float[ndarray, " t"]
    logs: Float[ndarray, "r t"]
    mean: Float[ndarray, " t"]
    sd: Float[ndarray, " t"]  # of one run around the mean of all runs that there could be
    persistence: float  # correlation of a run's deviation at one point with that at the next, 0 to 0.98

    def at(self, step: float) -> tuple[float, float] | None:
        """Mean and s.d. at a step; None outside the steps that are known."""
        if not self.steps[0] <= step <= self.steps[-1]:
            return None
        place, known = math.log1p(step), np.log1p(self.steps)
        return float(np.interp(place, known, self.mean)), float(np.interp(place, known, self.sd))


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """What healthy runs look like; made by :meth:`of`. A layer without a course has None and a reason."""

    runs: int
    courses: Mapping[str, Healthy | None]
    reasons: Mapping[str, str]
    basis: str = ""
    examples: int = 0

    @classmethod
    def of(cls, runs: Sequence[Run], *, floor: float = 0.05) -> "Reference":
        """Estimate courses from one or several runs.

        With several runs the s.d. is that between them, at each step drawn towards the layer's own over all steps
        (which counts like 4 further runs). With one run it can only be that of its scatter around a smooth course.

        Args:
            runs: the points of each.
            floor: smallest s.d. of a log-trace.

        Raises:
            SettingError: no runs, or not three steps at which all of them have a usable trace of one layer.
            ComparisonError: the runs have different layers, or their traces are not of the same kind.
        """
        points = [list(run) for run in runs]
        if not points or not all(points):
            raise SettingError(
                f"A reference needs at least one run with recorded traces; got {len(points)} runs with "
                f"{[len(run) for run in points]} points."
            )
        bases = dict.fromkeys(point.basis for run in points for point in run if point.basis)
        if len(bases) > 1:
            raise ComparisonError(f"Reference runs must have traces of one kind; got {' and '.join(map(repr, bases))}.")
        layers = [list(dict.fromkeys(layer for point in run for layer in point.traces)) for run in points]
        for other in layers[1:]:
            require_same_layers(layers[0], other, "Two reference runs")
        courses: dict[str, Healthy | None] = {}
        reasons: dict[str, str] = {}
        for layer in layers[0]:
            courses[layer], reasons[layer] = _course([_usable(run, layer) for run in points], floor)
        if not any(courses.values()):
            why = next(iter(reasons.values()), "no layer was measured")
            raise SettingError(f"The reference runs give no course of any layer: {why}.")
        return cls(len(points), courses, reasons, next(iter(bases), ""), max(p.examples for r in points for p in r))

    @property
    def widening(self) -> float:
        """By what the s.d. of one run grows because the mean of ``runs`` runs is itself uncertain."""
        return math.sqrt(1 + 1 / self.runs)


def require_same_layers(first: Sequence[str], second: Sequence[str], who: str) -> None:
    """See that two things have the same layers.

    Raises:
        ComparisonError: they differ; the names that only one of them has.
    """
    if set(first) != set(second):
        alone = [sorted(set(a) - set(b)) for a, b in ((first, second), (second, first))]
        raise ComparisonError(
            f"{who} must have the same layers to be compared; {alone[0][:5]} and {alone[1][:5]} stand in only one of "
            "them. Choose the layers that both have with layers=."
        )


def spread(logs: Float[ndarray, "*n r t"], floor: float) -> Float[ndarray, "*n t"]:
    """S.d. between runs at each step, drawn towards that over all steps."""
    own = logs.var(axis=-2, ddof=1)
    pooled = own.mean(axis=-1, keepdims=True)
    freedom = logs.shape[-2] - 1
    drawn: Float[ndarray, "*n t"] = np.maximum(np.sqrt((PRIOR * pooled + freedom * own) / (PRIOR + freedom)), floor)
    return drawn


def _usable(run: Run, layer: str) -> tuple[Float[ndarray, " t"], Float[ndarray, " t"]]:
    known = {p.step: log_trace(*p.traces.get(layer, (math.nan, math.nan)))[0] for p in run}
    kept = sorted((step, value) for step, value in known.items() if not math.isnan(value))
    steps, logs = zip(*kept, strict=True) if kept else ((), ())
    return np.array(steps, dtype=float), np.array(logs, dtype=float)


def _course(
    runs: Sequence[tuple[Float[ndarray, " _"], Float[ndarray, " _"]]], floor: float
) -> tuple[Healthy | None, str]:
    if not all(len(steps) for steps, _ in runs):
        return None, "a reference run has no usable trace of it"
    first, last = max(steps[0] for steps, _ in runs), min(steps[-1] for steps, _ in runs)
    grids = [steps[(steps >= first) & (steps <= last)] for steps, _ in runs]
    grid = min(grids, key=len)  # no point is made up between two of the run that was looked at least often
    if len(grid) < LEAST_POINTS:
        return None, f"the reference runs share {len(grid)} steps with usable traces, and {LEAST_POINTS} are needed"
    logs = np.array([np.interp(np.log1p(grid), np.log1p(steps), values) for steps, values in runs])
    mean = logs.mean(axis=0)
    if len(runs) == 1:
        return Healthy(grid, logs, mean, np.full(len(grid), max(_scatter(grid, mean), floor)), 0.0), ""
    sd = spread(logs, floor)
    return Healthy(grid, logs, mean, sd, _persistence((logs - mean) / sd)), ""


def _scatter(steps: Float[ndarray, " t"], logs: Float[ndarray, " t"]) -> float:
    """S.d. of the noise around a course that is straight from each point's left to its right neighbour."""
    place = np.log1p(steps)
    left = (place[2:] - place[1:-1]) / (place[2:] - place[:-2])
    miss = logs[1:-1] - left * logs[:-2] - (1 - left) * logs[2:]
    return float(np.sqrt(np.mean(miss**2 / (1 + left**2 + (1 - left) ** 2))))


def _persistence(deviations: Float[ndarray, "r t"]) -> float:
    square = float(np.mean(deviations**2))
    beside = float(np.mean(deviations[:, 1:] * deviations[:, :-1]))
    return min(max(beside / square, 0.0), MOST_PERSISTENCE) if square else 0.0

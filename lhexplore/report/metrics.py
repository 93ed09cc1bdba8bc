"""The metrics of a report: each as a map of all layers, and as curves of those that are chosen in the browser."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import METRICS
from ..diagnosis.metrics.table import BUILT_IN
from ..explorer.figures import heat_map
from ..explorer.heat_figure import metric_name
from ..explorer.located import of_run
from ..explorer.metric_figure import STROKES, curve, metric_axis, metric_plot, value_texts
from ..explorer.places import axis_words, snapshot_ticks, snapshot_words, step_words
from ..figures.numbers import Described, described, numbers
from .blocks import Reading
from .parts import Json, Part, Templates
from .tables import values_table

SHOWN = (  # the most telling first
    "lambda_max",
    "trace",
    "lambda_min",
    "negative_mass",
    "rank_ratio",
    "effective_rank_ratio",
    "condition_50",
    "zero_fraction",
    "gradient_norm",
    "parameter_norm",
    "drift",
)
AT_ONCE = len(STROKES)  # curves that can be told apart
DIGITS = 6  # of positions: far less than a pixel


def metric_parts(reading: Reading, figures: Templates) -> list[tuple[Json, str]]:
    """Name and meaning of every metric that is known anywhere, with its part of the page; one's own come last."""
    made = []
    for name in (*SHOWN, *(name for name in METRICS if name not in BUILT_IN)):
        metric, found = described(name), numbers(reading.run, name, [block.key for block in reading.blocks])
        if np.isfinite(found.value).any():
            entry = {"key": name, "name": metric_name(metric), "unit": metric.unit, "meaning": metric.meaning}
            made.append((entry, _part(reading, metric, found.value, found.error, figures)))
    return made


def _part(
    reading: Reading,
    metric: Described,
    values: Float[ndarray, "layers snapshots"],
    errors: Float[ndarray, "layers snapshots"],
    figures: Templates,
) -> str:
    part, names = Part(figures), [block.name for block in reading.blocks]
    labels, ticks = [step_words(row) for row in reading.shots], snapshot_ticks(reading.shots)
    time_label = axis_words(reading.shots)
    plot = heat_map(
        values, names, labels, metric=metric, findings=[b.findings for b in reading.blocks], ticks=ticks,
        x_label=time_label,
    )  # fmt: skip
    words = [value_texts(row, np.full_like(row, np.nan), "") for row in values]
    caption = f"{metric_name(metric)} of all layers" + (f", in {metric.unit}" if metric.unit else "")
    table = values_table(caption, names, words, [snapshot_words(row) for row in reading.shots])
    return part.text({"map": part.figure(plot, table), **_curves(part, reading, metric, values, errors)})


def _curves(
    part: Part,
    reading: Reading,
    metric: Described,
    values: Float[ndarray, "layers snapshots"],
    errors: Float[ndarray, "layers snapshots"],
) -> Json:
    """A figure of the first layers, and what the browser puts in its place for others, all on one axis."""
    names = [block.name for block in reading.blocks]
    keys = {block.key: block.name for block in reading.blocks}
    labels = [step_words(row) for row in reading.shots]
    axis = metric_axis(values, errors, log=metric.log)
    found = [[f for f in reading.located.during(row.label) if of_run(f) or f.layer in keys] for row in reading.shots]
    known = np.isfinite(values).any(axis=1)
    first = np.argsort(~known, kind="stable")[:AT_ONCE]
    plot = metric_plot(
        values[first], errors[first], [names[i] for i in first], labels, metric=metric, axis=axis, names=keys,
        findings=found, ticks=snapshot_ticks(reading.shots), time_label=axis_words(reading.shots),
    )  # fmt: skip
    layers = []
    for row in zip(values, errors, strict=True):
        places, (x, y) = curve(*row, axis)
        layers.append({"y": _text(places), "band": [_text(x), _text(y)], "words": value_texts(*row, "")})
    return {"curves": part.figure(plot, None), "layers": layers}


def _text(values: Float[ndarray, " n"]) -> list[float | None]:
    return [float(f"{v:.{DIGITS}g}") if np.isfinite(v) else None for v in values]

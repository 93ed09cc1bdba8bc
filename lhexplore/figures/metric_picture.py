"""A metric over training: a line per layer, with a band where the metric says how sure it is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..diagnosis.number_texts import counted, short
from ..errors import SettingError
from .names import block, blocks, metric_name
from .numbers import described, numbers, telling
from .picture import Picture
from .run import SPLITS, Run, run_of
from .scales import TimeAxis, number_axis
from .shapes import COVER
from .style import STROKES, Width, canvas, legend, one_of, say

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def metric(
    source: Any,
    name: str = "lambda_max",
    layers: Sequence[str | None] | None = None,
    *,
    split: str = "data",
    width: Width = "column",
    height: float | None = None,
) -> Picture:
    """Draw a metric over training; bands of ± 2 standard errors (95 %) where it is estimated.

    Args:
        source: a session, a Course or a list of spectra.
        name: of any metric: those of spectra (your own too), of gradients and parameters, of drift.
        layers: at most six, None in the list for the whole network. Left out: those with the largest values.
        split: "data" or "held_out".
        width: "column", "page" or inches.
        height: inches.

    Raises:
        SettingError, UnknownLayerError: with what is known.
        UnsupportedError: matplotlib is not installed.
    """
    one_of("split", split, SPLITS)
    described(name)
    run = run_of(source)
    with canvas(width, height) as figure:
        caption = draw(figure.subplots(), run, name, layers, split=split)
    return Picture(figure, caption)


def draw(
    axes: "Axes",
    run: Run,
    name: str,
    layers: Sequence[str | None] | None,
    *,
    split: str = "data",
    time: TimeAxis | None = None,
) -> str:
    """Draw into a frame; returns the caption."""
    about = described(name)
    if isinstance(layers, str):
        layers = [layers]
    rows = run.layers if layers is None else [run.layer(layer) for layer in layers]
    if layers is not None and len(rows) > len(STROKES):
        raise SettingError(f"At most {len(STROKES)} layers can be told apart in one frame; got {len(rows)}.")
    table = numbers(run, name, rows, split)
    largest = [float(np.max(np.abs(row[np.isfinite(row)]), initial=-1.0)) for row in table.value]
    known = [i for i in np.argsort(largest, kind="stable")[::-1] if largest[i] >= 0]
    drawn = sorted(known[: len(STROKES)])
    if not drawn:
        words = f"{metric_name(name)}: nothing is known yet. Call session.compute(), with states=True for gradients."
        say(axes, words)
        return words
    time = time or run.time
    called = blocks([rows[i] for i in drawn], longest=26)
    for i, stroke, name_of in zip(drawn, STROKES, called, strict=False):
        value, error = table.value[i], COVER * telling(table.value[i], table.error[i])
        here = np.isfinite(value)
        style = {"color": stroke.colour, "ls": stroke.dash, "marker": stroke.marker, "mew": 0}
        axes.plot(time.at[here], value[here], label=name_of, **style)
        sure = here & np.isfinite(error)
        if sure.any():
            low, high = value - error, value + error
            axes.fill_between(time.at, low, high, where=sure, color=stroke.colour, alpha=0.22, lw=0)
    time.apply(axes)
    shown_values = table.value[drawn]
    number_axis(axes, shown_values, log=about.log)
    if axes.get_yscale() == "log":  # a band that reaches below zero must not open all decades
        axes.set_ylim(bottom=float(np.nanmin(np.where(shown_values > 0, shown_values, np.nan))) / 2)
    axes.set_ylabel(metric_name(name) + (f" ({about.unit})" if about.unit else ""))
    legend(axes)
    errors = telling(shown_values, table.error[drawn])
    return _caption(run, name, [(block(rows[i], longest=60), table.value[i]) for i in drawn], errors, known)


def _caption(run: Run, name: str, drawn: Sequence[tuple[str, Any]], errors: Any, known: Sequence[int]) -> str:
    parts = []
    for layer, row in drawn:
        finite = row[np.isfinite(row)]
        parts.append(f"{layer} from {short(finite[0])} to {short(finite[-1])}")
    left = len(known) - len(drawn)
    return " ".join(
        filter(
            None,
            [
                f"{metric_name(name).capitalize() if name[0] != 'l' else metric_name(name)} over training: "
                f"{'; '.join(parts)}. {described(name).meaning}",
                "Bands cover 95 %." if np.isfinite(errors).any() else "",
                f"Not drawn: {counted(left, 'layer')} with smaller values." if left else "",
                _gaps(run, drawn),
            ],
        )
    )


def _gaps(run: Run, drawn: Sequence[tuple[str, Any]]) -> str:
    missing = sum(int(np.isnan(row).sum()) for _, row in drawn)
    return f"{missing} of {len(drawn) * len(run.labels)} values are not known: session.compute()." if missing else ""

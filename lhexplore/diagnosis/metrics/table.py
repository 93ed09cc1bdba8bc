"""Every metric of a spectrum by name, formed once; the table is open to one's own entries (`own_metrics`).

A metric that cannot be formed is NaN, and ``explain`` says why. Quotients are formed from λ/|λ|max, so they neither
overflow nor change with the scale of the loss.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...errors import SettingError, suggest
from ...layer_state import LayerState
from ...spectrum import Spectrum
from .. import texts
from ..arguments import a_spectrum, is_number
from ..measure import psd_by_structure
from ..remembered import remembered
from .spectral import NEEDS, SPECTRAL, Metric
from .state import PAIR_METRICS, STATE_METRICS, beside, explain_state

METRICS: dict[str, Metric] = {metric.name: metric for metric in SPECTRAL}
BUILT_IN = frozenset(METRICS)
_OURS = frozenset(SPECTRAL)


class Outcome(NamedTuple):
    """A metric's value, and why it is NaN where a reason is known."""

    value: float
    why: str = ""


def metrics(
    spectrum: Spectrum,
    state: LayerState | None = None,
    before: Spectrum | None = None,
    learning_rate: float | None = None,
) -> dict[str, float]:
    """Form every registered metric; NaN where it is undefined, and `explain` says why.

    Args:
        spectrum: the block.
        state: its gradient and parameters, for the metrics of these.
        before: the same block at an earlier snapshot, computed in the same way, for the drift from it.
        learning_rate: for the stability number.

    Metrics of what is not given are absent.

    Raises:
        SettingError: something is of another kind.
        ComparisonError: the state is of another block, or the spectra do not compare.
    """
    a_spectrum(spectrum)
    found = {name: _outcome(chosen, spectrum).value for name, chosen in METRICS.items()}
    return found | beside(spectrum, state=state, before=before, learning_rate=learning_rate)


def metric(name: str, spectrum: Spectrum) -> float:
    """Form a single metric; NaN where it is undefined."""
    a_spectrum(spectrum)
    return _outcome(_find(name), spectrum).value


def metric_error(name: str, spectrum: Spectrum) -> float:
    """How far a metric of an estimated spectrum may be off: ± 2 of it covers 95 %.

    0 for exact spectra, but for the ends' residuals and round-off; NaN where it cannot be told: the metric is undefined
    or infinite, states no error, or there is only one probe. So it is where the error function of a metric of one's own
    raises, or returns anything but a number from 0 up.
    """
    a_spectrum(spectrum)
    chosen, known = _find(name), remembered(spectrum)
    key = (chosen, "error")
    if key not in known:
        known[key] = _error(chosen, spectrum)
    error: float = known[key]
    return error


def _error(chosen: Metric, spectrum: Spectrum) -> float:
    if not math.isfinite(_outcome(chosen, spectrum).value):
        return math.nan
    if chosen.error is None:
        return 0.0 if spectrum.exact else math.nan
    if chosen in _OURS:
        return chosen.error(spectrum)
    told = _called(chosen.error, spectrum).value
    return told if told >= 0 else math.nan


def explain(name: str, spectrum: Spectrum, state: LayerState | None = None) -> str:
    """Say what a metric means here, and why where it is NaN or infinite.

    ``state`` tells that of the metrics of gradient and parameters.
    """
    a_spectrum(spectrum)
    if name in PAIR_METRICS:
        return PAIR_METRICS[name].meaning
    if name in STATE_METRICS:
        return STATE_METRICS[name].meaning if state is None else explain_state(name, state)
    chosen = _find(name)
    value, why = _outcome(chosen, spectrum)
    remarks = [chosen.meaning]
    if why:
        return f"{chosen.meaning} {why}"
    if math.isnan(value):
        remarks.append(texts.UNDEFINED)
    elif math.isinf(value):
        remarks.append(texts.INFINITE if chosen in _OURS else "It is infinite: so its function says.")
    if name in ("negative_fraction", "negative_mass", "lambda_min") and psd_by_structure(spectrum):
        remarks.append(texts.STRUCTURE)
    if not spectrum.exact:
        remarks.append(texts.ESTIMATED.format(probes=spectrum.probes, steps=spectrum.steps))
        if "leading pair" in chosen.needs:
            remarks.append(texts.MULTIPLICITY)
    return " ".join(remarks)


def _find(name: str) -> Metric:
    if not isinstance(name, str) or name not in METRICS:
        raise SettingError(f"There is no metric {name!r}. {suggest(name, METRICS)}")
    return METRICS[name]


def _outcome(chosen: Metric, spectrum: Spectrum) -> Outcome:
    """What is remembered of this very metric: one that was registered anew has not been formed yet."""
    known = remembered(spectrum)
    if chosen not in known:
        known[chosen] = _formed(chosen, spectrum)
    found: Outcome = known[chosen]
    return found


def _formed(chosen: Metric, spectrum: Spectrum) -> Outcome:
    for need in chosen.needs:
        if not NEEDS[need](spectrum):
            return Outcome(math.nan, texts.NEEDS[need])
    if chosen in _OURS:
        return Outcome(float(chosen.function(spectrum)))
    return _called(chosen.function, spectrum)


def _called(function: Callable[[Spectrum], object], spectrum: Spectrum) -> Outcome:
    """What somebody's function says: whatever it does, tables and pictures must go on."""
    try:
        with np.errstate(all="ignore"):
            value: Any = function(spectrum)
    except Exception as error:  # noqa: BLE001
        return Outcome(math.nan, f"Its function raised {type(error).__name__}: {str(error) or 'no message'}.")
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not is_number(value):
        return Outcome(
            math.nan, f"Its function must return one real number, got {value!r:.60} ({type(value).__name__})."
        )
    try:
        return Outcome(float(value))
    except OverflowError:
        return Outcome(math.nan, "Its function returned a whole number that is too large for a float.")

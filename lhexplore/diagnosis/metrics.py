"""Every metric by name: one table, open to one's own entries, and the values of a spectrum, formed once.

A metric that cannot be formed is NaN, and ``explain`` says why. Quotients are formed from λ/|λ|max, so they neither
overflow nor change with the scale of the loss.
"""

import math
from typing import NamedTuple

import numpy as np

from ..errors import SettingError, suggest
from ..spectrum import Spectrum
from . import texts
from .arguments import a_spectrum, is_number
from .measure import psd_by_structure
from .remembered import remembered
from .spectral_metrics import NEEDS, SPECTRAL, Metric

METRICS: dict[str, Metric] = {metric.name: metric for metric in SPECTRAL}
_BUILT_IN = frozenset(SPECTRAL)
_OWN_NAMES = frozenset(METRICS)


class Outcome(NamedTuple):
    """A metric's value, and why it is NaN where a reason is known."""

    value: float
    why: str = ""


def metrics(spectrum: Spectrum) -> dict[str, float]:
    """Form every registered metric; NaN where it is undefined."""
    a_spectrum(spectrum)
    return {name: _outcome(chosen, spectrum).value for name, chosen in METRICS.items()}


def metric(name: str, spectrum: Spectrum) -> float:
    """Form a single metric; NaN where it is undefined."""
    a_spectrum(spectrum)
    return _outcome(_find(name), spectrum).value


def metric_error(name: str, spectrum: Spectrum) -> float:
    """How far a metric of an estimated spectrum may be off: ± 2 of it covers 95 %.

    0 for exact spectra, but for the ends' residuals and round-off; NaN where it cannot be told: the metric is undefined
    or infinite, states no error, or there is only one probe.
    """
    a_spectrum(spectrum)
    chosen = _find(name)
    if not math.isfinite(_outcome(chosen, spectrum).value):
        return math.nan
    if chosen.error is None:
        return 0.0 if spectrum.exact else math.nan
    return chosen.error(spectrum)


def register(metric: Metric) -> Metric:
    """Add a metric of one's own, or replace an earlier one of the same name.

    Raises:
        SettingError: for a name that is no identifier or belongs to a built-in metric, or an unknown need.
    """
    if not isinstance(metric, Metric) or not isinstance(metric.name, str) or not callable(metric.function):
        raise SettingError(f"Expected a Metric with a name and a function of a spectrum, got {metric!r:.80}.")
    if not metric.name.isidentifier():
        raise SettingError(f"A metric's name must be a Python identifier, got {metric.name!r}.")
    if metric.name in _OWN_NAMES:
        raise SettingError(f"{metric.name!r} is a built-in metric. Choose another name.")
    for need in metric.needs:
        if need not in NEEDS:
            raise SettingError(f"Metric {metric.name!r} has an unknown need {need!r}. {suggest(need, NEEDS)}")
    METRICS[metric.name] = metric
    return metric


def explain(name: str, spectrum: Spectrum) -> str:
    """Say what a metric means here, and why where it is NaN or infinite."""
    a_spectrum(spectrum)
    chosen = _find(name)
    value, why = _outcome(chosen, spectrum)
    remarks = [chosen.meaning]
    if why:
        return f"{chosen.meaning} {why}"
    if math.isnan(value):
        remarks.append(texts.UNDEFINED)
    elif math.isinf(value):
        remarks.append(texts.INFINITE)
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
    if chosen in _BUILT_IN:
        return Outcome(float(chosen.function(spectrum)))
    try:  # somebody's function: whatever it does, tables and pictures must go on
        with np.errstate(all="ignore"):
            value = chosen.function(spectrum)
    except Exception as error:  # noqa: BLE001
        return Outcome(math.nan, f"Its function raised {type(error).__name__}: {str(error) or 'no message'}.")
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    if not is_number(value):
        return Outcome(
            math.nan, f"Its function must return one real number, got {value!r:.60} ({type(value).__name__})."
        )
    return Outcome(float(value))

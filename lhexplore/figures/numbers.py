"""Any metric over blocks and snapshots, with its error where it has one; NaN where nothing is known."""

from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ..diagnosis import METRICS, PAIR_METRICS, STATE_METRICS, metric_error
from ..diagnosis import metric as form
from ..diagnosis.metrics.state import beside, state_metrics
from ..errors import ComparisonError, SettingError, suggest
from ..spectrum import Spectrum
from .run import Layer, Run

NEGLIGIBLE = 1e-6  # of a value: errors below are round-off, and neither drawn nor said


class Described(Protocol):
    """What a picture needs to know of a metric."""

    @property
    def name(self) -> str: ...
    @property
    def unit(self) -> str: ...
    @property
    def meaning(self) -> str: ...
    @property
    def log(self) -> bool: ...


class Numbers(NamedTuple):
    """A metric by block and snapshot; ``error`` is one standard error, NaN where it is not known."""

    value: Float[ndarray, "layers snapshots"]
    error: Float[ndarray, "layers snapshots"]


def described(name: str) -> Described:
    """What a metric is.

    Raises:
        SettingError: there is none of that name.
    """
    known: dict[str, Described] = {**METRICS, **STATE_METRICS, **PAIR_METRICS}
    if not isinstance(name, str) or name not in known:
        raise SettingError(f"There is no metric {name!r}. {suggest(name, known)}")
    return known[name]


def error_of(name: str, spectrum: Spectrum) -> float:
    """One standard error of a metric; 0 where the spectrum is exact, whose errors are round-off alone."""
    return 0.0 if spectrum.exact else metric_error(name, spectrum)


def telling(values: Float[ndarray, "*shape"], errors: Float[ndarray, "*shape"]) -> Float[ndarray, "*shape"]:
    """The errors that are more than round-off; NaN for all others, and where nothing is known."""
    return np.where(errors > NEGLIGIBLE * np.abs(values), errors, np.nan)


def numbers(run: Run, name: str, layers: Sequence[Layer], split: str = "data") -> Numbers:
    """Form a metric of everything that is known."""
    described(name)
    value = np.full((len(layers), len(run.labels)), np.nan)
    error = np.full_like(value, np.nan)
    for i, layer in enumerate(layers):
        if name in METRICS:
            for k, spectrum in enumerate(run.spectra(layer, split)):
                if spectrum is not None:
                    value[i, k], error[i, k] = form(name, spectrum), error_of(name, spectrum)
        elif name in STATE_METRICS:
            for k, label in enumerate(run.labels):
                if (state := run.state(layer, label)) is not None:
                    value[i, k] = state_metrics(state).get(name, np.nan)
        else:
            value[i] = _pairs(run, name, layer, split)
    return Numbers(value, error)


def _pairs(run: Run, name: str, layer: Layer, split: str) -> Float[ndarray, " snapshots"]:
    """What needs the spectrum before, or the learning rate; NaN where that is not known or does not compare."""
    found = np.full(len(run.labels), np.nan)
    before = None
    for k, spectrum in enumerate(run.spectra(layer, split)):
        if spectrum is None:
            continue
        losses = run.losses(run.labels[k])
        rate = next((losses[key] for key in ("lr", "learning_rate") if losses.get(key, -1.0) >= 0), None)
        with suppress(ComparisonError):  # computed in another way: there is no drift to tell
            found[k] = beside(spectrum, before=before, learning_rate=rate).get(name, np.nan)
        before = spectrum
    return found

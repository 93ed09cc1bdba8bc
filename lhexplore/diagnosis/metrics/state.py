"""Metrics beside the spectrum: of the gradient and the parameters of a layer, and between two snapshots.

What was not asked for, or does not exist for a layer (singular values of a bias), is absent. What should be there and
cannot be formed is NaN, and the state's ``reason`` says why.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...errors import ComparisonError, SettingError
from ...layer_state import LEVELS, LayerState
from ...spectrum import Spectrum
from ..arguments import not_negative
from .drift import drift, log_drift
from .formulas import lambda_max
from .spectral import CURVATURE, STANDARD

PARAMETER = "parameter"
ALIGNMENT = "after Gur-Ari, Roberts, Dyer, 1812.04754"


@dataclass(frozen=True, slots=True, eq=False)
class StateMetric:
    """One number per state of a layer; absent where ``exists`` says so."""

    name: str
    function: Callable[[LayerState], float]
    unit: str
    meaning: str
    source: str = STANDARD
    log: bool = False
    exists: Callable[[LayerState], bool] = lambda state: True


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Unit, meaning and source of a number that needs more than one spectrum or state."""

    name: str
    unit: str
    meaning: str
    source: str = STANDARD
    log: bool = False


def _matrix(state: LayerState) -> bool:
    return state.singular_values.size > 0


def _condition(state: LayerState) -> float:
    """Largest over smallest; infinite where the smallest is zero up to the rounding of the decomposition."""
    largest, smallest = state.singular_values[[0, -1]]
    if not largest:
        return math.nan
    rounding = len(state.singular_values) * np.finfo(np.float64).eps * largest
    return float(largest / smallest) if smallest > rounding else math.inf


def _stable_rank(state: LayerState) -> float:
    largest = state.singular_values[0]
    return float(((state.singular_values / largest) ** 2).sum()) if largest else math.nan


def _quantile(i: int) -> StateMetric:
    return StateMetric(
        f"parameter_q{round(100 * LEVELS[i]):02d}",
        lambda state: state.quantiles[i],
        PARAMETER,
        f"{100 * LEVELS[i]:g} % of the layer's parameters are at most this.",
        exists=lambda state: bool(state.quantiles),
    )


_STATE = (
    StateMetric(
        "gradient_norm", lambda s: s.gradient_norm, "loss / parameter", "‖g‖ of the layer's gradient.", log=True
    ),
    StateMetric(
        "gradient_rms",
        lambda s: s.gradient_norm / math.sqrt(s.size),
        "loss / parameter",
        "‖g‖ / √n: the typical size of a gradient entry, comparable between layers.",
        log=True,
    ),
    StateMetric(
        "gradient_rayleigh",
        lambda s: s.gradient_rayleigh,
        CURVATURE,
        "gᵀHg / gᵀg: the curvature along the gradient; undefined where the gradient is 0.",
        exists=lambda s: not math.isnan(s.gradient_rayleigh) or bool(s.reason),  # else it was not asked for
    ),
    StateMetric(
        "gradient_share",
        lambda s: s.gradient_share,
        "",
        "Share of ‖g‖² in the space of the leading eigenvectors.",
        ALIGNMENT,
        exists=lambda s: s.share_of > 0,
    ),
    StateMetric("parameter_mean", lambda s: s.mean, PARAMETER, "Mean of the layer's parameters."),
    StateMetric("parameter_std", lambda s: s.std, PARAMETER, "Standard deviation of the layer's parameters.", log=True),
    StateMetric("parameter_skew", lambda s: s.skew, "", "Skewness: 0 if symmetric; undefined if all are equal."),
    StateMetric(
        "parameter_kurtosis", lambda s: s.kurtosis, "", "Excess kurtosis: 0 if Gaussian; undefined if all are equal."
    ),
    *(_quantile(i) for i in range(len(LEVELS))),
    StateMetric("parameter_norm", lambda s: s.norm, PARAMETER, "‖θ‖ of the layer's parameters.", log=True),
    StateMetric("parameter_moved", lambda s: s.moved, "", "‖θ − θ₀‖ / ‖θ₀‖: how far they are from the first snapshot."),
    StateMetric(
        "weight_sigma_max",
        lambda s: float(s.singular_values[0]),
        PARAMETER,
        "Largest singular value of the layer's largest matrix.",
        log=True,
        exists=_matrix,
    ),
    StateMetric(
        "weight_sigma_min",
        lambda s: float(s.singular_values[-1]),
        PARAMETER,
        "Smallest singular value of the layer's largest matrix.",
        log=True,
        exists=_matrix,
    ),
    StateMetric(
        "weight_condition",
        _condition,
        "",
        "Largest over smallest singular value; infinite if the matrix lacks full rank.",
        log=True,
        exists=_matrix,
    ),
    StateMetric(
        "weight_stable_rank",
        _stable_rank,
        "",
        "How many directions the matrix stretches like the strongest one: Σσ² / σ₁².",
        exists=_matrix,
    ),
)
STATE_METRICS: dict[str, StateMetric] = {metric.name: metric for metric in _STATE}
PAIR_METRICS: dict[str, Described] = {
    found.name: found
    for found in (
        Described(
            "stability_number",
            "",
            "Learning rate times λmax: about 2 at the edge of stability of plain full-batch gradient descent. A layer "
            "gives a lower bound of the whole network's; it says nothing of momentum or Adam.",
            "Cohen et al. 2021",
            log=True,
        ),
        Described("drift", CURVATURE, "1-Wasserstein distance of the eigenvalues from those before.", log=True),
        Described(
            "log_drift", "nats", "1-Wasserstein distance of log |λ| outside the zero band from those before.", log=True
        ),
    )
}


def state_metrics(state: LayerState) -> dict[str, float]:
    """Everything that a state tells, by name; NaN where ``state.reason`` says why."""
    if not isinstance(state, LayerState):
        raise SettingError(f"state must be a LayerState, as session.states() returns it; got {state!r:.60}.")
    return {name: float(entry.function(state)) for name, entry in STATE_METRICS.items() if entry.exists(state)}


def explain_state(name: str, state: LayerState) -> str:
    """Say what a metric of a state means, and why where it is absent, NaN or infinite."""
    entry = STATE_METRICS[name]
    if not entry.exists(state):
        return f"{entry.meaning} It was not asked for, or this layer has none."
    value = entry.function(state)
    if math.isnan(value):
        return " ".join(filter(None, (entry.meaning, state.reason or "It is not known.")))
    return f"{entry.meaning} It is infinite here." if math.isinf(value) else entry.meaning


def stability_number(spectrum: Spectrum, learning_rate: float) -> float:
    """η λmax; of the block it is asked of, so a lower bound of the whole network's.

    Raises:
        SettingError: the learning rate is no number from 0 up.
    """
    not_negative(learning_rate, "learning_rate")
    return float(learning_rate) * lambda_max(spectrum)


def beside(
    spectrum: Spectrum,
    *,
    state: LayerState | None = None,
    before: Spectrum | None = None,
    learning_rate: float | None = None,
) -> dict[str, float]:
    """The metrics that need a state, an earlier spectrum or a learning rate; those of what is not given are absent.

    Raises:
        ComparisonError: the state is of another layer, snapshot, split or curvature, or the spectra do not compare.
        SettingError: something is of another kind.
    """
    found: dict[str, float] = {}
    if learning_rate is not None:
        found["stability_number"] = stability_number(spectrum, learning_rate)
    if state is not None:
        found |= state_metrics(state)
        for name in ("layer", "snapshot", "split", "curvature", "size"):
            mine, theirs = getattr(spectrum, name), getattr(state, name)
            if mine != theirs:
                raise ComparisonError(
                    f"The state has {name} {theirs!r}, the spectrum {mine!r}. Pass the state of the same block, at the "
                    "same snapshot and on the same data."
                )
        if spectrum.functional != "loss":
            raise ComparisonError(
                f"The gradient is that of the loss, but the spectrum is of functional {spectrum.functional!r}. Pass a "
                "spectrum of functional='loss'."
            )
    if before is not None:
        found |= {"drift": drift(before, spectrum), "log_drift": log_drift(before, spectrum)}
    return found

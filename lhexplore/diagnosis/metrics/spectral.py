"""The metrics that a spectrum alone gives: formula, unit, meaning, and where it comes from."""

from collections.abc import Callable
from dataclasses import dataclass

from ...spectrum import Spectrum
from ..measure import is_flat
from ..remembered import once
from . import formulas, uncertainty


@dataclass(frozen=True, slots=True, eq=False)  # compared by identity: values are remembered per metric
class Metric:
    """One number per spectrum.

    ``needs`` names conditions (keys of ``NEEDS``) without which the value is NaN and ``function`` is not called.
    ``error`` says how far an estimate of it may be off: ± 2 of it covers 95 %.
    """

    name: str
    function: Callable[[Spectrum], float]
    unit: str
    meaning: str
    source: str
    log: bool = False  # whether a picture of it wants a logarithmic scale
    needs: tuple[str, ...] = ()
    error: Callable[[Spectrum], float] | None = None


NEEDS: dict[str, Callable[[Spectrum], bool]] = {
    "every eigenvalue": lambda s: s.exact,
    "curvature": lambda s: not is_flat(s),
    "positive": formulas.has_positive,
    "no negative": formulas.has_no_negative,
    "leading pair": once(lambda s: len(formulas.leading(s, 2)) == 2),
}

CURVATURE = "loss / parameter²"
STANDARD = "standard"
OWN = "lhexplore definition"

SPECTRAL = (
    Metric("trace", formulas.trace, CURVATURE, "Sum of all eigenvalues.", STANDARD, log=True, error=uncertainty.trace),
    Metric(
        "mean_curvature",
        formulas.mean_curvature,
        CURVATURE,
        "Mean eigenvalue: the trace per parameter.",
        STANDARD,
        log=True,
        error=uncertainty.mean_curvature,
    ),
    Metric(
        "lambda_max",
        formulas.lambda_max,
        CURVATURE,
        "Largest eigenvalue; 0 in the zero band.",
        STANDARD,
        log=True,
        error=uncertainty.lambda_max,
    ),
    Metric(
        "lambda_min",
        formulas.lambda_min,
        CURVATURE,
        "Smallest eigenvalue; 0 in the zero band.",
        STANDARD,
        error=uncertainty.lambda_min,
    ),
    Metric(
        "spectral_norm",
        formulas.spectral_norm,
        CURVATURE,
        "Largest absolute eigenvalue.",
        STANDARD,
        log=True,
        error=uncertainty.spectral_norm,
    ),
    Metric(
        "frobenius_norm",
        formulas.frobenius_norm,
        CURVATURE,
        "Root of the sum of squares.",
        STANDARD,
        log=True,
        error=uncertainty.frobenius_norm,
    ),
    Metric(
        "condition",
        formulas.condition,
        "",
        "Largest over smallest absolute eigenvalue above the rank cut; not comparable across dtypes.",
        STANDARD,
        log=True,
        needs=("curvature", "every eigenvalue"),
    ),
    Metric(
        "condition_50",
        lambda s: formulas.percentile_condition(s, 0.5),
        "",
        "λmax over the eigenvalue that half of the spectrum exceeds.",
        "Huang et al., layer-wise conditioning analysis",
        log=True,
        needs=("curvature", "positive"),
        error=lambda s: uncertainty.percentile_condition(s, 0.5),
    ),
    Metric(
        "condition_80",
        lambda s: formulas.percentile_condition(s, 0.8),
        "",
        "λmax over the eigenvalue that 80 % of the spectrum exceed.",
        "Huang et al., layer-wise conditioning analysis",
        log=True,
        needs=("curvature", "positive"),
        error=lambda s: uncertainty.percentile_condition(s, 0.8),
    ),
    Metric(
        "peakedness",
        formulas.peakedness,
        "",
        "λmax over the mean eigenvalue.",
        STANDARD,
        log=True,
        needs=("curvature", "positive", "no negative"),
        error=uncertainty.peakedness,
    ),
    Metric(
        "numerical_rank",
        formulas.numerical_rank,
        "",
        "Number of eigenvalues above the rank cut.",
        STANDARD,
        error=uncertainty.numerical_rank,
    ),
    Metric(
        "rank_ratio",
        formulas.rank_ratio,
        "",
        "Share of eigenvalues above the rank cut.",
        STANDARD,
        error=uncertainty.rank_ratio,
    ),
    Metric(
        "spectral_entropy",
        formulas.spectral_entropy,
        "nats",
        "Entropy of the shares |λ| / Σ|λ|.",
        "Roy & Vetterli 2007",
        needs=("curvature", "every eigenvalue"),
    ),
    Metric(
        "relative_entropy",
        formulas.relative_entropy,
        "",
        "Spectral entropy over its largest possible value; 0 for a single parameter.",
        "after Roy & Vetterli 2007",
        needs=("curvature", "every eigenvalue"),
    ),
    Metric(
        "effective_rank",
        formulas.effective_rank,
        "",
        "Exponential of the spectral entropy: how many directions share the curvature.",
        "Roy & Vetterli 2007",
        needs=("curvature", "every eigenvalue"),
    ),
    Metric(
        "effective_rank_ratio",
        formulas.effective_rank_ratio,
        "",
        "Effective rank per parameter.",
        "after Roy & Vetterli 2007",
        needs=("curvature", "every eigenvalue"),
    ),
    Metric(
        "stable_rank",
        formulas.stable_rank,
        "",
        "How many directions are curved like the strongest one: ‖H‖_F² / ‖H‖₂².",
        STANDARD,
        needs=("curvature",),
        error=uncertainty.stable_rank,
    ),
    Metric(
        "participation_ratio",
        formulas.participation,
        "",
        "How many directions share the squared curvature: (Σλ²)² / Σλ⁴.",
        STANDARD,
        needs=("curvature",),
        error=uncertainty.participation,
    ),
    Metric(
        "negative_fraction",
        formulas.negative_fraction,
        "",
        "Share of eigenvalues below the zero band.",
        STANDARD,
        error=uncertainty.negative_fraction,
    ),
    Metric(
        "zero_fraction",
        formulas.zero_fraction,
        "",
        "Share of eigenvalues inside the zero band.",
        OWN,
        error=uncertainty.zero_fraction,
    ),
    Metric(
        "positive_fraction",
        formulas.positive_fraction,
        "",
        "Share of eigenvalues above the zero band.",
        OWN,
        error=uncertainty.positive_fraction,
    ),
    Metric(
        "negative_mass",
        formulas.negative_mass,
        "",
        "Share of Σ|λ| that lies below the zero band.",
        STANDARD,
        needs=("curvature",),
        error=uncertainty.negative_mass,
    ),
    Metric(
        "near_zero_share",
        formulas.near_zero_share,
        "",
        "Share of |λ| < 1e-4; depends on scale on purpose.",
        OWN,
        error=uncertainty.near_zero_share,
    ),
    Metric(
        "outlier_count",
        formulas.outlier_count,
        "",
        "Eigenvalues before the largest ratio between neighbours at the top; about the number of classes.",
        "Sagun et al.; Papyan",
        needs=("positive", "leading pair"),
    ),
    Metric(
        "spectral_gap",
        formulas.spectral_gap,
        "",
        "(λ₁ − λ₂) / λ₁ of the two largest eigenvalues.",
        STANDARD,
        needs=("positive", "leading pair"),
        error=uncertainty.spectral_gap,
    ),
)

"""From a spectrum to words: metrics, the HESD type with its certainty, findings. Pure functions of frozen values."""

from .diagnose import Diagnosis, diagnose
from .drift import drift
from .findings import Finding, Thresholds
from .hesd import Hesd, compare_kh, hesd
from .metrics import METRICS, explain, metric, metrics, register
from .spectral_metrics import Metric

__all__ = [
    "METRICS",
    "Diagnosis",
    "Finding",
    "Hesd",
    "Metric",
    "Thresholds",
    "compare_kh",
    "diagnose",
    "drift",
    "explain",
    "hesd",
    "metric",
    "metrics",
    "register",
]

"""From a spectrum to words: metrics, the HESD type with its certainty, findings. Pure functions of frozen values."""

from .course import Course
from .diagnose import Diagnosis, diagnose, diagnose_cell
from .drift import drift, log_drift
from .findings import Finding
from .hesd import Hesd, compare_kh, hesd
from .metrics import METRICS, explain, metric, metric_error, metrics
from .own_metrics import register, register_metric, unregister
from .run import RunDiagnosis, diagnose_run
from .spectral_metrics import Metric
from .state_metrics import PAIR_METRICS, STATE_METRICS
from .thresholds import Thresholds

__all__ = [
    "METRICS",
    "PAIR_METRICS",
    "STATE_METRICS",
    "Course",
    "Diagnosis",
    "Finding",
    "Hesd",
    "Metric",
    "RunDiagnosis",
    "Thresholds",
    "compare_kh",
    "diagnose",
    "diagnose_cell",
    "diagnose_run",
    "drift",
    "explain",
    "hesd",
    "log_drift",
    "metric",
    "metric_error",
    "metrics",
    "register",
    "register_metric",
    "unregister",
]

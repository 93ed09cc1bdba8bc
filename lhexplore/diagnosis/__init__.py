"""From a spectrum to words: metrics, the HESD type with its certainty, findings. Pure functions of frozen values."""

from .course import Course
from .diagnose import Diagnosis, diagnose, diagnose_cell
from .drift import drift
from .findings import Finding
from .hesd import Hesd, compare_kh, hesd
from .metrics import METRICS, explain, metric, metric_error, metrics, register
from .run import RunDiagnosis, diagnose_run
from .spectral_metrics import Metric
from .thresholds import Thresholds

__all__ = [
    "METRICS",
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
    "metric",
    "metric_error",
    "metrics",
    "register",
]

"""From a spectrum to words: metrics, the HESD type with its certainty, findings. Pure functions of frozen values."""

from .calibrate import Calibration, calibrate
from .causes import Cause, Context, mundane_causes
from .correlation import Correlation, over_pairs, rank_correlation
from .course import Course
from .diagnose import Diagnosis, diagnose, diagnose_cell
from .drift import drift, log_drift
from .findings import Finding
from .generalisation import Generalisation, generalisation
from .healthy import Reference
from .hesd import Hesd, compare_kh, hesd
from .methodology import Methodology, methodology
from .metrics import METRICS, explain, metric, metric_error, metrics
from .monitor import Monitor, Monitoring, MonitorSettings, follow
from .own_metrics import register, register_metric, unregister
from .picker import Picks, pick_snapshots
from .relative import Relative, relative
from .run import RunDiagnosis, diagnose_run
from .spectral_metrics import Metric
from .state_metrics import PAIR_METRICS, STATE_METRICS
from .thresholds import Thresholds
from .trace_paths import Alarm

__all__ = [
    "METRICS",
    "PAIR_METRICS",
    "STATE_METRICS",
    "Alarm",
    "Calibration",
    "Cause",
    "Context",
    "Correlation",
    "Course",
    "Diagnosis",
    "Finding",
    "Generalisation",
    "Hesd",
    "Methodology",
    "Metric",
    "Monitor",
    "MonitorSettings",
    "Monitoring",
    "Picks",
    "Reference",
    "Relative",
    "RunDiagnosis",
    "Thresholds",
    "calibrate",
    "compare_kh",
    "diagnose",
    "diagnose_cell",
    "diagnose_run",
    "drift",
    "explain",
    "follow",
    "generalisation",
    "hesd",
    "log_drift",
    "methodology",
    "metric",
    "metric_error",
    "metrics",
    "mundane_causes",
    "over_pairs",
    "pick_snapshots",
    "rank_correlation",
    "register",
    "register_metric",
    "relative",
    "unregister",
]

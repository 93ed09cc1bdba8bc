"""From a spectrum to words: metrics, the HESD type with its certainty, findings. Pure functions of frozen values."""

from .course import Course
from .hesd.causes import Cause, Context, mundane_causes
from .hesd.correlation import Correlation, over_pairs, rank_correlation
from .hesd.generalisation import Generalisation, generalisation
from .hesd.hesd import Hesd, compare_kh, hesd
from .hesd.methodology import Methodology, methodology
from .hesd.picker import Picks, pick_snapshots
from .hesd.relative import Relative, relative
from .metrics.drift import drift, log_drift
from .metrics.own import on_registered, register, register_metric, unregister
from .metrics.spectral import Metric
from .metrics.state import PAIR_METRICS, STATE_METRICS
from .metrics.table import METRICS, explain, metric, metric_error, metrics
from .monitor.calibrate import Calibration, calibrate
from .monitor.cusum import Monitor, Monitoring, MonitorSettings, follow
from .monitor.healthy import Reference
from .monitor.trace_paths import Alarm
from .rules.diagnose import Diagnosis, diagnose, diagnose_cell
from .rules.findings import Finding
from .rules.run import RunDiagnosis, diagnose_run
from .thresholds import Thresholds

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
    "on_registered",
    "over_pairs",
    "pick_snapshots",
    "rank_correlation",
    "register",
    "register_metric",
    "relative",
    "unregister",
]

"""See the layer-wise Hessian spectra of a network while you scrub through its training.

import lhexplore as lh

session = lh.Session(model, loader, torch.nn.CrossEntropyLoss(), snapshots="runs/a")
session.explore()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .diagnosis import (
    Course,
    Diagnosis,
    Finding,
    Hesd,
    Metric,
    Monitor,
    MonitorSettings,
    RunDiagnosis,
    Thresholds,
    diagnose,
    diagnose_run,
    explain,
    hesd,
    metric_error,
    metrics,
    over_pairs,
    register_metric,
)
from .errors import LhexploreError
from .layer_state import LayerState
from .session import Session, calibrate, record
from .snapshots import Recorder, Snapshot, Snapshots
from .spectrum import Histogram, Spectrum

if TYPE_CHECKING:
    from . import demo as demo
    from . import figures as figures
    from .explorer import Explorer as Explorer
    from .explorer import explore as explore
    from .explorer import views as views

__version__ = "0.1.0"

__all__ = [
    "Course",
    "Diagnosis",
    "Explorer",
    "Finding",
    "Hesd",
    "Histogram",
    "LayerState",
    "LhexploreError",
    "Metric",
    "Monitor",
    "MonitorSettings",
    "Recorder",
    "RunDiagnosis",
    "Session",
    "Snapshot",
    "Snapshots",
    "Spectrum",
    "Thresholds",
    "__version__",
    "calibrate",
    "demo",
    "diagnose",
    "diagnose_run",
    "explain",
    "explore",
    "figures",
    "hesd",
    "metric_error",
    "metrics",
    "over_pairs",
    "record",
    "register_metric",
    "views",
]


def __getattr__(name: str) -> Any:
    """Load widgets, figures and the demo only when somebody asks for them."""
    if name in ("Explorer", "explore"):
        return getattr(import_module(".explorer", __name__), name)
    if name == "views":
        return import_module(".explorer.views", __name__)
    if name in ("demo", "figures"):
        return import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

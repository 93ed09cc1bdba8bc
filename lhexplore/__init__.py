"""See the layer-wise Hessian spectra of a network while you scrub through its training.

import lhexplore as lh

session = lh.Session(model, loader, torch.nn.CrossEntropyLoss(), snapshots="runs/a")
session.explore()
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .diagnosis import Diagnosis, Hesd, diagnose, hesd, metrics
from .errors import LhexploreError
from .session import Session
from .snapshots import Recorder, Snapshot, Snapshots, record
from .spectrum import Histogram, Spectrum

if TYPE_CHECKING:
    from . import demo as demo
    from .explorer import Explorer as Explorer

__version__ = "0.1.0"

__all__ = [
    "Diagnosis",
    "Explorer",
    "Hesd",
    "Histogram",
    "LhexploreError",
    "Recorder",
    "Session",
    "Snapshot",
    "Snapshots",
    "Spectrum",
    "__version__",
    "demo",
    "diagnose",
    "hesd",
    "metrics",
    "record",
]


def __getattr__(name: str) -> Any:
    """Load widgets and the demo only when somebody asks for them."""
    if name == "Explorer":
        return import_module(".explorer", __name__).Explorer
    if name == "demo":
        return import_module(".demo", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

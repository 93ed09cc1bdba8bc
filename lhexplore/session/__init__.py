"""The door: one object that joins a model, its data and its snapshots to their spectra."""

from .monitoring import calibrated as calibrate
from .recording import record
from .session import Session

__all__ = ["Session", "calibrate", "record"]

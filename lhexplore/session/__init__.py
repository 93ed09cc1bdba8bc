"""The door: one object that joins a model, its data and its snapshots to their spectra."""

from .session import Session

__all__ = ["Session"]

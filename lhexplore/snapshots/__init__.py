"""Files and weights: what training code leaves behind becomes an ordered series of snapshots, read when asked.

This room knows formats and never computes. It loads no pickle that could run code.
"""

from .fit import fit
from .recorder import Recorder, record
from .snapshot import GONE, Snapshot
from .source import Snapshots

__all__ = ["GONE", "Recorder", "Snapshot", "Snapshots", "fit", "record"]

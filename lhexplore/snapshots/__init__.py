"""Files and weights: what training code leaves behind becomes an ordered series of snapshots, read when asked.

This room knows formats and never computes. It loads no pickle that could run code.
"""

from .fit import fit
from .recorder import Recorder, record
from .snapshot import Snapshot
from .source import Snapshots

__all__ = ["Recorder", "Snapshot", "Snapshots", "fit", "record"]

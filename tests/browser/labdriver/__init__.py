"""Drive real front ends in headless Chromium, with no way out to the network.

``LabServer`` and ``VoilaServer`` start and end servers and their kernels, ``Chromium`` the browser; ``LabPage``,
``NotebookPage`` and ``VoilaPage`` are one opened notebook each, ``opened`` makes one of a few cells, and ``meter``
measures what a person at the screen would see. The benchmarks use the same.
"""

from . import explorer, meter
from .chromium import Chromium, find_chromium
from .opening import opened
from .page import LabPage, NotebookPage
from .screen import KernelError, Screen
from .server import LabServer, VoilaServer
from .voila import VoilaPage

__all__ = [
    "Chromium",
    "KernelError",
    "LabPage",
    "LabServer",
    "NotebookPage",
    "Screen",
    "VoilaPage",
    "VoilaServer",
    "explorer",
    "find_chromium",
    "meter",
    "opened",
]

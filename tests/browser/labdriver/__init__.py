"""Drive a real JupyterLab in headless Chromium, with no way out to the network.

``LabServer`` starts and ends the server and its kernels, ``Chromium`` the browser, ``LabPage`` is one opened
notebook, and ``meter`` measures what a person at the screen would see. The benchmarks use the same four.
"""

from . import explorer, meter
from .chromium import Chromium, find_chromium
from .page import KernelError, LabPage
from .server import LabServer

__all__ = ["Chromium", "KernelError", "LabPage", "LabServer", "explorer", "find_chromium", "meter"]

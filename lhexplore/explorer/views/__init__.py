"""The views of the kit: each alone in a cell, or several linked through one state."""

from .findings import Findings
from .heat_map import HeatMap
from .hesd_badge import HesdBadge
from .layer_picker import LayerPicker
from .progress import Progress
from .provenance import Provenance
from .scrubber import Scrubber
from .spectrum_plot import SpectrumPlot

__all__ = [
    "Findings",
    "HeatMap",
    "HesdBadge",
    "LayerPicker",
    "Progress",
    "Provenance",
    "Scrubber",
    "SpectrumPlot",
]

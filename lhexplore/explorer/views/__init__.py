"""The views of the kit: each alone in a cell, or several linked through one state."""

from .evolution import Evolution
from .findings import Findings
from .heat_map import HeatMap
from .hesd_badge import HesdBadge
from .layer_picker import LayerPicker
from .metric_plot import MetricPlot
from .progress import Progress
from .provenance import Provenance
from .scrubber import Scrubber
from .spectrum_plot import SpectrumPlot

__all__ = [
    "Evolution",
    "Findings",
    "HeatMap",
    "HesdBadge",
    "LayerPicker",
    "MetricPlot",
    "Progress",
    "Provenance",
    "Scrubber",
    "SpectrumPlot",
]

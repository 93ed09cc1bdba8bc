"""The views of the kit: each alone in a cell, or several linked through one state."""

from .compare_plot import ComparePlot
from .eigenvectors import Eigenvectors
from .evolution import Evolution
from .findings import Findings
from .heat_map import HeatMap
from .hesd_badge import HesdBadge
from .hesd_map import HesdMap
from .layer_picker import LayerPicker
from .metric_plot import MetricPlot
from .parameter_plot import ParameterPlot
from .progress import Progress
from .provenance import Provenance
from .scrubber import Scrubber
from .spectrum_plot import SpectrumPlot

__all__ = [
    "ComparePlot",
    "Eigenvectors",
    "Evolution",
    "Findings",
    "HeatMap",
    "HesdBadge",
    "HesdMap",
    "LayerPicker",
    "MetricPlot",
    "ParameterPlot",
    "Progress",
    "Provenance",
    "Scrubber",
    "SpectrumPlot",
]

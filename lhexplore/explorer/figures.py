"""The pictures: pure functions from values to Bokeh figures that know all their snapshots."""

from .evolution_figure import evolution_plot
from .frames import Plot, pack_frames, refresh, show_frame
from .heat_figure import cell_of, heat_map
from .loss_figure import loss_plot
from .metric_figure import metric_plot
from .places import snapshot_ticks, snapshot_words
from .spectrum_figure import spectrum_plot
from .theme import apply_theme

__all__ = [
    "Plot",
    "apply_theme",
    "cell_of",
    "evolution_plot",
    "heat_map",
    "loss_plot",
    "metric_plot",
    "pack_frames",
    "refresh",
    "show_frame",
    "snapshot_ticks",
    "snapshot_words",
    "spectrum_plot",
]

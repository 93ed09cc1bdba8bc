"""The pictures: pure functions from values to Bokeh figures that know all their snapshots."""

from .eigenvector_figure import eigenvector_plot
from .evolution_figure import evolution_plot
from .frames import Plot, join_frames, pack_frames, refresh, show_frame
from .heat_figure import cell_of, heat_map
from .hesd_figure import hesd_map
from .loss_figure import loss_plot
from .metric_figure import metric_plot
from .parameter_figure import gradient_plot, singular_plot, weights_plot
from .places import snapshot_ticks, snapshot_words
from .spectrum_figure import spectrum_plot
from .theme import apply_theme

__all__ = [
    "Plot",
    "apply_theme",
    "cell_of",
    "eigenvector_plot",
    "evolution_plot",
    "gradient_plot",
    "heat_map",
    "hesd_map",
    "join_frames",
    "loss_plot",
    "metric_plot",
    "pack_frames",
    "refresh",
    "show_frame",
    "singular_plot",
    "snapshot_ticks",
    "snapshot_words",
    "spectrum_plot",
    "weights_plot",
]

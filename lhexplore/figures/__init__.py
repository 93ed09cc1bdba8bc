"""Figures for papers, drawn by matplotlib from what is known: vector files with text as text, the same every time.

Each function takes a session, a Course or bare spectra and returns a :class:`Picture`. Nothing is computed: what is
missing is named in the caption, with the call that computes it. Needs ``pip install 'lhexplore[plots]'``.
"""

from .compare import compare
from .evolution_picture import evolution
from .heat_picture import heat_map
from .hesd_picture import hesd_map
from .losses_picture import losses
from .metric_picture import metric
from .picture import Picture
from .spectrum_picture import spectrum

__all__ = ["Picture", "compare", "evolution", "heat_map", "hesd_map", "losses", "metric", "spectrum"]

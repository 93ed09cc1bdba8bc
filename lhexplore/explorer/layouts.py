"""What a page is made of, by name; for others, put views into boxes of your own."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..errors import SettingError, suggest
from .view import View
from .views import (
    Eigenvectors,
    Evolution,
    Findings,
    HeatMap,
    HesdBadge,
    HesdMap,
    LayerPicker,
    MetricPlot,
    ParameterPlot,
    Progress,
    Provenance,
    Scrubber,
    SpectrumPlot,
)

FULL = "full"
LAYOUTS: Mapping[str, tuple[type[View], ...]] = MappingProxyType(
    {
        FULL: (Scrubber, LayerPicker, SpectrumPlot, HeatMap, HesdBadge, Progress, Findings, Provenance),
        "compact": (Scrubber, LayerPicker, SpectrumPlot, HesdBadge, Progress),
        "spectrum": (Scrubber, SpectrumPlot, Progress),
    }
)
TABS: Mapping[str, type[View]] = MappingProxyType(
    {
        "Evolution": Evolution,
        "Metrics": MetricPlot,
        "HESD path": HesdMap,
        "Weights": ParameterPlot,
        "Eigenvectors": Eigenvectors,
    }
)  # of the full page, one behind the other


def views_of(layout: Any) -> tuple[type[View], ...]:
    """The kinds of views of a layout.

    Raises:
        SettingError: there is none of that name; with near ones.
    """
    if not isinstance(layout, str) or layout not in LAYOUTS:
        raise SettingError(
            f"layout cannot be {layout!r:.80}. {suggest(str(layout), LAYOUTS)} For another page, put views into boxes: "
            "ipywidgets.HBox([lhexplore.views.SpectrumPlot(session), lhexplore.views.HeatMap(session)])."
        )
    return LAYOUTS[layout]

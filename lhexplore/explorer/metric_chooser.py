"""A list of the metrics of spectra, one's own among them: those that are registered later appear at once."""

from collections.abc import Callable
from typing import Any

import ipywidgets as w

from ..diagnosis import METRICS, on_registered
from .choices import METRIC
from .heat_figure import metric_name
from .hub import Hub
from .weak import weakly


class MetricChooser(w.Dropdown):  # type: ignore[misc]
    """Chooses the metric of all views, and follows what others choose and register."""

    def __init__(self, hub: Hub, words: str, watch: Callable[..., None]) -> None:
        self._hub = hub
        self._filling = False
        look = {"layout": w.Layout(width="auto"), "style": {"description_width": "initial"}}
        super().__init__(options=_options(), value=hub.metric, description=words, **look)
        self.observe(weakly(self._on_value), "value")
        watch(self._on_metric, "metric")
        self._forget = on_registered(weakly(self._on_registered))

    def close(self) -> None:
        """Let go of the metrics. Harmless when repeated."""
        self._forget()
        super().close()

    def _on_registered(self) -> None:
        hub = self._hub
        if hub.metric not in METRICS:
            hub.metric = METRIC
        self._filling = True  # a new list chooses its first entry
        try:
            with self.hold_sync():
                self.options, self.value = _options(), hub.metric
        finally:
            self._filling = False
        hub.changed("metric")  # one of the same name may have other values

    def _on_value(self, change: Any) -> None:
        if not self._filling:
            self._hub.metric = change["new"]

    def _on_metric(self, _change: Any) -> None:
        self.value = self._hub.metric


def _options() -> tuple[tuple[str, str], ...]:
    return tuple((metric_name(metric), name) for name, metric in METRICS.items())

"""The widgets an explorer is made of, how they stand together, and their end."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import ipywidgets as w

from .card import Card
from .findings_list import FindingsList
from .layer_list import LayerList
from .pane import BokehPane
from .player import Player
from .status import Status
from .words import Words


@dataclass(frozen=True, slots=True)
class Parts:
    """Every widget on the screen, in reading order, which is the tab order."""

    heading: Words
    loss: BokehPane
    slider: w.IntSlider
    player: Player
    layers: LayerList
    view: w.Dropdown
    scale: w.Dropdown
    split: w.Dropdown
    spectrum: BokehPane
    spectrum_words: Words
    metric: w.Dropdown
    heat: BokehPane
    heat_words: Words
    card: Card
    compute: w.Button
    stop: w.Button
    status: Status
    code: Words
    findings: FindingsList
    boxes: list[w.Box] = field(default_factory=list)

    @classmethod
    def make(
        cls,
        *,
        count: int,
        frame: int,
        views: Mapping[str, str],
        scales: Mapping[str, str],
        metrics: Mapping[str, str],
        splits: Mapping[str, str],
        on_heat: Callable[[int], None],
        on_go: Callable[[str, int], None],
    ) -> "Parts":
        """Make all widgets for ``count`` snapshots, showing ``frame``; options come with what they are called."""
        clock = w.IntSlider(frame, 0, max(count - 1, 0), readout=False, disabled=count < 2)
        parts = cls(
            heading=Words(role="heading"),
            loss=BokehPane(name="Loss over training", clock=clock, guides=True),
            slider=clock,
            player=Player(clock=clock),
            layers=LayerList(clock=clock),
            view=_dropdown("View", views),
            scale=_dropdown("Scale", scales),
            split=_dropdown("Data", splits),
            spectrum=BokehPane(name="Spectrum", clock=clock),
            spectrum_words=Words(clock=clock),
            card=Card(clock=clock),
            status=Status(),
            compute=w.Button(description="Compute", tooltip="Compute what is missing; try again what failed"),
            stop=w.Button(description="Stop", tooltip="Stop after the product at hand; what is done stays"),
            code=Words(role="code", clock=clock),
            metric=_dropdown("Metric", metrics),
            heat=BokehPane(name="Layers over training", clock=clock, picks="heat-cells", on_pick=on_heat),
            heat_words=Words(clock=clock),
            findings=FindingsList(on_go=on_go),
        )
        for item in fields(parts):
            if isinstance(getattr(parts, item.name), w.DOMWidget):
                getattr(parts, item.name).add_class(_CLASSES.get(item.name, f"lhx-part-{item.name}"))
        return parts

    def arrange(self) -> list[w.Widget]:
        """Put the parts into rows."""
        scrub = self._box(w.VBox, "lhx-scrub", self.slider, self.player)
        left = self._box(w.VBox, "lhx-left", self.layers)
        split = [self.split] if len(self.split.options) > 1 else []
        looks = self._box(w.HBox, "lhx-caption", self.view, self.scale, *split)
        metric = self._box(w.HBox, "lhx-caption", self.metric)
        middle = self._box(
            w.VBox, "lhx-middle", looks, self.spectrum, self.spectrum_words, metric, self.heat, self.heat_words
        )
        right = self._box(w.VBox, "lhx-right", self.card)
        main = self._box(w.HBox, "lhx-main", left, middle, right)
        doing = self._box(w.HBox, "lhx-doing", self.compute, self.stop, self.status)
        return [self.heading, self.loss, scrub, main, doing, self.code, self.findings]

    def close(self) -> None:
        """Close every widget, with its layout and style: ipywidgets remembers all of them otherwise."""
        named = [getattr(self, item.name) for item in fields(self)]
        for part in [*(p for p in named if isinstance(p, w.Widget)), *self.boxes]:
            close_widget(part)

    def _box(self, kind: type[w.Box], name: str, *children: w.Widget) -> w.Box:
        box = kind(children)
        box.add_class(name)
        self.boxes.append(box)
        return box


def close_widget(widget: w.Widget) -> None:
    """Close a widget and the models that only it uses."""
    for name in ("layout", "style"):
        model: Any = getattr(widget, name, None)
        if isinstance(model, w.Widget):
            model.close()
    widget.close()


def _dropdown(description: str, options: Mapping[str, str]) -> w.Dropdown:
    return w.Dropdown(
        options=[(words, option) for option, words in options.items()],
        description=description,
        layout=w.Layout(width="auto"),
        style={"description_width": "initial"},
    )


_CLASSES = {
    "loss": "lhx-pane-loss",
    "spectrum": "lhx-pane-spectrum",
    "heat": "lhx-pane-heat",
    "slider": "lhx-slider",
    "stop": "lhx-stop",
    "compute": "lhx-compute",
    "view": "lhx-view",
    "scale": "lhx-scale",
    "split": "lhx-split",
    "metric": "lhx-metric",
}

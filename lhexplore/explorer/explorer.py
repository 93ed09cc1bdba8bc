"""The live explorer: a hub and the views of the kit, arranged as a page.

Classes of the page's elements, for style sheets and tests: ``lhx-explorer`` around everything; ``lhx-kit`` around the
page and every view in it, with ``lhx-kit-scrubber``, ``lhx-kit-layer-picker`` and so on for each; ``lhx-heading``;
``lhx-pane-loss``, ``lhx-pane-spectrum`` and ``lhx-pane-heat`` (Bokeh figures, each with an ``lhx-figure`` whose
``aria-label`` says what it shows, and an ``lhx-legend``); ``lhx-player`` with the buttons ``lhx-prev``, ``lhx-play``,
``lhx-next`` and the label ``lhx-place``; ``lhx-slider``; ``lhx-layers`` (list box) with one ``lhx-layer`` per row, in
it ``lhx-layer-name``, ``lhx-layer-size``, ``lhx-layer-fill``, ``lhx-layer-number``, ``lhx-layer-mark``; ``lhx-view``,
``lhx-scale``, ``lhx-metric`` and, where there is held-out data, ``lhx-split`` (dropdowns); ``lhx-card`` with one
``lhx-page`` per snapshot (``lhx-current`` is on show), in it ``lhx-badge`` (``data-kind`` is the colour), ``lhx-
numbers``, ``lhx-beside``, ``lhx-method``, ``lhx-findings`` with one ``lhx-finding`` each; ``lhx-run`` (findings of
the run) with ``lhx-go`` (buttons that lead there) and ``lhx-silent``; ``lhx-progress``, ``lhx-progress-text``, ``lhx-
status``, ``lhx-problem``; ``lhx-compute`` and ``lhx-stop`` (buttons); ``lhx-code``; ``lhx-shelf`` (tabs) with a
``lhx-tab`` around the view of each; ``lhx-help`` (the ``?`` of a view) and ``lhx-note`` (what went wrong, below a
view that stands alone).
"""

from typing import Any

import ipywidgets as w

from ..diagnosis import Diagnosis
from ..diagnosis.number_texts import counted
from ..spectrum import Spectrum
from .axes import SCALES
from .choices import METRIC, only_known
from .escape import plain
from .hub import Hub
from .layouts import FULL, TABS, views_of
from .rerun import close_earlier_of_this_cell
from .shelf import Shelf
from .shown import Shown
from .spectrum_figure import KINDS
from .state import SPLITS, Request
from .view import View
from .views import HeatMap, HesdBadge, LayerPicker, Progress, Scrubber, SpectrumPlot
from .words import Words


class Explorer(Shown):
    """Scrub through training and see every layer's Hessian spectrum.

    Settings are traits: set them in code and the screen follows, and the other way round. What is missing is computed
    beside the kernel, what is looked at first; :meth:`settled` waits for it.

    Args:
        session: whose spectra to show.
        layout: "full", with further views in tabs that are made when they are opened; "compact", without map and tabs;
            or "spectrum", with nothing but time and spectrum. The box has an ipywidgets layout, too, once it is made.
        layer: the first usable one if left out; "whole network" for all of them as one block.
        snapshot: index (negative ones count from the end) or label.
        view: "histogram", "density", "cumulative" or "rug".
        scale: "symlog", "linear" or "loglog", of the eigenvalue axis.
        metric: what the bars of the layer list and the map show; one of ``lhexplore.diagnosis.METRICS``.
        split: "data" (of training), "held_out", or "both": held-out spectra as outlines over those of training.
        layers: which layers to show and compute; all usable ones if left out.
        overlay: up to three layers whose spectra lie over that of the layer on show.
        ggn: whether that of its Gauss-Newton matrix does, too.
        follow: whether, at the last snapshot, to go along when training writes another.

    Attributes:
        views: what the page is made of, in reading order; of the tabs, those that were opened.
        tabs: the tabs, with ``selected_index``; None where the layout has none.

    Raises:
        UnknownLayerError, UnknownSnapshotError, SettingError: with near names.
        TypeError: for a keyword that does not exist.
    """

    tabs: Shelf | None = None
    _page: tuple[View, ...] = ()

    def __init__(
        self,
        session: Any,
        *,
        layout: str = FULL,
        layer: str | None = None,
        snapshot: int | str = -1,
        view: str = KINDS[0],
        scale: str = SCALES[0],
        metric: str = METRIC,
        split: str = SPLITS[0],
        layers: Any = None,
        overlay: Any = (),
        ggn: bool = False,
        follow: bool = False,
        **unknown: Any,
    ) -> None:
        only_known("Explorer", unknown)
        kinds = views_of(layout)
        named = {name: value for name, value in (("layers", layers), ("layer", layer)) if value is not None}
        shape = {"view": view, "scale": scale, "metric": metric, "split": split, "overlay": overlay, "ggn": ggn}
        shape["follow"] = follow
        hub = Hub(session, **named, snapshot=snapshot, **shape)
        super().__init__(hub)
        try:
            with hub.gathering():
                self.children = self._arranged(kinds, dict(TABS) if layout == FULL else {})
            self.add_class("lhx-explorer")
            close_earlier_of_this_cell(self)
            hub.start()
            if self.tabs is not None:
                self.tabs.wake()  # drawn after the rest
        except BaseException:
            self.close()
            raise

    @property
    def views(self) -> tuple[View, ...]:
        """What the page is made of; of the tabs, those that were opened."""
        return (*self._page, *(() if self.tabs is None else self.tabs.views))

    def _arranged(self, kinds: tuple[type[View], ...], tabs: dict[str, type[View]]) -> list[w.Widget]:
        """Make the views, in reading order, which is the tab order, and put them into rows."""
        heading = self.own(Words(role="heading"), "lhx-part-heading")
        heading.say([plain(self.hub.session.description, longest=200)])
        made = {kind: self.own(kind(self.hub)) for kind in kinds}
        self._page = tuple(made.values())
        columns = (("lhx-left", (LayerPicker,)), ("lhx-middle", (SpectrumPlot, HeatMap)), ("lhx-right", (HesdBadge,)))
        present = {name: [made.pop(kind) for kind in of if kind in made] for name, of in columns}
        main = [self.box(w.VBox, name, *views) for name, views in present.items() if views]
        if tabs:
            self.tabs = self.own(Shelf(self.hub, tabs))
        return [
            heading,
            made.pop(Scrubber),
            self.box(w.HBox, "lhx-main" if len(main) > 1 else "lhx-alone", *main),
            made.pop(Progress),
            *([] if self.tabs is None else [self.tabs]),
            *made.values(),
        ]

    # ---- what is on screen, for code

    @property
    def request(self) -> Request:
        """The call that gives exactly what is on screen; ``str`` of it is the line of code."""
        return self.hub.look().request

    @property
    def spectrum(self) -> Spectrum | None:
        """What the spectrum view shows now; preliminary while ``complete`` is False, None while nothing is known."""
        return self.hub.computing.known.best(self.hub.look().cell)

    @property
    def held_out(self) -> Spectrum | None:
        """The same block and snapshot on held-out data; None while it is unknown or not shown."""
        wanted = [cell for cell in self.hub.look().cells if cell.split == "held_out"]
        return self.hub.computing.known.best(wanted[0]) if wanted else None

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What the card says, as a value; None while the spectrum is not complete."""
        return self.hub.computing.diagnosis(self.hub.look().cell)

    @property
    def badge(self) -> str:
        """Symbol and word of the HESD badge, or why there is none."""
        cell, computing = self.hub.look().cell, self.hub.computing
        found = computing.hesd(cell)
        if found is not None:
            return f"{found.symbol} {found.word}"
        return "failed" if computing.known.failure(cell) else "not known yet"

    @property
    def status(self) -> str:
        """What is going on, in words."""
        return "Closed." if self._ended else self.hub.status

    @property
    def problem(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        return self.hub.problem

    def stop(self) -> None:
        """Stop computing within one product; what is done stays. Looking at something missing computes just that."""
        self.hub.stop()

    def compute(self) -> None:
        """Compute everything that is missing, and try again what failed."""
        self.hub.compute()

    def _words(self) -> str:
        split = f", split={self.split!r}" if self.split != SPLITS[0] else ""
        return (
            f"{counted(len(self.hub.look().rows), 'layer')} × {counted(len(self.hub.offer.labels), 'snapshot')}; "
            f"{super()._words()}, view={self.view!r}, scale={self.scale!r}, metric={self.metric!r}{split}"
        )

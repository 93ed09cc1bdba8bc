"""The live explorer: one widget that joins a session, what is known of it, and the views.

Flow: a click or a trait only records a wish. A worker pulls the missing spectra from the session, best first; a
painter puts what is known on the screen a few times a second. The slider moves the frame of every view in the browser,
so what is known is scrubbed without the kernel.

Classes of the page's elements, for style sheets and tests: ``lhx-explorer`` around everything; ``lhx-heading``;
``lhx-pane-loss``, ``lhx-pane-spectrum`` and ``lhx-pane-heat`` (Bokeh figures, each with an ``lhx-figure`` whose
``aria-label`` says what it shows, and an ``lhx-legend``); ``lhx-player`` with the buttons ``lhx-prev``, ``lhx-play``,
``lhx-next`` and the label ``lhx-place``; ``lhx-slider``; ``lhx-layers`` (list box) with one ``lhx-layer`` per row, in
it ``lhx-layer-name``, ``lhx-layer-size``, ``lhx-layer-fill``, ``lhx-layer-number``, ``lhx-layer-mark``; ``lhx-view``,
``lhx-scale``, ``lhx-metric`` and, where there is held-out data, ``lhx-split`` (dropdowns); ``lhx-card`` with one
``lhx-page`` per snapshot (``lhx-current`` is on show), in it ``lhx-badge`` (``data-kind`` is the colour),
``lhx-numbers``, ``lhx-beside``, ``lhx-method``, ``lhx-findings`` with one ``lhx-finding`` each; ``lhx-run`` (findings
of the run) with ``lhx-go`` (buttons that lead there) and ``lhx-silent``; ``lhx-progress``, ``lhx-progress-text``,
``lhx-status``, ``lhx-problem``; ``lhx-compute`` and ``lhx-stop`` (buttons); ``lhx-code``.
"""

import threading
import time
from operator import index
from typing import Any

import ipywidgets as w
import traitlets as t

from ..diagnosis import METRICS, Diagnosis
from ..errors import ClosedError, SettingError, suggest
from ..spectrum import Spectrum
from .axes import SCALES
from .computing import Computing
from .escape import plain
from .figures import cell_of
from .heat_figure import metric_name
from .known import words
from .painter import Painter
from .parts import Parts
from .places import place
from .rerun import close_earlier_of_this_cell
from .screen import AT_ONCE, Screen, problem_words, status_words
from .spectrum_figure import KINDS
from .state import SPLITS, Request, Selection, entries_of, find_entry, find_snapshot, shown
from .weak import weakly

METRIC = "lambda_max"
SPLIT_WORDS = {"data": "training", "held_out": "held-out", "both": "both"}
FIRST_LOOK = 0.3  # seconds the constructor may spend on reading what is cached


Loose = t.TraitType[Any, Any]  # hands every value, None included, to the validators


class Explorer(w.VBox):  # type: ignore[misc]
    """Scrub through training and see every layer's Hessian spectrum.

    Settings are traits: set them in code and the screen follows, and the other way round. What is missing is computed
    beside the kernel, what is looked at first; :meth:`settled` waits for it.

    Args:
        session: whose spectra to show.
        layer: the first usable one if left out; "whole network" for all of them as one block.
        snapshot: index (negative ones count from the end) or label.
        view: "histogram" or "density".
        scale: "symlog" or "linear", of the eigenvalue axis.
        metric: what the bars of the layer list and the map show; one of ``lhexplore.diagnosis.METRICS``.
        split: "data" (of training), "held_out", or "both": held-out spectra as outlines over those of training.
        layers: which layers to show and compute; all usable ones if left out.

    Raises:
        UnknownLayerError, UnknownSnapshotError, SettingError: with near names.
        TypeError: for a keyword that does not exist.
    """

    _ended = True  # until everything is made

    snapshot: Loose = t.TraitType(0, help="Index of the snapshot on show; a label or a negative index may be set.")
    layer: Loose = t.TraitType("", help='Name of the layer on show; "whole network" (or None) for all as one block.')
    layers: Loose = t.TraitType((), help="Names of the entries that are shown and may be chosen.")
    view = t.Unicode(KINDS[0], help='"histogram" or "density".')
    scale = t.Unicode(SCALES[0], help='"symlog" or "linear".')
    metric = t.Unicode(METRIC, help="Metric of the layer list and of the map.")
    split = t.Unicode(SPLITS[0], help='Which data: "data", "held_out" or "both".')

    def __init__(
        self,
        session: Any,
        *,
        layer: str | None = None,
        snapshot: int | str = -1,
        view: str = "histogram",
        scale: str = "symlog",
        metric: str = METRIC,
        split: str = SPLITS[0],
        layers: Any = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise TypeError(
                f"Explorer has no {', '.join(map(repr, sorted(unknown)))}; "
                "it has layer, snapshot, view, scale, metric, split and layers."
            )
        if session.closed:
            raise ClosedError("This session was closed. Make a new Session: cached results are found again.")
        self._session = session
        self._entries = entries_of(session.layers)
        self._labels = tuple(row.label for row in session.snapshots)
        self._places = tuple(place(row) for row in session.snapshots)
        self._notes = threading.Lock()  # around what is stale; held for moments only
        self._drawing = threading.RLock()  # several widgets change together
        self._stale = set(AT_ONCE)
        super().__init__()
        try:
            self.layers = [entry.name for entry in self._entries if entry.usable] if layers is None else layers
            self.layer = self._first() if layer is None else layer
            self.snapshot, self.view, self.scale, self.metric, self.split = snapshot, view, scale, metric, split
        except Exception:
            self._unregister()
            raise
        self._ended = False
        self._parts = Parts.make(
            count=len(self._labels),
            frame=int(self.snapshot),
            views={name: name for name in KINDS},
            scales={name: name for name in SCALES},
            metrics={name: metric_name(metric) for name, metric in METRICS.items()},
            splits=SPLIT_WORDS if session.has_held_out else {SPLITS[0]: SPLIT_WORDS[SPLITS[0]]},
            on_heat=weakly(self._on_heat),
            on_go=weakly(self._on_go),
        )
        self._computing = Computing(session, look=self._look, changed=weakly(self._changed))
        self._screen = Screen(session, self._parts, self._computing)
        self._painter = Painter(weakly(self._paint))
        self._wire()
        self._computing.read_cached(seconds=FIRST_LOOK)
        self._paint()
        self.add_class("lhx-explorer")
        self.children = self._parts.arrange()
        close_earlier_of_this_cell(self)
        self._computing.wish()
        self._changed("findings")  # drawn soon, and not here: all that is cached is read for it

    # ---- what is on screen, for code

    @property
    def request(self) -> Request:
        """The call that gives exactly what is on screen; ``str`` of it is the line of code."""
        return self._look().request

    @property
    def spectrum(self) -> Spectrum | None:
        """What the spectrum view shows now; preliminary while ``complete`` is False, None while nothing is known."""
        return self._computing.known.best(self._look().cell)

    @property
    def held_out(self) -> Spectrum | None:
        """The same block and snapshot on held-out data; None while it is unknown or not shown."""
        wanted = [cell for cell in self._look().cells if cell.split == "held_out"]
        return self._computing.known.best(wanted[0]) if wanted else None

    @property
    def diagnosis(self) -> Diagnosis | None:
        """What the card says, as a value; None while the spectrum is not complete."""
        return self._computing.diagnosis(self._look().cell)

    @property
    def badge(self) -> str:
        """Symbol and word of the HESD badge, or why there is none."""
        cell = self._look().cell
        found = self._computing.hesd(cell)
        if found is not None:
            return f"{found.symbol} {found.word}"
        return "failed" if self._computing.known.failure(cell) else "not known yet"

    @property
    def status(self) -> str:
        """What is going on, in words."""
        return "Closed." if self._ended else status_words(self._computing)

    @property
    def problem(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        return problem_words(self._computing, self._look())

    def settled(self, timeout: float | None = 60) -> None:
        """Block until nothing is pending: everything wanted is computed (or stopped, or refused) and drawn.

        Raises:
            TimeoutError: something was still pending after ``timeout`` seconds.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while self._computing.busy or self._painter.busy:
            try:
                for thread in (self._computing, self._painter):
                    thread.wait(None if end is None else max(end - time.monotonic(), 0))
            except TimeoutError:
                done, failed, total = self._computing.count()
                raise TimeoutError(
                    f"Not settled after {timeout:g} s: {done + failed} of {total} spectra are there. Wait longer, or "
                    "narrow explorer.layers."
                ) from None

    def stop(self) -> None:
        """Stop computing within one product; what is done stays. Looking at something missing computes just that."""
        self._computing.stop()
        self._parts.stop.disabled = True
        self._painter.ask(hurry=True)

    def compute(self) -> None:
        """Compute everything that is missing, and try again what failed."""
        self._computing.resume()
        self._changed("layer", "map", hurry=True)

    def close(self) -> None:
        """Stop computing, close every widget and let go of the session. Harmless when repeated."""
        if self._ended:
            return
        self._ended = True
        self._computing.close()
        self._painter.close()
        self.unobserve_all()
        with self._drawing:
            for tie in self._ties:
                tie.unlink()
            self._parts.close()
            self._unregister()

    def _unregister(self) -> None:
        self.layout.close()
        super().close()

    def __repr__(self) -> str:
        if self._ended:
            return "Explorer(closed)"
        looking = self._look()
        return (
            f"Explorer({len(looking.rows)} layers × {len(self._labels)} snapshots; {self.layer!r} at "
            f"{self._labels[self.snapshot]!r}, view={self.view!r}, scale={self.scale!r}, metric={self.metric!r}"
            + (f", split={self.split!r})" if self.split != SPLITS[0] else ")")
        )

    def _repr_mimebundle_(self, **keywords: Any) -> Any:
        data = super()._repr_mimebundle_(**keywords)
        return {**data, "text/plain": repr(self)}  # in full: ipywidgets would cut it, and notebooks are compared by it

    # ---- traits

    @t.validate("layer")
    def _valid_layer(self, proposal: Any) -> str:
        return find_entry(shown(self._entries, self.layers), proposal["value"]).name

    @t.validate("snapshot")
    def _valid_snapshot(self, proposal: Any) -> int:
        value = proposal["value"]
        return find_snapshot(self._labels, value if isinstance(value, str) else index(value))

    @t.validate("layers")
    def _valid_layers(self, proposal: Any) -> tuple[str, ...]:
        value = proposal["value"]
        wanted = {find_entry(self._entries, name).name for name in ([value] if isinstance(value, str) else value)}
        if not wanted:
            raise SettingError("layers must name at least one layer.")
        return tuple(entry.name for entry in self._entries if entry.name in wanted)

    @t.validate("view", "scale", "metric")
    def _valid_choice(self, proposal: Any) -> str:
        name, value = proposal["trait"].name, proposal["value"]
        allowed = {"view": KINDS, "scale": SCALES, "metric": tuple(METRICS)}[name]
        if value not in allowed:
            raise SettingError(f"{name} cannot be {value!r}. {suggest(value, allowed)}")
        return str(value)

    @t.validate("split")
    def _valid_split(self, proposal: Any) -> str:
        value = proposal["value"]
        if value not in SPLITS:
            raise SettingError(f"split cannot be {value!r}. {suggest(value, SPLITS)}")
        if value != SPLITS[0] and not self._session.has_held_out:
            raise SettingError(
                f"split cannot be {value!r}: this session has no held-out data. Give Session(..., held_out=loader)."
            )
        return str(value)

    # ---- wires: what a person does only records a wish

    def _look(self) -> Selection:
        return Selection(
            self._entries, self._labels, self._places, self.layers, self.layer, self.snapshot,
            view=self.view, scale=self.scale, metric=self.metric, split=self.split,
        )  # fmt: skip

    def _first(self) -> str:
        """What to show when nothing was asked for: the first layer, else the whole network."""
        wanted = [entry for entry in shown(self._entries, self.layers) if entry.usable]
        return next((entry.name for entry in wanted if entry.key is not None), wanted[0].name)

    def _wire(self) -> None:
        parts = self._parts
        parts.heading.say([plain(self._session.description, longest=200)])
        parts.player.describe(self._places)
        self._list_layers()
        controls = {"snapshot": parts.slider, "view": parts.view, "scale": parts.scale, "metric": parts.metric}
        controls |= {"split": parts.split} if self._session.has_held_out else {}
        self._ties = [t.link((self, name), (widget, "value")) for name, widget in controls.items()]
        parts.layers.observe(weakly(self._on_row), "selected")
        parts.stop.on_click(weakly(self._on_stop))
        parts.compute.on_click(weakly(self._on_compute))
        self.observe(weakly(self._on_selection), ["layer", "snapshot", "layers"])
        self.observe(weakly(self._on_look), ["view", "scale", "metric"])
        self.observe(weakly(self._on_split), ["split"])

    def _list_layers(self) -> None:
        rows = self._look().shown
        self._parts.layers.describe(rows)
        self._parts.layers.selected = next((i for i, row in enumerate(rows) if row.name == self.layer), -1)

    def _on_selection(self, change: Any) -> None:
        if change["name"] == "layers" and self.layer not in self.layers:
            self.layer = self._first()
        if change["name"] != "snapshot":
            self._list_layers()
            self._changed("layer", "map", hurry=True)
        else:
            self._changed()
        self._computing.wish()

    def _on_look(self, change: Any) -> None:
        self._changed("map" if change["name"] == "metric" else "layer", hurry=True)

    def _on_split(self, _change: Any) -> None:
        self._changed("layer", "map", "findings", hurry=True)
        self._computing.wish()

    def _on_row(self, change: Any) -> None:
        rows = self._look().shown
        if 0 <= change["new"] < len(rows) and rows[change["new"]].usable:
            self.layer = rows[change["new"]].name

    def _on_heat(self, cell: int) -> None:
        row, column = cell_of(cell, len(self._labels))
        rows = self._screen.map_rows
        if 0 <= row < len(rows):
            self.layer, self.snapshot = rows[row].name, column

    def _on_go(self, layer: str, snapshot: int) -> None:
        self.snapshot = snapshot
        if layer in self.layers:
            self.layer = layer

    def _on_stop(self, _button: Any) -> None:
        self.stop()

    def _on_compute(self, _button: Any) -> None:
        self.compute()

    # ---- drawing

    def _changed(self, *what: str, hurry: bool = False) -> None:
        with self._notes:
            self._stale.update(what)
        self._painter.ask(hurry=hurry)

    def _paint(self) -> None:
        with self._drawing:
            if self._ended:
                return
            with self._notes:
                stale, self._stale = self._stale, set()
            try:
                self._screen.paint(self._look(), stale)
            except Exception as failure:  # noqa: BLE001  belongs on the screen too
                self._computing.trouble = f"The screen could not be brought up to date. {words(failure)}"
                self._screen.paint_status(self._look())
            if self._computing.judging.stale and not self._computing.closed:
                self._changed("findings")  # what came in is judged when the time has come

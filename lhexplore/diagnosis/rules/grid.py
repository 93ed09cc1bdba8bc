"""A course as arrays: one row per layer, one column per snapshot, NaN where something is not known."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from ...layer_state import LayerState
from ...spectrum import Spectrum
from ..course import Course
from ..hesd.hesd import Hesd, hesd
from ..losses import TRAIN
from ..metrics.table import metric
from ..thresholds import Thresholds
from .chain import Chain

Numbers = Float[ndarray, "layers snapshots"]
Mask = Bool[ndarray, "layers snapshots"]


class Grid:
    """What rules ask a course for, formed when asked for and kept. The last row is the whole network, or the run."""

    def __init__(self, course: Course, limits: Thresholds, alarms: Mapping[str, float]) -> None:
        """``alarms``: by layer, the optimiser step of a trace monitor's first alarm."""
        self.course, self.limits, self.alarms = course, limits, alarms
        self.labels = course.snapshots
        self.layers: tuple[str | None, ...] = (*(name for name in course.layers if name is not None), None)
        self.column = {label: t for t, label in enumerate(self.labels)}
        self.spectra = self._place(course.spectra)
        self._metrics: dict[str, tuple[Numbers, Mask]] = {}
        self._types: dict[tuple[int, int], Hesd] = {}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return len(self.layers), len(self.labels)

    # ---- spectra

    @cached_property
    def known(self) -> Mask:
        """Where there is a spectrum."""
        return np.asarray(self.spectra != np.array(None), bool)

    @cached_property
    def layer_rows(self) -> Mask:
        """Rows of single layers, as a column that fits all snapshots."""
        return np.array([[name is not None] for name in self.layers])

    def of(self, function: Callable[[Spectrum], float], where: Mask | None = None) -> Numbers:
        """Form one number per spectrum."""
        cells = self.known if where is None else self.known & where
        return _fill(self.shape, cells, [function(s) for s in self.spectra[cells]])

    @cached_property
    def largest(self) -> Numbers:
        """λmax, whatever its sign."""
        return self.of(lambda s: s.nodes[-1])

    @cached_property
    def smallest(self) -> Numbers:
        """λmin, whatever its sign."""
        return self.of(lambda s: s.nodes[0])

    @cached_property
    def band(self) -> Numbers:
        """Half-width of the zero band."""
        return self.of(lambda s: s.zero_band)

    @cached_property
    def magnitude(self) -> Numbers:
        """Largest absolute eigenvalue."""
        return np.asarray(np.maximum(np.abs(self.largest), np.abs(self.smallest)))

    @cached_property
    def trace(self) -> Numbers:
        """Traces as measured."""
        return self.of(lambda s: s.trace)

    @cached_property
    def flat(self) -> Mask:
        """Where no eigenvalue leaves the zero band."""
        return np.asarray(self.magnitude <= self.band)

    @cached_property
    def psd(self) -> Mask:
        """Where the block is PSD by structure, and its smallest value does not contradict that beyond its error."""
        cells = self.of(lambda s: float(s.psd)) == 1
        error = self.of(lambda s: s.error, cells & (self.smallest < -self.band))
        return np.asarray(cells & ~(self.smallest < -np.fmax(self.band, error)))

    def metric(self, name: str, where: Mask | None = None) -> Numbers:
        """A registered metric, formed only ``where`` it is asked for; NaN elsewhere."""
        cells = self.known if where is None else self.known & where
        empty = np.full(self.shape, np.nan), np.zeros(self.shape, bool)
        values, formed = self._metrics.setdefault(name, empty)
        missing = cells & ~formed
        values[missing] = [metric(name, s) for s in self.spectra[missing]]
        formed[missing] = True
        return np.where(cells, values, np.nan)

    def type_of(self, i: int, t: int) -> Hesd:
        """The HESD type of a cell by itself."""
        if (i, t) not in self._types:
            self._types[i, t] = hesd(self.spectra[i, t], floor=self.limits.floor)
        return self._types[i, t]

    # ---- beside the spectra

    @cached_property
    def held_out(self) -> Float[ndarray, "layers snapshots"]:
        """λmax on held-out data where it leaves the zero band."""
        spectra = self._place({cell: s for cell, s in self.course.held_out.items() if cell in self.course.spectra})
        cells = np.asarray(spectra != np.array(None), bool)
        return _fill(self.shape, cells, [s.largest if s.largest > s.zero_band else np.nan for s in spectra[cells]])

    @cached_property
    def gradient(self) -> Numbers:
        """Gradient norms of the layers."""
        return self.state(lambda state: state.gradient_norm)

    def state(self, function: Callable[[LayerState], float]) -> Numbers:
        """One number per state of a layer."""
        values = np.full(self.shape, np.nan)
        rows = {name: i for i, name in enumerate(self.layers)}
        for (name, label), state in self.course.states.items():
            if name in rows:
                values[rows[name], self.column[label]] = function(state)
        return values

    def recorded(self, names: Sequence[str]) -> Float[ndarray, " snapshots"]:
        """What was recorded under the one of ``names`` that is known at most snapshots; NaN where it is not."""
        rows = [self.course.losses.get(label, {}) for label in self.labels]
        best = max(names, key=lambda name: sum(name in row for row in rows))
        return np.array([float(row.get(best, np.nan)) for row in rows])

    @cached_property
    def train_loss(self) -> Float[ndarray, " snapshots"]:
        """Training losses."""
        return self.recorded(TRAIN)

    @cached_property
    def small_loss(self) -> Float[ndarray, " snapshots"]:
        """Below what a training loss is small: a share of the largest so far, an absolute value without a past."""
        count = np.cumsum(~np.isnan(self.train_loss))
        so_far = np.fmax.accumulate(self.train_loss)
        return np.where(count > 1, self.limits.small_loss_ratio * so_far, self.limits.small_loss)

    # ---- comparisons

    def chain(self, judged: Mask | None = None) -> Chain:
        """Each layer through time, over the cells that can be ``judged``."""
        return Chain(self.known if judged is None else judged, self._basis)

    @cached_property
    def _basis(self) -> Int[ndarray, "layers snapshots"]:
        """Spectra of equal number were made alike: courses are followed through these only."""
        kinds: dict[tuple[bool, int], int] = {}
        basis = np.zeros(self.shape, int)
        basis[self.known] = [kinds.setdefault((s.exact, s.steps), len(kinds)) for s in self.spectra[self.known]]
        return basis

    @cached_property
    def mixed(self) -> tuple[str | None, ...]:
        """Blocks whose spectra were not all made alike."""
        return tuple(
            name
            for name, basis, known in zip(self.layers, self._basis, self.known, strict=True)
            if len(set(basis[known].tolist())) > 1
        )

    def beside(self, values: Numbers) -> Numbers:
        """Divide by the median of the other layers; NaN where too few of them are known."""
        layers = np.where(self.layer_rows, values, np.nan)
        ascending = np.sort(layers, axis=0)  # NaN last
        rank = np.argsort(np.argsort(layers, axis=0, kind="stable"), axis=0, kind="stable")
        count = np.sum(~np.isnan(layers), axis=0) - ~np.isnan(layers)  # of the others
        last = len(self.layers) - 1

        def other(place: Int[ndarray, "layers snapshots"]) -> Numbers:
            """The value at ``place`` among the others, which lack the layer's own."""
            at = np.clip(place + (place >= rank), 0, last)
            return np.take_along_axis(ascending, at, axis=0)

        with np.errstate(all="ignore"):
            middle = (other((count - 1) // 2) + other(count // 2)) / 2
            usable = (count >= self.limits.others) & (middle > 0) & np.isfinite(middle)
            return np.where(usable, layers / middle, np.nan)

    @cached_property
    def among_others(self) -> Mask:
        """Where a layer stands beside enough others to be compared with them."""
        beside = self.known & self.layer_rows
        return np.asarray(beside & (beside.sum(axis=0) > self.limits.others))

    def others(self, i: int, t: int) -> tuple[str, ...]:
        """The layers that a cell is compared with."""
        return tuple(n for k, n in enumerate(self.layers) if n is not None and k != i and self.known[k, t])

    def _place(self, cells: Mapping[tuple[str | None, str], Spectrum]) -> ndarray:
        """Put spectra where they belong."""
        rows = {name: i for i, name in enumerate(self.layers)}
        table = np.full(self.shape, None, object)
        for (name, label), spectrum in cells.items():
            table[rows[name], self.column[label]] = spectrum
        return table


def _fill(shape: tuple[int, int], cells: Mask, numbers: Sequence[float]) -> Numbers:
    values = np.full(shape, np.nan)
    values[cells] = numbers
    return values

"""The frozen value everyone shares: a layer's eigenvalue distribution with its evidence.

Exact and estimated spectra have one shape: ``nodes`` with ``weights`` that sum to 1. Nothing here knows torch,
files or notebooks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from numbers import Integral, Real
from typing import Any, Literal, NamedTuple
from weakref import WeakValueDictionary

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from .errors import NotExactError, SettingError, whole_number

Method = Literal["dense", "factor", "lanczos"]
METHODS = ("dense", "factor", "lanczos")
EXACT_METHODS = ("dense", "factor")
Scalar = str | int | float | bool | None
WHOLE = "whole network"  # what the whole network is called where a name is needed; its layer is None in code
_COUNT_ROUND_OFF = 1e-6  # of a weight times the size, which is a number of eigenvalues: sizes are far below 1e9


class Histogram(NamedTuple):
    """Shares of a spectrum between ``edges``: ``mass`` sums to 1 when the edges cover it."""

    edges: Float[ndarray, " b+1"]
    mass: Float[ndarray, " b"]
    # ± 2 of it covers 95 %: of the probes' spread, and of weight that few steps leave on the wrong side of an edge.
    stderr: Float[ndarray, " b"]  # 0 for exact spectra, NaN where one probe cannot tell


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Spectrum:
    """Eigenvalues of one symmetric block, exact or estimated.

    ``nodes`` (ascending, loss per squared parameter) carry ``weights`` that sum to 1: ``weights[i]`` is the share
    of eigenvalues at or near ``nodes[i]``. ``probe[i]`` tells which start vector node ``i`` came from (0 for exact
    spectra); every probe carries the same total weight. ``residuals[i]`` bounds the distance from ``nodes[i]`` to
    some true eigenvalue of the block. ``layer`` is None for the whole network.
    """

    layer: str | None
    snapshot: str
    size: int
    nodes: Float[ndarray, " m"]
    weights: Float[ndarray, " m"]
    method: Method
    residuals: Float[ndarray, " _"] = field(default_factory=lambda: np.empty(0))  # left out: zeros
    probe: Int[ndarray, " _"] = field(default_factory=lambda: np.empty(0, int))  # left out: all from probe 0
    curvature: str = "hessian"  # "hessian" | "ggn"
    functional: str = "loss"
    split: str = "data"  # "data" | "held_out"
    steps: int = 0  # Lanczos steps asked for; 0 for exact methods
    probes: int = 0  # start vectors used so far; 0 for exact methods
    trace: float = float("nan")
    trace_stderr: float = 0.0  # widened by Student's t so that ± 2 of it covers 95 %
    symmetry_defect: float = 0.0  # estimate of ‖H − Hᵀ‖ / ‖H‖ of the operator as computed
    zero_band: float = 0.0  # |λ| up to here has no sign (methods: zero band)
    psd: bool = False  # positive semi-definite by structure: Hv = Gv was checked, or the block is a GGN
    complete: bool = True  # False for a value that a stream will still improve, or that was cut short
    reason: str = ""  # why this method, in words
    notes: tuple[str, ...] = ()  # what the reader should know (math kernel used, up-cast weights, ...)
    products: int = 0  # operator-vector products spent
    seconds: float = 0.0
    provenance: Mapping[str, Scalar] = field(default_factory=dict)  # digests, seed, dtype, mode, device, ...

    def __post_init__(self) -> None:
        nodes, weights, residuals = (_frozen(name, getattr(self, name)) for name in ("nodes", "weights", "residuals"))
        if not residuals.size:
            residuals = np.zeros_like(nodes)
        probe = _whole("probe", self.probe) if np.size(self.probe) else np.zeros(nodes.shape, np.int64)
        shapes = {nodes.shape, weights.shape, residuals.shape, probe.shape}
        if len(shapes) != 1 or nodes.ndim != 1 or not nodes.size:
            raise SettingError(
                f"A spectrum needs as many nodes as weights, residuals and probe numbers, got shapes {nodes.shape}, "
                f"{weights.shape}, {residuals.shape}, {probe.shape}."
            )
        if self.method not in METHODS:
            raise SettingError(f"method must be one of {METHODS}, got {self.method!r}.")
        if not (np.isfinite(nodes).all() and np.isfinite(weights).all()):
            raise SettingError("A spectrum holds finite numbers only: got NaN or infinity among nodes or weights.")
        if (weights < 0).any() or abs(weights.sum() - 1) > 1e-9:
            raise SettingError(f"Weights must be non-negative and sum to 1, got a sum of {weights.sum()!r}.")
        if not (np.isfinite(residuals).all() and (residuals >= 0).all()):
            raise SettingError(f"residuals must be finite and not negative, got {residuals.min()!r} at least.")
        object.__setattr__(self, "size", whole_number("size", self.size))
        if not (isinstance(self.zero_band, Real) and 0 <= self.zero_band < np.inf):
            raise SettingError(f"zero_band must be finite and not negative, got {self.zero_band!r}.")
        if not isinstance(self.trace, Real):
            raise SettingError(f"trace must be a number, or NaN to have it computed; got {self.trace!r}.")
        if self.exact:
            _check_counts(weights * self.size, self.size)
        order = np.argsort(nodes, kind="stable")
        for name, array in (("nodes", nodes), ("weights", weights), ("residuals", residuals), ("probe", probe)):
            object.__setattr__(self, name, _kept(array[order]))
        if np.isnan(self.trace):
            object.__setattr__(self, "trace", float(self.size * (self.nodes @ self.weights)))
        if np.isinf(self.trace):
            raise SettingError(f"trace must be finite, got {self.trace!r}.")
        object.__setattr__(self, "provenance", dict(self.provenance))

    @property
    def exact(self) -> bool:
        """Whether every eigenvalue is known up to round-off."""
        return self.method in EXACT_METHODS

    @property
    def eigenvalues(self) -> Float[ndarray, " n"]:
        """All ``size`` eigenvalues, ascending.

        Raises:
            NotExactError: for an estimated spectrum, which knows a distribution, not a list.
        """
        if not self.exact:
            raise NotExactError(
                f"Only exact spectra list all their eigenvalues; this one is an estimate ({self.method}, "
                f"{self.steps} steps × {self.probes} probes). Use .nodes and .weights, or ask for method='dense'."
            )
        return np.repeat(self.nodes, np.rint(self.weights * self.size).astype(int))

    @property
    def largest(self) -> float:
        """The largest node: an eigenvalue (exact), or a lower bound of the largest one (see ``error``)."""
        return float(self.nodes[-1])

    @property
    def smallest(self) -> float:
        """The smallest node: an eigenvalue (exact), or an upper bound of the smallest one (see ``error``)."""
        return float(self.nodes[0])

    @property
    def magnitude(self) -> float:
        """The largest absolute node."""
        return float(max(abs(self.nodes[0]), abs(self.nodes[-1])))

    @property
    def error(self) -> float:
        """How far the two extreme nodes are, at most, from some eigenvalue each, in the unit of the nodes.

        The larger residual of the two, plus the round-off that the operator's own asymmetry reveals. For an exact
        spectrum this bounds the error of the largest and the smallest eigenvalue. For an estimate it does not: after
        few steps a node may be close to an inner eigenvalue while the outermost one was not seen yet. Many steps (the
        default 100), or the same ends from more steps, are the evidence that they are the extremes.
        """
        ends = max(self.residuals[0], self.residuals[-1])
        return float(ends + self.magnitude * max(self.symmetry_defect, 10 * np.finfo(np.float64).eps))

    def converged(self, *, rtol: float = 1e-3) -> Bool[ndarray, " m"]:
        """Which nodes lie within ``rtol`` of the largest absolute node from a true eigenvalue."""
        return np.asarray(self.residuals <= rtol * self.magnitude)

    def per_probe(self) -> list[tuple[Float[ndarray, " k"], Float[ndarray, " k"]]]:
        """The discrete measures of the single probes: (nodes, weights that sum to 1), in probe order."""
        return [
            (self.nodes[mine], self.weights[mine] / self.weights[mine].sum())
            for mine in (self.probe == i for i in np.unique(self.probe))
        ]

    def density(self, grid: Float[ndarray, " g"], *, width: float) -> Float[ndarray, " g"]:
        """Smooth the spectrum with a Gaussian of standard deviation ``width`` (same unit as the nodes)."""
        if not (isinstance(width, Real) and 0 < width < np.inf):
            raise SettingError(f"width must be a positive number, got {width!r}.")
        at = _frozen("grid", grid)
        if at.ndim != 1:
            raise SettingError(f"grid must be a row of numbers, got {grid!r:.80}.")
        z = (at[:, None] - self.nodes) / width
        return np.asarray(np.exp(-(z**2) / 2) @ self.weights / (width * np.sqrt(2 * np.pi)))

    def moment(self, order: int) -> float:
        """Mean of λ to the power ``order`` over all eigenvalues."""
        return float(self.weights @ self.nodes**order)

    def histogram(self, bins: int | Float[ndarray, " e"] = 50) -> Histogram:
        """Sum the weights between edges; the last bin includes its right edge.

        Args:
            bins: a number of equal bins over the whole spectrum, or ascending edges. A spectrum of a single value
                gets edges that touch only that value's neighbourhood, not ±0.5.
        """
        edges = self._edges(whole_number("bins", bins)) if isinstance(bins, Integral) else _frozen("bins", bins)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0):
            raise SettingError(f"bins must be a positive number or at least two ascending edges, got {bins!r}.")
        rows = self._rows(edges)
        mass = rows.mean(axis=0)
        if self.exact:
            stderr = np.zeros_like(mass)
        elif len(rows) > 1:
            stderr = self._spread(rows) + self._at_edges(edges) / 2
        else:
            stderr = np.full_like(mass, np.nan)
        return Histogram(edges, mass, stderr)

    def _rows(self, edges: Float[ndarray, " e"]) -> Float[ndarray, "p b"]:
        """The share of every bin as each probe sees it."""
        numbers, probe = np.unique(self.probe, return_inverse=True)
        bins = len(edges) - 1
        at = np.where(self.nodes == edges[-1], bins - 1, np.searchsorted(edges, self.nodes, side="right") - 1)
        inside = (at >= 0) & (at < bins)
        shares = self.weights / np.bincount(probe, self.weights)[probe]
        flat = np.bincount(probe[inside] * bins + at[inside], shares[inside], len(numbers) * bins)
        return flat.astype(np.float64, copy=False).reshape(len(numbers), bins)  # of nothing, numpy counts in integers

    def _spread(self, rows: Float[ndarray, "p b"]) -> Float[ndarray, " b"]:
        """Standard errors of shares over probes, wide enough for few of them.

        A probe's share of a bin is zᵀPz/n with the projector P on the bin's eigenvectors; its variance is at most
        2 mass/n. That is a floor, for the same reason as with traces: a share that rests on few eigenvalues is skewed.
        """
        from scipy.special import stdtrit  # scipy is slow to import, and only computing needs it

        count = len(rows)
        spread = np.maximum(rows.std(axis=0, ddof=1), np.sqrt(2 * rows.mean(axis=0) / self.size))
        return np.asarray(spread / np.sqrt(count) * stdtrit(count, 0.975) / 2)

    def _at_edges(self, edges: Float[ndarray, " e"]) -> Float[ndarray, " b"]:
        """Weight that may lie on either side of a bin's edges, whatever the probes: mean over them.

        The distribution that a probe sees differs from its quadrature at x by no more than the weight of the node
        next to x (Chebyshev, Markov, Stieltjes); a node that is farther from x than its residual is on its own side.
        """
        total = np.zeros(len(edges))
        for number in np.unique(self.probe):
            # beyond both ends there is a node that is never doubtful
            mine = np.concatenate([[-1], np.flatnonzero(self.probe == number), [-1]])
            nodes = np.where(mine < 0, np.nan, self.nodes[mine])
            before = np.searchsorted(nodes[1:-1], edges)
            doubtful = [np.abs(nodes[at] - edges) < self.residuals[mine[at]] for at in (before, before + 1)]
            sides = [self.weights[mine[at]] * far for at, far in zip((before, before + 1), doubtful, strict=True)]
            total += np.maximum(*sides)  # every probe's weights sum to 1 / probes
        return total[:-1] + total[1:]

    def _edges(self, bins: int) -> Float[ndarray, " e"]:
        low, high = self.smallest, self.largest
        pad = 1e-9 * (self.magnitude or 1.0)
        if high - low <= pad:
            low, high = low - pad, high + pad
        return np.linspace(low, high, bins + 1)

    def __repr__(self) -> str:
        where = WHOLE if self.layer is None else repr(self.layer)
        kind = "exact" if self.exact else f"{self.probes} probes × {self.steps} steps"
        return (
            f"Spectrum({where} at {self.snapshot!r}, size {self.size}, {self.method} ({kind}), "
            f"λ from {self.smallest:.4g} to {self.largest:.4g} ± {self.error:.1g})"
        )


def _check_counts(counts: Float[ndarray, " m"], size: int) -> None:
    """Refuse weights of an exact spectrum that do not stand for whole numbers of eigenvalues."""
    whole = np.rint(counts)
    if np.abs(counts - whole).max() > _COUNT_ROUND_OFF or whole.sum() != size:
        raise SettingError(
            f"An exact spectrum of size {size} lists {size} eigenvalues: each weight must be a whole number of them "
            f"over the size, but {counts[np.abs(counts - whole).argmax()]:.6g} stand at one node and {whole.sum():.0f} "
            "at all of them."
        )


def _whole(name: str, values: object) -> Int[ndarray, " ..."]:
    numbers = _frozen(name, values)
    if not (np.isfinite(numbers).all() and (numbers >= 0).all() and (numbers == np.rint(numbers)).all()):
        raise SettingError(f"{name} must be whole numbers from 0 up, got {values!r:.80}.")
    return numbers.astype(np.int64)


_ALIKE: WeakValueDictionary[tuple[Any, ...], ndarray] = WeakValueDictionary()


def _kept(values: ndarray) -> ndarray:
    """Read-only; where all values are the same, shared with others like it: a run has thousands of such arrays."""
    values.setflags(write=False)
    if (values != values[0]).any():
        return values
    return _ALIKE.setdefault((values.dtype.char, values.shape, values[:1].tobytes()), values)


def _frozen(name: str, values: object) -> Float[ndarray, " ..."]:
    """An own float64 copy that nobody can write to.

    Raises:
        SettingError: there are no numbers in it.
    """
    try:
        given = np.asarray(values)
        array = np.array(given, dtype=np.float64) if given.dtype.kind in "fiu" or not given.size else None
    except (TypeError, ValueError):  # rows of unequal lengths
        array = None
    if array is None:
        raise SettingError(f"{name} must be real numbers, got {values!r:.80}.")
    array.setflags(write=False)
    return array


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One item of a computation: ``done`` of ``total`` products, and the value so far where there is a better one."""

    done: int
    total: int
    spectrum: Spectrum | None = None

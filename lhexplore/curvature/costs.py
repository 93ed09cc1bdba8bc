"""What a spectrum will cost: seconds from what is known of the machine and the model, corrected by what ran before.

A forecast is made of two things. The work says how much there is to do, in units that something has a speed for:
products with a layer, gradients of the network, multiplications, bytes moved, eigenvalue problems. The correction is
what earlier runs took over what they were forecast to take: that of the same layer and method where there is one, else
that of layers of the same kind by the same method, else half of that of any layer (in powers). So one run corrects all
its kin, and a request for more steps is still scaled by its work.

Times on a shared machine err to one side: something else ran meanwhile. Hence medians, the lower one of two.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..errors import SettingError
from .bases import PASSES
from .operators import GRAPH_BYTES
from .planner import BATCHED_COLUMN, DENSE_COPIES, Choice

UPPER = 5 / 8  # of a Gram matrix that is multiplied out: its upper blocks, four of them a side
RECENT = 9  # runs that are remembered of one layer and method: old ones ran on a machine with other things to do
PRODUCT = 1.1  # gradients of the part from the layer on: measured 0.8 to 1.3 on layers of many kinds
NETWORK = 1.4  # times as much where the block is the whole network, each of whose layers is differentiated
GRAPHS = 2.0  # gradients to build the graph of the Hessian's products and that of the Gauss-Newton block's
FORWARD = 1 / 3  # of a gradient: the backward pass multiplies twice where the forward pass multiplies once
STEP_CALLS = 250  # small operations that one Lanczos step is worth besides its product: what counts for small blocks
MATRIX_PASSES = 6  # over the matrix of the dense method, besides its eigenvalues
UNTRIED, KIN, ONCE, STEADY = 3.0, 2.0, 1.5, 1.25  # factors of uncertainty, by what is known


@dataclass(frozen=True, slots=True)
class Rates:
    """The speed of one machine in one dtype: see :func:`lhexplore.curvature.machine.machine_rates`."""

    flops: float  # of a matrix product, per second (a multiply-add is two)
    bandwidth: float  # bytes read from memory per second
    call: float  # seconds of the smallest operation, on the side of Python
    square: float  # all eigenvalues of an n × n matrix take square·n² + cube·n³ seconds
    cube: float

    def eigenvalues(self, size: int) -> float:
        """Seconds for all eigenvalues of a symmetric matrix."""
        return self.square * size**2 + self.cube * size**3


@dataclass(frozen=True, slots=True)
class Work:
    """What a computation consists of; all counts may be fractions."""

    gradients: float = 0.0  # of the whole network
    products: float = 0.0  # with the layer, one vector at a time
    columns: float = 0.0  # with the layer, many vectors at a time
    flops: float = 0.0
    bytes: float = 0.0  # through memory
    calls: float = 0.0
    solves: tuple[int, ...] = ()  # sizes of the matrices whose eigenvalues are wanted


@dataclass(frozen=True, slots=True)
class Forecast:
    """The truth is expected between ``seconds / factor`` and ``seconds * factor``; NaN where nothing is known."""

    seconds: float
    factor: float = math.inf


@dataclass(slots=True)
class Costs:
    """A model of seconds that learns.

    Args:
        rates: of the machine.
        shares: per layer, the share of a gradient's seconds that its part of the network takes: from the layer on.
            Layers that are not listed count as all of it.
        kinds: per layer, what it is ("Conv2d"): layers of one kind correct each other first.

    One thread writes; others may read meanwhile.
    """

    rates: Rates
    shares: Mapping[str, float] = field(default_factory=dict)
    kinds: Mapping[str, str] = field(default_factory=dict)
    _seen: dict[tuple[str, str | None], tuple[tuple[Work, float], ...]] = field(default_factory=dict)
    _known: dict[tuple[str, str | None, Work], Forecast] = field(default_factory=dict)  # until something is observed

    def observe(self, kind: str, layer: str | None, work: Work | float, seconds: float) -> None:
        """Learn that ``work`` took ``seconds``.

        Args:
            kind: "gradient" or "product", which everything else is made of, or the name of a method.
            layer: which layer; None for the whole network.
            work: what was done; a number counts gradients, products, or products of a method.
            seconds: of the whole of it. What is not a positive number teaches nothing.
        """
        if math.isfinite(seconds) and seconds > 0:
            key = (kind, _place(kind, layer))
            self._seen[key] = (*self._seen.get(key, ()), (_work(kind, work), seconds))[-RECENT:]
            self._known = {}

    def predict(self, kind: str, layer: str | None, work: Work | float) -> Forecast:
        """Say how long ``work`` will take; NaN seconds before a gradient was observed or as much as one run."""
        known, asked = self._known, (kind, layer, _work(kind, work))
        if asked not in known:
            plain = self._plain(*asked)
            ratio, factor = self._correction(kind, _place(kind, layer))
            known[asked] = Forecast(plain * ratio, factor if math.isfinite(plain) else math.inf)
        return known[asked]

    def _plain(self, kind: str, layer: str | None, work: Work) -> float:
        """Seconds without correction: the sum over the parts."""
        if kind == "gradient":
            return work.gradients
        gradient = self._correction("gradient", None)[0] if self._ratios("gradient", None) else math.nan
        if kind == "product":
            share = self.shares.get(layer, 1.0) if layer is not None else NETWORK
            return work.products * PRODUCT * share * gradient
        product = self.predict("product", layer, 1).seconds
        parts = (
            (work.gradients, gradient),
            (work.products, product),
            (work.columns, BATCHED_COLUMN * product),
            (work.flops, 1 / self.rates.flops),
            (work.bytes, 1 / self.rates.bandwidth),
            (work.calls, self.rates.call),
        )
        return sum(count * each for count, each in parts if count) + sum(map(self.rates.eigenvalues, work.solves))

    def _ratios(self, kind: str, layer: str | None) -> list[float]:
        """Measured over forecast seconds of a layer's runs, as the forecast would be now."""
        runs = self._seen.get((kind, layer), ())
        found = (seconds / plain for work, seconds in runs if (plain := self._plain(kind, layer, work)) > 0)
        return [ratio for ratio in found if math.isfinite(ratio)]

    def _correction(self, kind: str, layer: str | None) -> tuple[float, float]:
        """What to multiply a forecast by, and the factor of uncertainty that is left."""
        own = self._ratios(kind, layer)
        if own:
            ratio = lower_median(own)
            spread = math.exp(2 * lower_median([abs(math.log(each / ratio)) for each in own]))
            return ratio, max(STEADY, spread) if len(own) > 1 else ONCE
        kin = {at: ratios for other, at in tuple(self._seen) if other == kind and (ratios := self._ratios(kind, at))}
        alike = {at: ratios for at, ratios in kin.items() if self._family(at) == self._family(layer)}
        if kin:
            ratio = lower_median([lower_median(ratios) for ratios in (alike or kin).values()])
            return (ratio, KIN) if alike else (math.sqrt(ratio), UNTRIED)
        return 1.0, UNTRIED

    def _family(self, layer: str | None) -> str:
        return self.kinds.get(layer, "") if layer is not None else "whole network"


def lanczos_work(size: int, *, products: int, steps: int, probes: int, itemsize: int) -> Work:
    """Count the work of ``probes`` Lanczos runs: products, and reading the basis to stay orthogonal to all of it.

    Step k reads its k basis vectors twice per pass: for the products with them, and for taking them away.
    """
    steps = min(steps, size)
    read = 2 * PASSES * steps * (steps + 1) / 2 * size * itemsize * probes
    return Work(GRAPHS, products, bytes=read, calls=STEP_CALLS * products)


def dense_work(size: int) -> Work:
    """Count the work of the exact spectrum of a block: all its columns, and the eigenvalues in float64."""
    return Work(GRAPHS, columns=size, bytes=MATRIX_PASSES * 8 * size**2, solves=(size,))


def factor_work(
    sizes: Sequence[int], *, rows: int, passes: float, widths: Sequence[int] = (), itemsize: int = 8
) -> Work:
    """Count the work of exact Gauss-Newton spectra of layers of these ``sizes`` by the factor method.

    Args:
        sizes: parameters of each layer.
        rows: of the factor M: passes times examples.
        passes: backward passes that give them.
        widths: outputs of each layer whose rows are outer products of its inputs and output gradients (a dense layer
            called once, on vectors), 0 for other layers; their MMᵀ is that of the gradients times that of the inputs.
        itemsize: bytes of a number.

    Each pass goes back to all layer outputs (as much as a forward pass) and makes rows of M from them (as much again).
    The smaller Gram matrix of each layer, MᵀM or MMᵀ, gives the eigenvalues; only its upper blocks are computed.
    """
    flops = moved = 0.0
    for size, width in zip(sizes, widths or [0] * len(sizes), strict=True):
        outer = width and rows <= size
        flops += 2 * UPPER * rows * min(rows, size) * (width if outer else size)
        moved += 3 * itemsize * rows**2 if outer else 0
    return Work(FORWARD * (1 + 2 * passes), flops=flops, bytes=moved, solves=tuple(min(rows, size) for size in sizes))


def peak_bytes(choice: Choice, *, graph: int, count: int, chunk: int = 1) -> int:
    """Bytes at the peak, on top of model and data; where a plain forward pass takes more than this, that is the peak.

    Args:
        choice: method and its matrices or bases.
        graph: bytes of one micro-batch's gradient graph, for this layer.
        count: micro-batches.
        chunk: vectors multiplied at once; each is carried through a graph of its own size.
    """
    held, carried = graph * min(count, max(1, GRAPH_BYTES // max(1, graph))), chunk * graph
    if choice.method == "dense":  # the copies of the matrix come when all columns are there
        return held + max(choice.bytes, choice.bytes // DENSE_COPIES + carried)
    return held + choice.bytes + carried


def lower_median(values: Iterable[float]) -> float:
    """The middle value; of two, the smaller one.

    Raises:
        SettingError: there is none.
    """
    ordered = sorted(values)
    if not ordered:
        raise SettingError("The median of no value at all was asked for.")
    return ordered[(len(ordered) - 1) // 2]


def _place(kind: str, layer: str | None) -> str | None:
    return None if kind == "gradient" else layer


def _work(kind: str, work: Work | float) -> Work:
    if isinstance(work, Work):
        return work
    return Work(gradients=work) if kind == "gradient" else Work(products=work)

"""How long a request will take: from one timed gradient at first, then from what ran."""

from collections.abc import Callable, Sequence
from math import nan

import torch

from ..curvature import Choice, Layer
from ..curvature.costs import Costs, Work, dense_work, factor_work, lanczos_work, peak_bytes
from ..curvature.machine import machine_rates
from ..curvature.shares import graph_bytes, time_gradient
from ..snapshots import Snapshot
from ..spectrum import Spectrum
from .lane import Lane
from .request import Request


class Forecast:
    """Seconds of requests; NaN until `calibrate` was called or something ran."""

    def __init__(self, lane: Lane, layers: Sequence[Layer], layer: Callable[[str | None], Layer]) -> None:
        self._lane, self._layers, self._layer = lane, layers, layer
        self._costs: Costs | None = None
        self._graphs: dict[str | None, int] = {}

    @property
    def calibrated(self) -> bool:
        return self._costs is not None

    def calibrate(self, snapshot: Snapshot) -> None:
        """Time one gradient on the frozen data, and matrix products of this machine; once."""
        if self._costs is None:
            chosen = [row for row in self._layers if row.size]
            with self._lane.at("data", snapshot) as replica:
                gradient = time_gradient(replica, chosen)
                rates = machine_rates(replica.device, replica.dtype)
            self._costs = Costs(rates, gradient.shares, {row.name: row.kind for row in chosen})
            self._costs.observe("gradient", None, 1, gradient.seconds)

    def seconds(self, request: Request, choice: Choice) -> float:
        """What the request is expected to take, its share where one work answers for many."""
        if self._costs is None:
            return nan
        return self._costs.predict(choice.method, request.layer, self._work(request, choice)).seconds

    def measure_graphs(self, requests: Sequence[Request], snapshot: Snapshot) -> None:
        """Measure on a few examples how large the gradient graphs of the blocks will be; once each."""
        missing = {request.layer for request in requests} - self._graphs.keys()
        blocks = {self._layer(name).name: name for name in missing}
        if blocks:
            with self._lane.at("data", snapshot) as replica:
                found = graph_bytes(replica, [self._layer(name) for name in missing])
            self._graphs |= {blocks[name]: size for name, size in found.items()}

    def peak(self, request: Request, choice: Choice) -> int:
        """Bytes at the peak, on top of model and data; without gradient graphs before they were measured."""
        graph, count = self._graphs.get(request.layer, 0), self._lane.replica.count
        return peak_bytes(choice, graph=graph, count=1 if choice.method == "factor" else count)

    def observe(self, request: Request, choice: Choice, found: Spectrum) -> None:
        """Learn from what ran."""
        if self._costs is not None and found.method == choice.method:
            self._costs.observe(choice.method, request.layer, self._work(request, choice), found.seconds)

    def _work(self, request: Request, choice: Choice) -> Work:
        size, itemsize = self._layer(request.layer).size, torch.finfo(self._lane.replica.dtype).bits // 8
        shape = self._lane.factor_shape(request.split)
        if choice.method == "factor" and not isinstance(shape, str):
            together = 1 if request.layer is None else max(1, sum(row.status == "ok" for row in self._layers))
            return factor_work([size], rows=shape.rows, passes=shape.passes / together, itemsize=itemsize)
        if choice.method == "dense":
            return dense_work(size)
        return lanczos_work(
            size, products=choice.products, steps=request.steps, probes=request.probes, itemsize=itemsize
        )

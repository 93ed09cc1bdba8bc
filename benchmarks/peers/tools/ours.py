"""lhexplore, through the calls of its users."""

import time
from collections import Counter

import torch
from problem import Problem

from . import Answer, Settings, Tool


class Adapter(Tool):
    """``Session.compute()`` for all layers, with everything at its default but the dtype, which is the peers'."""

    label = "lhexplore"
    package = "lhexplore"

    @classmethod
    def load(cls) -> None:
        import lhexplore

        lhexplore.Session  # noqa: B018  names load on demand

    def __init__(self, problem: Problem, settings: Settings) -> None:
        super().__init__(problem, settings)

    def _session(self):
        import lhexplore as lh

        p = self.problem
        same = {"samples": None, "cache": False, "dtype": torch.float32, "device": p.x.device.type}
        return lh.Session(p.model, [(p.x, p.y)], p.criterion, seed=self.settings.seed, **same)

    def all_layers(self) -> Answer:
        began = time.perf_counter()
        answer = Answer()
        with self._session() as session:
            session.compute(progress=False)
            answer.seconds = time.perf_counter() - began
            for layer in self.problem.layers:
                found = session.cached(layer)
                if found is None:
                    answer.notes.append(f"{layer} has no spectrum")
                    continue
                answer.spectra[layer] = (found.nodes, found.weights)
                answer.traces[layer] = found.trace
                answer.products += found.products
                answer.how[layer] = (found.method, found.products)
        counts = Counter(method for method, _ in answer.how.values())
        answer.notes.append(", ".join(f"{count} × {method}" for method, count in sorted(counts.items())))
        return answer

    def one_layer(self) -> Answer:
        s, began = self.settings, time.perf_counter()
        with self._session() as session:
            found = session.spectrum(s.layer, method="lanczos", steps=s.steps, probes=s.layer_probes)
            seconds = time.perf_counter() - began
        return Answer({s.layer: (found.nodes, found.weights)}, products=found.products, seconds=seconds)

    def top(self) -> Answer:
        began = time.perf_counter()
        with self._session() as session:
            found = session.spectrum(None, method="lanczos", steps=50, probes=1)
            seconds = time.perf_counter() - began
        values = sorted(map(float, found.nodes), key=abs, reverse=True)[: self.settings.count]
        return Answer(values=values, products=found.products, seconds=seconds)

    def trace(self) -> Answer:
        """Exact spectra bring exact traces; elsewhere random vectors, each shared by all layers."""
        if self.problem.piecewise_linear:
            return self.all_layers()
        began = time.perf_counter()
        with self._session() as session:
            found = session.traces(probes=self.settings.trace_products)
            seconds = time.perf_counter() - began
        return Answer(traces={row.layer: row.value for row in found.layers}, products=found.products, seconds=seconds)

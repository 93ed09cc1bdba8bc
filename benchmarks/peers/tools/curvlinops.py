"""curvlinops 3.0.1: one operator per layer from its parameters, determinism check off, spectral edges given.

Its density is a smoothed curve over a grid, between edges that it would otherwise search for (for minutes, on a
singular block). Here its own Lanczos runs are called, whose nodes and weights that curve is made of: no edges and no
smoothing.
"""

import time

import numpy as np
import torch
from layerwise import layer_by_layer

from . import Answer, Tool, joined


class Adapter(Tool):
    label = "curvlinops"
    package = "curvlinops-for-pytorch"

    @classmethod
    def load(cls) -> None:
        import curvlinops  # noqa: F401

    def _operator(self, layer: str | None):
        from curvlinops import HessianLinearOperator

        p = self.problem
        parameters = list(p.model.parameters()) if layer is None else p.of(layer)
        return HessianLinearOperator(p.model, p.criterion, parameters, [(p.x, p.y)], check_deterministic=False)

    def _spectra(self, layers: list[str], probes: int) -> Answer:
        from curvlinops.papyan2020traces.spectrum import fast_lanczos

        steps = self.settings.steps

        def work(operator, products: int):
            torch.manual_seed(self.settings.seed)
            length = min(steps, operator.shape[0], products)
            runs = max(1, products // length)
            found = []
            for _ in range(runs):
                nodes, vectors = fast_lanczos(operator, length)
                found.append((nodes.cpu().numpy(), vectors[0].cpu().numpy() ** 2))
            # it never stops early: where the start vector's reach is exhausted it divides by zero
            kept = [(n, w) for n, w in found if np.isfinite(n).all()]
            return joined(kept) if kept else None, runs * length

        run = layer_by_layer(
            layers,
            start=self._operator,
            work=work,
            full=lambda layer: probes * min(steps, self.problem.size(layer)),
            budget=self.settings.budget,
        )
        spectra = {layer: found for layer, found in run.results.items() if found is not None}
        answer = Answer(spectra, seconds=run.seconds, products=run.products, measured=run.measured)
        if lost := run.results.keys() - spectra.keys():
            answer.notes.append(f"no finite result for {', '.join(sorted(lost))}")
        return answer

    def all_layers(self) -> Answer:
        return self._spectra(list(self.problem.layers), self.settings.probes)

    def one_layer(self) -> Answer:
        return self._spectra([self.settings.layer], self.settings.layer_probes)

    def top(self) -> Answer:
        from scipy.sparse.linalg import LinearOperator, eigsh

        operator, used = self._operator(None).to_scipy(), 0

        def product(v: np.ndarray) -> np.ndarray:
            nonlocal used
            used += 1
            return operator @ v

        counted = LinearOperator(operator.shape, matvec=product, dtype=operator.dtype)
        start = np.random.default_rng(self.settings.seed).standard_normal(operator.shape[0]).astype(operator.dtype)
        began = time.perf_counter()
        values = eigsh(counted, k=self.settings.count, which="LM", tol=1e-4, v0=start, return_eigenvectors=False)
        return Answer(values=values.tolist(), seconds=time.perf_counter() - began, products=used)

    def trace(self) -> Answer:
        """Hutch++ with all its columns at once, as its call does it; layers smaller than that by their columns."""
        from curvlinops import hutchpp_trace

        def work(operator, products: int) -> tuple[float, int]:
            torch.manual_seed(self.settings.seed)
            size = operator.shape[0]
            if size <= products:
                return torch.trace(operator @ torch.eye(size, device=operator.device)).item(), size
            third = max(1, products // 3)
            return hutchpp_trace(operator, 3 * third).item(), 3 * third

        run = layer_by_layer(
            list(self.problem.layers),
            start=self._operator,
            work=work,
            full=lambda layer: min(self.settings.trace_products, self.problem.size(layer)),
            budget=self.settings.budget,
        )
        return Answer(traces=run.results, seconds=run.seconds, products=run.products, measured=run.measured)

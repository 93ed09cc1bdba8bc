"""hessian-eigenthings 1.0.0a5: one operator per layer through its parameter filter, exact autograd products."""

import time

import numpy as np
from layerwise import layer_by_layer

from . import Answer, Tool, joined

TOP_STEPS = 50  # its default of 2k steps leaves errors of 3 to 190 %, and beyond 50 it stops reorthogonalising


class Adapter(Tool):
    label = "hessian-eigenthings"
    package = "hessian-eigenthings"

    @classmethod
    def load(cls) -> None:
        import hessian_eigenthings  # noqa: F401

    def _operator(self, layer: str | None):
        from hessian_eigenthings.loss_fns import supervised_loss
        from hessian_eigenthings.operators import HessianOperator

        p = self.problem
        chosen = None if layer is None else (lambda name, _: name in p.layers[layer])
        return HessianOperator(p.model, [(p.x, p.y)], supervised_loss(p.criterion), param_filter=chosen)

    def _spectra(self, layers: list[str], probes: int) -> Answer:
        from hessian_eigenthings.algorithms import spectral_density

        steps = self.settings.steps

        def work(operator, products: int):
            length = min(steps, operator.size, products)
            runs = max(1, products // length)
            found = spectral_density(operator, num_runs=runs, lanczos_steps=length, seed=self.settings.seed)
            nodes, weights = found.raw_eigenvalues.cpu().numpy(), found.raw_weights.cpu().numpy()
            kept = [(n[np.isfinite(n)], w[np.isfinite(n)]) for n, w in zip(nodes, weights, strict=True)]
            return joined(kept), runs * length

        run = layer_by_layer(
            layers,
            start=self._operator,
            work=work,
            full=lambda layer: probes * min(steps, self.problem.size(layer)),
            budget=self.settings.budget,
        )
        return Answer(run.results, seconds=run.seconds, products=run.products, measured=run.measured)

    def all_layers(self) -> Answer:
        return self._spectra(list(self.problem.layers), self.settings.probes)

    def one_layer(self) -> Answer:
        return self._spectra([self.settings.layer], self.settings.layer_probes)

    def top(self) -> Answer:
        from hessian_eigenthings.algorithms import lanczos

        began = time.perf_counter()
        found = lanczos(self._operator(None), k=self.settings.count, max_iter=TOP_STEPS, seed=self.settings.seed)
        seconds = time.perf_counter() - began
        return Answer(values=found.eigenvalues.tolist(), seconds=seconds, products=found.iterations)

    def trace(self) -> Answer:
        from hessian_eigenthings.algorithms import trace

        def work(operator, products: int) -> tuple[float, int]:
            third = max(1, products // 3)
            found = trace(operator, num_matvecs=3 * third, method="hutch++", seed=self.settings.seed)
            return found.estimate, 2 * third + min(third, operator.size)

        run = layer_by_layer(
            list(self.problem.layers),
            start=self._operator,
            work=work,
            full=lambda _: self.settings.trace_products,
            budget=self.settings.budget,
        )
        return Answer(traces=run.results, seconds=run.seconds, products=run.products, measured=run.measured)

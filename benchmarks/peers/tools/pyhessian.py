"""PyHessian 0.1: one object per layer with all others frozen, in single-batch mode, which keeps the gradient's graph.

Its ``density`` calls ``torch.eig``, which torch removed: that is tried and the message kept, then the time of all those
products is computed from a few of its own products. Without its vector arithmetic, so rather too kind to it.
"""

import sys
import time
import warnings

import numpy as np
import torch
from layerwise import layer_by_layer

from . import Answer, Tool

DEFLATED = 4  # eigenvalues that must fit into the budget, else one is found and its cost taken for all


class Adapter(Tool):
    label = "PyHessian"
    package = "PyHessian"

    @classmethod
    def load(cls) -> None:
        import pyhessian  # noqa: F401

    def _open(self, layer: str | None):
        from pyhessian import hessian

        p = self.problem
        p.focus(layer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of backward(create_graph=True)
            return hessian(p.model, p.criterion, data=(p.x, p.y), cuda=p.x.is_cuda)

    def _products(self, handle, count: int) -> tuple[None, int]:
        from pyhessian.utils import hessian_vector_product

        for _ in range(count):
            hessian_vector_product(handle.gradsH, handle.params, [torch.randn_like(p) for p in handle.params])
        if self.problem.x.is_cuda:
            torch.cuda.synchronize()
        return None, count

    def _density(self, layers: list[str], probes: int) -> Answer:
        torch.manual_seed(self.settings.seed)
        failure = ""
        try:
            self._open(layers[-1]).density(iter=2, n_v=1)
        except (RuntimeError, AttributeError) as error:
            failure = str(error).split(".")[0]
        run = layer_by_layer(
            layers,
            start=self._open,
            work=self._products,
            full=lambda layer: probes * min(self.settings.steps, self.problem.size(layer)),
            budget=0.0,
        )
        self.problem.focus(None)
        answer = Answer(seconds=run.seconds, products=run.products)
        answer.measured = "its products alone, a few per layer"
        answer.notes.append(
            f"density() raises: {failure}" if failure else "density() works: the adapter is out of date"
        )
        return answer

    def all_layers(self) -> Answer:
        return self._density(list(self.problem.layers), self.settings.probes)

    def one_layer(self) -> Answer:
        return self._density([self.settings.layer], self.settings.layer_probes)

    def top(self) -> Answer:
        torch.manual_seed(self.settings.seed)
        handle, count = self._open(None), self.settings.count
        used = Counted(handle)
        began = time.perf_counter()
        values, _ = handle.eigenvalues(top_n=1)
        first = time.perf_counter() - began
        if first * DEFLATED > self.settings.budget:
            measured = f"the largest of {count} eigenvalues; the others need more products each"
            return Answer(values=values, seconds=count * first, products=count * used.count, measured=measured)
        torch.manual_seed(self.settings.seed)
        used.count, began = 0, time.perf_counter()
        values, _ = handle.eigenvalues(top_n=count)
        return Answer(values=values, seconds=time.perf_counter() - began, products=used.count)

    def trace(self) -> Answer:
        """Its own rule decides how many products it takes, at most 100."""
        torch.manual_seed(self.settings.seed)

        def work(handle, most: int) -> tuple[float, int]:
            samples = handle.trace(maxIter=most)
            return float(np.mean(samples)), len(samples)

        run = layer_by_layer(
            list(self.problem.layers), start=self._open, work=work, full=lambda _: 100, budget=self.settings.budget
        )
        self.problem.focus(None)
        return Answer(traces=run.results, seconds=run.seconds, products=run.products, measured=run.measured)


class Counted:
    """Counts the products of PyHessian's single-batch mode, which calls a function of its module."""

    def __init__(self, handle) -> None:
        module = sys.modules["pyhessian.hessian"]  # the package's own name for it is taken by the class
        self.count, inner = 0, module.hessian_vector_product

        def counted(*arguments):
            self.count += 1
            return inner(*arguments)

        if not hasattr(inner, "counter"):
            counted.counter = self
            module.hessian_vector_product = counted

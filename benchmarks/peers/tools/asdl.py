"""asdl (asdfghjkl 0.1a4): exact blocks, row by row; a layer is chosen by freezing the others."""

import time
from types import MappingProxyType

import numpy as np
import torch

from . import Answer, Cannot, Tool

LARGEST = 4_200  # parameters of a block that is still run: its matrix takes 70 MB, its rows a product each
MOST_BYTES = 2e9  # of one matrix
DEFLATED = 4  # eigenvalues that must fit into the budget, else one is found and its cost taken for all


class Adapter(Tool):
    label = "asdl"
    package = "asdfghjkl"
    cannot = MappingProxyType({"one_layer": "computes whole blocks, has no Lanczos quadrature for the Hessian"})

    @classmethod
    def load(cls) -> None:
        import asdl  # noqa: F401

    def _maker(self, shape: str):
        from asdl.hessian import HessianConfig, HessianMaker

        p = self.problem
        maker = HessianMaker(p.model, HessianConfig(hessian_shapes=[shape]))
        output = maker.setup_model_call(p.model, p.x)
        maker.setup_loss_call(p.criterion, output, p.y)
        return maker

    def _block(self, layer: str):
        self.problem.focus(layer)
        self._maker("layer_wise").forward_and_backward()
        module = self.problem.model.get_submodule(layer)
        block = module.hessian.data
        del module.hessian
        return block

    def all_layers(self) -> Answer:
        """Smallest blocks first, while they fit into the budget; the others by their rows and their eigensolvers' cost.

        A block costs a product per row, and the cube of its size for its eigenvalues.
        """
        sizes = {layer: self.problem.size(layer) for layer in self.problem.layers}
        largest = max(sizes.values())
        if 4 * largest**2 > MOST_BYTES:
            raise Cannot(f"the block of its largest layer would be a matrix of {4 * largest**2 / 1e9:.0f} GB")
        answer, done, rows, solver = Answer(), [], 0.0, 0.0
        self._block(min(sizes, key=sizes.__getitem__))  # the first double backward of a process takes a while
        for layer in sorted(sizes, key=sizes.__getitem__):
            need = rows * sizes[layer] / max(sum(sizes[name] for name in done), 1)
            if sizes[layer] > LARGEST or rows + solver + need > self.settings.budget:
                continue
            began = time.perf_counter()
            block = self._block(layer)
            rows += time.perf_counter() - began
            began = time.perf_counter()
            values = torch.linalg.eigvalsh(block).cpu().numpy()
            solver += time.perf_counter() - began
            answer.spectra[layer] = (values, np.full(len(values), 1 / len(values)))
            answer.traces[layer] = float(values.sum())
            done.append(layer)
        self.problem.focus(None)
        answer.seconds, answer.products = rows + solver, sum(sizes.values())
        if len(done) < len(sizes):
            answer.measured = f"{len(done)} of {len(sizes)} layers in full; the others by rows and cubes of sizes"
            answer.seconds = rows * sum(sizes.values()) / sum(sizes[name] for name in done)
            answer.seconds += solver * sum(n**3 for n in sizes.values()) / sum(sizes[name] ** 3 for name in done)
        return answer

    def top(self) -> Answer:
        torch.manual_seed(self.settings.seed)
        maker, count = self._maker("full"), self.settings.count
        began = time.perf_counter()
        values, _ = maker.hessian_eig(top_n=1, tol=1e-4)
        first = time.perf_counter() - began
        if first * DEFLATED > self.settings.budget:
            measured = f"the largest of {count} eigenvalues; the others need more products each"
            return Answer(values=list(values), seconds=count * first, measured=measured)
        began = time.perf_counter()
        values, _ = maker.hessian_eig(top_n=count, tol=1e-4)
        return Answer(values=list(values), seconds=time.perf_counter() - began)

    def trace(self) -> Answer:
        """The diagonals of the same blocks."""
        return self.all_layers()

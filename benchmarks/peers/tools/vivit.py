"""ViViT 1.0.0: eigenvalues of the Gauss-Newton matrix through a Gram matrix, one block per layer."""

import time
from types import MappingProxyType

import numpy as np

from . import Answer, Tool

ONLY = "computes the spectra of Gauss-Newton blocks, nothing else"


class Adapter(Tool):
    label = "ViViT"
    package = "vivit-for-pytorch"
    cannot = MappingProxyType({"one_layer": ONLY, "top": ONLY, "trace": ONLY})

    @classmethod
    def load(cls) -> None:
        import vivit  # noqa: F401

    def all_layers(self) -> Answer:
        from backpack import backpack, extend
        from vivit import EigvalshComputation

        p, began = self.problem, time.perf_counter()
        computation = EigvalshComputation()
        groups = {layer: {"params": p.of(layer)} for layer in p.layers}
        hook = computation.get_extension_hook(list(groups.values()))
        model, criterion = extend(p.model), extend(p.criterion)
        with backpack(computation.get_extension(), extension_hook=hook):
            criterion(model(p.x), p.y).backward()
        answer = Answer()
        for layer, group in groups.items():
            values = computation.get_result(group).cpu().numpy()
            values = np.concatenate([np.zeros(max(0, p.size(layer) - len(values))), values])
            answer.spectra[layer] = (values, np.full(len(values), 1 / len(values)))
        answer.seconds = time.perf_counter() - began
        return answer

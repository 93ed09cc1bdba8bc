"""BackPACK 1.7.1: the exact diagonal of the Hessian in one backward pass, where it knows all modules."""

import time
from types import MappingProxyType

import torch

from . import Answer, Tool

NO_SPECTRA = "computes diagonals and Kronecker factors, no spectra"


class Adapter(Tool):
    label = "BackPACK"
    package = "backpack-for-pytorch"
    cannot = MappingProxyType({"all_layers": NO_SPECTRA, "one_layer": NO_SPECTRA, "top": NO_SPECTRA})

    @classmethod
    def load(cls) -> None:
        import backpack  # noqa: F401

    def trace(self) -> Answer:
        from backpack import backpack, extend
        from backpack.extensions import DiagHessian

        p, began = self.problem, time.perf_counter()
        model, criterion = extend(p.model), extend(p.criterion)
        with backpack(DiagHessian()):
            criterion(model(p.x), p.y).backward()
        traces = {layer: sum(float(q.diag_h.sum()) for q in p.of(layer)) for layer in p.layers}
        answer = Answer(traces=traces, seconds=time.perf_counter() - began)
        for parameter in p.parameters.values():
            del parameter.diag_h
        p.focus(None)
        torch.autograd.grad(p.loss(), list(p.model.parameters()))  # the model still works
        return answer

"""One network with its data, as every tool gets it, and the unit in which costs are told: one gradient of it all."""

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from models import MODELS, build


@dataclass(frozen=True)
class Problem:
    """Model, data, criterion; ``layers`` are the modules that own parameters, with their parameters' names."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor
    criterion: nn.Module
    layers: dict[str, tuple[str, ...]]
    piecewise_linear: bool

    @classmethod
    def load(
        cls,
        name: str,
        *,
        examples: int | None = None,
        dtype: torch.dtype = torch.float32,
        device: str = "cpu",
    ) -> "Problem":
        """Build one of the benchmark's networks; ``examples`` shortens the data."""
        model, (x, y), criterion = build(name, examples=examples)
        layers = {}
        for path, module in model.named_modules():
            own = tuple(f"{path}.{key}" for key, _ in module.named_parameters(recurse=False))
            if own:
                layers[path] = own
        model, x, y = model.to(device, dtype), x.to(device, dtype), y.to(device)
        return cls(name, model, x, y, criterion, layers, MODELS[name].piecewise_linear)

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """All parameters by name."""
        return dict(self.model.named_parameters())

    def of(self, layer: str) -> list[nn.Parameter]:
        """The parameters of one layer."""
        return [self.parameters[name] for name in self.layers[layer]]

    def size(self, layer: str) -> int:
        """How many parameters a layer has."""
        return sum(p.numel() for p in self.of(layer))

    def focus(self, layer: str | None) -> None:
        """Freeze all other layers, as the users of tools without layers do; None: thaw all. Gradients are dropped."""
        mine = self.parameters if layer is None else self.layers[layer]
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(name in mine)
            parameter.grad = None

    def loss(self, rows: slice = slice(None)) -> Tensor:
        """Mean loss of all examples, or of some."""
        loss: Tensor = self.criterion(self.model(self.x[rows]), self.y[rows])
        return loss

    def gradient(self, rows: slice = slice(None)) -> None:
        """One gradient of the mean loss in all parameters; waits until it is there."""
        torch.autograd.grad(self.loss(rows), list(self.model.parameters()))
        if self.x.is_cuda:
            torch.cuda.synchronize()

    def gradient_seconds(self, *, repeats: int = 9, at_least: float = 0.5) -> float:
        """Median time of one gradient, after a first one, over some repeats and some seconds."""
        self.gradient()
        taken: list[float] = []
        while len(taken) < repeats or sum(taken) < at_least:
            began = time.perf_counter()
            self.gradient()
            taken.append(time.perf_counter() - began)
        return statistics.median(taken)

"""Small multilayer perceptrons with exact spectra, and the faults that are planted in them."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU, "sigmoid": nn.Sigmoid}
DEAD_BIAS = -30.0  # far below anything that standardised inputs and weights of torch's size can lift


@dataclass(frozen=True)
class Shape:
    """An architecture. ``plant``: "" | "dead" (units of layer ``at`` never active) | "gate" (a side branch × gate)."""

    widths: tuple[int, ...]
    activation: str = "relu"
    norm: bool = False
    plant: str = ""
    at: int = 0
    gate: float = 1.0
    gain: float = 1.0  # of the initial weights


class Perceptron(nn.Module):
    """Linear layers with an activation between them; layer norm after each where asked for."""

    def __init__(self, inputs: int, outputs: int, shape: Shape) -> None:
        super().__init__()
        sizes = (inputs, *shape.widths, outputs)
        self.linear = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(sizes))
        self.norm = nn.ModuleList(nn.LayerNorm(width) for width in shape.widths) if shape.norm else None
        self.activation = ACTIVATIONS[shape.activation]()
        self.at, self.gate = shape.at, shape.gate
        width = shape.widths[shape.at]
        self.side = nn.Linear(width, width) if shape.plant == "gate" else None
        with torch.no_grad():
            for layer in self.linear:
                layer.weight.mul_(shape.gain)
            if shape.plant == "dead":
                self.linear[shape.at].bias[: round(0.95 * width)] = DEAD_BIAS

    def forward(self, x: Tensor) -> Tensor:
        return self.taps(x)[-1]

    def taps(self, x: Tensor) -> list[Tensor]:
        """The input, the output of every hidden activation, and the output."""
        seen = [x]
        for i, layer in enumerate(self.linear[:-1]):
            x = layer(x)
            if self.norm is not None:
                x = self.norm[i](x)
            x = self.activation(x)
            if self.side is not None and i == self.at:
                x = x + self.gate * torch.tanh(self.side(x))
            seen.append(x)
        return [*seen, self.linear[-1](x)]

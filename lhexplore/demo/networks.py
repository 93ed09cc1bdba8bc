"""Small networks whose layers are small enough for exact spectra, and smooth, so that they curve both ways.

With a smooth activation the Hessian of a hidden layer has negative eigenvalues; a piecewise linear network has none.
"""

from collections import OrderedDict
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .recipe import Activation

PIXELS, DIGITS = 64, 10


class ConvNet(nn.Module):
    """Two convolutions and two linear layers: 102, 400, 2,080 and 330 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 4, stride=2)
        self.conv2 = nn.Conv2d(6, 16, 2)
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 10)

    def forward(self, images: Float[Tensor, "b 1 8 8"]) -> Float[Tensor, "b 10"]:
        x = torch.tanh(self.conv1(images))
        x = torch.tanh(self.conv2(x)).flatten(1)
        outputs: Tensor = self.fc2(torch.tanh(self.fc1(x)))
        return outputs


class DenseNet(nn.Module):
    """Three linear layers: 2,080, 792 and 250 parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 32)
        self.fc2 = nn.Linear(32, 24)
        self.fc3 = nn.Linear(24, 10)

    def forward(self, images: Float[Tensor, "b 1 8 8"]) -> Float[Tensor, "b 10"]:
        x = torch.tanh(self.fc1(images.flatten(1)))
        outputs: Tensor = self.fc3(torch.tanh(self.fc2(x)))
        return outputs


class Stack(nn.Sequential):
    """Linear layers ``fc1``, ``fc2``, … with the same activation between them and no normalisation."""

    def __init__(self, hidden: tuple[int, ...], activation: Activation) -> None:
        parts: OrderedDict[str, nn.Module] = OrderedDict(flat=nn.Flatten())
        for number, (before, after) in enumerate(pairwise((PIXELS, *hidden, DIGITS)), start=1):
            parts[f"fc{number}"] = nn.Linear(before, after)
            if number <= len(hidden):
                parts[f"act{number}"] = ACTIVATIONS[activation]()
        super().__init__(parts)


NETWORKS: dict[str, type[nn.Module]] = {"conv": ConvNet, "dense": DenseNet}
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"tanh": nn.Tanh, "gelu": nn.GELU}


def build(network: str | tuple[int, ...], activation: Activation = "tanh") -> nn.Module:
    """Build one of ``NETWORKS``, or a ``Stack`` of these widths, on the CPU in float32, with weights still to be drawn.

    On the meta device no random number is drawn, so the caller's generators stay as they are.
    """
    with torch.device("meta"):
        built = NETWORKS[network]() if isinstance(network, str) else Stack(network, activation)
    return built.to(torch.float32).to_empty(device="cpu")


def draw_weights(network: nn.Module, *, seed: int) -> None:
    """Draw weights and biases as torch's layers do by default (uniform, ± 1/√inputs), from a generator of our own."""
    generator = torch.Generator().manual_seed(seed)
    for layer in network.children():
        if not any(True for _ in layer.parameters()):
            continue
        weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        bound = weight[0].numel() ** -0.5
        with torch.no_grad():
            weight.uniform_(-bound, bound, generator=generator)
            bias.uniform_(-bound, bound, generator=generator)

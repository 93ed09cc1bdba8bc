"""How a network is trained, as one value: everything but the length of the training and its seed."""

from dataclasses import dataclass
from typing import Literal

Activation = Literal["tanh", "gelu"]
Optimiser = Literal["sgd", "adamw", "adahessian"]
Clipping = Literal["norm", "value"]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The defaults are those of ``digits()``: found by trying, 97 % of held-out digits are right after 1,000 steps."""

    network: str | tuple[int, ...] = "conv"  # a name of ``NETWORKS``, or the widths of dense hidden layers
    activation: Activation = "tanh"  # of dense hidden layers
    optimiser: Optimiser = "sgd"
    rate: float = 0.1
    momentum: float = 0.9  # of SGD, or the decay of Adam's and AdaHessian's mean gradient
    clip: tuple[Clipping, float] | None = None  # the gradient of every batch, before the optimiser sees it
    images: int | None = None  # how many of the training images, spread evenly over them; None for all
    noise: float = 0.0  # share of training labels that are drawn anew
    enough: float | None = None  # end with the first epoch after which this share of training labels is right

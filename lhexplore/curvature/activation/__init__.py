"""Layer blocks from the second derivative in the layer's output: exact for any network behind one Linear layer."""

from .block import ActivationBlock, Compressed
from .build import activation_block
from .costs import ActivationCost, activation_cost

__all__ = ["ActivationBlock", "ActivationCost", "Compressed", "activation_block", "activation_cost"]

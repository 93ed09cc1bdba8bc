"""From model and data to spectra: the one room that knows torch's autograd."""

from .batches import Batches, freeze
from .layers import Layer, find_layer, list_layers, whole_network
from .losses import Loss, as_loss
from .replica import Replica

__all__ = ["Batches", "Layer", "Loss", "Replica", "as_loss", "find_layer", "freeze", "list_layers", "whole_network"]

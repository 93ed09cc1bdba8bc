"""From model and data to spectra: the one room that knows torch's autograd."""

from .batches import Batches, freeze
from .engine import measure
from .identity import identify_model, opaque
from .layers import Layer, find_layer, list_layers, whole_network
from .losses import Loss, as_loss
from .operators import LayerGGN, LayerHessian
from .planner import BATCHED_COLUMN, Choice, choose
from .replica import Replica
from .traces import Trace, Traces, layer_traces

__all__ = [
    "BATCHED_COLUMN",
    "Batches",
    "Choice",
    "Layer",
    "LayerGGN",
    "LayerHessian",
    "Loss",
    "Replica",
    "Trace",
    "Traces",
    "as_loss",
    "choose",
    "find_layer",
    "freeze",
    "identify_model",
    "layer_traces",
    "list_layers",
    "measure",
    "opaque",
    "whole_network",
]

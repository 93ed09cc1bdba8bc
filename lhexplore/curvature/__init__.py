"""From model and data to spectra: the one room that knows torch's autograd.

`freeze` and `Replica` make one function of model, data and loss; `choose` picks a method by sizes. `measure` answers
for one block, exactly or by an estimate, and `measure_layers` for many at once from the factor of their Gauss-Newton
blocks, where `agreements` found by numbers that it may. Traces and eigenvectors have ways of their own.
"""

from .batches import Batches, freeze
from .eigenvectors import Eigenpairs, top_eigenvectors
from .engine import CURVATURES, SPLITS, measure
from .factor.agreement import Agreement
from .factor.output import MOST_OUTPUTS
from .factored import agreements, factor_eigenvectors, fits, measure_layers
from .identity import identify, identify_model, opaque
from .layer_state import Asked, StateStep, layer_states
from .layers import Layer, find_layer, list_layers, whole_network
from .losses import Loss, as_loss
from .operators import LayerGGN, LayerHessian
from .planner import METHODS, Choice, Factor, choose
from .replica import Replica
from .traces import Trace, Traces, layer_traces

__all__ = [
    "CURVATURES",
    "METHODS",
    "MOST_OUTPUTS",
    "SPLITS",
    "Agreement",
    "Asked",
    "Batches",
    "Choice",
    "Eigenpairs",
    "Factor",
    "Layer",
    "LayerGGN",
    "LayerHessian",
    "Loss",
    "Replica",
    "StateStep",
    "Trace",
    "Traces",
    "agreements",
    "as_loss",
    "choose",
    "factor_eigenvectors",
    "find_layer",
    "fits",
    "freeze",
    "identify",
    "identify_model",
    "layer_states",
    "layer_traces",
    "list_layers",
    "measure",
    "measure_layers",
    "opaque",
    "top_eigenvectors",
    "whole_network",
]

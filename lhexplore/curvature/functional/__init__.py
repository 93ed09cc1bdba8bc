"""Functionals of one layer's block in place of the loss: sums, half squares, and what a person writes."""

from .functionals import Functional, as_functional
from .grouping import Grouping, groups
from .neurons import NeuronBlocks, NeuronStep, neuron_blocks, neuron_flops, neuron_steps, why_not
from .objective import LocalObjective, ModelObjective, local_objective

__all__ = [
    "Functional",
    "Grouping",
    "LocalObjective",
    "ModelObjective",
    "NeuronBlocks",
    "NeuronStep",
    "as_functional",
    "groups",
    "local_objective",
    "neuron_blocks",
    "neuron_flops",
    "neuron_steps",
    "why_not",
]

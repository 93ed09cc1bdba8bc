"""What is known of a local functional before anything is computed: where it is zero by structure, what it tells."""

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from .block import LocalBlock
from .elementwise import is_elementwise, second_derivative, trial_values
from .functionals import Functional

# Modules whose output is affine in weight and bias together.
_AFFINE = (nn.Linear, nn.Bilinear, _BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.Embedding)
_AFFINE_FORWARDS = {kind.forward for kind in _AFFINE} | {
    kind.forward for kind in _ConvNd.__subclasses__() if kind.__module__ == _ConvNd.__module__
}
_ROUNDING = 1e3  # epsilons by which two sums that are equal may differ, per unit of their terms


def zero_reason(block: LocalBlock, functional: Functional) -> str:
    """Why the Hessian is exactly zero, in words; empty where it is not known to be.

    Costs at most a forward of the block over all data.
    """
    if functional.form != "sum":
        return ""
    if _sums_to_constant(block):
        return "functional='sum': the block's outputs sum to the same whatever its parameters, as after a softmax"
    if is_affine(block) and all(not bool(c.any()) for c in _bends(block)):
        return (
            "functional='sum': the block is piecewise linear in its parameters, and so is the sum of its outputs. "
            "Use functional='half_square' or 'loss'"
        )
    return ""


def sum_note(block: LocalBlock, functional: Functional) -> str:
    """What a spectrum of ``functional='sum'`` can tell; empty for other functionals."""
    if functional.form != "sum" or not is_affine(block):
        return ""
    return "functional='sum' tells no more than where the activation bends up and where down (the sign of σ″)"


def is_affine(block: LocalBlock) -> bool:
    """Whether the module's output is affine in the block's parameters, by its class and forward."""
    prefix = f"{block.path}." if block.path else ""
    inside = [name.removeprefix(prefix) for name in block.layer.parameters if name.startswith(prefix)]
    return type(block.module).forward in _AFFINE_FORWARDS and set(inside) <= {"weight", "bias"}


def has_tail(block: LocalBlock) -> bool:
    """Whether anything follows the module."""
    return block.grouping.batch_norm is not None or block.grouping.activation is not None


def has_elementwise_tail(block: LocalBlock) -> bool:
    """Whether batch norm and activation work on every element by itself; tried on random numbers."""
    if not has_tail(block):
        return True
    shape = tuple(block.outputs(0, tail=False)[0].shape)
    replica = block.replica
    return is_elementwise(block.tail, shape, dtype=replica.dtype, device=replica.device)


def _bends(block: LocalBlock) -> list[torch.Tensor]:
    if not has_tail(block):
        return []
    if not has_elementwise_tail(block):
        return [torch.ones(1)]
    return [second_derivative(block.tail, h) for i in range(block.replica.count) for h in block.outputs(i, tail=False)]


def _sums_to_constant(block: LocalBlock) -> bool:
    """Whether the outputs of every example sum to the same number, at random module outputs."""
    if not has_tail(block):
        return False
    h = block.outputs(0, tail=False)[0]
    with torch.no_grad():
        a = block.tail(trial_values(tuple(h.shape), dtype=h.dtype, device=h.device))
    if a.ndim < 2 or not bool(a.any()):
        return False
    sums, size = a.flatten(1).sum(1), a.flatten(1).abs().sum(1).amax()
    return bool((sums - sums[0]).abs().amax() <= _ROUNDING * torch.finfo(a.dtype).eps * size)

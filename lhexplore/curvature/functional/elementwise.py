"""Whether a function works on every element by itself, and its second derivative there: by numbers, not by names."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..states import forked_states

Function = Callable[[Tensor], Tensor]

_SEED = 0
_SPREAD = 3.0  # of the trial values: past the bends of the activations in use, clipped ones included
_TRIALS = 2**16  # numbers tried, at least two examples' worth
_MOST = 64  # examples tried: so that few outputs are tried often
_BEND = 1e3  # epsilons of rounding that a straight line may show as a bend


def trial_values(shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device, index: int = 0) -> Tensor:
    """Random numbers in the shape of a feature map, with another number of examples."""
    rest = shape[1:]
    numbers = max(1, torch.Size(rest).numel())
    examples = min(_MOST, max(2, _TRIALS // numbers))
    generator = torch.Generator().manual_seed(_SEED + index)
    drawn = torch.randn((examples, *rest), generator=generator, dtype=torch.float64)
    return (_SPREAD * drawn).to(device=device, dtype=dtype)


def is_elementwise(function: Function, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether every output element follows from the input element in its place alone.

    Half of the elements are moved, at random: what stays in place has to come out bit for bit as before.
    """
    try:
        with torch.no_grad(), forked_states(_SEED):
            x, other = (trial_values(shape, dtype=dtype, device=device, index=i) for i in (0, 1))
            moved = trial_values(shape, dtype=dtype, device=device, index=2) > 0
            y, there = function(x.clone()), function(torch.where(moved, other, x))
            return y.shape == x.shape and y.dtype == x.dtype and torch.equal(y[~moved], there[~moved])
    except Exception:  # noqa: BLE001 (a function of something else than one tensor of this shape)
        return False


def is_straight(function: Function, shape: tuple[int, ...], *, dtype: torch.dtype, device: torch.device) -> bool:
    """Whether an elementwise function is a straight line for every element: a scale and a shift, no activation."""
    with torch.no_grad():
        x, step = (trial_values(shape, dtype=dtype, device=device, index=i) for i in (0, 1))
        low, middle, high = (function(x + k * step) for k in (-1, 0, 1))
        size = torch.stack([low.abs(), middle.abs(), high.abs()]).amax()
        bend = (high - 2 * middle + low).abs().amax()
    return float(bend) <= _BEND * torch.finfo(dtype).eps * float(size)


def second_derivative(function: Function, at: Float[Tensor, "*h"]) -> Float[Tensor, "*h"]:
    """f″ of an elementwise function at every element; zero where autograd finds the slope constant."""
    x = at.detach().clone().requires_grad_()
    y = function(x * 1.0)  # not the leaf itself: activations may write in place
    if not y.requires_grad:
        return torch.zeros_like(at)
    (slope,) = torch.autograd.grad(y.sum(), x, create_graph=True, allow_unused=True)
    if slope is None or not slope.requires_grad:
        return torch.zeros_like(at)
    (curvature,) = torch.autograd.grad(slope.sum(), x, allow_unused=True)
    return torch.zeros_like(at) if curvature is None else curvature.detach()

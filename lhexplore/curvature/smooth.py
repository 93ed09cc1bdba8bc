"""Smooth activations and layer norm with both derivatives worked out once, when the gradient graph is built.

A graph that is kept is gone through hundreds of times; torch's second backward passes evaluate exp, erf or a dozen
elementwise formulas anew each time. Here slope f′(x) and bend f″(x) are two tensors, and a product is two
multiplications. Derivatives of higher order fall back on torch's own formulas.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Derivatives = tuple[Tensor, Tensor]  # slope and bend


def _tanh(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Derivatives:
    slope = 1 - y * y
    return slope, -2 * y * slope


def _sigmoid(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Derivatives:
    slope = y * (1 - y)
    return slope, slope * (1 - 2 * y)


def _silu(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Derivatives:
    s = torch.sigmoid(x)
    return s * (1 + x * (1 - s)), s * (1 - s) * (2 + x * (1 - 2 * s))


def _gelu(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Derivatives:
    density = torch.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return (1 + torch.erf(x / math.sqrt(2))) / 2 + x * density, density * (2 - x * x)


def _gelu_tanh(x: Float[Tensor, "*s"], y: Float[Tensor, "*s"]) -> Derivatives:
    k, c = math.sqrt(2 / math.pi), 0.044715  # y = x (1 + tanh u) / 2 with u = k (x + c x³)
    t = torch.tanh(k * (x + c * x**3))
    first, second = k * (1 + 3 * c * x * x), 6 * k * c * x
    steep = 1 - t * t
    slope = (1 + t + x * steep * first) / 2
    return slope, steep * (first + x * (second / 2 - t * first * first))


@dataclass(frozen=True, slots=True)
class Formula:
    """How to compute f, g f′ with torch's own kernel for it, and both derivatives from (x, y)."""

    function: Callable[[Tensor], Tensor]
    backward: Callable[[Tensor, Tensor, Tensor], Tensor]  # (g, x, y)
    derivatives: Callable[[Tensor, Tensor], Derivatives]


_aten = torch.ops.aten
TANH = Formula(torch.tanh, lambda g, x, y: _aten.tanh_backward(g, y), _tanh)
SIGMOID = Formula(torch.sigmoid, lambda g, x, y: _aten.sigmoid_backward(g, y), _sigmoid)
SILU = Formula(F.silu, lambda g, x, y: _aten.silu_backward(g, x), _silu)
GELU = Formula(F.gelu, lambda g, x, y: _aten.gelu_backward(g, x), _gelu)
GELU_TANH = Formula(
    lambda x: F.gelu(x, approximate="tanh"),
    lambda g, x, y: _aten.gelu_backward(g, x, approximate="tanh"),
    _gelu_tanh,
)


class Elementwise(torch.autograd.Function):
    """y = f(x), entry by entry."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, formula: Formula) -> Tensor:
        y = formula.function(x)
        ctx.save_for_backward(x, y)
        ctx.formula, ctx.slope = formula, None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,) = gradients
        if not torch.is_grad_enabled() and ctx.slope is not None:
            return g * ctx.slope, None
        x, y = ctx.saved_tensors
        if not torch.is_grad_enabled():
            return ctx.formula.backward(g, x, y), None
        ctx.slope, bend = ctx.formula.derivatives(x.detach(), y.detach())
        return _Slope.apply(g, x, ctx.slope, bend, ctx.formula.function), None  # type: ignore[no-untyped-call]


class _Slope(torch.autograd.Function):
    """The first derivative of an `Elementwise`, g f′(x), as a function of both."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, slope: Tensor, bend: Tensor, function: Callable[..., Tensor]) -> Tensor:
        ctx.save_for_backward(g, x, slope, g * bend)
        ctx.function = function
        return g * slope

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (v,), (g, x, slope, bend) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_again(ctx.function, g, x, v), None, None, None
        return v * slope, v * bend, None, None, None


class LayerNorm(torch.autograd.Function):
    r"""y = w x̂ + b with constant w and b, where x̂ = r (x − mean x) and r = (var x + ε)^{-1/2} over the last axes.

    The derivative of x̂ is the symmetric r P with P c = c − mean(c) − x̂ mean(x̂ c).
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shape: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float
    ) -> Tensor:
        y, mean, inverse = torch.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.shape, ctx.eps, ctx.normalised = shape, eps, None
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,), (x, weight, mean, inverse) = gradients, ctx.saved_tensors
        h = g if weight is None else g * weight
        axes = tuple(range(-len(ctx.shape), 0))
        if torch.is_grad_enabled():
            ctx.normalised = ((x - mean) * inverse).detach()
            result = _Projected.apply(h, x, ctx.normalised, inverse, axes, ctx.eps)  # type: ignore[no-untyped-call]
        else:
            normalised = (x - mean) * inverse if ctx.normalised is None else ctx.normalised
            result = _projected(h, normalised, axes)[0] * inverse
        return result, None, None, None, None


class _Projected(torch.autograd.Function):
    """r P h, the first derivative of a `LayerNorm`, as a function of h and x."""

    @staticmethod
    def forward(
        ctx: Any, h: Tensor, x: Tensor, normalised: Tensor, inverse: Tensor, axes: tuple[int, ...], eps: float
    ) -> Tensor:
        ctx.axes, ctx.eps = axes, eps
        p, along = _projected(h, normalised, ctx.axes)
        ctx.save_for_backward(h, x, normalised, inverse, p, along)
        return p * inverse

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (v,), (h, x, normalised, inverse, p, along) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_again(lambda at: _written_out(at, ctx.axes, ctx.eps), h, x, v), None, None, None, None
        q, across = _projected(v, normalised, ctx.axes)
        # d(r v·P h)/dx = −r² (x̂ mean(v·P h) + mean(x̂ h) P v + mean(x̂ v) P h)
        bent = normalised * (v * p).mean(ctx.axes, keepdim=True)
        bent = bent.addcmul_(q, along).addcmul_(p, across).mul_(-inverse * inverse)
        return q * inverse, bent, None, None, None, None


def _written_out(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """x̂ by elementary operations: the third derivative of torch's fused layer norm is silently wrong (2.13)."""
    centred = x - x.mean(axes, keepdim=True)
    return centred * torch.rsqrt(centred.square().mean(axes, keepdim=True) + eps)


def _projected(c: Tensor, normalised: Tensor, axes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return P c and mean(x̂ c)."""
    along = (c * normalised).mean(axes, keepdim=True)
    return torch.addcmul(c - c.mean(axes, keepdim=True), normalised, along, value=-1), along


def _again(function: Callable[..., Tensor], g: Tensor, x: Tensor, v: Tensor) -> tuple[Tensor | None, ...]:
    """Return the second derivatives by torch's own formulas, which can be differentiated further."""
    # Views, so that derivatives stop there: g usually depends on x as well.
    g, x = (t.view_as(t) if t.requires_grad else t.detach().requires_grad_() for t in (g, x))
    (first,) = torch.autograd.grad(function(x), x, g, create_graph=True)
    return torch.autograd.grad(first, (g, x), v, create_graph=True, allow_unused=True)

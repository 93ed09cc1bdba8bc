"""Operations of a forward pass written so that second derivatives cost no more than they must.

While one block is differentiated, the weights of all other layers are constants. torch's own operations do not use
that: the second backward pass of a convolution also computes what belongs to its kernel, that of a batch norm in
evaluation goes through the formula for training, that of a ReLU sends zeros to its input. The stand-ins here compute
the same functions, differentiable as often as one likes; only rounding differs. Where one does not fit, torch's
operation runs as it always did.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .smooth import GELU, GELU_TANH, SIGMOID, SILU, TANH, Elementwise, Formula, LayerNorm


class Lean(TorchFunctionMode):
    """Runs the stand-ins in place of torch's operations, in this thread only."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        stand_in = STAND_INS.get(func)
        if stand_in is not None and _plain(args[0] if args else kwargs.get("input")):
            result = stand_in(*args, **kwargs)
            if result is not NotImplemented:
                return result
        return func(*args, **kwargs)


def _plain(tensor: Any) -> bool:
    """Whether this is an ordinary real tensor, to be differentiated, and outside of the model's own transforms.

    Complex gradients are conjugated, and a functional transform asks for rules that custom functions lack.
    """
    return (
        type(tensor) in (Tensor, torch.nn.Parameter)
        and tensor.is_floating_point()
        and tensor.layout is torch.strided
        and torch.is_grad_enabled()
        and torch._C._functorch.peek_interpreter_stack() is None
    )


class Convolution(torch.autograd.Function):
    """A convolution with a constant kernel: its gradient is the transposed convolution, and nothing else."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(kernel)
        ctx.places, ctx.settings = x.shape[2:], settings
        return _convolved(x, kernel, bias, settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,), (kernel,), (stride, padding, dilation, groups) = gradients, ctx.saved_tensors, ctx.settings
        # What the stride did not reach at the far end.
        rest = [
            n - ((m - 1) * s - 2 * p + d * (k - 1) + 1)
            for n, m, s, p, d, k in zip(
                ctx.places, g.shape[2:], stride, padding, dilation, kernel.shape[2:], strict=True
            )
        ]
        back = torch.ops.aten.convolution(g, kernel, None, stride, padding, dilation, True, rest, groups)
        return back, *[None] * 6


class KernelConvolution(torch.autograd.Function):
    """A convolution of a constant input, differentiated in its kernel and bias."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, bias: Tensor | None, *settings: Any) -> Tensor:
        ctx.save_for_backward(x, kernel)
        ctx.settings, ctx.biased = settings, bias is not None
        return _convolved(x, kernel, bias, settings)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,), (x, kernel) = gradients, ctx.saved_tensors
        if torch.is_grad_enabled():
            found = _KernelGradient.apply(g, x, kernel.detach(), ctx.biased, *ctx.settings)  # type: ignore[no-untyped-call]
        else:
            found = _kernel_gradient(g, x, kernel, ctx.biased, ctx.settings)
        return None, *found, *[None] * 4


class _KernelGradient(torch.autograd.Function):
    """The gradient of a `KernelConvolution` as a function of the gradient that comes in."""

    @staticmethod
    def forward(ctx: Any, g: Tensor, x: Tensor, kernel: Tensor, biased: bool, *settings: Any) -> Any:
        ctx.save_for_backward(x)
        ctx.settings = settings
        return _kernel_gradient(g, x, kernel, biased, settings)

    @staticmethod
    def backward(ctx: Any, *vectors: Any) -> Any:
        (kernel, bias), (x,) = vectors, ctx.saved_tensors
        if torch.is_grad_enabled():
            found = KernelConvolution.apply(x, kernel, bias, *ctx.settings)  # type: ignore[no-untyped-call]
        else:
            found = _convolved(x, kernel, bias, ctx.settings)
        return found, *[None] * 7


def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None, settings: Any) -> Tensor:
    stride, padding, dilation, groups = settings
    zeros = [0] * len(stride)
    result: Tensor = torch.ops.aten.convolution(x, kernel, bias, stride, padding, dilation, False, zeros, groups)
    return result


def _kernel_gradient(g: Tensor, x: Tensor, kernel: Tensor, biased: bool, settings: Any) -> tuple[Any, Any]:
    stride, padding, dilation, groups = settings
    zeros, channels, wanted = [0] * len(stride), [kernel.shape[0]], [False, True, biased]
    _, first, second = torch.ops.aten.convolution_backward(
        g, x, kernel, channels if biased else None, stride, padding, dilation, False, zeros, groups, wanted
    )
    return first, second if biased else None


class Rectifier(torch.autograd.Function):
    """A ReLU, leaky or not, whose derivative is a constant."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float, inplace: bool) -> Tensor:
        ctx.slope = slope
        if inplace:
            ctx.mark_dirty(x)
        # A result is positive where its input is, as long as the slope is not negative.
        y = F.leaky_relu(x, slope, inplace) if slope else torch.relu_(x) if inplace else torch.relu(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        (g,), y = gradients, ctx.saved_tensors[0].detach()
        if ctx.slope:
            return torch.ops.aten.leaky_relu_backward(g, y, ctx.slope, True), None, None
        return torch.ops.aten.threshold_backward(g, y, 0), None, None


def _convolution(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    axes = weight.dim() - 2
    learnt = not _constant(weight, bias)
    if isinstance(padding, str) or input.requires_grad == learnt or input.dim() != axes + 2:
        return NotImplemented
    function = KernelConvolution if learnt else Convolution
    return function.apply(input, weight, bias, *(_each(n, axes) for n in (stride, padding, dilation)), groups)  # type: ignore[no-untyped-call]


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    # Where both are differentiated the fused kernel of the first backward pass is worth more.
    if training or running_mean is None or running_var is None or input.requires_grad != _constant(weight, bias):
        return NotImplemented
    scale = torch.rsqrt(running_var + eps)
    if weight is not None:
        scale = scale * weight
    shift = -running_mean * scale
    if bias is not None:
        shift = shift + bias
    shape = (-1, *[1] * (input.dim() - 2))
    return torch.addcmul(shift.reshape(shape), input, scale.reshape(shape))


def _relu(input: Tensor, inplace: bool = False) -> Any:
    return _leaky(input, 0.0, inplace)


def _relu_(input: Tensor) -> Any:
    return _leaky(input, 0.0, True)


def _leaky(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Any:
    # Custom functions may not write into leaves or views; torch's own may, or say why not.
    if not input.requires_grad or negative_slope < 0 or (inplace and (input.is_leaf or input._is_view())):
        return NotImplemented
    return Rectifier.apply(input, negative_slope, inplace)  # type: ignore[no-untyped-call]


def _smooth(formula: Formula) -> Callable[..., Any]:
    def stand_in(input: Tensor, inplace: bool = False) -> Any:
        if inplace or not input.requires_grad:
            return NotImplemented
        return Elementwise.apply(input, formula)  # type: ignore[no-untyped-call]

    return stand_in


def _gelu(input: Tensor, *, approximate: str = "none") -> Any:
    return _smooth(GELU if approximate == "none" else GELU_TANH)(input)


def _layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    shape = tuple(normalized_shape)
    if _constant(weight, bias):
        return LayerNorm.apply(input, shape, weight, bias, eps) if input.requires_grad else NotImplemented  # type: ignore[no-untyped-call]
    normalised = _layer_norm(input, shape, eps=eps) if input.requires_grad else F.layer_norm(input, shape, eps=eps)
    scaled = normalised if weight is None else normalised * weight
    return scaled if bias is None else scaled + bias


def _constant(*tensors: Tensor | None) -> bool:
    return not any(tensor is not None and tensor.requires_grad for tensor in tensors)


def _each(value: Any, axes: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * axes if len(values) == 1 else values


STAND_INS: dict[Any, Callable[..., Any]] = {
    torch.conv1d: _convolution,
    torch.conv2d: _convolution,
    torch.conv3d: _convolution,
    F.batch_norm: _batch_norm,
    F.relu: _relu,
    torch.relu: _relu,
    Tensor.relu: _relu,
    torch.relu_: _relu_,
    Tensor.relu_: _relu_,
    F.leaky_relu: _leaky,
    F.layer_norm: _layer_norm,
    F.gelu: _gelu,
    F.silu: _smooth(SILU),
    torch.tanh: _smooth(TANH),
    Tensor.tanh: _smooth(TANH),
    torch.sigmoid: _smooth(SIGMOID),
    Tensor.sigmoid: _smooth(SIGMOID),
}

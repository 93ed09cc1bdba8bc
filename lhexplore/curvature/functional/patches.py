"""The rows that a linear module multiplies its weights with: inputs of Linear, patches of convolutions."""

from math import prod

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def is_known(module: nn.Module) -> bool:
    """Whether the module is a Linear or a convolution with torch's own forward."""
    return any(type(module).forward is kind.forward for kind in (nn.Linear, *CONVOLUTIONS)) and not _is_lazy(module)


def by_example(module: nn.Module, z: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """Inputs and outputs with one leading axis: examples for convolutions, all places for Linear."""
    if isinstance(module, nn.Linear):
        return z.reshape(-1, z.shape[-1]), h.reshape(-1, h.shape[-1])
    return (z, h) if isinstance(module, CONVOLUTIONS) and h.ndim == len(module.kernel_size) + 2 else (z[None], h[None])


def input_rows(module: nn.Module, z: Float[Tensor, "b ..."]) -> Float[Tensor, "p g d"]:
    """Rows x of module(z) = W x + b: ``p`` places (examples and positions), ``g`` groups, ``d`` inputs of a neuron.

    ``z`` as from `by_example`. A neuron's weights are in the order of ``weight[j].flatten()``. For convolutions this
    unfolds the input, which takes as many times its memory as the kernel has entries.
    """
    if isinstance(module, nn.Linear):
        return z[:, None]
    assert isinstance(module, CONVOLUTIONS)  # noqa: S101  # is_known was asked
    axes = len(module.kernel_size)
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    z = F.pad(z, module._reversed_padding_repeated_twice, mode=mode)
    for axis, (kernel, stride, dilation) in enumerate(
        zip(module.kernel_size, module.stride, module.dilation, strict=True), 2
    ):
        z = z.unfold(axis, dilation * (kernel - 1) + 1, stride)[..., ::dilation]
    # [examples, channels, *positions, *kernel] → [examples, *positions, channels, *kernel]
    places = range(2, 2 + axes)
    z = z.permute(0, *places, 1, *range(2 + axes, 2 + 2 * axes))
    return z.reshape(prod(z.shape[: 1 + axes]), module.groups, -1)


def output_rows(module: nn.Module, h: Float[Tensor, "b ..."]) -> Float[Tensor, "p g q"]:
    """Bring what has a module output's shape into the order of `input_rows`: ``q`` neurons of each group."""
    if isinstance(module, nn.Linear):
        return h[:, None]
    assert isinstance(module, CONVOLUTIONS)  # noqa: S101  # is_known was asked
    return h.movedim(1, -1).reshape(-1, module.groups, module.out_channels // module.groups)


def _is_lazy(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.lazy.LazyModuleMixin)

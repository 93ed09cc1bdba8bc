"""How rows are computed, for each way in which a module can use a tensor.

For a call that keeps examples apart, the gradient of one example's outputs with respect to the module's tensors needs
nothing else than that example's input x and the gradient g of its output. A row belongs to one example n and one
pass c; all rows of some examples are written at once, as ``out[n, c, ...]`` with the tensor's own shape behind.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from .scratch import Scratch

CHUNK_BYTES = 10 * 2**20  # patches of so many examples at a time: when multiplied they should still be in the caches

Normal = Callable[[Any, Tensor, Mapping[str, Tensor]], Tensor]
Kept = Callable[[Any], tuple[int, ...]]


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What some examples of a call left behind: input, output gradients pass by pass, buffers.

    ``normal`` computes the input before scale and shift, ``kept`` the trailing axes that the tensor has; where it is
    None the tensor has the channels, along the second axis. ``key`` tells which call and which examples.
    """

    module: Any
    x: Tensor
    gradients: list[Tensor]
    buffers: Mapping[str, Tensor]
    normal: Normal
    kept: Kept | None
    key: tuple[Any, ...]


# ---- products of two factors, summed over positions


def _spans(count: int, step: int) -> Iterator[slice]:
    return (slice(a, min(a + step, count)) for a in range(0, count, max(step, 1)))


def _multiply(
    out: Float[Tensor, "n r ..."],
    left: Callable[[int, slice], Tensor],
    right: Callable[[slice], Float[Tensor, "blocks p k"]],
    shape: tuple[int, int, int, int],
    scratch: Scratch,
    add: bool,
) -> None:
    """Write Σ_p left_c[u, p] right[p, k] as ``out[n, c, group·u, k]``.

    Args:
        out: its rows in one piece per example.
        left: (c, examples) -> a tensor that broadcasts to ``[n, groups, u, p]``.
        right: examples -> ``[n·groups, p, k]``; may stand in memory that is used again.
        shape: groups, u, p, k.
        scratch: for the stacked left factors.
        add: to what is in ``out``, instead of writing over it.
    """
    groups, u, p, k = shape
    count, passes = out.shape[:2]
    for span in _spans(count, CHUNK_BYTES // max(1, groups * p * k * out.element_size())):
        n = span.stop - span.start
        stacked = scratch.take("left", (n, groups, passes, u, p), out)
        for c in range(passes):
            stacked[:, :, c].copy_(left(c, span))
        a, b = stacked.view(n * groups, passes * u, p), right(span)
        into = out[span].view(n, passes, groups, u, k)
        if groups == 1 and into.is_contiguous():
            into = into.view(n, passes * u, k)
            torch.baddbmm(into, a, b, beta=int(add), out=into)
            continue
        product = torch.bmm(a, b, out=scratch.take("product", (n * groups, passes * u, k), out))
        product = product.view(n, groups, passes, u, k).transpose(1, 2)
        into.add_(product) if add else into.copy_(product)


def linear(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Weights of a linear layer: Σ_t g_t x_tᵀ."""
    n, width = len(use.x), use.x.shape[-1]
    x = use.x.reshape(n, -1, width)
    gs = [g.reshape(n, x.shape[1], -1)[:, :, part].transpose(1, 2).unsqueeze(1) for g in use.gradients]
    shape = (1, part.stop - part.start, x.shape[1], width)
    _multiply(out, lambda c, span: gs[c][span], lambda span: x[span], shape, scratch, add)


def _padding(module: Any) -> list[int]:
    """Zeros on both sides of every axis, last axis first, as `F.pad` wants them."""
    if not isinstance(module.padding, str):
        return [p for p in reversed(module.padding) for _ in range(2)]
    if module.padding == "valid":
        return [0] * (2 * len(module.kernel_size))
    totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size, strict=True)]
    return [side for total in reversed(totals) for side in (total // 2, total - total // 2)]


def _patches(module: Any, x: Tensor, out: Tensor) -> None:
    """Copy what the kernel meets at every place of padded ``x`` to ``out[n, groups, channels, *kernel, *places]``."""
    mode = getattr(module, "padding_mode", "zeros")
    x = F.pad(x, _padding(module), mode="constant" if mode == "zeros" else mode).contiguous()
    example, channel, *steps = x.stride()
    within = [d * s for d, s in zip(module.dilation, steps, strict=True)]
    between = [d * s for d, s in zip(module.stride, steps, strict=True)]
    out.copy_(x.as_strided(out.shape, (example, channel * out.shape[2], channel, *within, *between)))


def conv(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Kernel of a convolution: g times what the kernel meets, summed over places."""
    module, places = use.module, use.gradients[0].shape[2:]
    first, groups = _groups(module, part, module.out_channels)
    width = module.in_channels // module.groups
    x = use.x[:, first * width : (first + groups) * width]
    gs = [g[:, part].reshape(len(g), groups, -1, prod(places)) for g in use.gradients]
    p, k = prod(places), width * prod(module.kernel_size)

    def right(span: slice) -> Tensor:
        shape = (span.stop - span.start, groups, width, *module.kernel_size, *places)
        key = (*use.key, first, span.start)
        patches = scratch.once("patches", key, shape, out, lambda into: _patches(module, x[span], into))
        return patches.view(-1, k, p).transpose(1, 2)

    _multiply(out, lambda c, span: gs[c][span], right, (groups, gs[0].shape[2], p, k), scratch, add)


def transposed(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Kernel of a transposed convolution: input and gradient change places, the kernel slides over the output."""
    module, n, places = use.module, len(use.x), use.x.shape[2:]
    first, groups = _groups(module, part, module.in_channels)
    width = module.out_channels // module.groups
    x = use.x[:, part].reshape(n, groups, -1, prod(places))
    p, k = prod(places), width * prod(module.kernel_size)
    for c, gradient in enumerate(use.gradients):
        g = gradient[:, first * width : (first + groups) * width]
        for span in _spans(n, CHUNK_BYTES // max(1, groups * p * k * out.element_size())):
            shape = (span.stop - span.start, groups, width, *module.kernel_size, *places)
            patches = scratch.take("patches", shape, out)
            _patches(module, g[span], patches)
            into = out[span, c]
            rows = (x[span] @ patches.view(*shape[:2], k, p).mT).view(into.shape)
            into.add_(rows) if add else into.copy_(rows)


def _groups(module: Any, part: slice, channels: int) -> tuple[int, int]:
    """Which groups a part of the kernel's first axis belongs to: the first one, and how many."""
    if module.groups == 1:
        return 0, 1
    each = channels // module.groups
    return part.start // each, (part.stop - part.start) // each


# ---- sums over positions


def _summed(use: Seen, g: Tensor) -> Tensor:
    """Sum one pass's gradient over all axes that the tensor does not have."""
    if use.kept is not None:
        return g.reshape(len(g), -1, *use.kept(use.module)).sum(1)
    return g.flatten(2).sum(2) if g.dim() > 2 else g


def bias(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """What is added: Σ_t g_t."""
    for c, g in enumerate(use.gradients):
        row = _summed(use, g)[:, part]
        out[:, c].add_(row) if add else out[:, c].copy_(row)


def scale(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """What normalised input is multiplied with: Σ_t g_t x̂_t."""
    normal = use.normal(use.module, use.x, use.buffers)
    for c, g in enumerate(use.gradients):
        row = _summed(use, g * normal)[:, part]
        out[:, c].add_(row) if add else out[:, c].copy_(row)


def embedding(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Rows of a table: g, at the places of the tokens; negative tokens have no row."""
    n, size = len(use.x), part.stop - part.start
    ids = use.x.reshape(n, -1)
    inside = (ids >= part.start) & (ids < part.stop)
    which = inside.nonzero()[:, 0] * size + ids[inside] - part.start
    for c, g in enumerate(use.gradients):
        tokens = g.reshape(n, -1, g.shape[-1])[inside]
        rows = g.new_zeros((n * size, g.shape[-1])).index_add_(0, which, tokens).view(n, size, -1)
        out[:, c].add_(rows) if add else out[:, c].copy_(rows)

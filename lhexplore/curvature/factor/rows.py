"""Rows of a factor from what a module call left behind: its input x, and the gradients g of its output.

For a call that runs over the examples along the first axis, the gradient of one example's output with respect to the
module's tensors needs nothing else than that example's x and g. A row belongs to one example n and one backward pass
c; all rows of some examples are written at once, as ``out[n, c, ...]`` with the tensor's own shape behind.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import lcm, prod
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

if TYPE_CHECKING:
    from .taps import Call

CHUNK_BYTES = 8 * 2**20  # patches of so many examples at a time: what is multiplied next should still be in the caches


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One tensor of a module in one call, with the gradients of the call's output: one per backward pass."""

    call: "Call"
    attribute: str
    gradients: list[Tensor]

    @property
    def kind(self) -> "Kind":
        return KINDS[type(self.call.module)]

    @property
    def grain(self) -> int:
        """The tensor's first axis may be cut at multiples of this."""
        return self.kind.grain(self.call.module) if self.attribute == "weight" else 1

    @property
    def is_outer(self) -> bool:
        """Whether every row is an outer product g xᵀ."""
        return type(self.call.module) is nn.Linear and self.attribute == "weight" and self.call.x.dim() == 2

    def write(
        self, out: Float[Tensor, "n r ..."], examples: slice, part: slice, scratch: "Scratch", *, add: bool
    ) -> None:
        """Write the rows of some examples, for ``part`` of the tensor's first axis, or add them to what is there."""
        gradients = [g[examples] for g in self.gradients]
        seen = Seen(self.call.module, self.call.x[examples], gradients, self.call.buffers)
        self.kind.writers[self.attribute](seen, out, part, scratch, add)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What some examples of a call left behind."""

    module: Any
    x: Tensor
    gradients: list[Tensor]
    buffers: Mapping[str, Tensor]


class Scratch:
    """Memory that is used again and again: fresh pages cost more than what is computed in them."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}

    def take(self, purpose: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor with arbitrary contents, valid until the next call for the same purpose."""
        needed = prod(shape)
        held = self._held.get(purpose)
        if held is None or held.numel() < needed:
            self._held.pop(purpose, None)  # before the larger one is made
            held = self._held[purpose] = torch.empty(needed, dtype=like.dtype, device=like.device)
        return held[:needed].view(tuple(shape))


Writer = Callable[[Seen, Tensor, slice, Scratch, bool], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known about one class of modules."""

    accepts: Callable[[Any, Tensor, Tensor], bool]
    writers: Mapping[str, Writer]
    grain: Callable[[Any], int] = lambda module: 1


def common_grain(uses: Sequence[Use]) -> int:
    """The tensor's first axis may be cut at multiples of this whichever call uses it."""
    return lcm(*(use.grain for use in uses))


def is_known(module: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether rows can be had of such a call: subclasses and changed forwards compute something else."""
    kind = KINDS.get(type(module))
    return (
        kind is not None and "forward" not in vars(module) and min(x.dim(), y.dim()) > 0 and kind.accepts(module, x, y)
    )


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
    each = groups * p * (k + passes * u) * out.element_size()
    for span in _spans(count, CHUNK_BYTES // max(each, 1)):
        n = span.stop - span.start
        stacked = scratch.take("left", (n, groups, passes, u, p), out)
        for c in range(passes):
            stacked[:, :, c].copy_(left(c, span))
        a, b = stacked.view(n * groups, passes * u, p), right(span)
        if groups == 1:
            into = out[span].view(n, passes * u, k)
            torch.baddbmm(into, a, b, beta=int(add), out=into)
            continue
        product = torch.bmm(a, b, out=scratch.take("grouped", (n * groups, passes * u, k), out))
        product = product.view(n, groups, passes, u, k).transpose(1, 2)
        into = out[span].view(n, passes, groups, u, k)
        into.add_(product) if add else into.copy_(product)


def _linear(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
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


def _windows(module: Any, x: Tensor, groups: int, places: Sequence[int]) -> Tensor:
    """What the kernel meets at every place, as a view ``[n, groups, channels, *kernel, *places]`` of padded ``x``."""
    n, channels = x.shape[:2]
    example, channel, *steps = x.stride()
    size = (n, groups, channels // groups, *module.kernel_size, *places)
    within = [d * s for d, s in zip(module.dilation, steps, strict=True)]
    between = [d * s for d, s in zip(module.stride, steps, strict=True)]
    return x.as_strided(size, (example, channel * (channels // groups), channel, *within, *between))


def _gathered(windows: Tensor, axes: int, scratch: Scratch) -> Tensor:
    """Copy windows into ``[n·groups, places, channels·kernel]``, places innermost in memory."""
    n, groups = windows.shape[:2]
    rows, places = prod(windows.shape[2:-axes]), prod(windows.shape[-axes:])
    held = scratch.take("patches", (n * groups, rows, places), windows)
    held.view(windows.shape).copy_(windows)
    return held.transpose(1, 2)


def _conv(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    module, axes = use.module, use.x.dim() - 2
    each = _channels_per_group(module)
    groups = (part.stop - part.start) // each if module.groups > 1 else 1
    width = use.x.shape[1] // module.groups
    first = part.start // each if module.groups > 1 else 0
    x = use.x[:, first * width : (first + groups) * width]
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, _padding(module), mode=mode).contiguous()
    places = use.gradients[0].shape[2:]
    windows = _windows(module, x, groups, places)
    gs = [g[:, part].reshape(len(g), groups, -1, prod(places)) for g in use.gradients]
    shape = (groups, gs[0].shape[2], prod(places), width * prod(module.kernel_size))
    _multiply(out, lambda c, span: gs[c][span], lambda s: _gathered(windows[s], axes, scratch), shape, scratch, add)


def _transposed(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Input and gradient change places: the kernel slides over the output."""
    module, axes, groups = use.module, use.x.dim() - 2, use.module.groups
    each = module.in_channels // groups
    if groups > 1:
        groups = (part.stop - part.start) // each
    width = module.out_channels // module.groups
    first = part.start // each if module.groups > 1 else 0
    n, places = len(use.x), use.x.shape[2:]
    x = use.x[:, part].reshape(n * groups, -1, prod(places))
    kernel = width * prod(module.kernel_size)
    for c, gradient in enumerate(use.gradients):
        g = F.pad(gradient[:, first * width : (first + groups) * width], _padding(module)).contiguous()
        windows = _windows(module, g, groups, places)
        for span in _spans(n, CHUNK_BYTES // max(1, groups * kernel * prod(places) * out.element_size())):
            rows = torch.bmm(x[span.start * groups : span.stop * groups], _gathered(windows[span], axes, scratch))
            into = out[span, c]
            rows = rows.reshape(into.shape)
            into.add_(rows) if add else into.copy_(rows)


def _channels_per_group(module: Any) -> int:
    return int(module.out_channels // module.groups)


# ---- sums over positions


def _summed(use: Seen, g: Tensor) -> Tensor:
    """Sum one pass's gradient over all axes that the tensor does not have."""
    shape = KEPT[type(use.module)](use.module) if type(use.module) in KEPT else None
    if shape is not None:
        return g.reshape(len(g), -1, *shape).sum(1)
    return g.flatten(2).sum(2) if g.dim() > 2 else g


def _bias(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    for c, g in enumerate(use.gradients):
        row = _summed(use, g)[:, part]
        out[:, c].add_(row) if add else out[:, c].copy_(row)


def _scale(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    normal = NORMAL[type(use.module)](use.module, use.x, use.buffers)
    for c, g in enumerate(use.gradients):
        row = _summed(use, g * normal)[:, part]
        out[:, c].add_(row) if add else out[:, c].copy_(row)


def _embedding(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    module, n, size = use.module, len(use.x), part.stop - part.start
    ids = use.x.reshape(n, -1)
    inside = (ids >= part.start) & (ids < part.stop)
    if module.padding_idx is not None:
        inside &= ids != module.padding_idx
    which = inside.nonzero()[:, 0] * size + ids[inside] - part.start
    for c, g in enumerate(use.gradients):
        tokens = g.reshape(n, -1, g.shape[-1])[inside]
        rows = g.new_zeros((n * size, g.shape[-1])).index_add_(0, which, tokens).view(n, size, -1)
        out[:, c].add_(rows) if add else out[:, c].copy_(rows)


# ---- what is known

_MATRIX: dict[str, Writer] = {"weight": _linear, "bias": _bias}
_KERNEL: dict[str, Writer] = {"weight": _conv, "bias": _bias}
_TRANSPOSED: dict[str, Writer] = {"weight": _transposed, "bias": _bias}
_AFFINE: dict[str, Writer] = {"weight": _scale, "bias": _bias}


def _in_batches(axes: int) -> Callable[[Any, Tensor, Tensor], bool]:
    return lambda module, x, y: x.dim() == y.dim() == axes + 2


def _by_statistics(module: Any, x: Tensor, y: Tensor) -> bool:
    """Batch norms only with running statistics: else their examples are not independent."""
    return not module.training and module.running_mean is not None and x.dim() >= 2


def _plain_embedding(module: Any, x: Tensor, y: Tensor) -> bool:
    return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse and y.dim() >= 2


def _over_channels(module: Any, x: Tensor, y: Tensor) -> bool:
    return x.dim() >= 2


def _over_last(module: Any, x: Tensor, y: Tensor) -> bool:
    return x.dim() > len(module.normalized_shape)


def _grain_out(module: Any) -> int:
    return 1 if module.groups == 1 else _channels_per_group(module)


def _grain_in(module: Any) -> int:
    return 1 if module.groups == 1 else int(module.in_channels // module.groups)


KINDS: dict[type[nn.Module], Kind] = {
    nn.Linear: Kind(lambda module, x, y: x.dim() >= 2, _MATRIX),
    nn.Embedding: Kind(_plain_embedding, {"weight": _embedding}),
    nn.GroupNorm: Kind(_over_channels, _AFFINE),
    nn.LayerNorm: Kind(_over_last, _AFFINE),
    nn.RMSNorm: Kind(_over_last, _AFFINE),
}
KINDS |= {
    kind: Kind(_in_batches(axes), _KERNEL, _grain_out) for axes, kind in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), 1)
}
KINDS |= {
    kind: Kind(_in_batches(axes), _TRANSPOSED, _grain_in)
    for axes, kind in enumerate((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), 1)
}
KINDS |= {kind: Kind(_by_statistics, _AFFINE) for kind in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)}


def _batch_normal(module: Any, x: Tensor, buffers: Mapping[str, Tensor]) -> Tensor:
    return F.batch_norm(x, buffers["running_mean"], buffers["running_var"], eps=module.eps)


# Input as it is before scale and shift.
NORMAL: dict[type[nn.Module], Callable[[Any, Tensor, Mapping[str, Tensor]], Tensor]] = {
    nn.GroupNorm: lambda module, x, _: F.group_norm(x, module.num_groups, eps=module.eps),
    nn.LayerNorm: lambda module, x, _: F.layer_norm(x, module.normalized_shape, eps=module.eps),
    nn.RMSNorm: lambda module, x, _: F.rms_norm(x, list(module.normalized_shape), eps=module.eps),
    nn.BatchNorm1d: _batch_normal,
    nn.BatchNorm2d: _batch_normal,
    nn.BatchNorm3d: _batch_normal,
}

# Trailing axes that a tensor keeps; with all other kinds it is the channels, along the second axis.
KEPT: dict[type[nn.Module], Callable[[Any], tuple[int, ...]]] = {
    nn.Linear: lambda module: (module.out_features,),
    nn.LayerNorm: lambda module: tuple(module.normalized_shape),
    nn.RMSNorm: lambda module: tuple(module.normalized_shape),
}

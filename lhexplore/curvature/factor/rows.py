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

CHUNK_BYTES = 10 * 2**20  # patches of so many examples at a time: when multiplied they should still be in the caches


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
        gradients, key = [g[examples] for g in self.gradients], (self.call, examples.start, examples.stop)
        seen = Seen(self.call.module, self.call.x[examples], gradients, self.call.buffers, key)
        self.kind.writers[self.attribute](seen, out, part, scratch, add)


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """What some examples of a call left behind."""

    module: Any
    x: Tensor
    gradients: list[Tensor]
    buffers: Mapping[str, Tensor]
    key: tuple[Any, ...]  # which call and which examples


class Scratch:
    """Memory that is used again and again: fresh pages cost more than what is computed in them."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._keys: dict[str, tuple[Any, ...]] = {}

    def take(self, purpose: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor with arbitrary contents, valid until the next call for the same purpose."""
        needed = prod(shape)
        held = self._held.get(purpose)
        self._keys.pop(purpose, None)
        if held is None or held.numel() < needed:
            self._held.pop(purpose, None)  # before the larger one is made
            held = self._held[purpose] = torch.empty(needed, dtype=like.dtype, device=like.device)
        return held[:needed].view(tuple(shape))

    def once(
        self, purpose: str, key: tuple[Any, ...], shape: Sequence[int], like: Tensor, fill: Callable[[Tensor], Any]
    ) -> Tensor:
        """The same, filled already where it was last taken with the same key and shape."""
        key = (*key, *shape)
        if self._keys.get(purpose) != key:
            fill(self.take(purpose, shape, like))
            self._keys[purpose] = key
        return self._held[purpose][: prod(shape)].view(tuple(shape))


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


def _patches(module: Any, x: Tensor, out: Tensor) -> None:
    """Copy what the kernel meets at every place of padded ``x`` to ``out[n, groups, channels, *kernel, *places]``."""
    mode = getattr(module, "padding_mode", "zeros")
    x = F.pad(x, _padding(module), mode="constant" if mode == "zeros" else mode).contiguous()
    example, channel, *steps = x.stride()
    within = [d * s for d, s in zip(module.dilation, steps, strict=True)]
    between = [d * s for d, s in zip(module.stride, steps, strict=True)]
    out.copy_(x.as_strided(out.shape, (example, channel * out.shape[2], channel, *within, *between)))


def _conv(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
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


def _transposed(use: Seen, out: Tensor, part: slice, scratch: Scratch, add: bool) -> None:
    """Input and gradient change places: the kernel slides over the output."""
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
    return 1 if module.groups == 1 else int(module.out_channels // module.groups)


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

"""Rows of a factor from what a module call left behind, for every kind of module whose formula is known."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import TYPE_CHECKING, Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from . import writers
from .scratch import Scratch
from .writers import Kept, Normal, Seen

if TYPE_CHECKING:
    from .taps import Call

Writer = Callable[[Seen, Tensor, slice, Scratch, bool], None]


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known about one class of modules.

    Attributes:
        accepts: whether a call with this input and output is one of those that the formulas hold for.
        writers: how to compute rows, by the module's names for its tensors.
        grain: the first axis of the weights may be cut at multiples of this.
        normal: the input as it is before scale and shift.
        kept: trailing axes that the tensors keep; None where it is the channels, along the second axis.
        prepared: the input as the formulas want it.
    """

    accepts: Callable[[Any, Tensor, Tensor], bool]
    writers: Mapping[str, Writer]
    grain: Callable[[Any], int] = lambda module: 1
    normal: Normal = lambda module, x, buffers: x
    kept: Kept | None = None
    prepared: Callable[[Any, Tensor], Tensor] = lambda module, x: x


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """One tensor of a module in one call, with the gradients of the call's output: one per backward pass."""

    call: "Call"
    attribute: str
    gradients: list[Tensor]

    @property
    def grain(self) -> int:
        """The tensor's first axis may be cut at multiples of this."""
        return KINDS[type(self.call.module)].grain(self.call.module) if self.attribute == "weight" else 1

    @property
    def is_outer(self) -> bool:
        """Whether every row is an outer product g xᵀ."""
        return type(self.call.module) is nn.Linear and self.attribute == "weight" and self.call.x.dim() == 2

    @property
    def is_lookup(self) -> bool:
        """Whether rows are zero but at the tokens that the input holds."""
        return type(self.call.module) is nn.Embedding

    def write(
        self, out: Float[Tensor, "n r ..."], examples: slice, part: slice, scratch: Scratch, *, add: bool
    ) -> None:
        """Write the rows of some examples, for ``part`` of the tensor's first axis, or add them to what is there."""
        call, kind = self.call, KINDS[type(self.call.module)]
        key = (call, examples.start, examples.stop)
        gradients = [g[examples] for g in self.gradients]
        seen = Seen(call.module, call.x[examples], gradients, call.buffers, kind.normal, kind.kept, key)
        kind.writers[self.attribute](seen, out, part, scratch, add)


def common_grain(uses: Sequence[Use]) -> int:
    """The tensor's first axis may be cut at multiples of this whichever call uses it."""
    return lcm(*(use.grain for use in uses))


def is_known(module: nn.Module, x: Tensor, y: Tensor) -> bool:
    """Whether rows can be had of such a call: subclasses and changed forwards compute something else."""
    kind = KINDS.get(type(module))
    return (
        kind is not None and "forward" not in vars(module) and min(x.dim(), y.dim()) > 0 and kind.accepts(module, x, y)
    )


# ---- what is accepted


def _over_positions(module: Any, x: Tensor, y: Tensor) -> bool:
    return x.dim() >= 2


def _in_batches(axes: int) -> Callable[[Any, Tensor, Tensor], bool]:
    return lambda module, x, y: x.dim() == y.dim() == axes + 2


def _by_statistics(module: Any, x: Tensor, y: Tensor) -> bool:
    """Batch norms only with running statistics: else their examples are not independent."""
    return not module.training and module.running_mean is not None and x.dim() >= 2


def _plain_lookup(module: Any, x: Tensor, y: Tensor) -> bool:
    return module.max_norm is None and not module.scale_grad_by_freq and not module.sparse and y.dim() >= 2


def _over_last(module: Any, x: Tensor, y: Tensor) -> bool:
    return x.dim() > len(module.normalized_shape)


# ---- what is known


def _grain_out(module: Any) -> int:
    return 1 if module.groups == 1 else int(module.out_channels // module.groups)


def _grain_in(module: Any) -> int:
    return 1 if module.groups == 1 else int(module.in_channels // module.groups)


def _shape(module: Any) -> tuple[int, ...]:
    return tuple(module.normalized_shape)


def _batch_normal(module: Any, x: Tensor, buffers: Mapping[str, Tensor]) -> Tensor:
    return F.batch_norm(x, buffers["running_mean"], buffers["running_var"], eps=module.eps)


def _layer_normal(module: Any, x: Tensor, _: Mapping[str, Tensor]) -> Tensor:
    return F.layer_norm(x, module.normalized_shape, eps=module.eps)


def _rms_normal(module: Any, x: Tensor, _: Mapping[str, Tensor]) -> Tensor:
    return F.rms_norm(x, list(module.normalized_shape), eps=module.eps)


def _group_normal(module: Any, x: Tensor, _: Mapping[str, Tensor]) -> Tensor:
    return F.group_norm(x, module.num_groups, eps=module.eps)


def _without_padding(module: Any, ids: Tensor) -> Tensor:
    return ids if module.padding_idx is None else ids.masked_fill(ids == module.padding_idx, -1)


_MATRIX: Mapping[str, Writer] = {"weight": writers.linear, "bias": writers.bias}
_KERNEL: Mapping[str, Writer] = {"weight": writers.conv, "bias": writers.bias}
_TRANSPOSED: Mapping[str, Writer] = {"weight": writers.transposed, "bias": writers.bias}
_AFFINE: Mapping[str, Writer] = {"weight": writers.scale, "bias": writers.bias}

KINDS: dict[type[nn.Module], Kind] = {
    nn.Linear: Kind(_over_positions, _MATRIX, kept=lambda module: (module.out_features,)),
    nn.Embedding: Kind(_plain_lookup, {"weight": writers.embedding}, prepared=_without_padding),
    nn.GroupNorm: Kind(_over_positions, _AFFINE, normal=_group_normal),
    nn.LayerNorm: Kind(_over_last, _AFFINE, normal=_layer_normal, kept=_shape),
    nn.RMSNorm: Kind(_over_last, _AFFINE, normal=_rms_normal, kept=_shape),
}
for _axes, _conv in enumerate((nn.Conv1d, nn.Conv2d, nn.Conv3d), start=1):
    KINDS[_conv] = Kind(_in_batches(_axes), _KERNEL, _grain_out)
for _axes, _back in enumerate((nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d), start=1):
    KINDS[_back] = Kind(_in_batches(_axes), _TRANSPOSED, _grain_in)
for _norm in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d):
    KINDS[_norm] = Kind(_by_statistics, _AFFINE, normal=_batch_normal)

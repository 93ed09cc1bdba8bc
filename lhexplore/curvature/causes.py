"""On the way out of a failure: find the batch, the layer or the tensor that is to blame.

Nothing here runs while all goes well; the second look costs a few more passes.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import DataError, LhexploreError, NotFiniteError, TooLargeError
from .trees import describe, tensors

if TYPE_CHECKING:
    from .replica import Replica

# What a forward raises for its input; everything else (interrupts, our own errors) passes through.
CAUSED = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    KeyError,
    AttributeError,
    NotImplementedError,
    AssertionError,
)


def of_forward(replica: "Replica", i: int, error: Exception) -> BaseException:
    """Say on which batch a forward or loss failed."""
    if isinstance(error, LhexploreError):
        return error
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        return TooLargeError(f"The forward pass of batch {i} ran out of memory. Use smaller batches; the result stays.")
    text = (str(error).strip().splitlines() or [""])[0]
    return DataError(
        f"The model or loss failed on batch {i} ({describe(replica.batch(i))}, floats cast to "
        f"{str(replica.dtype).removeprefix('torch.')}): {type(error).__name__}: {text}"
    )


def of_not_finite(replica: "Replica", i: int, value: float) -> NotFiniteError:
    """Say whether weights, inputs, labels or the computation made the loss NaN or infinite."""
    bad = [name for name, tensor in replica.tensors.items() if not _finite(tensor)]
    if bad:
        blame = f"the weights {', '.join(map(repr, bad[:3]))} are not finite. Look at an earlier snapshot"
    else:
        blame = _blame_batch(replica.batch(i))
    return NotFiniteError(f"The loss is {value} on batch {i}: {blame}.")


def _blame_batch(batch: Any) -> str:
    bad = [path for path, tensor in tensors(batch) if not _finite(tensor)]
    if not bad:
        return (
            "weights and data are finite, so the computation overflowed or left its domain (log or sqrt at 0, a "
            "division). Clamp its argument, or look at an earlier snapshot"
        )
    is_pair = isinstance(batch, tuple | list) and len(batch) == 2
    names = ["the labels" if is_pair and path.startswith("[1]") else "the inputs" for path in bad]
    if isinstance(batch, Mapping):
        names = ["the labels" if path.startswith("['label") else "the inputs" for path in bad]
    return f"{' and '.join(dict.fromkeys(names))} (batch{bad[0]}) are not finite. Clean the data"


def _finite(tensor: Tensor) -> bool:
    return not (tensor.is_floating_point() or tensor.is_complex()) or bool(torch.isfinite(tensor).all())


def layers_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Modules from the innermost out, with their names."""
    return sorted(model.named_modules(), key=lambda item: -item[0].count(".") if item[0] else 1)

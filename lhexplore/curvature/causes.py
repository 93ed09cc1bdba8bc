"""On the way out of a failure: find the batch, the layer or the tensor that is to blame.

Nothing here runs while all goes well; the second look costs a few more passes.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ..errors import (
    DataError,
    LhexploreError,
    LossError,
    ModelError,
    NotFiniteError,
    SecondDerivativeError,
    TooLargeError,
)
from .batches import IGNORED_LABEL
from .graphs import leaves_behind
from .losses import CriterionLoss
from .memory import out_of_memory
from .trees import describe, first_line, tensors

if TYPE_CHECKING:
    from .replica import Replica


def of_forward(replica: "Replica", i: int, error: Exception) -> BaseException:
    """Say on which batch a forward or loss failed."""
    if isinstance(error, SecondDerivativeError) and (place := failing_layer(replica, replica.batch(i), live(replica))):
        return SecondDerivativeError(f"In {place}: {error}")
    if isinstance(error, LhexploreError):
        return error
    if out_of_memory(error) is not None:
        return TooLargeError(f"The forward pass of batch {i} ran out of memory. Use smaller batches; the result stays.")
    text = first_line(error)
    place = failing_layer(replica, replica.batch(i))
    if place is None and not isinstance(replica.loss, CriterionLoss):
        return LossError(
            f"Your loss function {replica.loss.name} failed on batch {i} ({describe(replica.batch(i))}): "
            f"{type(error).__name__}: {text}. It is called as loss(model, batch), with the model's private copy. "
            "Does the same call work on your own model?"
        )
    place = place or "the loss"
    return DataError(
        f"{place} failed on batch {i} ({describe(replica.batch(i))}, floats cast to "
        f"{str(replica.dtype).removeprefix('torch.')}): {type(error).__name__}: {text}. Does the same "
        "call work on your own model? Check shapes, channel order and dtypes."
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
    if not bad and any(
        not t.is_floating_point() and t.numel() and bool((t == IGNORED_LABEL).all()) for _, t in tensors(batch)
    ):
        return (
            f'all its labels are masked ({IGNORED_LABEL}), so their mean is 0/0. Use weight="tokens", which counts '
            "labels and leaves such batches out"
        )
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


def require_graph(replica: "Replica", loss: Tensor, given: Mapping[str, Tensor]) -> None:
    """See that a loss depends on at least one of the parameters it was computed with.

    Raises:
        ModelError: A forward that is cut off from the weights; names the first module that is.
        LossError: A loss that makes its own tensor, or uses another model.
    """
    reached = leaves_behind(loss)
    if any(id(tensor) in reached for tensor in given.values()):
        return
    detached = first_detached(replica)
    if detached is not None:
        raise ModelError(
            f"The loss does not depend on any weight: the output of {detached} is cut off from the graph. Look for "
            "no_grad, inference_mode, detach(), .data, .item() or numpy in its forward."
        )
    if loss.requires_grad:
        raise LossError(
            f"{replica.loss.name} does not use the model it is given, but other tensors that require a gradient. "
            "Call its first argument, not a model from outside."
        )
    raise LossError(
        f"{replica.loss.name} returned a tensor without a graph, so it cannot be differentiated. Look for detach(), "
        ".item(), numpy, argmax or torch.tensor(...) between the model's outputs and the loss."
    )


def live(replica: "Replica") -> dict[str, Tensor]:
    """All parameters as leaves that require a gradient."""
    return {name: tensor.detach().requires_grad_() for name, tensor in replica.tensors.items()}


def first_detached(replica: "Replica") -> str | None:
    """Name the first module, in the order of the forward, that has weights and gives outputs without a graph."""
    found = list[str]()

    def look(name: str, module: nn.Module, _: Any, output: Any) -> None:
        outputs = [tensor for _, tensor in tensors(output) if tensor.is_floating_point()]
        if (
            outputs
            and not any(tensor.requires_grad for tensor in outputs)
            and next(module.parameters(), None) is not None
        ):
            found.append(label(name, module))

    with watched(replica.model, after=look):
        replica.call(live(replica), replica.loss.value, replica.batch(0))
    return found[0] if found else None


@contextmanager
def watched(
    model: nn.Module, *, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None
) -> Iterator[None]:
    """Call ``before(name, module, args, kwargs)`` and ``after(name, module, args, output)`` around every forward."""
    handles = []
    for name, module in model.named_modules():
        if before is not None:
            handles.append(module.register_forward_pre_hook(_bound(before, name), with_kwargs=True))
        if after is not None:
            handles.append(module.register_forward_hook(_bound(after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def label(name: str, module: nn.Module) -> str:
    """How messages speak of a module."""
    return f"{name!r} ({type(module).__name__})" if name else type(module).__name__


def _bound(function: Callable[..., None], name: str) -> Callable[..., None]:
    return lambda *args: function(name, *args)


def failing_layer(replica: "Replica", batch: Any, override: Mapping[str, Tensor] = MappingProxyType({})) -> str | None:
    """Name the innermost module whose forward does not come to its end on ``batch``."""
    open_ = list[str]()

    def enter(name: str, module: nn.Module, *_: Any) -> None:
        open_.append(label(name, module))

    def leave(*_: Any) -> None:
        open_.pop()

    try:
        with watched(replica.model, before=enter, after=leave):
            replica.call(override, replica.loss.value, batch)
    except Exception:  # noqa: BLE001 (it failed before; only the place is asked for)
        return open_[-1] if open_ else None
    return None

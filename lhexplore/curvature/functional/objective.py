"""Local functionals over frozen data as objectives: whatever takes the loss takes them."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...errors import LossError, NotFiniteError, SecondDerivativeError, SettingError
from ...spectrum import WHOLE
from .. import causes
from ..checks import head
from ..graphs import leaves_behind, once_differentiable
from ..identity import identify
from ..layers import Layer
from ..second import CURE
from ..trees import first_line, tensors
from .block import INPUT_BYTES, LocalBlock
from .bound import NOTHING, Bound
from .facts import sum_note, zero_reason
from .functionals import Functional, as_functional, real_number
from .grouping import Grouping, Written, groups

if TYPE_CHECKING:
    from ..replica import Replica

_FEW = 64  # examples of the float64 copy by which float32 is judged


@dataclass(frozen=True, slots=True, eq=False)
class LocalLoss:
    """What an objective says about its scalar; there is no criterion."""

    name: str
    identity: Mapping[str, Any]
    splits: bool
    notes: tuple[str, ...] = ()
    criterion: None = None


def local_objective(
    replica: "Replica",
    layer: Layer,
    functional: Any,
    grouping: Grouping | None = None,
    *,
    input_bytes: int = INPUT_BYTES,
) -> "LocalObjective | ModelObjective":
    """Make the scalar of one layer's block, at the weights that the replica holds now, an objective.

    Its value is the mean over examples of ``functional`` of the block's output, with the block's input held fixed.
    Micro-batches weigh by their examples. Costs one forward of the network per micro-batch; later products run
    the block alone.

    Args:
        replica: holds model, data and weights.
        layer: whose block; only ``f(model, batch)`` takes the whole network.
        functional: "sum", "half_square", ``f(block_output)`` of one example, or ``f(model, batch)``.
        grouping: what belongs to the block; left out, `groups` finds it.
        input_bytes: most bytes of recorded block inputs; further ones are computed anew for every use.

    Raises:
        SettingError: no such functional, or the whole network where it takes a block.
        UnsupportedError: the layer has no block.
        LossError: the callable gives no real number with a graph.
        NotFiniteError: NaN or infinity.
    """
    read = as_functional(functional)
    if read.form == "model":
        return ModelObjective(replica, read)
    if layer.name == WHOLE:
        raise SettingError(
            f"functional={read.name!r} is local to a layer's block: the whole network (layer=None) has none. Name a "
            "layer, or use functional='loss' or f(model, batch)."
        )
    grouping = groups(replica, [layer])[layer.name] if grouping is None else grouping
    return LocalObjective(replica, layer, read, grouping, input_bytes=input_bytes)


class _Objective:
    """What both kinds share."""

    loss: LocalLoss

    def __init__(self, bound: Bound, functional: Functional) -> None:
        self.bound, self.functional = bound, functional
        self.replica, self.tensors = bound.replica, bound.tensors
        self.count, self.dtype, self.device = self.replica.count, self.replica.dtype, self.replica.device
        self.shares = tuple(size / bound.examples for size in bound.sizes)

    def guard(self) -> AbstractContextManager[Any]:
        """The replica's."""
        return self.replica.guard()

    def _where(self) -> str:
        return self.functional.name

    def blame(self, i: int, error: BaseException) -> SecondDerivativeError:
        """Say where an operation of micro-batch ``i`` cannot be differentiated twice."""
        text = first_line(error)
        return SecondDerivativeError(f"An operation in {self._where()} has no second derivative: {text}. {CURE}")

    def _sound(self, i: int, value: Tensor) -> Tensor:
        """See that a value is finite and no operation behind it drops its second derivative silently."""
        if (name := once_differentiable(value)) is not None:
            raise SecondDerivativeError(
                f"{name} in {self._where()} has no second derivative: its backward is once_differentiable. {CURE}"
            )
        if not bool(torch.isfinite(value)):
            raise NotFiniteError(f"{self._where()} is {float(value.detach())} on batch {i}: {self._not_finite(i)}.")
        return value

    def _not_finite(self, i: int) -> str:
        return "the weights are finite, so the data are not, or the computation overflowed or left its domain"

    def _wide(self, i: int) -> "Replica | None":
        """A float64 copy of the replica on a few examples of micro-batch ``i``, at this objective's weights."""
        twin = self.replica.widened(head(self.replica.batch(i), _FEW))
        if twin is not None:
            twin.load(self.bound.state())
        return twin


class LocalObjective(_Objective):
    """The mean over examples of a scalar of one block's output, its input held fixed.

    ``zero`` says why its Hessian is zero by structure, and is empty otherwise.
    """

    def __init__(
        self,
        replica: "Replica",
        layer: Layer,
        functional: Functional,
        grouping: Grouping,
        *,
        input_bytes: int = INPUT_BYTES,
    ) -> None:
        self.block = LocalBlock(replica, layer, grouping, input_bytes=input_bytes)
        super().__init__(self.block.bound, functional)
        self._given, self._wide_functional = functional, functional
        with replica.guard(), torch.no_grad():
            first = self.block.outputs(0)
        for a in first:
            if not a.is_floating_point():
                raise LossError(
                    f"{self._where()} needs real outputs, but the block gives {a.dtype}. Use f(model, batch) for those."
                )
        with replica.guard():
            own = functional.to(self.device, self.dtype)
            batched = all(own.tried(a, self.bound.sizes[0], layer.name).batched for a in first)
            self.functional = replace(own, batched=batched)
            self.zero = zero_reason(self.block, functional)
            self.notes = self._notes()
        splits = functional.form != "block" or len(first) == 1
        edited = None if isinstance(grouping.function, Written) else identify(grouping.function)
        identity = {**functional.identity, "block": [grouping.batch_norm, grouping.activation, edited]}
        self.loss = LocalLoss(functional.name, identity, splits)

    def batch_loss(self, i: int, override: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Micro-batch ``i``'s part of the mean over examples; over all ``i`` they sum to it. Call with the guard held.

        Raises:
            LossError: the callable gives no real number with a graph.
            NotFiniteError: it is NaN or infinite.
        """
        return self._sound(i, self._mean(i, self.block.outputs(i, override), self.functional))

    def batch_outputs(self, i: int, override: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """The block's outputs on micro-batch ``i``; of several calls, all of them in one row."""
        outputs = self.block.outputs(i, override)
        return outputs[0] if len(outputs) == 1 else torch.cat([a.reshape(-1) for a in outputs])

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        """Micro-batch ``i``'s part from its outputs, computed in the dtype of ``outputs``."""
        if outputs.dtype == self.dtype:
            return self._sound(i, self._mean(i, [outputs], self.functional))
        if self._wide_functional is self._given:
            wide = self._given.to(self.device, outputs.dtype)
            self._wide_functional = replace(wide, batched=self.functional.batched)
        return self._sound(i, self._mean(i, [outputs], self._wide_functional))

    def wide_batch(self, i: int) -> "LocalObjective | None":
        """The same in float64 on a few examples of micro-batch ``i``; None where that cannot be had."""
        twin = self._wide(i)
        return None if twin is None else LocalObjective(twin, self.block.layer, self._given, self.block.grouping)

    def _mean(self, i: int, outputs: list[Tensor], functional: Functional) -> Tensor:
        size, name = self.bound.sizes[i], self.block.layer.name
        return torch.stack([functional.total(a, size, name) for a in outputs]).sum() / self.bound.examples

    def _where(self) -> str:
        return f"{self.functional.name} of the block {self.block.grouping}"

    def _notes(self) -> tuple[str, ...]:
        told = f"Block: {self.block.grouping}, its input held fixed"
        found = (told, self.functional.note, self.zero or sum_note(self.block, self.functional))
        return (*self.replica.notes, *(note for note in found if note))

    def _not_finite(self, i: int) -> str:
        given = self.block.inputs(i)
        inputs = (t for g in given for _, t in tensors((g.args, g.kwargs)) if t.is_floating_point())
        if not all(bool(torch.isfinite(t).all()) for t in inputs):
            return "the block's input is not finite, so look at the data or at the layers before it"
        return "the block's input is finite, so its computation, or the functional's, overflowed or left its domain"


class ModelObjective(_Objective):
    """``f(model, batch)``, the mean over the batch's examples, as a function of any parameters."""

    def __init__(self, replica: "Replica", functional: Functional) -> None:
        super().__init__(Bound(replica), functional)
        self._given = functional
        self.functional = functional.to(self.device, self.dtype)
        self.zero = ""
        self.notes = (*replica.notes, functional.note)
        self.loss = LocalLoss(functional.name, functional.identity, splits=False)
        with replica.guard():
            given = causes.live(replica)
            reached = leaves_behind(real_number(self.batch_loss(0, given), functional.name, "batch 0"))
        if not any(id(tensor) in reached for tensor in given.values()):
            raise LossError(
                f"{functional.name} does not depend on the weights of the model it is given. Call its first argument, "
                "not a model from outside."
            )

    def batch_loss(self, i: int, override: Mapping[str, Tensor] = NOTHING) -> Tensor:
        """Micro-batch ``i``'s part of the mean over examples. Call with the guard held."""
        function = self.functional.function
        assert function is not None  # noqa: S101  # as_functional gave this form one
        try:
            value = self.bound.call(override, function, self.replica.batch(i))
        except (SecondDerivativeError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            raise LossError(
                f"{self.functional.name} failed on batch {i}: {type(error).__name__}: {first_line(error)}. It is "
                "called as f(model, batch), with the model's private copy."
            ) from error
        value = real_number(value, self.functional.name, f"batch {i}", graph=False)  # a layer may well be unused
        return self._sound(i, value * self.shares[i])

    def batch_outputs(self, i: int, override: Mapping[str, Tensor] = NOTHING) -> Tensor:
        raise LossError(f"{self.functional.name} does not show any outputs, so there is no Gauss-Newton matrix.")

    def loss_of_outputs(self, i: int, outputs: Tensor) -> Tensor:
        raise LossError(f"{self.functional.name} does not show any outputs, so there is no Gauss-Newton matrix.")

    def wide_batch(self, i: int) -> "ModelObjective | None":
        """The same in float64 on a few examples of micro-batch ``i``; None where that cannot be had."""
        twin = self._wide(i)
        return None if twin is None else ModelObjective(twin, self._given)

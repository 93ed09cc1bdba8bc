"""Record one forward: which tensor every module call and every torch function took, and which one it gave.

Names and classes say nothing about where a tensor goes, so it is watched: functions by a mode that sees each of them,
modules by hooks. A tensor written to in place counts as a new one from then on.
"""

import types
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ...errors import LhexploreError
from .. import causes
from ..checks import head
from ..graphs import Node
from ..trees import tensors

if TYPE_CHECKING:
    from ..replica import Replica

Key = tuple[int, int]  # which tensor object, and how often it had been written to


class Value(NamedTuple):
    """A tensor at one moment; ``node`` is autograd's, None where nothing leads back to a parameter."""

    key: Key
    node: Node
    shape: tuple[int, ...]


@dataclass(slots=True, eq=False)
class Call:
    """One call of a module."""

    path: str
    module: nn.Module
    alone: Key | None  # the one tensor it took, if that is all it took
    start: int  # how many functions had been called before
    end: int = 0
    output: Value | None = None  # the tensor it gave, or the first of several
    outputs: int = 0


@dataclass(slots=True, eq=False)
class Event:
    """One call of a torch function."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    inputs: tuple[Key, ...]
    outputs: tuple[Value, ...]


@dataclass(slots=True, eq=False)
class Trace:
    """What one forward and its loss did on a few examples; holds their tensors, so that ids stay taken."""

    calls: list[Call] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    loss: Tensor | None = None
    kept: list[Any] = field(default_factory=list)

    def of(self, path: str) -> list[Call]:
        """The calls of one module, in order."""
        return [call for call in self.calls if call.path == path]

    def taking(self, value: Value) -> list[Call]:
        """Module calls that took this tensor alone and gave a single other one, innermost first."""
        found = [call for call in self.calls if call.alone == value.key and call.outputs == 1]
        found = [call for call in found if call.output is not None and call.output.key != value.key]
        return sorted(found, key=lambda call: call.end - call.start)

    def in_model(self, index: int) -> bool:
        """Whether a function was called by the model, not by the loss; true where the loss calls parts of the model."""
        return not (whole := self.of("")) or any(call.start <= index < call.end for call in whole)

    def users(self, value: Value) -> tuple[str, ...]:
        """Which functions take this tensor and pass on something differentiable."""
        taking = (e for i, e in enumerate(self.events) if value.key in e.inputs and self.in_model(i))
        found = [e for e in taking if any(output.node is not None for output in e.outputs)]
        return tuple(dict.fromkeys(name_of(event.function) for event in found))

    def only_way(self, value: Value, later: Value) -> bool:
        """Whether the loss depends on ``value`` through ``later`` alone, by autograd's graph.

        The structure of the graph decides, so the answer is the same at every snapshot.
        """
        if self.loss is None or self.loss.grad_fn is None or value.node is None or later.node is None:
            return False
        return value.node in _behind(later.node) and value.node not in _behind(self.loss.grad_fn, without=later.node)


def record(replica: "Replica") -> Trace:
    """Run the loss once on a few examples, and the loss's graph with all parameters alive; call with the guard held."""
    trace, open_ = Trace(), list[Call]()
    frozen = replica.mode == "train-frozen"  # whose batch norms need the whole batch
    batch = replica.batch(0) if frozen else head(replica.batch(0))

    def enter(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        with torch._C.DisableTorchFunction():
            taken = [t for _, t in tensors((list(args), dict(kwargs)))]
            trace.kept.append(taken)
            alone = _key(taken[0]) if len(taken) == 1 == len(args) and not kwargs else None
            open_.append(Call(path, module, alone, len(trace.events)))

    def leave(path: str, module: nn.Module, args: Any, output: Any) -> None:
        with torch._C.DisableTorchFunction():
            call, given = open_.pop(), [t for _, t in tensors(output)]
            trace.kept.append(given)
            first = output[0] if isinstance(output, tuple | list) and output else output
            call.output = _value(first) if isinstance(first, Tensor) else None
            call.end, call.outputs = len(trace.events), len(given)
            trace.calls.append(call)

    def run(model: nn.Module, batch: Any) -> Any:
        with _Functions(trace):  # inside whatever the replica puts in place of torch's functions
            return replica.loss.value(model, batch)

    with causes.watched(replica.model, before=enter, after=leave):
        try:
            loss = replica.call(causes.live(replica), run, batch)
        except LhexploreError:
            raise
        except Exception as error:
            raise causes.of_forward(replica, 0, error) from error
    trace.loss = loss if isinstance(loss, Tensor) else None
    return trace


def name_of(function: Callable[..., Any]) -> str:
    """How a torch function is called in code."""
    name = getattr(function, "__name__", type(function).__name__)
    if isinstance(function, types.MethodDescriptorType | types.WrapperDescriptorType):
        return f"Tensor.{name}"
    module = str(getattr(function, "__module__", None) or "")
    return f"F.{name}" if module in ("torch.nn.functional", "torch._C._nn") else f"torch.{name}"


class _Functions(TorchFunctionMode):
    """Notes every function that gives a tensor other than one that it took."""

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._trace = trace

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if not torch.is_grad_enabled():  # inside custom functions, whose derivatives are their own
            return func(*args, **kwargs)
        taken = [t for _, t in tensors((list(args), dict(kwargs)))]
        inputs = tuple(map(_key, taken))
        output = func(*args, **kwargs)
        given = [t for _, t in tensors(output) if _key(t) not in inputs]
        if given:
            self._trace.events.append(Event(func, args, kwargs, inputs, tuple(map(_value, given))))
            self._trace.kept.append((taken, given))
        return output


def _key(tensor: Tensor) -> Key:
    return id(tensor), tensor._version


def _value(tensor: Tensor) -> Value:
    return Value(_key(tensor), tensor.grad_fn, tuple(tensor.shape))


def _behind(node: Node, *, without: Node = None) -> set[Node]:
    """All nodes that ``node`` was computed from, itself included; by ways that do not lead through ``without``."""
    seen = {node} - {without}
    todo = list(seen)
    while todo:
        for following, _ in todo.pop().next_functions:
            if following is not None and following is not without and following not in seen:
                seen.add(following)
                todo.append(following)
    return seen

"""What belongs to a layer's block: the module, and the batch norm and the activation that take its output directly."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from ..layers import ROOT, Layer
from ..trees import tree_map
from .elementwise import is_elementwise, is_straight
from .trace import Call, Event, Key, Trace, Value, name_of, record

if TYPE_CHECKING:
    from ..replica import Replica

_NAMED = 3  # functions of an activation that are named one by one
_STEPS = 64  # functions looked at for an activation that is written out, such as x·sigmoid(x)


class Step(NamedTuple):
    """One function of an activation that is called functionally; tensors are referred to by their place."""

    function: Callable[..., Any]
    args: Any
    kwargs: Any


class _Place(NamedTuple):
    """Stands for a tensor: 0 is the block's, i the result of step i."""

    number: int


@dataclass(frozen=True, slots=True)
class Written:
    """An activation that the forward calls as functions, replayed on other tensors."""

    steps: tuple[Step, ...]

    def __call__(self, x: Tensor) -> Tensor:
        held: list[Any] = [x]
        for step in self.steps:
            args, kwargs = _filled((step.args, step.kwargs), held)
            held.append(step.function(*args, **kwargs))
        result: Tensor = held[-1]
        return result

    def __str__(self) -> str:
        names = [name_of(step.function) for step in self.steps]
        return ", ".join(names) if len(names) <= _NAMED else f"{names[0]} … {names[-1]} ({len(names)} functions)"


@dataclass(frozen=True, slots=True)
class Grouping:
    """What makes up a layer's block; change it with ``dataclasses.replace`` to look at another one.

    ``batch_norm`` and ``activation`` are names of modules as in ``model.named_modules()``, or None. An activation that
    the forward calls as a function has that function's name, and ``function`` computes it. ``reason`` says why the
    layer has no local functional; it is empty where it has one.
    """

    layer: str
    batch_norm: str | None = None
    activation: str | None = None
    note: str = ""
    reason: str = ""
    function: Callable[[Tensor], Tensor] | None = field(default=None, repr=False)

    def __str__(self) -> str:
        block = " → ".join(part for part in (self.layer, self.batch_norm, self.activation) if part)
        return f"{block} ({told})" if (told := self.reason or self.note) else block


def groups(replica: "Replica", layers: Iterable[Layer]) -> dict[str, Grouping]:
    """Find the block of every layer, by following tensors through one forward on a few examples.

    A batch norm in evaluation mode and an elementwise activation belong to the block where they take its output
    directly and the loss depends on that output through them alone. Whether a function is elementwise, and bent, is
    tried out on random numbers. Costs one forward of at most eight examples.

    Raises:
        LhexploreError: the model or loss fails.
    """
    with replica.guard():
        trace = record(replica)
        return {layer.name: _grouping(replica, trace, layer) for layer in layers}


def path_of(layer: Layer) -> str:
    """The layer's name as ``model.get_submodule`` takes it."""
    return "" if layer.name == ROOT else layer.name


class _Tail(NamedTuple):
    """What follows one call of a module."""

    batch_norm: str | None = None
    activation: str | None = None
    function: Callable[[Tensor], Tensor] | None = None
    why: str = ""  # what else takes the output


def _grouping(replica: "Replica", trace: Trace, layer: Layer) -> Grouping:
    path, calls = path_of(layer), trace.of(path_of(layer))
    if not layer.parameters:
        return Grouping(layer.name, reason=f"it has no parameters of its own to differentiate: {layer.reason}")
    if not calls:
        return Grouping(layer.name, reason=_uncalled(replica, trace, layer))
    notes = list[str]()
    if len(calls) > 1:
        notes.append(f"called {len(calls)} times in a forward: summed over its calls, each with its own fixed input")
    if any(call.output is None for call in calls):
        return Grouping(layer.name, reason="its output is neither a tensor nor a sequence that starts with one")
    if calls[0].outputs > 1:
        notes.append(f"the first of its {calls[0].outputs} outputs is the block's")
    tails = [_tail(replica, trace, call) for call in calls]
    first = tails[0]
    if any(tail[:3] != first[:3] for tail in tails):
        notes.append("its calls go into different activations, so the block is the module alone")
        first = _Tail()
    elif first.why:
        notes.append(first.why)
    elsewhere = [name for name in layer.parameters if not _inside(name, path)]
    if elsewhere:
        notes.append(f"tied to {', '.join(elsewhere)}: that use is another block")
    return Grouping(layer.name, first.batch_norm, first.activation, "; ".join(notes), function=first.function)


def _uncalled(replica: "Replica", trace: Trace, layer: Layer) -> str:
    """Why a layer has no block, where its module was never called."""
    parents = path_of(layer).split(".")
    for count in range(len(parents) - 1, 0, -1):
        name = ".".join(parents[:count])
        if trace.of(name):
            kind = type(replica.model.get_submodule(name)).__name__
            return f"it is never called as a module: {name!r} ({kind}) uses its weights itself, or not at all"
    return "it is never called as a module: the forward uses its weights itself, or not at all"


def _tail(replica: "Replica", trace: Trace, call: Call) -> _Tail:
    value = call.output
    if value is None or call.outputs != 1:
        return _Tail()
    normed: str | None = None
    since = call.end
    for taking in trace.taking(value):
        if _is_fixed_norm(replica, taking, value) and taking.output and trace.only_way(value, taking.output):
            normed, value, since = taking.path, taking.output, taking.end
            break
    run = _running(replica)
    for taking in trace.taking(value):
        function = run(taking.path)
        if (
            taking.output
            and trace.only_way(value, taking.output)
            and _is_activation(function, value.shape, replica.dtype, replica.device)
        ):
            return _Tail(normed, taking.path)
    for later, written in _written(trace, since, value):
        if (
            later.shape == value.shape
            and trace.only_way(value, later)
            and _is_activation(written, value.shape, replica.dtype, replica.device)
        ):
            return _Tail(normed, str(written), written)
    return _Tail(normed, why=_what_else(trace, value))


def _what_else(trace: Trace, value: Value) -> str:
    users = trace.users(value)
    if value.node is None:
        return "its output is cut off from the weights"
    if not users:
        return "no activation: nothing in the model is seen to take its output"
    named = ", ".join(users[:3]) + (" …" if len(users) > 3 else "")
    return f"no activation: its output goes into {named}, and no elementwise function takes it alone"


def _is_fixed_norm(replica: "Replica", call: Call, value: Value) -> bool:
    """A batch norm with fixed statistics: torch's in evaluation mode, or one that only has buffers."""
    if call.module.training or "BatchNorm" not in type(call.module).__name__:
        return False
    return is_elementwise(_running(replica)(call.path), value.shape, dtype=replica.dtype, device=replica.device)


def _is_activation(
    function: Callable[[Tensor], Tensor], shape: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> bool:
    return is_elementwise(function, shape, dtype=dtype, device=device) and not is_straight(
        function, shape, dtype=dtype, device=device
    )


def _running(replica: "Replica") -> Callable[[str], Callable[[Tensor], Tensor]]:
    """Modules of the replica as functions of one tensor, at its weights."""

    def run(path: str) -> Callable[[Tensor], Tensor]:
        def function(x: Tensor) -> Tensor:
            result: Tensor = replica.call({}, lambda model, given: model.get_submodule(path)(given), x)
            return result

        return function

    return run


def _written(trace: Trace, start: int, value: Value) -> Iterator[tuple[Value, Written]]:
    """Everything that the model computes from this tensor alone, function by function, in the order of the forward."""
    known: dict[Key, dict[int, Event]] = {value.key: {}}
    for index, event in enumerate(trace.events[start:], start):
        if len(event.outputs) != 1 or not all(key in known for key in event.inputs) or not trace.in_model(index):
            continue
        needed = {index: event}  # the functions that this result needs, each once
        for key in event.inputs:
            needed |= known[key]
        output = event.outputs[0]
        known[output.key] = needed
        if output.node is not None and event.inputs:
            yield output, _replayed([needed[i] for i in sorted(needed)], value)
        if len(known) > _STEPS:
            return


def _replayed(events: Sequence[Event], value: Value) -> Written:
    places: dict[Key, _Place] = {value.key: _Place(0)}
    steps = []
    for index, event in enumerate(events, 1):
        given = iter([places[key] for key in event.inputs])
        args, kwargs = tree_map(partial(_next_place, given), (list(event.args), dict(event.kwargs)))
        steps.append(Step(event.function, args, kwargs))
        places[event.outputs[0].key] = _Place(index)
    return Written(tuple(steps))


def _next_place(places: Iterator[_Place], leaf: Any) -> Any:
    return next(places) if isinstance(leaf, Tensor) else leaf


def _filled(tree: Any, held: list[Any]) -> Any:
    if isinstance(tree, _Place):
        return held[tree.number]
    if isinstance(tree, dict):
        return {key: _filled(item, held) for key, item in tree.items()}
    if type(tree) in (list, tuple):
        return type(tree)(_filled(item, held) for item in tree)
    return tree


def _inside(name: str, path: str) -> bool:
    return not path or name.startswith(f"{path}.")

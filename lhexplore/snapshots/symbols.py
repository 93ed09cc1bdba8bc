"""Following a pickle's stack machine without making anything: dictionaries, numbers, and calls that are not made.

So a listing can tell step, epoch and metrics, and which tensors a file describes, while nothing of it is imported.
Nested tuples are never hashed, compared or written out: a short pickle can make one that would take for ever.
"""

import pickletools
from dataclasses import dataclass
from typing import Any

_MARK, OTHER = object(), object()  # a mark on the stack; a value nobody needs to know
_PLAIN = frozenset(
    [
        *("BININT", "BININT1", "BININT2", "INT", "LONG1", "LONG4", "LONG", "BINFLOAT", "FLOAT"),
        *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "UNICODE", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
    ]
)
_CONSTANT = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_PERSISTENT = "persistent id"
_ORDERED = "collections OrderedDict"


class Name(str):
    """What the pickle would import: ``"module name"``."""

    __slots__ = ()


@dataclass(slots=True, eq=False)
class Call:
    """An object the pickle would make: by which function, of what, and the state it would get afterwards."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


def followed(pickled: bytes) -> Any:
    """The outermost object, of dictionaries, lists, tuples, plain values, calls, and ``OTHER`` for all else.

    Raises:
        ValueError: the pickle is damaged.
    """
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            name = operation.name
            if name in _PLAIN:
                stack.append(argument)
            elif name == "MARK":
                stack.append(_MARK)
            elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
                memo[len(memo) if argument is None else int(argument)] = stack[-1]
            elif name in ("BINGET", "LONG_BINGET", "GET"):
                stack.append(memo.get(int(str(argument)), OTHER))
            elif name == "GLOBAL":
                stack.append(Name(argument))
            elif name in _CONSTANT:
                stack.append(_CONSTANT[name])
            elif name == "STOP":
                return stack.pop()
            else:
                _step(stack, operation)
    except (IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged ({error})") from error
    raise ValueError("the pickle is damaged (it does not end)")


def stored(value: object) -> tuple[Any, ...] | None:
    """Kind of storage, its key, offset, size and strides of a tensor or parameter; None of everything else."""
    if isinstance(value, Call) and value.function == "torch._utils _rebuild_parameter" and value.arguments:
        value = value.arguments[0]
    if not isinstance(value, Call) or value.function != "torch._utils _rebuild_tensor_v2":
        return None
    if len(value.arguments) < 4:
        return None
    storage, offset, size, stride = value.arguments[:4]
    if not isinstance(storage, Call) or storage.function != _PERSISTENT or len(storage.arguments) != 5:
        return None
    _, kind, key, *_ = storage.arguments
    plain = isinstance(kind, str) and isinstance(key, str) and isinstance(offset, int)
    return (kind, key, offset, size, stride) if plain and _whole(size) and _whole(stride) else None


def _whole(numbers: object) -> bool:
    return isinstance(numbers, tuple) and all(isinstance(number, int) for number in numbers)


def _step(stack: list[Any], operation: pickletools.OpcodeInfo) -> None:
    """Do what one of the operations that build something does, with symbols."""
    name = operation.name
    if name in ("SETITEM", "SETITEMS"):
        items = _above_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
        if isinstance(stack[-1], dict):
            pairs = zip(items[::2], items[1::2], strict=False)
            stack[-1].update((key, value) for key, value in pairs if isinstance(key, str | int))
    elif name in ("APPEND", "APPENDS"):
        items = _above_mark(stack) if name == "APPENDS" else [stack.pop()]
        if isinstance(stack[-1], list):
            stack[-1].extend(items)
    elif name == "EMPTY_DICT":
        stack.append({})
    elif name == "EMPTY_LIST":
        stack.append([])
    elif name == "TUPLE":
        stack.append(tuple(_above_mark(stack)))
    elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
        count = int(name[-1])
        stack[-count:] = [tuple(stack[-count:])]
    elif name == "BINPERSID":
        stack[-1] = Call(_PERSISTENT, _arguments(stack[-1]))
    elif name == "STACK_GLOBAL":
        module, inner = stack[-2], stack[-1]
        stack[-2:] = [Name(f"{module} {inner}") if isinstance(module, str) and isinstance(inner, str) else OTHER]
    elif name == "REDUCE":
        function, arguments = stack[-2], _arguments(stack[-1])
        called = str(function) if isinstance(function, Name) else ""
        stack[-2:] = [{} if called == _ORDERED and not arguments else Call(called, arguments)]
    elif name == "BUILD":
        state = stack.pop()
        if isinstance(stack[-1], Call):
            stack[-1].state = state
    else:
        _replace(stack, operation)


def _arguments(value: object) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else ()


def _above_mark(stack: list[Any]) -> list[Any]:
    """Take what lies above the topmost mark, and the mark."""
    taken = []
    while (item := stack.pop()) is not _MARK:
        taken.append(item)
    return taken[::-1]


def _replace(stack: list[Any], operation: pickletools.OpcodeInfo) -> None:
    """Take what the operation takes; put one opaque token for each thing it gives."""
    before = operation.stack_before
    if pickletools.markobject in before:
        _above_mark(stack)
        before = before[: before.index(pickletools.markobject)]
    if before:
        del stack[-len(before) :]
    stack.extend([OTHER] * len(operation.stack_after))

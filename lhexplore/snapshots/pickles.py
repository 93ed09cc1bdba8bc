"""Looking at a pickle without running it: what it would import, and the plain numbers at its top level."""

import pickletools
import re
from typing import Any

_MARK, _OTHER = object(), object()  # a mark on the stack; a value nobody needs to know
_PLAIN = frozenset(
    [
        "BININT",
        "BININT1",
        "BININT2",
        "INT",
        "LONG1",
        "LONG",
        "BINFLOAT",
        "FLOAT",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
        "UNICODE",
    ]
)
_FIELD = re.compile(rb"step|epoch|iter|\x02\x00\x00\x00it|loss|acc|err|metric|score|updates", re.IGNORECASE)
_USUAL = re.compile(r"torch\._utils _rebuild_\w+|collections OrderedDict|torch \w+Storage")
_UNUSUAL = re.compile(
    rb"[ci](?!(?:torch\._utils\n_rebuild_\w+|collections\nOrderedDict|torch\n\w+Storage)\n)[\w.]+\n[\w.]+\n"
)


def only_usual_names(pickled: bytes) -> bool:
    """Whether a glance finds no import beyond what a state_dict needs.

    For listings only: it spares the disassembly of the usual file. Protocol 2, which torch writes, names its imports
    in plain text; other protocols always get the full look.
    """
    return pickled.startswith(b"\x80\x02") and not _UNUSUAL.search(pickled)


def imports(pickled: bytes) -> list[str]:
    """What the pickle would import, as ``module.name``, beyond what a state_dict needs.

    Raises:
        ValueError: the pickle is damaged.
    """
    found: set[str] = set()
    texts: list[Any] = []  # protocol 4 puts module and name on the stack: the last two texts
    memo: dict[int, Any] = {}
    for operation, argument, _ in pickletools.genops(pickled):
        if operation.name in ("GLOBAL", "INST"):
            found.add(str(argument))
        elif operation.name == "STACK_GLOBAL":
            found.add(" ".join(map(str, texts[-2:])))
        elif "UNICODE" in operation.name:
            texts.append(argument)
        elif operation.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else None
        elif operation.name in ("BINGET", "LONG_BINGET"):
            texts.append(memo.get(int(str(argument))))
    return sorted(name.replace(" ", ".") for name in found if not _USUAL.fullmatch(name))


def outermost_class(pickled: bytes) -> str | None:
    """The class whose instance the pickle is, as ``module.Class``; None for a dictionary or another plain value."""
    texts: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(pickled):
            if operation.name in ("GLOBAL", "STACK_GLOBAL"):
                name = str(argument) if operation.name == "GLOBAL" else " ".join(texts[-2:])
                return None if _USUAL.fullmatch(name) else name.replace(" ", ".")
            if "UNICODE" in operation.name:
                texts.append(str(argument))
            elif operation.name not in ("PROTO", "FRAME", "MARK", "MEMOIZE", "BINPUT"):
                return None
    except (ValueError, IndexError, OverflowError):
        pass  # damaged: the load itself will say so
    return None


def top_level_scalars(pickled: bytes) -> dict[str, Any]:
    """The plain numbers and texts of the outermost dictionary, by name.

    The stack machine is followed without making anything: every other value is one opaque token.

    Raises:
        ValueError: the pickle is damaged.
    """
    if not _FIELD.search(pickled):
        return {}  # the usual bare state_dict
    stack: list[Any] = []
    memo: dict[int, Any] = {}
    found: dict[str, Any] = {}
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
                stack.append(memo.get(int(str(argument)), _OTHER))
            elif name in ("SETITEM", "SETITEMS"):
                items = _above_mark(stack) if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                if len(stack) == 1:  # the outermost dictionary is the bottom of the stack
                    found |= dict(zip(items[::2], items[1::2], strict=True))
            else:
                _replace(stack, operation)
    except (IndexError, TypeError, OverflowError) as error:
        raise ValueError(f"the pickle is damaged ({error})") from error
    return {k: v for k, v in found.items() if isinstance(k, str) and isinstance(v, int | float | str)}


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
    stack.extend([_OTHER] * len(operation.stack_after))

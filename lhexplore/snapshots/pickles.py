"""Looking at a pickle without running it: what it would import."""

import pickletools
import re
from typing import Any

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

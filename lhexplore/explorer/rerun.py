"""Running a cell again replaces its output, so the explorer that stood there ends with it."""

import weakref
from typing import Any, Protocol


class Closable(Protocol):
    """Something that can be closed."""

    def close(self) -> None: ...


_here: dict[str, tuple[str, list["weakref.ref[Closable]"]]] = {}  # cell -> (which run of it, what it made)


def close_earlier_of_this_cell(made: Closable) -> None:
    """Close what earlier runs of the present notebook cell made, and remember ``made`` as its own.

    ipywidgets remembers every widget until it is closed; without this, a cell that is run ten times would keep ten
    explorers. Outside a notebook, and where the front end does not name its cells, nothing happens.
    """
    cell, run = _present_cell()
    if not cell:
        return
    before, alive = _here.get(cell, ("", []))
    if before != run:
        for reference in alive:
            old = reference()
            if old is not None and old is not made:
                old.close()
        alive = []
    _here[cell] = (run, [*(r for r in alive if r() is not None), weakref.ref(made)])


def in_a_named_cell() -> bool:
    """Whether a front end that names its cells runs this one: programs that run notebooks do not name them."""
    return bool(_present_cell()[0])


def _present_cell() -> tuple[str, str]:
    """Id of the cell that is running, and of this run; empty where there is none."""
    try:
        from IPython import get_ipython
    except ImportError:
        return "", ""
    shell: Any = get_ipython()
    parent = getattr(shell, "parent_header", None)
    if not isinstance(parent, dict):
        return "", ""
    cell = parent.get("metadata", {}).get("cellId", "")
    return str(cell or ""), str(parent.get("header", {}).get("msg_id", ""))

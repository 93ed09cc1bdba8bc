"""Give functions that captured tensors or modules a private set of them.

A lambda keeps what it closed over when a model is copied, so ``self.f = lambda x: self.fc(x)`` would go on using the
user's layer; and a loss with class weights or a teacher network in its closure would mix dtypes and devices, or move
the teacher's batch norms.
"""

import inspect
import types
from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

Swap = Callable[[Any], Any]
_DEPTH = 3  # helpers that a function calls, and those that they call


def rebind(function: Any, swap: Swap, depth: int = _DEPTH) -> Any:
    """Rebuild a plain function with ``swap`` applied to the tensors and modules it captured; else return it as it is.

    Captured are closure cells, defaults, and globals that its code names; functions among them are rebuilt too.
    """
    if not isinstance(function, types.FunctionType) or depth == 0 or _of_library(function):
        return function

    def swapped(value: Any) -> Any:
        if isinstance(value, Tensor | nn.Module):
            return swap(value)
        return rebind(value, swap, depth - 1) if value is not function else value

    used = inspect.getclosurevars(function)
    named = {name: new for name, old in used.globals.items() if (new := swapped(old)) is not old}
    cells = [_cell(cell, swapped) for cell in function.__closure__ or ()]
    defaults = tuple(swapped(value) for value in function.__defaults__ or ())
    keyword = {name: swapped(value) for name, value in (function.__kwdefaults__ or {}).items()}
    same = (
        not named
        and all(new is old for new, old in zip(cells, function.__closure__ or (), strict=True))
        and all(new is old for new, old in zip(defaults, function.__defaults__ or (), strict=True))
        and all(keyword[name] is old for name, old in (function.__kwdefaults__ or {}).items())
    )
    if same:
        return function
    fresh = types.FunctionType(
        function.__code__,
        {**function.__globals__, **named} if named else function.__globals__,
        function.__name__,
        defaults or None,
        tuple(cells) or None,
    )
    fresh.__kwdefaults__ = keyword or None
    fresh.__qualname__, fresh.__module__ = function.__qualname__, function.__module__
    return fresh


def _cell(cell: types.CellType, swapped: Swap) -> types.CellType:
    try:
        old = cell.cell_contents
    except ValueError:  # not filled yet
        return cell
    new = swapped(old)
    return cell if new is old else types.CellType(new)


def _of_library(function: types.FunctionType) -> bool:
    return (function.__module__ or "").split(".")[0] in ("torch", "numpy")

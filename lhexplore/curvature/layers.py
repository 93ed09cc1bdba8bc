"""Which blocks of a model can be looked at: one row per module with parameters, each with a status and a reason.

Nothing is dropped: what cannot or shall not be differentiated keeps its row and says why.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from ..errors import LhexploreError, ModelError, SettingError, UnknownLayerError, suggest
from ..spectrum import WHOLE
from .wrappers import unwrap

ROOT = "(root)"
NOT_SELECTED = "not selected by layers="
DIFFERENTIABLE = (torch.float64, torch.float32, torch.float16, torch.bfloat16)


@dataclass(frozen=True, slots=True)
class Layer:
    """The parameters that one module owns itself, as one block.

    ``parameters`` are names as in ``model.named_parameters()``; a tensor that has several names is listed under all
    of them and counted once in ``size``. Rows that cannot be differentiated have no parameters and size 0; rows that
    were not selected keep theirs.
    """

    name: str
    parameters: tuple[str, ...]
    size: int
    kind: str
    status: Literal["ok", "skipped"] = "ok"
    reason: str = ""


def list_layers(model: Any, select: Any = None) -> tuple[Layer, ...]:
    """List every module that owns parameters, in the order of ``model.named_modules()``.

    Args:
        model: Only read. Compiled and data-parallel wrappers are looked through.
        select: None for all, glob(s) over the names such as ``"blocks.*.attn.*"``, or ``f(name, module) -> bool``.

    Raises:
        ModelError: No parameters, or parameters that a lazy module has yet to create.
        UnknownLayerError: A pattern that no name matches.
    """
    model = unwrap(model)  # checks that it is a module
    owned = _owned(model)
    if not owned:
        raise ModelError(
            f"{type(model).__name__} has no parameters, so it has no Hessian. Expected a model whose layers hold "
            "nn.Parameter tensors; were they kept in a plain list or dict instead of nn.ModuleList or nn.ModuleDict?"
        )
    lazy = [name for entries in owned.values() for name, parameter in entries if is_lazy(parameter)]
    if lazy:
        raise ModelError(
            f"{lazy[0]!r} belongs to a lazy module that has no weights yet. Run one batch through the model first "
            "(model(x)), then give it to lhexplore."
        )
    chosen = _chosen(model, owned, select)
    names = _all_names(owned)
    rows, first = [], dict[int, str]()
    for owner, entries in owned.items():
        row = _row(owner, _kind(model.get_submodule(_path(owner))), entries, names, first)
        for _, parameter in entries:
            first.setdefault(id(parameter), owner)
        if row.status == "ok" and not _is_chosen(owner, entries, chosen, owned):
            row = replace(row, status="skipped", reason=_joined(NOT_SELECTED, row.reason))
        rows.append(row)
    if not any(row.parameters for row in rows):
        raise ModelError(
            f"{type(model).__name__} has no parameter that can be differentiated: "
            + "; ".join(f"{row.name}: {row.reason}" for row in rows[:3])
            + ". Give lhexplore the model with ordinary floating-point weights."
        )
    return tuple(rows)


def find_layer(layers: Sequence[Layer], name: str) -> Layer:
    """Find a layer by its name; one that was merely not selected is found too.

    Raises:
        UnknownLayerError: No such layer, or nothing in it to differentiate; names near ones or the reason.
    """
    row = next((layer for layer in layers if layer.name == name), None)
    if row is None:
        usable = [layer.name for layer in layers if layer.status == "ok"]
        raise UnknownLayerError(f"There is no layer {name!r} with parameters of its own. {suggest(name, usable)}")
    if row.status != "ok" and not row.reason.startswith(NOT_SELECTED):
        raise UnknownLayerError(f"Layer {name!r} is skipped: {row.reason}. session.layers lists what can be asked for.")
    return row


def whole_network(layers: Iterable[Layer]) -> Layer:
    """Join all parameters that can be differentiated, selected or not, into one block."""
    rows = [layer for layer in layers if layer.parameters]
    names = tuple(dict.fromkeys(name for row in rows for name in row.parameters))
    reason = f"{len(rows)} layers"
    return Layer(WHOLE, names, sum(row.size for row in rows), "network", "ok", reason)


Entries = list[tuple[str, nn.Parameter]]


def _owned(model: nn.Module) -> dict[str, Entries]:
    """Full names of the parameters by owning module; what a parametrisation holds belongs to the module it serves."""
    owned: dict[str, Entries] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            owner = f".{path}".split(".parametrizations.")[0].removeprefix(".")
            owned.setdefault(owner or ROOT, []).append((f"{path}.{name}" if path else name, parameter))
    return owned


def _row(owner: str, kind: str, entries: Entries, names: dict[int, list[str]], first: dict[int, str]) -> Layer:
    parameters, size, reasons, tied = list[str](), 0, list[str](), dict[str, list[str]]()
    seen = set[int]()
    for name, parameter in entries:
        short = name.removeprefix(f"{owner}.")
        if (obstacle := _obstacle(parameter)) is not None:
            reasons.append(f"{short} {obstacle}")
        elif id(parameter) in first:
            tied.setdefault(first[id(parameter)], []).append(short)
        elif id(parameter) not in seen:
            seen.add(id(parameter))
            parameters += names[id(parameter)]
            size += parameter.numel()
            aliases = [other for other in names[id(parameter)] if other != name]
            if aliases:
                reasons.insert(0, f"shares {short} with {', '.join(aliases)}")
    frozen = [name.removeprefix(f"{owner}.") for name, p in entries if id(p) in seen and not p.requires_grad]
    if frozen:
        which = "" if len(frozen) == len(seen) else f" ({', '.join(frozen)})"
        reasons.append(f"frozen in your model{which}; analysed on the private copy, your flags stay")
    originals = [name for name, _ in entries if "parametrizations." in name]
    if originals:
        tensors = sorted({name.split("parametrizations.")[1].split(".")[0] for name in originals})
        reasons.append(f"{', '.join(tensors)} is parametrised: the block is over the originals behind it")
    for other, shorts in tied.items():
        reasons.append(f"tied to {other}" if not seen else f"{', '.join(shorts)} is tied to {other} and counted there")
    status: Literal["ok", "skipped"] = "ok" if seen else "skipped"
    return Layer(owner, tuple(parameters), size, kind, status, "; ".join(reasons))


def _obstacle(parameter: nn.Parameter) -> str | None:
    """Why this tensor cannot be differentiated, or None."""
    if parameter.is_meta:
        return "is on the meta device and holds no numbers"
    if parameter.layout is not torch.strided:
        return f"is sparse ({str(parameter.layout).removeprefix('torch.')})"
    if parameter.dtype not in DIFFERENTIABLE:
        return f"is {str(parameter.dtype).removeprefix('torch.')}, which is not differentiated here"
    if parameter.numel() == 0:
        return "has no elements"
    return None


def _all_names(owned: dict[str, Entries]) -> dict[int, list[str]]:
    names: dict[int, list[str]] = {}
    for entries in owned.values():
        for name, parameter in entries:
            names.setdefault(id(parameter), []).append(name)
    return names


def _kind(module: nn.Module) -> str:
    """The class a person wrote, not the one a parametrisation put in its place."""
    kind = type(module)
    if kind.__name__.startswith("Parametrized") and "parametrizations" in module._modules:
        kind = kind.__mro__[1]
    return kind.__name__


def _chosen(model: nn.Module, owned: dict[str, Entries], select: Any) -> set[str]:
    if select is None:
        return set(owned)
    if callable(select):
        try:
            return {owner for owner in owned if select(owner, model.get_submodule(_path(owner)))}
        except LhexploreError:
            raise
        except Exception as error:
            name = getattr(select, "__qualname__", type(select).__name__)
            raise SettingError(
                f"The layers= function {name} failed: {type(error).__name__}: {error}. "
                "It is called as f(name, module) and should return whether the layer is wanted."
            ) from error
    patterns = [select] if isinstance(select, str) else select
    if not isinstance(patterns, list | tuple | set) or not all(isinstance(pattern, str) for pattern in patterns):
        raise SettingError(f"layers= takes None, a glob, a list of globs or f(name, module) -> bool; got {select!r}.")
    chosen = set[str]()
    for pattern in patterns:
        matches = {owner for owner in owned if fnmatchcase(owner, pattern)}
        if not matches:
            raise UnknownLayerError(f"No layer matches {pattern!r}. {suggest(pattern, owned)}")
        chosen |= matches
    return chosen


def _is_chosen(owner: str, entries: Entries, chosen: set[str], owned: dict[str, Entries]) -> bool:
    """A tied tensor is chosen by any of its names."""
    if owner in chosen:
        return True
    mine = {id(parameter) for _, parameter in entries}
    return any(id(parameter) in mine for other in chosen for _, parameter in owned[other])


def _path(owner: str) -> str:
    return "" if owner == ROOT else owner


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)

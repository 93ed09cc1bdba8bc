"""Putting a snapshot's weights under the names of a model: everything must match, and what was adapted is said.

torch's ``strict=False`` is never used: with a wrong prefix it loads nothing and reports success.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import MismatchError

SHOWN = 5  # differences listed in a message
_WRAPPED = "_orig_mod"  # what torch.compile puts into names
_COUNTER = "num_batches_tracked"  # batch norm's counter, absent from files older than torch 0.4.1; no result uses it


def fit(state: Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Return the weights under the names of the (unwrapped) model, and notes on what was adapted.

    One prefix common to *all* names is taken off, or put on, only if every name then matches. Names that the model
    ties may be missing. Types may differ between floating-point types: whoever computes casts.

    Raises:
        MismatchError: with the first differences and the best guess at a prefix.
    """
    inner = unwrapped(model)
    wanted = {name: value for name, value in inner.state_dict().items() if isinstance(value, Tensor)}
    named, notes = _renamed(dict(state), list(wanted))
    ties = _ties(inner)
    filled = _filled(named, wanted, ties)
    for what, names in filled.items():
        notes.append(f"{what}: {', '.join(map(repr, names[:SHOWN]))}")
    _refuse_differences(named, wanted)
    _refuse_untied(named, ties)
    notes += _casts(named, wanted)
    return {name: named[name] for name in wanted}, tuple(notes)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside of ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``."""
    while True:
        parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
        inner: Any = getattr(model, "module" if parallel else _WRAPPED, None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner


def _renamed(state: dict[str, Tensor], wanted: list[str]) -> tuple[dict[str, Tensor], list[str]]:
    """The state under the model's names, if one rule about all names brings it there; else as it is."""
    goal = {_without_compile(name): name for name in wanted}
    plain = {_without_compile(name): tensor for name, tensor in state.items()}
    if len(plain) != len(state) or len(goal) != len(wanted) or not plain:
        return state, []
    if _near(plain, goal):
        return _under(plain, goal), []
    for prefix in _common_prefixes(plain):
        short = {name.removeprefix(prefix): tensor for name, tensor in plain.items()}
        if short.keys() == goal.keys():
            return _under(short, goal), [f"the prefix {prefix!r} was taken off all names"]
    for prefix in _common_prefixes(goal):
        long = {prefix + name: tensor for name, tensor in plain.items()}
        if long.keys() == goal.keys():
            return _under(long, goal), [f"the prefix {prefix!r} was put before all names"]
    return state, []


def _without_compile(name: str) -> str:
    return ".".join(part for part in name.split(".") if part != _WRAPPED)


def _near(plain: Mapping[str, Tensor], goal: Mapping[str, str]) -> bool:
    """Whether most names match as they are, so that no prefix is at fault."""
    return len(plain.keys() & goal.keys()) * 2 >= len(goal)


def _under(plain: Mapping[str, Tensor], goal: Mapping[str, str]) -> dict[str, Tensor]:
    return {goal.get(name, name): tensor for name, tensor in plain.items()}


def _common_prefixes(names: Iterable[str]) -> list[str]:
    """Leading parts that all names share, shortest first: ``["module.", "module.net."]``."""
    split = [name.split(".")[:-1] for name in names]
    common: list[str] = []
    for parts in zip(*split, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return [".".join(common[:i]) + "." for i in range(1, len(common) + 1)]


def _ties(model: nn.Module) -> list[list[str]]:
    """Names of one and the same tensor, in groups."""
    groups: dict[int, list[str]] = {}
    for named in (model.named_parameters(remove_duplicate=False), model.named_buffers(remove_duplicate=False)):
        for name, tensor in named:
            groups.setdefault(id(tensor), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _filled(named: dict[str, Tensor], wanted: Mapping[str, Tensor], ties: list[list[str]]) -> dict[str, list[str]]:
    """Put in the names that may be absent: tied to a present one, or a counter. Changes ``named``; says what it did."""
    done: dict[str, list[str]] = {}
    for group in ties:
        held = next((name for name in group if name in named), None)
        for name in group if held else ():
            if name not in named and name in wanted:
                named[name] = named[str(held)]
                done.setdefault("absent, taken from the name they are tied to", []).append(name)
    absent = [name for name in wanted if name not in named]
    if all(name.rpartition(".")[2] == _COUNTER for name in absent):
        for name in absent:
            named[name] = wanted[name].detach().cpu().clone()
            done.setdefault("absent, kept from the model", []).append(name)
    return done


def _refuse_differences(named: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in named]
    unexpected = [name for name in named if name not in wanted]
    shapes = [
        f"{name!r} is {_shape(named[name])} in the snapshot and {_shape(tensor)} in the model"
        for name, tensor in wanted.items()
        if name in named and named[name].shape != tensor.shape
    ]
    kinds = [
        f"{name!r} is {_type(named[name])} in the snapshot and {_type(tensor)} in the model"
        for name, tensor in wanted.items()
        if name in named and _family(named[name]) != _family(tensor)
    ]
    if not (missing or unexpected or shapes or kinds):
        return
    differences = shapes + kinds
    differences += [f"{name!r} is missing" for name in missing] + [f"{name!r} is unexpected" for name in unexpected]
    more = f"; and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    raise MismatchError(
        f"The snapshot does not fit the model: of {len(wanted)} names {len(missing)} are missing, {len(unexpected)} "
        f"are unexpected, {len(shapes)} have another shape and {len(kinds)} another kind of number. "
        f"{'; '.join(differences[:SHOWN])}{more}. {_guess(named, wanted)}"
    )


def _guess(named: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str:
    """The best guess at a prefix, or at the cause."""
    tried: dict[str, int] = {}
    for name in named:
        parts = name.split(".")
        for i in range(1, len(parts)):
            if ".".join(parts[i:]) in wanted:
                prefix = ".".join(parts[:i]) + "."
                tried[prefix] = tried.get(prefix, 0) + 1
    prefix, matches = max(tried.items(), key=lambda item: item[1], default=("", 0))
    if matches > len(named.keys() & wanted.keys()):
        return (
            f"Without the prefix {prefix!r} {matches} of the snapshot's {len(named)} names would match: hand over that "
            "part alone, as snapshots={'label': {name.removeprefix(…): tensor, …}}."
        )
    return "Build the model with the settings it was trained with."


def _refuse_untied(named: Mapping[str, Tensor], ties: list[list[str]]) -> None:
    for group in ties:
        present = [name for name in group if name in named]
        for name in present[1:]:
            first = named[present[0]]
            if named[name] is not first and not torch.equal(named[name], first):
                raise MismatchError(
                    f"The model ties {present[0]!r} and {name!r} to one tensor, but the snapshot holds different "
                    "values for them: it comes from a model that does not tie them. Untie them in the model."
                )


def _casts(named: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> list[str]:
    pairs = sorted(
        {(_type(named[name]), _type(tensor)) for name, tensor in wanted.items() if named[name].dtype != tensor.dtype}
    )
    return [f"weights are {held} in the snapshot and {own} in the model" for held, own in pairs]


def _family(tensor: Tensor) -> str:
    return "complex" if tensor.is_complex() else "float" if tensor.is_floating_point() else "integer"


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")

"""What makes two losses or two models the same: JSON that changes when settings, code or captured values change.

Cache keys are made of it, so the rule is: whatever can change a number is described, and what cannot be looked into is
named, so that nothing is kept on disk under a name that might fit something else.
"""

import dis
import functools
import sys
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..digests import canonical_json, digest_bytes, digest_json, digest_tensors

_MOST = 20_000  # values one identity looks at; a captured data set is named instead of read
_PARTS = frozenset(vars(nn.Module()))  # what torch keeps in every module: parameters, hooks, the training flag
_STATELESS = ("threading", "_thread", "logging", "weakref")  # locks and loggers change no number


def identify(value: Any) -> Any:
    """Describe a loss so that equal descriptions mean the same loss.

    What cannot be seen is recorded as ``{"opaque": class name}``.
    """
    return _Look().at(value)


def identify_model(model: nn.Module) -> Any:
    """Describe what a model computes apart from its parameters and persistent buffers, which belong to a snapshot.

    Classes and their methods, plain attributes, functions kept in attributes, buffers that a state_dict leaves out,
    which parameters are tied, and the version of torch.
    """
    tied: dict[int, list[str]] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        tied.setdefault(id(tensor), []).append(name)
    return {
        "torch": torch.__version__.split("+")[0],
        "tied": sorted(names for names in tied.values() if len(names) > 1),
        "model": _Look(weights=False).at(model),
    }


def opaque(identity: Any) -> list[str]:
    """Names of the classes that an identity could not look into."""
    if isinstance(identity, Mapping):
        if set(identity) == {"opaque"}:
            return [str(identity["opaque"])]
        return [name for item in identity.values() for name in opaque(item)]
    if isinstance(identity, list):
        return [name for item in identity for name in opaque(item)]
    return []


@dataclass(slots=True)
class _Look:
    """One walk through a value; remembers where it has been, so that cycles end."""

    weights: bool = True  # whether parameters and persistent buffers count
    left: int = _MOST
    path: list[int] = field(default_factory=list)  # containers around the value at hand, by id
    # Modules, classes, functions and objects are described once. Containers are not remembered: whether two equal
    # tuples are one object is Python's choice, not the person's.
    seen: dict[int, tuple[int, Any]] = field(default_factory=dict)  # id -> number, and the value kept alive

    def at(self, value: Any) -> Any:
        if isinstance(value, Enum):
            return f"{_qualified(type(value))}.{value.name}"
        if isinstance(value, bool | int | str | None):
            return value
        if isinstance(value, float | complex | bytes | np.generic):
            return repr(value)  # keeps nan and inf, which JSON has not
        if isinstance(value, type):
            return self.of_class(value)
        if isinstance(value, types.ModuleType | types.BuiltinFunctionType | np.ufunc):
            return _qualified(value)
        self.left -= 1
        if self.left < 0:
            return {"opaque": _qualified(type(value))}
        if isinstance(value, Tensor):
            return {"tensor": digest_tensors([("", value)])}
        if isinstance(value, np.ndarray) and value.dtype != object:
            return {"array": digest_bytes(np.ascontiguousarray(value).tobytes()), "shape": list(value.shape)}
        if isinstance(value, list | tuple | set | frozenset | Mapping | np.ndarray):
            return self.of_container(value)
        if id(value) in self.seen:
            return {"again": self.seen[id(value)][0]}
        self.seen[id(value)] = (len(self.seen), value)
        return self.of_thing(value)

    def of_container(self, value: Any) -> Any:
        if id(value) in self.path:
            return {"around": len(self.path) - self.path.index(id(value))}
        self.path.append(id(value))
        try:
            if isinstance(value, set | frozenset):
                return {"set": sorted(canonical_json(self.at(item)) for item in value)}
            if isinstance(value, Mapping):
                return {"map": [[self.at(key), self.at(item)] for key, item in value.items()]}
            return [self.at(item) for item in value]
        finally:
            self.path.pop()

    def of_thing(self, value: Any) -> Any:
        if isinstance(value, nn.Module):
            return self.of_module(value)
        if isinstance(value, functools.partial):
            return {"partial": self.at(value.func), "args": self.at(value.args), "keywords": self.at(value.keywords)}
        if isinstance(value, types.MethodType):
            return {"method": self.at(value.__func__), "self": self.at(value.__self__)}
        if isinstance(value, types.FunctionType):
            return self.of_function(value)
        if isinstance(value, property):
            return {"property": [self.at(part) for part in (value.fget, value.fset)]}
        if isinstance(value, classmethod | staticmethod):
            return {type(value).__name__: self.at(value.__func__)}
        return self.of_object(value)

    def of_module(self, module: nn.Module) -> dict[str, Any]:
        kept = {f"{name}": tensor for name, tensor in module._parameters.items() if tensor is not None}
        buffers = {name: tensor for name, tensor in module._buffers.items() if tensor is not None}
        passing = {name: buffers.pop(name) for name in sorted(module._non_persistent_buffers_set & buffers.keys())}
        identity: dict[str, Any] = {"class": self.of_class(type(module))}
        if attributes := {name: value for name, value in sorted(vars(module).items()) if name not in _PARTS}:
            identity["attributes"] = {name: self.at(value) for name, value in attributes.items()}
        if passing:
            identity["buffers"] = digest_tensors(passing.items())
        if self.weights and (kept or buffers):
            identity["state"] = digest_tensors({**kept, **buffers}.items())
        elif kept or buffers:
            identity["state"] = sorted([*kept, *buffers])
        if children := dict(module._modules):
            identity["children"] = {name: self.at(child) for name, child in children.items()}
        return identity

    def of_class(self, kind: type) -> Any:
        """A library's class by name and version, anybody else's by what its methods do."""
        if library := _library(kind.__module__):
            return f"{_qualified(kind)} {library}".strip()
        if id(kind) in self.seen:
            return _qualified(kind)
        self.seen[id(kind)] = (len(self.seen), kind)
        identity: dict[str, Any] = {
            "class": _qualified(kind),
            "bases": [self.of_class(base) for base in kind.__bases__],
        }
        identity["body"] = {name: self.at(value) for name, value in sorted(_body(kind))}
        return identity

    def of_function(self, function: types.FunctionType) -> dict[str, Any]:
        identity: dict[str, Any] = {"function": f"{function.__module__}.{function.__qualname__}"}
        if library := _library(function.__module__):
            return {**identity, "library": library}
        identity["code"] = _code(function.__code__)
        if function.__defaults__ or function.__kwdefaults__:
            identity["defaults"] = [self.at(function.__defaults__), self.at(function.__kwdefaults__)]
        for kind, values in (("closure", _closure(function)), ("globals", _globals(function))):
            if values:
                identity[kind] = {name: self.at(value) for name, value in sorted(values.items())}
        return identity

    def of_object(self, value: Any) -> Any:
        kind = type(value)
        if kind.__module__.split(".")[0] in _STATELESS:
            return _qualified(kind)
        state = {name: getattr(value, name) for name in _slots(kind) if hasattr(value, name)}
        state |= getattr(value, "__dict__", {})
        if state:
            return {"class": self.of_class(kind), "state": {str(k): self.at(v) for k, v in sorted(state.items())}}
        said = repr(value)
        if " at 0x" not in said:  # devices, dtypes, ranges, patterns: their repr is what they are
            return {"class": _qualified(kind), "repr": said}
        return (
            self.of_class(kind) if callable(value) and not _library(kind.__module__) else {"opaque": _qualified(kind)}
        )


def _closure(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # still empty: the function it belongs to has not come that far
            found[name] = None
    return found


def _globals(function: types.FunctionType) -> dict[str, Any]:
    """Module-level values that a function or a function inside it may use."""
    names, codes = set[str](), [function.__code__]
    while codes:
        code = codes.pop()
        names.update(code.co_names)
        codes += [constant for constant in code.co_consts if isinstance(constant, types.CodeType)]
    return {name: function.__globals__[name] for name in names if name in function.__globals__}


def _body(kind: type) -> Iterator[tuple[str, Any]]:
    """What a class itself defines: methods and constants, without Python's own bookkeeping."""
    for name, value in vars(kind).items():
        if name in ("__module__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__static_attributes__"):
            continue
        if name.startswith("__jaxtyping") or isinstance(value, types.GetSetDescriptorType | types.MemberDescriptorType):
            continue
        yield name, value


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        names = vars(base).get("__slots__", ())
        yield from ((names,) if isinstance(names, str) else names)


def _library(module: str | None) -> str:
    """Version of the library a module belongs to; empty for a person's own code, which is looked into."""
    top = (module or "").split(".")[0]
    if top in ("builtins", *sys.stdlib_module_names) and top != "__main__":
        return "python"
    file = getattr(sys.modules.get(top), "__file__", None) or ""
    if top in ("torch", "numpy") or "site-packages" in file or "dist-packages" in file:
        return _version(top)
    return ""


@functools.cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return str(getattr(sys.modules.get(package), "__version__", "library"))


def _code(code: types.CodeType) -> str:
    """Digest what a function does: instructions, names and constants, not where it stands in a file."""
    steps = [[step.opname, _constant(step.argval)] for step in dis.get_instructions(code)]
    return digest_json(
        {"steps": steps, "arguments": list(code.co_varnames[: code.co_argcount + code.co_kwonlyargcount])}
    )


def _constant(value: Any) -> Any:
    if isinstance(value, types.CodeType):
        return _code(value)
    if isinstance(value, tuple | frozenset):
        return (
            sorted(canonical_json(_constant(item)) for item in value)
            if isinstance(value, frozenset)
            else [_constant(item) for item in value]
        )
    return value if isinstance(value, bool | int | str | None) else repr(value)


def _qualified(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', getattr(value, '__name__', ''))}".strip(
        "."
    )

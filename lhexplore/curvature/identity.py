"""What makes two losses the same: JSON that changes when a criterion's settings or a function's code change."""

import dis
import functools
import inspect
import types
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..digests import canonical_json, digest_bytes, digest_json, digest_tensors

_DEPTH = 3  # functions that call functions: deeper ones are taken as part of a library
_PLAIN = (str, int, float, bool, type(None))


def identify(value: Any, depth: int = _DEPTH) -> Any:
    """Describe ``value`` so that equal descriptions mean the same loss, as far as Python lets one see.

    What cannot be seen is recorded as ``{"opaque": class name}``.
    """
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        return repr(value)  # keeps nan and inf, which JSON has not
    if isinstance(value, Tensor):
        return {"tensor": digest_tensors([("", value)])}
    if isinstance(value, np.ndarray) and value.dtype != object:
        return {"array": digest_bytes(np.ascontiguousarray(value).tobytes()), "shape": list(value.shape)}
    if isinstance(value, list | tuple):
        return [identify(item, depth) for item in value]
    if isinstance(value, Mapping):
        return {str(key): identify(item, depth) for key, item in value.items()}
    if isinstance(value, nn.Module):
        return _module(value, depth)
    if isinstance(value, functools.partial):
        return {
            "partial": identify(value.func, depth),
            "args": identify(value.args, depth),
            "keywords": identify(value.keywords, depth),
        }
    if isinstance(value, types.MethodType):
        return {"method": identify(value.__func__, depth), "self": identify(value.__self__, depth)}
    if isinstance(value, types.FunctionType):
        return _function(value, depth)
    if isinstance(value, type | types.ModuleType | types.BuiltinFunctionType):
        return _qualified(value)
    if depth and callable(value) and hasattr(value, "__dict__"):  # an object with __call__
        call = type(value).__call__
        return {
            "class": _qualified(type(value)),
            "call": identify(call, depth - 1),
            "state": identify(vars(value), depth - 1),
        }
    return {"opaque": _qualified(type(value))}


def opaque(identity: Any) -> list[str]:
    """Names of the classes that an identity could not look into."""
    if isinstance(identity, Mapping):
        if set(identity) == {"opaque"}:
            return [str(identity["opaque"])]
        return [name for item in identity.values() for name in opaque(item)]
    if isinstance(identity, list):
        return [name for item in identity for name in opaque(item)]
    return []


def _module(module: nn.Module, depth: int) -> dict[str, Any]:
    attributes = {
        name: value
        for name, value in sorted(vars(module).items())
        if not name.startswith("_") and name != "training" and isinstance(value, (*_PLAIN, list, tuple))
    }
    identity: dict[str, Any] = {"class": _qualified(type(module)), "attributes": identify(attributes, depth)}
    if state := {name: value for name, value in module.state_dict().items() if isinstance(value, Tensor)}:
        identity["state"] = digest_tensors(state.items())
    if children := dict(module.named_children()):
        identity["children"] = identify(children, depth)
    if not type(module).__module__.startswith("torch.") and depth:
        identity["forward"] = identify(type(module).forward, depth - 1)
    return identity


def _function(function: types.FunctionType, depth: int) -> dict[str, Any]:
    identity: dict[str, Any] = {"function": f"{function.__module__}.{function.__qualname__}"}
    if function.__module__ is not None and function.__module__.split(".")[0] in ("torch", "numpy"):
        return identity
    identity["code"] = _code(function.__code__)
    if function.__defaults__ or function.__kwdefaults__:
        identity["defaults"] = identify([function.__defaults__, function.__kwdefaults__], depth)
    if depth:
        used = inspect.getclosurevars(function)
        for kind, values in (("closure", used.nonlocals), ("globals", used.globals)):
            if values:
                identity[kind] = {name: identify(value, depth - 1) for name, value in sorted(values.items())}
    return identity


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

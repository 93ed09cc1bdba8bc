"""The dictionaries training code saves: which entry holds the weights, and which say step, epoch and metrics."""

import math
import re
from collections.abc import Mapping
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import FormatError
from .contents import Contents

# Raw weights come before averaged ones: an average is shown only when it is asked for or alone.
WEIGHT_KEYS = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
)
AVERAGED_KEYS = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "ema_model", "params_ema")
STEP_KEYS = ("global_step", "step", "iteration", "iter_num", "iter", "it", "num_updates", "steps")
EPOCH_KEYS = ("epoch", "current_epoch", "epochs")
_METRIC = re.compile(r"loss|acc|err|metric|score|perplexity|ppl|auc|f1|bleu|reward", re.IGNORECASE)


def contents_of(saved: object, *, where: str, which: str | None = None) -> Contents:
    """Find the weights and the fields in an object that training code saved.

    Args:
        saved: a state_dict, or a dictionary that holds one.
        where: how to name the object in messages.
        which: the entry that holds the weights, where several could; None takes the raw ones.

    Raises:
        FormatError: if no entry holds weights, or several unknown ones do.
    """
    if not isinstance(saved, Mapping):
        raise FormatError(f"{where} should hold a state_dict, but it holds {_described(saved)}. {_REMEDY}")
    key, state = _weights(saved, where, which)
    notes = [f"weights taken from entry {key!r}"] if key else []
    tensors = {name: _tensor(value) for name, value in state.items() if _is_weight(value)}
    left_out = [name for name in state if name not in tensors]
    if left_out:
        notes.append(f"entries that are not tensors were left out: {', '.join(map(repr, left_out[:5]))}")
    scalars = {
        str(name): value
        for name, value in saved.items()
        if name != key and (key is not None or not _is_weight(value) or is_count(name, value))
    }
    step, epoch = _first(scalars, STEP_KEYS), _first(scalars, EPOCH_KEYS)
    return Contents(tensors, as_step(step), epoch, metrics_in(scalars), notes=tuple(notes))


def metrics_in(fields: Mapping[str, Any]) -> dict[str, float]:
    """The numbers among ``fields`` that are called like a measurement (``loss``, ``val_acc``, ``metrics`` …)."""
    found = {name: number(value) for name, value in fields.items() if _METRIC.search(name)}
    nested = fields.get("metrics")
    if isinstance(nested, Mapping):
        found |= {str(name): number(value) for name, value in nested.items()}
    return {name: value for name, value in found.items() if value is not None}


def fields_in(scalars: Mapping[str, Any]) -> tuple[int | None, float | None, dict[str, float]]:
    """Step, epoch and metrics among the plain numbers of a dictionary's top level."""
    return as_step(_first(scalars, STEP_KEYS)), _first(scalars, EPOCH_KEYS), metrics_in(scalars)


def number(value: object) -> float | None:
    """A plain float of anything that is one number, None of everything else."""
    if isinstance(value, bool | np.bool_):
        return None
    if isinstance(value, Tensor | np.ndarray):
        if isinstance(value, Tensor) and (value.is_meta or value.is_complex()):
            return None
        if value.ndim or (isinstance(value, np.ndarray) and value.dtype.kind not in "fiu"):
            return None
        return float(value.item())
    return float(value) if isinstance(value, int | float | np.integer | np.floating) else None


def as_step(value: float | None) -> int | None:
    """A step number, if the value is one: steps are whole and not negative."""
    if value is None or not math.isfinite(value) or value < 0 or value != int(value):
        return None
    return int(value)


def is_count(name: object, value: object) -> bool:
    """Whether it is a counter of steps or epochs, also between tensors of a state_dict: a whole number so called."""
    if isinstance(value, Tensor | np.ndarray):
        value = None if value.ndim or number(value) is None else value.item()
    return name in (*STEP_KEYS, *EPOCH_KEYS) and isinstance(value, int) and not isinstance(value, bool)


def is_state(value: object) -> TypeGuard[Mapping[str, Any]]:
    """Whether ``value`` looks like a state_dict: names with at least one tensor, and nothing that is a mapping."""
    if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
        return False
    return any(map(_is_weight, value.values())) and not any(isinstance(v, Mapping) for v in value.values())


def is_series(source: Mapping[Any, Any]) -> bool:
    """Whether a dictionary holds one snapshot per entry, and is not one checkpoint with fields beside its weights.

    Where some entries hold weights and others do not, it is a checkpoint only if a usual name says so, or if all the
    others are step, epoch or metrics: else an entry without weights is a mistake, which is to be named.
    """
    if not source:
        return False
    if all(isinstance(value, Mapping | nn.Module) for value in source.values()):
        return True
    if any(name in source for name in (*WEIGHT_KEYS, *AVERAGED_KEYS)):
        return False
    others = {key: value for key, value in source.items() if not _holds_weights(value)}
    return len(others) < len(source) and not all(map(_is_field, others, others.values()))


def _holds_weights(value: object) -> bool:
    return isinstance(value, nn.Module) or _state_in(value) is not None


def _is_field(name: object, value: object) -> bool:
    if not isinstance(name, str) or number(value) is None:
        return False
    return name in (*STEP_KEYS, *EPOCH_KEYS) or bool(_METRIC.search(name))


_REMEDY = (
    "Save the weights alone, torch.save(model.state_dict(), path), or hand them over as "
    "snapshots={'label': state_dict}."
)


def _weights(saved: Mapping[Any, Any], where: str, which: str | None) -> tuple[str | None, Mapping[str, Any]]:
    if which is not None:
        chosen = saved.get(which)
        if not is_state(chosen):
            raise FormatError(f"{where} has no weights under {which!r}; its entries are {_names(saved)}.")
        return which, chosen
    holding = {str(key): value for key, value in saved.items() if _state_in(value) is not None}
    for key in (*WEIGHT_KEYS, *AVERAGED_KEYS):
        if key in holding:
            return key, _state_in(holding[key]) or {}
    # Number fields in one dictionary with the tensors: a state_dict all the same, unless something better is inside.
    if is_state(saved):
        return None, saved
    likely = {key: value for key, value in holding.items() if not re.search(r"optim|sched|scaler|rng", key)}
    if len(likely) == 1:
        ((key, value),) = likely.items()
        return key, _state_in(value) or {}
    if likely:
        raise FormatError(
            f"{where} has several entries that could be the weights: {_names(likely)}. Choose one with "
            f"Snapshots.discover(path, which={next(iter(likely))!r})."
        )
    raise FormatError(f"{where} has no entry that holds weights; its entries are {_names(saved)}. {_REMEDY}")


def _state_in(value: object) -> Mapping[str, Any] | None:
    """The state_dict that ``value`` is, or that it holds one level down."""
    if is_state(value):
        return value
    if isinstance(value, Mapping):
        inner = value.get("state_dict")
        if is_state(inner):
            return inner
    return None


def _is_weight(value: object) -> bool:
    return isinstance(value, Tensor) or (isinstance(value, np.ndarray) and value.dtype.kind in "fiubc")


def _tensor(value: Any) -> Tensor:
    return value.detach() if isinstance(value, Tensor) else torch.from_numpy(np.array(value))


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> float | None:
    return next((value for value in (number(fields.get(name)) for name in names) if value is not None), None)


def _names(saved: Mapping[Any, Any]) -> str:
    names = [repr(str(key)) for key in saved]
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "") if names else "none"


def _described(saved: object) -> str:
    return f"one tensor of shape {tuple(saved.shape)}" if isinstance(saved, Tensor) else f"a {type(saved).__name__}"

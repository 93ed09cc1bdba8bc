"""Look through what training code wraps around a model, and refuse what holds only part of it."""

from typing import Any

import torch
from torch import nn

from ..errors import ModelError, UnsupportedError

_REPLICATING = ("DataParallel", "DistributedDataParallel")
_SHARDED = (
    "FullyShardedDataParallel",
    "FSDPModule",
    "DeepSpeedEngine",
    "PipelineModule",
    "XlaFullyShardedDataParallel",
)


def unwrap(model: Any) -> nn.Module:
    """Return the module inside ``torch.compile``, ``DataParallel`` and ``DistributedDataParallel``.

    Raises:
        ModelError: Not a module, or one whose forward is compiled code without a Python original.
        UnsupportedError: Sharded or offloaded models, of which this process holds only a part.
    """
    while True:
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"Expected a torch.nn.Module, got {type(model).__name__}. Wrap functions in a module whose weights "
                "are nn.Parameter tensors."
            )
        kinds = {kind.__name__ for kind in type(model).__mro__}
        if kinds & set(_SHARDED):
            raise UnsupportedError(
                f"{type(model).__name__} spreads the weights over processes, and sharded models have no second "
                "derivative in torch. Build the plain model and give the gathered weights as snapshots=."
            )
        if isinstance(inner := getattr(model, "_orig_mod", None), nn.Module) or (
            kinds & set(_REPLICATING) and isinstance(inner := getattr(model, "module", None), nn.Module)
        ):
            model = inner
            continue
        if isinstance(model, torch.jit.ScriptModule):
            raise ModelError(
                f"{type(model).__name__} is compiled code and cannot be differentiated twice. "
                "Give lhexplore the Python module it was made from."
            )
        if hasattr(model, "_hf_hook") or len(getattr(model, "hf_device_map", None) or {}) > 1:
            raise UnsupportedError(
                "This model places its parts on several devices (device_map or offload hooks). "
                "Load it on one device, without device_map."
            )
        return model

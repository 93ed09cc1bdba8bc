"""Process-wide switches that exact second derivatives need: set inside, put back bit for bit, one thread at a time.

Fused attention and cuDNN's recurrent layers have no second derivative; TF32 has three digits; a default dtype other
than the model's breaks tensors that a forward makes itself; recomputing checkpoints would forget whose weights they ran
with. All of these are settings of the process, not of a module, hence the lock.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
import torch.nn.functional as F
import torch.utils.checkpoint as checkpointing
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode

from ..errors import SecondDerivativeError

_LOCK = threading.RLock()
_held = threading.local()
_TF32 = {
    "cuda": (("cuda", "matmul"), ("cuda", "conv"), ("cuda", "rnn")),
    "cpu": (("mkldnn", "matmul"), ("mkldnn", "conv"), ("mkldnn", "rnn")),
}


@contextmanager
def guarded(
    device: torch.device, default_dtype: torch.dtype | None, *, threads: int, recurrent: bool
) -> Iterator[None]:
    """Hold everything that computing on a replica needs; cheap when the same thread already holds it.

    Args:
        device: Where the replica computes.
        default_dtype: The dtype of tensors that a forward makes itself; None leaves the default alone, which other
            threads see as well.
        threads: How many threads torch may use inside.
        recurrent: Whether the model has recurrent layers, which cuDNN cannot differentiate twice.
    """
    settings = (device, default_dtype, threads, recurrent)
    if getattr(_held, "settings", None) == settings:
        with torch.inference_mode(False), torch.enable_grad():
            yield
        return
    before = getattr(_held, "settings", None)
    with _LOCK, ExitStack() as stack:
        _held.settings = settings
        stack.callback(setattr, _held, "settings", before)
        for switch in (torch.inference_mode(False), torch.enable_grad(), sdpa_kernel(SDPBackend.MATH)):
            stack.enter_context(switch)
        for kind in {device.type, "cpu"} & {"cpu", "cuda"}:
            stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device() != torch.device("cpu"):
            stack.enter_context(torch.device(device))  # the user's own default device would pull new tensors away
        if default_dtype is not None:
            _switch(stack, torch.get_default_dtype, torch.set_default_dtype, default_dtype)
        _switch(stack, torch.get_num_threads, torch.set_num_threads, threads)
        _switch(stack, torch.backends.mha.get_fastpath_enabled, torch.backends.mha.set_fastpath_enabled, False)
        if recurrent and device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=False, **_cudnn_flags()))
        _full_precision(stack, device)
        _keep_activations(stack)
        _by_formula(stack)
        if "torch._dynamo" in sys.modules:  # nothing was compiled in this process otherwise
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


class Attention(TorchFunctionMode):
    """Notices attention, whose fused kernels have no second derivative."""

    seen = False

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen |= func in (F.scaled_dot_product_attention, F.multi_head_attention_forward)
        return func(*args, **(kwargs or {}))


def has_recurrent(model: nn.Module) -> bool:
    """Whether the model has layers that would go through cuDNN's recurrent kernels."""
    return any(isinstance(module, nn.RNNBase) for module in model.modules())


def _switch(stack: ExitStack, get: Callable[[], Any], put: Callable[[Any], None], value: Any) -> None:
    before = get()
    if before != value:
        stack.callback(put, before)
        put(value)


def _full_precision(stack: ExitStack, device: torch.device) -> None:
    """Turn TF32 and bfloat16 shortcuts off for matrix products, convolutions and recurrent layers."""
    try:
        precision = torch.get_float32_matmul_precision()
    except RuntimeError:  # set through the newer interface: the older one does not answer any more
        precision = "highest"
    places = _TF32.get(device.type, ())
    before = {place: torch._C._get_fp32_precision_getter(*place) for place in places}
    if precision == "highest" and all(value in ("none", "ieee") for value in before.values()):
        return
    for place, value in before.items():
        stack.callback(torch._C._set_fp32_precision_setter, *place, value)
    if precision != "highest":  # the older of torch's two interfaces: it must not contradict the newer one
        stack.callback(torch.set_float32_matmul_precision, precision)
        torch.set_float32_matmul_precision("highest")
    for place in places:
        torch._C._set_fp32_precision_setter(*place, "ieee")


def _cudnn_flags() -> dict[str, Any]:
    cudnn = torch.backends.cudnn
    return {"benchmark": cudnn.benchmark, "deterministic": cudnn.deterministic}


def _keep_activations(stack: ExitStack) -> None:
    """Let ``checkpoint(..., use_reentrant=False)`` keep its activations, and refuse the reentrant kind.

    The first would recompute in a later backward pass, when the replica's module no longer holds the tensors that are
    differentiated, so that its second derivatives silently belong to constants. The second has none at all: its
    gradients come out as missing, which looks like a Hessian of zero.
    """
    for name, stand_in in (
        ("_checkpoint_without_reentrant_generator", _once),
        ("CheckpointFunction", _Reentrant),
    ):
        original = getattr(checkpointing, name, None)
        if original is not None:  # private names of torch: where they are gone, the check of second derivatives decides
            stack.callback(setattr, checkpointing, name, original)
            setattr(checkpointing, name, stand_in)


def _by_formula(stack: ExitStack) -> None:
    """Compute weight norms by their formula: the second derivative of torch's fused kernel is silently wrong.

    Seen with torch 2.13 on a CPU, where ``gradgradcheck`` of ``torch._weight_norm`` fails.
    """
    module: Any
    for module in (torch, sys.modules.get("torch.nn.utils.weight_norm")):  # the package hides its own submodule
        original = getattr(module, "_weight_norm", None)
        if original is not None:
            stack.callback(setattr, module, "_weight_norm", original)
            module._weight_norm = _weight_norm


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _once(*_: Any, **__: Any) -> Iterator[None]:
    yield


class _Reentrant:
    """Stands in for torch's reentrant checkpoint function."""

    @staticmethod
    def apply(function: Callable[..., Any], preserve: bool, *args: Any) -> Any:
        if not torch.is_grad_enabled():
            return function(*args)
        raise SecondDerivativeError(
            "Reentrant activation checkpointing has no second derivative. Use checkpoint(..., use_reentrant=False), "
            "which gives the same function, or switch checkpointing off."
        )

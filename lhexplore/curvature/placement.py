"""Where and how precisely to compute: device, dtype, threads, mode."""

import os
from typing import Any

import torch
from torch import nn

from ..errors import SettingError

MODES = ("eval", "train-frozen")
DTYPES = (torch.float64, torch.float32)  # fewer digits leave nothing of a second derivative
DOUBLE_UP_TO = 1_000_000  # parameters on a CPU: float64 costs little there and ends all questions of rounding


def choose_device(device: Any) -> torch.device:
    """``"auto"`` is CUDA where there is one.

    Raises:
        SettingError: Unknown, or not there.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise SettingError(f'device= takes "auto", "cpu", "cuda" or a torch.device, got {device!r}.') from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise SettingError(
            f"device={str(found)!r} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices here; there "
            f'is {" and ".join(available())}. Use device="auto".'
        )
    if found.type == "meta":
        raise SettingError('device="meta" holds no numbers to compute with. Use device="auto".')
    try:
        torch.zeros(1, device=found)
    except Exception as error:
        # backends differ in what they raise where they are missing: AssertionError, RuntimeError, ImportError, ...
        raise SettingError(
            f"device={str(found)!r} was asked for, but torch cannot compute on it here; there is "
            f'{" and ".join(available())}. Use device="auto".'
        ) from error
    return found


def available() -> tuple[str, ...]:
    """The devices that torch can compute on in this process."""
    cuda = tuple(f"cuda:{i}" for i in range(torch.cuda.device_count()))
    return ("cpu", *cuda, *(("mps",) if torch.backends.mps.is_available() else ()))


def choose_dtype(dtype: Any, size: int, device: torch.device) -> torch.dtype:
    """None is float64 for up to 1e6 parameters on a CPU, else float32.

    Raises:
        SettingError: Another dtype, or float64 where the device has none.
    """
    if dtype is None:
        return torch.float64 if device.type == "cpu" and size <= DOUBLE_UP_TO else torch.float32
    if dtype not in DTYPES:
        raise SettingError(
            f"dtype= takes torch.float64, torch.float32 or None, got {dtype!r}: second derivatives need their digits."
        )
    if dtype == torch.float64 and device.type == "mps":
        raise SettingError('There is no float64 on "mps". Use dtype=torch.float32 or device="cpu".')
    chosen: torch.dtype = dtype
    return chosen


def choose_threads(threads: Any) -> int:
    """None is what torch uses now, less where that would leave no core to the person at the screen.

    Raises:
        SettingError: Not a whole number of at least 1.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise SettingError(f"threads= takes a whole number of at least 1 or None, got {threads!r}.")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 2
    return threads or min(torch.get_num_threads(), max(1, cores - 1))


def set_mode(model: nn.Module, mode: Any) -> None:
    """Put a private copy into evaluation mode; in ``"train-frozen"`` its batch norms use the batch's statistics.

    Raises:
        SettingError: Another mode.
    """
    if mode not in MODES:
        raise SettingError(f'mode= takes "eval" or "train-frozen", got {mode!r}.')
    model.eval()
    if mode == "train-frozen":
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train()

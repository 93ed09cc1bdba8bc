"""Memory that ran out: telling it from other errors, reading what was lacking, giving back what nobody holds."""

import gc
import os
import re

import torch

from ..errors import LhexploreError

TEXTS = (  # of errors that torch raises as plain RuntimeError
    "out of memory",
    "DefaultCPUAllocator",
    "can't allocate memory",
    "not enough memory",
    "Cannot allocate memory",
    "ALLOC_FAILED",  # CUBLAS_STATUS_… and CUDNN_STATUS_…: the libraries' own workspaces
)
UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}


def out_of_memory(error: BaseException | None) -> BaseException | None:
    """The error behind ``error`` that says that memory ran out; None where it is of another kind.

    A plan that does not fit (`TooLargeError` without such a cause) is no such error: nothing ran out.
    """
    while error is not None:
        if isinstance(error, torch.OutOfMemoryError | MemoryError) and not isinstance(error, LhexploreError):
            return error
        if isinstance(error, RuntimeError) and any(text in str(error) for text in TEXTS):
            return error
        error = error.__cause__
    return None


def requested(text: str) -> int:
    """Bytes that torch says it could not get; 0 where it does not say."""
    found = re.search(r"tried to allocate ([\d.]+) ?(bytes|[KMGT]iB)", text, re.IGNORECASE)
    return int(float(found[1]) * UNITS[found[2]]) if found else 0


def empty(device: torch.device) -> None:
    """Give what nobody holds any more back to the device."""
    gc.collect()  # graphs with hooks refer to themselves
    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def free_bytes(device: torch.device) -> int:
    """Bytes that could still be had; 0 where the system does not say."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    known = getattr(os, "sysconf_names", {})
    if device.type != "cpu" or not {"SC_AVPHYS_PAGES", "SC_PAGE_SIZE"} <= set(known):
        return 0
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")

"""Memory that ran out: telling it from other errors, reading what was lacking, giving back what nobody holds."""

import gc
import os
import re
from pathlib import Path

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
    return min((free for free in (_of_machine(), _of_container(), _of_process()) if free >= 0), default=0)


def _of_machine() -> int:
    names = ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE")
    known = set(names) <= set(getattr(os, "sysconf_names", ()))  # not on every system
    return os.sysconf(names[0]) * os.sysconf(names[1]) if known else -1


def _of_container() -> int:
    """What a container or batch system still allows (cgroup v2)."""
    most, used = (_number(Path("/sys/fs/cgroup") / name) for name in ("memory.max", "memory.current"))
    return most - used if most >= 0 and used >= 0 else -1


def _of_process() -> int:
    """What ``ulimit -v`` still allows."""
    try:
        import resource  # not on Windows
    except ImportError:
        return -1
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    pages = _number(Path("/proc/self/statm"))
    return most - pages * os.sysconf("SC_PAGE_SIZE") if most != resource.RLIM_INFINITY and pages >= 0 else -1


def _number(file: Path) -> int:
    """The first number in a file of the system; -1 where there is none."""
    try:
        return int(file.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return -1

"""One tool, one network, one task, in a process of its own: prints nothing, writes a JSON and an npz file.

A fresh process makes peak memory mean something and lets a tool crash alone. The unit, one gradient, is timed in the
same process, right after the task.
"""

import json
import resource
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import numpy as np
import psutil
import torch
from problem import Problem
from tools import TASKS, Answer, Cannot, Settings, tool

SHORT = 1.0  # seconds; shorter tasks are repeated
REPEATS = 4


def reset_peak() -> None:
    """Forget the high-water mark of memory; that of resident memory only Linux can forget."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def used_bytes() -> int:
    """Resident memory, or what tensors take on the device."""
    if torch.cuda.is_initialized():
        return torch.cuda.memory_allocated()
    return psutil.Process().memory_info().rss


def peak_bytes() -> int:
    """The high-water mark of the same."""
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    try:
        (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(order: dict) -> tuple[dict, Answer]:
    """Run the task; the first run counts for memory, repeats of short tasks for time."""
    torch.set_num_threads(order["threads"])
    problem = Problem.load(order["model"], examples=order["examples"], device=order["device"])
    kind, settings, method = tool(order["tool"]), Settings(**order["settings"]), TASKS[order["task"]][0]
    kind.load()
    problem.gradient(slice(0, 4))  # threads and kernels of torch wake up
    reset_peak()
    before = used_bytes()
    answer: Answer = getattr(kind(problem, settings), method)()
    row = {"peak_bytes": max(0, peak_bytes() - before), "first_seconds": answer.seconds}
    if answer.seconds < SHORT:
        again = [getattr(kind(problem, settings), method)().seconds for _ in range(REPEATS - 1)]
        answer.seconds = statistics.median(again)
    fresh = Problem.load(
        order["model"], examples=order["examples"], device=order["device"]
    )  # some tools leave hooks in the model
    row["gradient_seconds"] = fresh.gradient_seconds()
    row |= {key: value for key, value in asdict(answer).items() if key != "spectra"}
    return row | {"status": "extrapolated" if answer.measured else "measured"}, answer


def main() -> None:
    order = json.loads(sys.argv[1])
    began = time.perf_counter()
    spectra = {}
    try:
        row, answer = measure(order)
        for layer, (nodes, weights) in answer.spectra.items():
            spectra[f"{layer} nodes"], spectra[f"{layer} weights"] = nodes, weights
    except Cannot as reason:
        row = {"status": "cannot", "message": str(reason)}
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        row = {"status": "raises", "message": f"{type(error).__name__}: {first}"[:300]}
        if order.get("loud"):
            raise
    row["wall_seconds"] = time.perf_counter() - began
    np.savez(f"{order['out']}.npz", **spectra)
    Path(f"{order['out']}.json").write_text(json.dumps(row, default=float))


if __name__ == "__main__":
    main()

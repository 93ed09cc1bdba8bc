"""How much memory the kernel needs that runs the quickstart, cell by cell: ``python benchmarks/memory.py``.

A fresh kernel with an empty home folder, so training and computing are part of it. Resident memory is read after
every cell; the peak is the kernel's own high-water mark.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import psutil
from jupyter_client.manager import KernelManager
from nbclient import NotebookClient

QUICKSTART = Path(__file__).parents[1] / "notebooks" / "00_quickstart.ipynb"
GOAL_MB = 1200  # of Binder's 2 GB
PEAK = "import resource, sys; print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"


@contextmanager
def empty_home() -> Iterator[None]:
    """Point HOME and the XDG folders to an empty folder for a while."""
    names = ("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "LHEXPLORE_CACHE")
    before = {name: os.environ.pop(name, None) for name in names}
    with tempfile.TemporaryDirectory(prefix="lhexplore-home-") as home:
        os.environ["HOME"] = home
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name, None)
                if value is not None:
                    os.environ[name] = value


def first_line(source: str) -> str:
    return next((line.strip() for line in source.splitlines() if line.strip()), "")


def run(notebook: Path) -> int:
    """Run every cell, print the table and return the peak in bytes."""
    document = nbformat.read(notebook, as_version=4)
    manager = KernelManager(kernel_name="python3")
    if os.name != "nt":
        manager.transport, manager.ip = "ipc", str(Path(os.environ["HOME"]) / "kernel")  # no port is opened
    client = NotebookClient(document, km=manager, timeout=300)
    print(f"{'cell':>4}  {'seconds':>7}  {'RSS MB':>6}  first line")
    total = time.perf_counter()
    with client.setup_kernel(cwd=str(notebook.parent)):
        kernel = psutil.Process(manager.provisioner.pid)
        for index, cell in enumerate(document.cells):
            if cell.cell_type != "code":
                continue
            start = time.perf_counter()
            client.execute_cell(cell, index)
            seconds, rss = time.perf_counter() - start, kernel.memory_info().rss
            print(f"{index:>4}  {seconds:7.1f}  {rss / 1e6:6.0f}  {first_line(cell.source)}", flush=True)
        document.cells.append(nbformat.v4.new_code_cell(PEAK))
        probe = client.execute_cell(document.cells[-1], len(document.cells) - 1)
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    peak = int(probe.outputs[0].text) * unit
    reached = "reached" if peak / 1e6 < GOAL_MB else "NOT reached"
    seconds = time.perf_counter() - total
    print(f"\npeak {peak / 1e6:.0f} MB (goal: below {GOAL_MB} MB, {reached}); {seconds:.0f} s in all")
    return peak


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", type=Path, default=QUICKSTART)
    arguments = parser.parse_args()
    with empty_home():
        run(arguments.notebook.resolve())


if __name__ == "__main__":
    main()

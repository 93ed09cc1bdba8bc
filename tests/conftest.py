"""How every test runs: threads of the workers, and which examples Hypothesis draws."""

import os

import pytest
from hypothesis import settings

# Workers share the cores: each with a thread per core would make small products many times slower.
os.environ.setdefault(
    "OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))))
)

# Where a commit is judged, the same commit is judged the same way; at home every run looks at new examples.
settings.register_profile("same", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("same")


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """As many workers as cores; half as many where each brings a browser, a server and kernels."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, cores // 2) if config.option.markexpr.startswith("browser") else cores

"""One small run of the demo, recorded once for all tests here."""

import pytest
import torch

from lhexplore.demo import digits


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory):
    """Settings of a run of four steps in a folder of its own."""
    folder = tmp_path_factory.mktemp("runs")
    settings = {"steps": 4, "samples": 32, "snapshots_folder": folder / "run", "cache": folder / "cache"}
    digits(**settings).close()
    return settings

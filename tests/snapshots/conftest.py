"""Small models and files for the tests of snapshots."""

import os
import pickle

import pytest
import torch
from torch import nn


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))


@pytest.fixture
def state(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.fixture
def trap(tmp_path):
    """An object whose unpickling would leave a marker file; the test ends by looking for it."""
    marker = tmp_path / "marker"

    class Trap:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    yield Trap()
    assert not marker.exists(), "code inside a checkpoint was run"
    pickle.loads(pickle.dumps(Trap()))  # the trap does work
    assert marker.exists()

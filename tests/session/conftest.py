"""Small real sessions: digits through a dense network with a smooth activation, recorded while it trains."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

import lhexplore as lh


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits():
    x, y = load_digits(return_X_y=True)
    return torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y)


def network(seed=0, activation=nn.Tanh):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, 8), activation(), nn.Linear(8, 6), activation(), nn.Linear(6, 10))


@pytest.fixture
def model():
    return network()


@pytest.fixture
def loader(digits):
    x, y = digits
    return [(x[:50], y[:50]), (x[50:100], y[50:100]), (x[100:120], y[100:120])]


@pytest.fixture
def snapshots(model, digits):
    """Three states of one training: {label: state_dict}."""
    x, y = digits
    copy = network()
    optimiser = torch.optim.SGD(copy.parameters(), lr=0.5)
    states = {}
    for step in range(41):
        if step in (0, 10, 40):
            states[f"step-{step}"] = {name: t.clone() for name, t in copy.state_dict().items()}
        optimiser.zero_grad()
        nn.functional.cross_entropy(copy(x[:200]), y[:200]).backward()
        optimiser.step()
    return states


@pytest.fixture
def session(model, loader, snapshots, tmp_path):
    with lh.Session(
        model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, held_out=loader[:1], cache=tmp_path / "cache"
    ) as made:
        yield made

"""Passes in sections give the gradients of passes in one piece; rows of single examples come out either way."""

import pytest
import torch
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor import factor_rows, factor_spectra
from lhexplore.curvature.factor.backward import Backward
from lhexplore.curvature.factor.taps import record
from lhexplore.curvature.replica import Replica

EXACT = 1e-13  # float64: the same sums, some of them in another order


class Residual(nn.Module):
    """Blocks with a way around them; with ``long``, one way goes around them all."""

    def __init__(self, *, blocks=3, long=False):
        super().__init__()
        self.inner = nn.ModuleList(nn.Linear(4, 4) for _ in range(2 * blocks))
        self.fc, self.long = nn.Linear(4, 3), long

    def forward(self, x):
        first = x = torch.relu(self.inner[0](x))
        for a, b in zip(self.inner[::2], self.inner[1::2], strict=True):
            x = torch.relu(x + b(torch.relu(a(x))))
        return self.fc(x * first if self.long else x)


class Branches(nn.Module):
    """Two ways that meet in several outputs of one operation."""

    def __init__(self):
        super().__init__()
        self.stem, self.left, self.right = nn.Linear(4, 8), nn.Linear(4, 4), nn.Linear(4, 4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        a, b = torch.tanh(self.stem(x)).chunk(2, -1)
        return self.fc(torch.relu(self.left(a)) * torch.relu(self.right(b)) + b)


NETS = {
    "residual": Residual,
    "around everything": lambda: Residual(long=True),
    "branches": Branches,
    "chain": lambda: nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)),
}


def replica_of(model, *, cuts=None):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = model().double()
        x, y = torch.randn(6, 4).double(), torch.randint(0, 3, (6,))
    return Replica(model, nn.CrossEntropyLoss(), freeze((x, y)), dtype=torch.float64, batch_size=cuts)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("together", [1, 2, 100])
def test_sections_one_after_the_other_are_one_pass(name, together):
    replica = replica_of(NETS[name])
    with replica.guard():
        recording = record(replica, 0, replica.names)
        cotangents = torch.randn(3, 6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        edges = [call.edge for call in recording.calls]
        expected = [
            torch.autograd.grad(recording.outputs, edges, one, retain_graph=True, allow_unused=True)
            for one in cotangents
        ]
        backward = Backward(recording.outputs, cotangents, recording.calls)
        sections = list(backward.sections)
        assert sorted(map(id, (call for section in sections for call in section))) == sorted(map(id, recording.calls))
        assert all(sections)
        for first in range(0, len(sections), together):
            last = min(first + together, len(sections))
            calls = [call for section in sections[first:last] for call in section]
            for c, found in enumerate(backward.run(first, last)):
                for call, gradient in zip(calls, found, strict=True):
                    truth = expected[c][edges.index(call.edge)]
                    assert float((gradient - truth).norm()) <= EXACT * float(truth.norm())


@pytest.mark.parametrize(("name", "count"), [("residual", 4), ("around everything", 2), ("branches", 2), ("chain", 3)])
def test_sections_meet_where_all_gradients_pass(name, count):
    replica = replica_of(NETS[name])
    with replica.guard():
        recording = record(replica, 0, replica.names)
        backward = Backward(recording.outputs, torch.zeros(1, 6, 3).double(), recording.calls)
    assert len(backward.sections) >= count


def test_activations_are_freed_by_the_last_pass():
    replica = replica_of(NETS["chain"])
    with replica.guard():
        recording = record(replica, 0, replica.names)
        backward = Backward(recording.outputs, torch.ones(2, 6, 3).double(), recording.calls)
        for _ in backward.run(0, len(backward.sections)):
            pass
        with pytest.raises(RuntimeError, match="second time"):
            torch.autograd.grad(recording.outputs.sum(), [call.edge for call in recording.calls])


# ---- example by example


class Odd(nn.Module):
    """A tensor of its own, and a norm that torch cannot always vectorise."""

    def __init__(self):
        super().__init__()
        self.scale, self.fc = nn.Parameter(torch.tensor(1.5)), nn.Linear(4, 3)
        self.norm = nn.GroupNorm(1, 4)

    def forward(self, x):
        return self.fc(self.norm(torch.tanh(x) + self.scale * x.flip(1)))


@pytest.mark.parametrize("name", ["(root)", "norm", "fc"])
def test_example_by_example_is_the_same_vectorised_or_not(name, monkeypatch):
    replica = replica_of(Odd, cuts=4)
    (layer,) = [layer for layer in replica.layers if layer.name == name]
    together = [factor_rows(replica, i, [layer], examples=[name])[name] for i in range(2)]

    def refuse(*_, **__):
        raise RuntimeError("no batching rule")

    monkeypatch.setattr(torch.func, "vmap", refuse)
    alone = [factor_rows(replica, i, [layer], examples=[name])[name] for i in range(2)]
    for one, other in zip(together, alone, strict=True):
        assert float((one - other).norm()) <= EXACT * float(other.norm())
    *_, last = factor_spectra(replica, [layer], memory=2**20, examples=[name])
    assert last.result.fallback
    assert last.result.trace == pytest.approx(sum(float(rows.square().sum()) for rows in alone), rel=1e-12)


@pytest.mark.gpu
def test_on_a_gpu_the_spectra_are_the_same():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    here = replica_of(NETS["residual"], cuts=4)
    there = Replica(here.model, nn.CrossEntropyLoss(), here.batches, dtype=torch.float64, device="cuda", batch_size=4)
    both = [
        [step.result for step in factor_spectra(replica, replica.layers, memory=2**20) if step.result]
        for replica in (here, there)
    ]
    for one, other in zip(*both, strict=True):
        assert one.layer == other.layer
        assert abs(one.eigenvalues - other.eigenvalues).max() <= one.residual + other.residual

"""Every kind of module: the rows of the factor against the Gauss-Newton matrix from full Jacobians, in float64."""

import itertools

import pytest
import torch
from curvature.objectives import NetObjective, gauss_newton
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor.spectra import factor_rows, factor_spectra
from lhexplore.curvature.replica import Replica
from lhexplore.errors import TooLargeError, UnsupportedError

EXACT = 1e-12  # float64, relative Frobenius: sums of a few hundred products on both sides
CLASSES = 3


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(count, seed=1):
    return torch.randint(0, CLASSES, (count,), generator=torch.Generator().manual_seed(seed))


def settled(model, seed=3):
    """Weights and running statistics that are nowhere zero or one."""
    generator = torch.Generator().manual_seed(seed)
    model = model.double().eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
        for name, tensor in model.named_buffers():
            if name.endswith("running_mean"):
                tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator, dtype=torch.float64))
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator, dtype=torch.float64))
    return model


class Head(nn.Module):
    """A module under test, then a small network that takes whatever comes out of it."""

    def __init__(self, tested, x):
        super().__init__()
        self.tested = tested
        with torch.no_grad():
            width = tested.double().eval()(x[:1]).flatten(1).shape[1]
        self.act, self.fc = nn.LeakyReLU(0.3), nn.Linear(width, CLASSES)

    def forward(self, x):
        return self.fc(self.act(self.tested(x)).flatten(1))


def error(model, batches, criterion=None, *, prefix="tested", examples=()):
    """‖MᵀM − G‖/‖G‖ of the layer with this name."""
    criterion = criterion or nn.CrossEntropyLoss()
    replica = Replica(model, criterion, freeze(batches), dtype=torch.float64)
    layer = next(layer for layer in replica.layers if layer.name == prefix)
    rows = [factor_rows(replica, i, [layer], examples=examples)[prefix] for i in range(replica.count)]
    found = sum(part.T @ part for part in rows)
    oracle = NetObjective(model, batches, criterion)
    truth = gauss_newton(oracle, oracle.block(f"{prefix}."))
    return float((found - truth).norm() / (truth.norm() or 1))  # a kernel that meets nothing but padding: zero


def batches_of(x, *cuts):
    y = labels(len(x))
    return [(x[a:b], y[a:b]) for a, b in itertools.pairwise([0, *cuts, len(x)])]


IDS = torch.randint(0, 7, (5, 4), generator=torch.Generator().manual_seed(5))

MODULES = {
    "linear": (lambda: nn.Linear(4, 3), (5, 4)),
    "linear without bias": (lambda: nn.Linear(4, 3, bias=False), (5, 4)),
    "linear on positions": (lambda: nn.Linear(4, 3), (5, 6, 4)),
    "linear on a grid": (lambda: nn.Linear(4, 3, bias=False), (5, 2, 3, 4)),
    "conv 1d": (lambda: nn.Conv1d(2, 3, 3), (4, 2, 7)),
    "conv 2d": (lambda: nn.Conv2d(2, 3, 3, padding=1), (4, 2, 5, 4)),
    "conv 3d": (lambda: nn.Conv3d(2, 2, 2), (3, 2, 3, 4, 3)),
    "conv 1 × 1": (lambda: nn.Conv2d(3, 2, 1, stride=2), (4, 3, 5, 4)),
    "conv same": (lambda: nn.Conv2d(2, 3, (2, 3), padding="same", dilation=(1, 2)), (4, 2, 5, 6)),
    "conv valid": (lambda: nn.Conv1d(2, 3, 3, padding="valid", stride=2), (4, 2, 8)),
    "conv circular": (lambda: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="circular"), (4, 2, 5, 4)),
    "conv reflect": (lambda: nn.Conv2d(2, 3, 3, padding="same", padding_mode="reflect"), (4, 2, 5, 4)),
    "conv replicate": (lambda: nn.Conv1d(2, 3, 3, padding=2, padding_mode="replicate"), (4, 2, 5)),
    "conv depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4), (4, 4, 4, 4)),
    "conv multiplier": (lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2, padding=1), (3, 4, 5, 5)),
    "transposed 1d": (lambda: nn.ConvTranspose1d(2, 3, 3, stride=2, padding=1), (4, 2, 4)),
    "transposed 2d": (
        lambda: nn.ConvTranspose2d(4, 2, (3, 2), stride=(2, 3), padding=(1, 0), output_padding=(1, 2), groups=2),
        (3, 4, 3, 2),
    ),
    "transposed 3d": (lambda: nn.ConvTranspose3d(2, 1, 2, dilation=(1, 2, 1)), (3, 2, 2, 2, 3)),
    "batch norm 1d": (lambda: nn.BatchNorm1d(4), (5, 4)),
    "batch norm on positions": (lambda: nn.BatchNorm1d(4), (5, 4, 3)),
    "batch norm 2d": (lambda: nn.BatchNorm2d(3), (5, 3, 2, 4)),
    "batch norm 3d": (lambda: nn.BatchNorm3d(2), (4, 2, 2, 2, 3)),
    "layer norm": (lambda: nn.LayerNorm(4), (5, 4)),
    "layer norm on positions": (lambda: nn.LayerNorm((3, 4)), (5, 2, 3, 4)),
    "layer norm without bias": (lambda: nn.LayerNorm(4, bias=False), (5, 3, 4)),
    "rms norm": (lambda: nn.RMSNorm(4), (5, 3, 4)),
    "group norm": (lambda: nn.GroupNorm(2, 4), (5, 4, 3, 2)),
    "group norm on vectors": (lambda: nn.GroupNorm(2, 6), (5, 6)),
    "embedding": (lambda: nn.Embedding(7, 3), IDS),
    "embedding with padding": (lambda: nn.Embedding(7, 3, padding_idx=2), IDS),
    "embedding of one token": (lambda: nn.Embedding(7, 3), IDS[:, 0]),
}


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", MODULES)
def test_rows_give_the_gauss_newton_matrix(name):
    make, x = MODULES[name]
    x = x if isinstance(x, torch.Tensor) else normal(*x)
    model = settled(Head(make(), x))
    assert error(model, batches_of(x, 2)) < EXACT


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("name", MODULES)
def test_no_kind_of_module_needs_single_examples(name):
    make, x = MODULES[name]
    x = x if isinstance(x, torch.Tensor) else normal(*x)
    replica = Replica(settled(Head(make(), x)), nn.CrossEntropyLoss(), freeze(batches_of(x)), dtype=torch.float64)
    steps = factor_spectra(replica, replica.layers, memory=2**28)
    assert [step.result.fallback for step in steps if step.result] == [False, False]


@pytest.mark.parametrize("criterion", ["mse", "bce", "weighted", "smoothed"])
def test_other_losses(criterion):
    x, model = normal(6, 2, 5, 5), None
    model = settled(Head(nn.Conv2d(2, 3, 3, stride=2), x))
    loss, y = {
        "mse": (nn.MSELoss(), normal(6, CLASSES, seed=2)),
        "bce": (nn.BCEWithLogitsLoss(), (normal(6, CLASSES, seed=2) > 0).double()),
        "weighted": (nn.CrossEntropyLoss(weight=torch.tensor([0.2, 3.0, 1.0], dtype=torch.float64)), labels(6)),
        "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), labels(6)),
    }[criterion]
    assert error(model, [(x, y)], loss) < EXACT


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    axes=st.integers(1, 3),
    groups=st.integers(1, 3),
    into=st.integers(1, 2),
    out=st.integers(1, 2),
    data=st.data(),
    transposed=st.booleans(),
    bias=st.booleans(),
)
def test_convolutions_of_any_shape(axes, groups, into, out, data, transposed, bias):
    def each(low, high):
        return tuple(data.draw(st.lists(st.integers(low, high), min_size=axes, max_size=axes)))

    kernel, stride, dilation = each(1, 3), each(1, 3), each(1, 2)
    size = tuple(d * (k - 1) + 1 + extra for d, k, extra in zip(dilation, kernel, each(0, 2), strict=True))
    if transposed:
        padding = tuple(min(p, (d * (k - 1)) // 2) for p, d, k in zip(each(0, 1), dilation, kernel, strict=True))
        extra = tuple(min(e, max(s, d) - 1) for e, s, d in zip(each(0, 1), stride, dilation, strict=True))
        kind = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)[axes - 1]
        further = {"output_padding": extra}
    else:
        padding, kind, further = each(0, 2), (nn.Conv1d, nn.Conv2d, nn.Conv3d)[axes - 1], {}
    make = kind(
        groups * into,
        groups * out,
        kernel,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=bias,
        **further,
    )
    x = normal(3, groups * into, *size)
    # Squared errors: the usual Λ of a confident softmax, with which the truth is computed, has lost its digits.
    assert error(settled(Head(make, x)), [(x, normal(3, CLASSES, seed=2))], nn.MSELoss()) < EXACT


# ---- modules that are used in unusual ways


class Twice(nn.Module):
    """One module called twice, and once more on nothing that counts."""

    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        self.tested(x + 1)
        return self.fc(torch.relu(self.tested(torch.relu(self.tested(x)))))


class Tied(nn.Module):
    """An embedding whose weights also make the outputs."""

    def __init__(self):
        super().__init__()
        self.tested = nn.Embedding(CLASSES, 4)
        self.inner = nn.Linear(4, 4)
        self.head = nn.Linear(4, CLASSES, bias=False)
        self.head.weight = self.tested.weight

    def forward(self, ids):
        return self.head(torch.relu(self.inner(self.tested(ids)))).sum(1)


class Overwritten(nn.Module):
    def __init__(self):
        super().__init__()
        self.tested, self.act = nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True)
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.fc(self.act(self.tested(x)).mean((2, 3)))


class Beside(nn.Module):
    """Calls the module, and uses its weights without calling it as well."""

    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        y = torch.relu(self.tested(x))
        return self.fc(torch.relu(y @ self.tested.weight + self.tested.bias))


class Folded(nn.Module):
    """Examples and positions in one axis while the module runs."""

    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.Linear(4, 3), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.tested(x.flatten(0, 1))).view(len(x), -1))


class Positions(nn.Module):
    """An embedding of positions, which all examples share."""

    def __init__(self):
        super().__init__()
        self.tested, self.inner, self.fc = nn.Embedding(2, 4), nn.Linear(4, 3), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.inner(x + self.tested(torch.arange(2)))).flatten(1))


class Sub(nn.Linear):
    """A subclass, which may compute anything."""

    def forward(self, x):
        return 2 * super().forward(x) + self.bias**2


class OnSub(nn.Module):
    def __init__(self):
        super().__init__()
        self.tested, self.fc = Sub(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.tested(x)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.LSTM(3, 2, batch_first=True), nn.Linear(2, CLASSES)

    def forward(self, x):
        return self.fc(self.tested(x)[0][:, -1])


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.MultiheadAttention(4, 2, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(self.tested(x, x, x)[0].mean(1))


class Normed(nn.Module):
    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.tested(x)))


class Mapped(nn.Module):
    """The module runs inside a functional transform."""

    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(torch.vmap(self.tested)(x)))


class Shuffled(nn.Module):
    """Examples stand elsewhere while the module runs."""

    def __init__(self):
        super().__init__()
        self.tested, self.fc = nn.Linear(4, 4), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.fc(torch.relu(self.tested(x.flip(0)).flip(0) + self.tested(x)))


TOKENS = torch.randint(0, CLASSES, (5, 3), generator=torch.Generator().manual_seed(6))
BY_CALLS = {"twice": (Twice, normal(5, 4)), "tied": (Tied, TOKENS), "overwritten": (Overwritten, normal(5, 2, 4, 4))}
BY_EXAMPLE = {
    "weights used beside the call": (Beside, normal(5, 4)),
    "examples folded with positions": (Folded, normal(5, 2, 4)),
    "positions": (Positions, normal(5, 2, 4)),  # two, and two examples in the second micro-batch
    "subclass": (OnSub, normal(5, 4)),
    "LSTM": (Recurrent, normal(4, 3, 3)),
    "attention": (Attending, normal(4, 3, 4)),
    "parametrised": (Normed, normal(5, 4)),
    "functional transform": (Mapped, normal(5, 4)),
    "order changed": (Shuffled, normal(5, 4)),
}


@pytest.mark.parametrize("name", BY_CALLS)
def test_calls_add_up(name):
    make, x = BY_CALLS[name]
    model = settled(make())
    assert error(model, batches_of(x, 3)) < EXACT
    assert error(model, batches_of(x, 3), examples=["tested"]) < EXACT


@pytest.mark.parametrize("name", BY_EXAMPLE)
def test_what_is_not_known_goes_example_by_example(name):
    make, x = BY_EXAMPLE[name]
    model = settled(make())
    replica = Replica(model, nn.CrossEntropyLoss(), freeze(batches_of(x, 3)), dtype=torch.float64)
    (layer,) = [layer for layer in replica.layers if layer.name == "tested"]
    *_, last = factor_spectra(replica, [layer], memory=2**28)
    assert last.result.fallback
    if name != "attention":  # its output projection is a layer of its own
        assert error(model, batches_of(x, 3)) < EXACT
    else:
        rows = [factor_rows(replica, i, [layer])["tested"] for i in range(replica.count)]
        oracle = NetObjective(model, batches_of(x, 3), nn.CrossEntropyLoss())
        truth = gauss_newton(oracle, layer)
        assert float((sum(r.T @ r for r in rows) - truth).norm() / truth.norm()) < EXACT


@pytest.mark.parametrize("count", [2, 3, 4])
def test_positions_are_not_taken_for_examples_where_both_are_as_many(count):
    class Positions(nn.Module):
        def __init__(self):
            super().__init__()
            self.tested, self.inner = nn.Embedding(count, 4), nn.Linear(4, 3)
            self.fc = nn.Linear(3 * count, CLASSES)

        def forward(self, x):
            return self.fc(torch.relu(self.inner(x + self.tested(torch.arange(count)))).flatten(1))

    assert error(settled(Positions()), batches_of(normal(count, count, 4))) < EXACT


def test_examples_that_meet_after_the_module_are_refused():
    class Meeting(nn.Module):
        def __init__(self):
            super().__init__()
            self.tested, self.fc = nn.Linear(4, 4), nn.Linear(4, CLASSES)

        def forward(self, x):
            y = torch.relu(self.tested(x))
            return self.fc(y - y.mean(0))

    with pytest.raises(UnsupportedError, match="depend on the other examples"):
        error(settled(Meeting()), batches_of(normal(5, 4)))


def test_batch_norms_in_training_mode_are_refused():
    model = settled(nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, CLASSES)))
    data = freeze(batches_of(normal(5, 4)))
    replica = Replica(model, nn.CrossEntropyLoss(), data, dtype=torch.float64, mode="train-frozen")
    for layer in replica.layers[:2]:
        with pytest.raises(UnsupportedError, match="one example alone"):
            factor_rows(replica, 0, [layer])
    assert factor_rows(replica, 0, replica.layers[2:]).keys() == {"3"}  # nothing that couples comes after it


def test_rows_of_single_examples_that_do_not_fit_are_refused():
    replica = Replica(settled(OnSub()), nn.CrossEntropyLoss(), freeze(batches_of(normal(5, 4))), dtype=torch.float64)
    with pytest.raises(TooLargeError, match="'tested' has to be computed example by example"):
        list(factor_spectra(replica, replica.layers, memory=100))

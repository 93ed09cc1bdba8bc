"""Users' code and data that do something unusual: right numbers, or a refusal that says whose doing it is."""

import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import orthogonal

from lhexplore.curvature import LayerGGN, LayerHessian, measure
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.layers import list_layers, whole_network
from lhexplore.curvature.replica import Replica
from lhexplore.curvature.trees import count_examples, cut
from lhexplore.errors import DataError, LossError, NotFiniteError, SecondDerivativeError, SettingError

EXACT = 1e-12  # float64, two orders of the same few hundred operations

torch.manual_seed(0)
X = torch.randn(24, 4)
Y = torch.randint(0, 3, (24,))


def seeded(build, seed=0):
    torch.manual_seed(seed)
    return build()


def mlp():
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)))


def replica(model=None, loss=None, data=None, **settings):
    data = data if data is not None else (X, Y)
    return Replica(model or mlp(), loss or nn.CrossEntropyLoss(), freeze(data), **settings)


def by_hand(loss, parameters):
    """The Hessian row by row, in float64."""
    parameters = list(parameters)
    gradients = torch.autograd.grad(loss, parameters, create_graph=True)
    rows = [
        torch.autograd.grad(entry, parameters, retain_graph=True, materialize_grads=True)
        for entry in torch.cat([g.reshape(-1) for g in gradients])
    ]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows])


def matrix(copy, block=None, kind=LayerHessian):
    op = kind(copy, block or whole_network(copy.layers))
    return op.matmat(torch.eye(op.size, dtype=op.dtype))


# ---- parameters


class Temperature(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.t = nn.Linear(4, 3), nn.Parameter(torch.tensor(1.5))

    def forward(self, x):
        return self.fc(x) * self.t


def test_a_parameter_without_dimensions_is_a_block_of_one():
    model = seeded(Temperature).double()
    copy = replica(model)
    loss = F.cross_entropy(model(X.double()), Y)
    expected = by_hand(loss, [model.t, model.fc.weight, model.fc.bias])
    torch.testing.assert_close(matrix(copy), expected, rtol=EXACT, atol=EXACT)
    (root,) = [layer for layer in copy.layers if layer.parameters == ("t",)]
    torch.testing.assert_close(matrix(copy, root), expected[:1, :1], rtol=EXACT, atol=EXACT)
    op = LayerHessian(copy, root)
    torch.testing.assert_close(op.matvec(torch.ones(1, dtype=op.dtype)), expected[0, :1], rtol=EXACT, atol=EXACT)
    assert matrix(copy, root, LayerGGN).shape == (1, 1)


def test_lazy_batch_norms_get_their_buffers_on_the_copy():
    build = lambda: nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d(), nn.Tanh(), nn.LazyLinear(3))  # noqa: E731
    model = seeded(build)
    copy = replica(model)
    assert copy.tensors["1.weight"].shape == (5,)
    assert nn.parameter.is_lazy(model[1].running_mean)
    assert copy.value() > 0


# ---- settings


@pytest.mark.parametrize("device", ["cuda:63", "mps", "xpu", "foo", None, "meta"])
def test_devices_that_are_not_there_say_what_is(device):
    if device == "mps" and torch.backends.mps.is_available():
        device = "hpu"
    with pytest.raises(SettingError, match=r"device="):
        replica(device=device)
    if device in ("cuda:63", "mps", "xpu"):
        with pytest.raises(SettingError, match=r"there is .*cpu"):
            replica(device=device)


@pytest.mark.parametrize("seed", [1.5, None, "a", True, -1, 2**70])
def test_seeds_are_whole_numbers(seed):
    with pytest.raises(SettingError, match="seed"):
        freeze((X, Y), seed=seed)
    with pytest.raises(SettingError, match="seed"):
        measure(replica(), whole_network(replica().layers), label=None, snapshot="now", seed=seed)


def test_seeds_of_numpy_are_whole_numbers_too():
    assert freeze((X, Y), seed=np.int64(3)).digest == freeze((X, Y), seed=3).digest


# ---- errors in the user's code


def test_losses_that_raise_anything_are_named():
    def broken(model, batch):
        return 1 / 0

    with pytest.raises(LossError, match=r"loss function broken failed on batch 0 .*ZeroDivisionError") as raised:
        replica(loss=broken)
    assert isinstance(raised.value.__cause__, ZeroDivisionError)


def test_forwards_that_raise_anything_are_named():
    class Broken(nn.Linear):
        def forward(self, x):
            raise OSError("no weights today")

    with pytest.raises(DataError, match=r"'1' \(Broken\) failed on batch 0.*OSError: no weights today"):
        replica(nn.Sequential(nn.Linear(4, 4), Broken(4, 3)))


@pytest.mark.parametrize("select", [lambda name: True, lambda name, module: 1 / 0])
def test_layer_functions_that_raise_are_named(select):
    with pytest.raises(SettingError, match=r"layers= function .*f\(name, module\)") as raised:
        list_layers(mlp(), select)
    assert raised.value.__cause__ is not None


@pytest.mark.parametrize(
    "weight", [lambda batch: "x", lambda batch: 1 / 0, lambda: 1, lambda batch: torch.tensor([1.0, 2.0])]
)
def test_weight_functions_that_raise_are_named(weight):
    with pytest.raises(SettingError, match=r"weight= function .*number of loss terms"):
        freeze((X, Y), weight=weight)


def test_loaders_that_raise_are_named():
    class Bad:
        def __iter__(self):
            raise OSError("disk gone")

    with pytest.raises(DataError, match=r"loader failed .*batch 1: ZeroDivisionError"):
        freeze((X, Y) if i == 0 else 1 / 0 for i in range(3))
    with pytest.raises(DataError, match=r"loader failed .*batch 0: OSError: disk gone"):
        freeze(Bad())


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit])
def test_interrupts_pass(interrupt):
    def stop(*_):
        raise interrupt

    with pytest.raises(interrupt):
        replica(loss=lambda model, batch: stop())
    with pytest.raises(interrupt):
        freeze(stop() for _ in range(3))
    with pytest.raises(interrupt):
        freeze((X, Y), weight=stop)
    with pytest.raises(interrupt):
        list_layers(mlp(), stop)


class Own(nn.Module):
    """A model that brings its loss along."""

    def __init__(self):
        super().__init__()
        self.e, self.o = nn.Embedding(11, 6), nn.Linear(6, 11)

    def forward(self, input_ids, labels):
        scores = self.o(torch.tanh(self.e(input_ids)))
        return {"loss": F.cross_entropy(scores.reshape(-1, 11), labels.reshape(-1))}


def test_batches_with_masked_labels_only_are_named():
    ids = torch.randint(0, 11, (9, 5))
    labels = ids.clone()
    labels[8] = -100
    data = [{"input_ids": ids[a:b], "labels": labels[a:b]} for a, b in ((0, 8), (8, 9))]
    copy = Replica(seeded(Own), None, freeze(data))
    with pytest.raises(NotFiniteError, match=r'batch 1: all its labels are masked .*weight="tokens"'):
        copy.value()
    assert Replica(seeded(Own), None, freeze(data, weight="tokens")).value() > 0


# ---- batches whose tensors differ in their first dimension


class SequenceFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.r = nn.RNN(4, 3)

    def forward(self, x):
        return self.r(x)[0][-1]


def test_time_steps_are_never_taken_for_examples():
    x = torch.randn(7, 24, 4)
    assert count_examples((x, Y)) == 24
    with pytest.raises(DataError, match=r"\[7, 24, 4\], \[24\]"):
        cut((x, Y), 0, 5)
    whole, short = freeze((x, Y)), freeze((x, Y), samples=5)
    assert whole.examples == short.examples == 24
    assert any("kept whole" in note and "[7, 24, 4]" in note for note in short.notes)
    model = seeded(SequenceFirst)
    values = [Replica(model, nn.CrossEntropyLoss(), data).value() for data in (whole, short)]
    assert values[0] == values[1] == pytest.approx(F.cross_entropy(model(x), Y).item(), rel=1e-5)
    with pytest.raises(DataError, match="first dimension"):
        Replica(model, nn.CrossEntropyLoss(), whole, batch_size=5)


def test_sequence_first_batches_weigh_by_their_examples():
    x, more = torch.randn(7, 24, 4), torch.randn(3, 24, 4)
    model = seeded(SequenceFirst).double()

    def loss(model, batch):
        return F.cross_entropy(model(batch[0]), batch[1])

    expected = sum(F.cross_entropy(model(part.double()), Y) for part in (x, more)) / 2
    assert replica(model, loss, [(x, Y), (more, Y)]).value() == pytest.approx(expected.item(), rel=EXACT)


# ---- losses and models that differentiate inside


def slope(model, batch):
    """A physics-informed loss: the model's derivative in its inputs, squared."""
    x = batch[0].clone().requires_grad_()
    (du,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
    return (du**2).mean()


class Field(nn.Module):
    """A force field: minus the gradient of an energy."""

    def __init__(self):
        super().__init__()
        self.energy = mlp()

    def forward(self, x):
        x = x.clone().requires_grad_()
        return -torch.autograd.grad(self.energy(x)[:, 0].sum(), x, create_graph=True)[0]


def test_losses_and_models_that_differentiate_inside():
    data = [(X[:10], Y[:10]), (X[10:], Y[10:])]
    model = mlp().double()
    copy = replica(model, slope, data)
    loss = slope(model, (X.double(),))
    assert copy.value() == pytest.approx(loss.item(), rel=EXACT)
    parameters = [p for name, p in model.named_parameters() if name != "2.bias"]  # a constant has no slope
    expected = by_hand(loss, parameters)
    torch.testing.assert_close(matrix(copy)[:-3, :-3], expected, rtol=EXACT, atol=EXACT)
    assert not matrix(copy)[-3:].any()
    assert {verdict for _, verdict, _ in copy.check()} == {"ok"}

    field = seeded(Field).double()
    copy = replica(field, nn.MSELoss(), [(X[:10], X[:10]), (X[10:], X[10:])])
    loss = F.mse_loss(field(X.double()), X.double())
    assert copy.value() == pytest.approx(loss.item(), rel=EXACT)
    assert copy.accuracy() is None
    parameters = [p for name, p in field.named_parameters() if name != "energy.2.bias"]
    used = matrix(copy)[:-3, :-3]
    torch.testing.assert_close(used, by_hand(loss, parameters), rtol=1e-11, atol=1e-11)


def test_values_come_without_a_graph_where_gradients_are_off():
    copy = replica()
    leaf = {"0.weight": copy.tensors["0.weight"].clone().requires_grad_()}
    with copy.guard(), torch.no_grad():
        assert not copy.batch_loss(0, leaf).requires_grad


def test_losses_that_call_backward_themselves_are_named():
    def stepping(model, batch):
        F.cross_entropy(model(batch[0]), batch[1]).backward()
        return F.cross_entropy(model(batch[0]), batch[1])

    with pytest.raises(LossError, match="loss function stepping failed"):
        replica(loss=stepping, data=[(X[:10], Y[:10]), (X[10:], Y[10:])]).value()


# ---- no second derivative: the place is named, not the block


class Bag(nn.Module):
    def __init__(self, **options):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(10, 4, **options), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.bag(x)))


@pytest.mark.parametrize("kind", [LayerHessian, LayerGGN])
def test_the_layer_of_the_operation_is_named_rather_than_the_block(kind):
    ids = torch.randint(0, 10, (24, 5))
    copy = replica(seeded(Bag), data=(ids, Y))
    for call in (
        lambda: matrix(copy, kind=kind),
        lambda: kind(copy, whole_network(copy.layers)).matvec(torch.ones(55)),
    ):
        with pytest.raises(SecondDerivativeError, match=r"embedding_bag in 'bag' \(EmbeddingBag\)"):
            call()
    copy = replica(loss=nn.MultiMarginLoss())
    with pytest.raises(SecondDerivativeError, match="multi_margin_loss in the loss"):
        matrix(copy, copy.layers[0], kind)


def test_sparse_embeddings_give_dense_gradients_on_the_copy():
    ids = torch.randint(0, 10, (24, 5))

    def build(sparse):
        return seeded(lambda: nn.Sequential(nn.Embedding(10, 4, sparse=sparse), nn.Flatten(), nn.Linear(20, 3)))

    model = build(True)
    copy = replica(model, data=(ids, Y))
    torch.testing.assert_close(matrix(copy), matrix(replica(build(False), data=(ids, Y))), rtol=0, atol=0)
    assert model[0].sparse
    assert any("sparse=True" in note for note in copy.notes)


def test_functions_with_sparse_gradients_are_named():
    class Table(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.out = nn.Parameter(torch.randn(10, 4)), nn.Linear(20, 3)

        def forward(self, x):
            return self.out(F.embedding(x, self.table, sparse=True).flatten(1).tanh())

    copy = replica(Table(), data=(torch.randint(0, 10, (24, 5)), Y))
    with pytest.raises(SecondDerivativeError, match="sparse=False"):
        matrix(copy)
    op = LayerHessian(copy, whole_network(copy.layers))
    with pytest.raises(SecondDerivativeError, match="sparse=False"):
        op.matvec(torch.ones(op.size, dtype=op.dtype))
    with pytest.raises(SecondDerivativeError, match="sparse=False"):
        list(measure(copy, whole_network(copy.layers), label=None, snapshot="now"))


# ---- second derivatives that are silently wrong


class NoGradBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, grad):
        with torch.no_grad():
            return grad * 3 * ctx.saved_tensors[0] ** 2


class DetachedBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return (x @ w.T) ** 3

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        inner = grad * 3 * (x @ w.T).detach() ** 2
        return inner @ w, inner.T @ x


class Cut(nn.Module):
    def __init__(self, *, partly):
        super().__init__()
        self.a, self.head, self.partly = nn.Linear(4, 3, bias=False), nn.Linear(3, 3), partly

    def forward(self, x):
        if self.partly:
            return self.head(DetachedBackward.apply(x, self.a.weight))
        return self.head(NoGradBackward.apply(self.a(x)))


def row_of(copy, names=None):
    if names is not None:
        return copy.difference(names)
    (row,) = [row for row in copy.check() if row[0] == "difference"]
    return row


BOTH = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


@BOTH
@pytest.mark.parametrize("partly", [True, False])
def test_backwards_that_cut_curvature_off_are_errors(partly, dtype):
    copy = replica(seeded(lambda: Cut(partly=partly)), dtype=dtype)
    _, verdict, detail = row_of(copy)
    assert verdict == "error"
    assert "the second derivative of Cut is wrong" in detail
    assert row_of(copy, ["a.weight"])[1] == "error"
    assert row_of(copy, ["head.weight", "head.bias"])[1] == "ok"  # what comes after it is not concerned


@BOTH
@pytest.mark.parametrize("own", [True, False])
def test_gradients_that_only_seem_constant_are_refused_in_both_dtypes(own, dtype):
    model = seeded(lambda: Cut(partly=False)).to(dtype)
    copy = replica(model, dtype=dtype)
    if not own:  # where no float64 copy can be had, float32 judges itself
        copy.wide_batch = lambda i: None
    layer = next(layer for layer in copy.layers if layer.name == "a")
    with pytest.raises(SecondDerivativeError, match=r"'a\.weight' is cut off"):
        LayerHessian(copy, layer).zero  # noqa: B018


@BOTH
@pytest.mark.parametrize("own", [True, False])
def test_gradients_that_are_constant_are_believed(own, dtype):
    copy = replica(
        seeded(lambda: nn.Sequential(nn.Linear(4, 3))), lambda model, batch: model(batch[0]).mean(), dtype=dtype
    )
    if not own:
        copy.wide_batch = lambda i: None
    assert "linear" in LayerHessian(copy, copy.layers[0]).zero
    assert row_of(copy)[1] == "ok"


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.o = nn.Embedding(10, 4, padding_idx=0), nn.Linear(4, 3)

    def forward(self, x):
        return self.o(torch.tanh(self.e(x)).mean(1))


SOUND = {
    "padding": Padded,
    "orthogonal": lambda: nn.Sequential(orthogonal(nn.Linear(4, 5)), nn.Tanh(), nn.Linear(5, 3)),
    "cayley": lambda: nn.Sequential(orthogonal(nn.Linear(4, 4), orthogonal_map="cayley"), nn.Tanh(), nn.Linear(4, 3)),
    "kinks": lambda: nn.Sequential(nn.Linear(4, 300), nn.ReLU(), nn.Linear(300, 300), nn.ReLU(), nn.Linear(300, 3)),
    "confident": lambda: nn.Sequential(nn.Linear(4, 30), nn.ReLU(), nn.Linear(30, 3), Times(60)),
}


class Times(nn.Module):
    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return self.factor * x


@BOTH
@pytest.mark.parametrize("name", SOUND)
def test_sound_models_raise_no_alarm(name, dtype):
    ids = torch.randint(0, 10, (24, 5), generator=torch.Generator().manual_seed(0))
    assert bool((ids[:8] == 0).any())
    copy = replica(seeded(SOUND[name]), data=(ids, Y) if name == "padding" else None, dtype=dtype)
    assert row_of(copy)[1] == "ok", row_of(copy)[2]


def test_a_kink_in_the_middle_of_the_differences_is_no_error():
    """|w| at 0 + ε: every step that crosses the kink sees a slope that grows as 1/step."""

    class Kink(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.full((3,), 1e-7))

        def forward(self, x):
            return x[:, :3] * (self.w.abs() + self.w)

    assert row_of(replica(Kink()))[1] == "note"


def test_the_float64_copy_has_the_same_weights_buffers_and_captured_tensors():
    teacher = seeded(lambda: nn.Linear(4, 3), seed=1)
    weight = torch.tensor([1.0, 2.0, 3.0])

    def loss(model, batch):
        return (
            F.cross_entropy(model(batch[0]), batch[1], weight=weight)
            + model(batch[0]).sub(teacher(batch[0])).square().mean()
        )

    model = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)))
    copy = replica(model, loss, dtype=torch.float32)
    state = {name: value + 0.1 if value.is_floating_point() else value for name, value in model.state_dict().items()}
    copy.load(state)
    wide = copy.wide_batch(0)
    model.load_state_dict(state)
    model, teacher, weight = model.double().eval(), teacher.double(), weight.double()
    assert wide.dtype == torch.float64
    assert wide.value() == pytest.approx(loss(model, (X.double(), Y)).item(), rel=EXACT)


# ---- forms of losses


def test_modules_of_model_and_batch_are_told_to_be_wrapped():
    class General(nn.Module):
        def forward(self, model, batch):
            return F.cross_entropy(model(batch[0]), batch[1])

    with pytest.raises(LossError, match=r"criterion\(outputs, targets\).*loss=lambda model, batch"):
        replica(loss=General())
    wrapped = General()
    assert replica(loss=lambda model, batch: wrapped(model, batch)).value() == pytest.approx(replica().value())


def test_sums_over_ragged_batches_are_noticed():
    ragged = [(X[:20], Y[:20]), (X[20:], Y[20:])]

    def notes(loss, data=ragged):
        return " ".join(replica(loss=loss, data=data).notes)

    assert "sums over the examples" in notes(lambda o, t: F.cross_entropy(o, t, reduction="sum"))
    assert "sums over" in notes(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], reduction="sum"))
    assert "couples" in notes(lambda o, t: (o - o.mean(0)).square().mean())
    assert notes(lambda o, t: F.cross_entropy(o, t)) == ""
    assert notes(lambda o, t: F.cross_entropy(o, t, reduction="sum"), [(X, Y)]) == ""


# ---- interrupts


INTERRUPTED = """
import signal, sys, threading, time
import torch
from torch import nn
from lhexplore.curvature import LayerHessian, Replica, freeze, measure

signal.signal(signal.SIGINT, signal.default_int_handler)
model, x, y = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)), torch.randn(12, 4), torch.arange(12) % 3
assert "sympy" not in sys.modules
timer = threading.Timer(0.05, signal.raise_signal, (signal.SIGINT,))
timer.start()
try:
    while True:
        Replica(model, nn.CrossEntropyLoss(), freeze((x, y)))
except KeyboardInterrupt:
    pass
replica = Replica(model, nn.CrossEntropyLoss(), freeze((x, y)))
before = set(sys.modules)
op = LayerHessian(replica, replica.layers[0])
op.matvec(torch.ones(op.size, dtype=op.dtype))
for method in ("dense", "lanczos"):
    *_, last = measure(replica, replica.layers[0], label="0", snapshot="now", method=method)
late = sorted(name for name in set(sys.modules) - before if name.startswith(("torch", "sympy")))
print(last.spectrum.largest > 0, late)
"""


def test_an_interrupt_in_the_imports_of_torch_breaks_nothing():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "True []", done.stderr


def test_attention_in_its_plain_form_is_told():
    attending = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    batches = freeze((torch.randn(6, 3, 8), torch.randint(0, 3, (6,))))
    head = nn.Linear(24, 3)
    with_it = Replica(nn.Sequential(attending, nn.Flatten(), head), nn.CrossEntropyLoss(), batches)
    without = Replica(nn.Sequential(nn.Flatten(), head), nn.CrossEntropyLoss(), batches)
    assert sum("attention" in note for note in with_it.notes) == 1
    assert not any("attention" in note for note in without.notes)

"""The private copy: what it computes, what it leaves alone, and how it says no."""

import random
import threading

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.autograd.gradcheck import GradcheckError
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.replica import Replica
from lhexplore.errors import (
    ClosedError,
    DataError,
    LhexploreError,
    LossError,
    MismatchError,
    ModelError,
    NotFiniteError,
    SecondDerivativeError,
    SettingError,
)

EXACT = 1e-12  # float64, two orders of the same few hundred operations
SMOOTH = 1e-6  # a central difference of gradients with step 6e-6, relative

torch.manual_seed(0)
X = torch.randn(12, 6)
Y = torch.randint(0, 3, (12,))


def seeded(build, seed=0):
    torch.manual_seed(seed)
    return build()


def mlp(activation=nn.Tanh):
    return seeded(lambda: nn.Sequential(nn.Linear(6, 5), activation(), nn.Linear(5, 3)))


def batches(x=X, y=Y, sizes=(5, 5, 2)):
    return freeze(list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True)), samples=None)


def replica(model=None, loss=None, data=None, **settings):
    return Replica(model or mlp(), loss or nn.CrossEntropyLoss(), data or batches(), **settings)


def live(copy):
    return {name: tensor.detach().clone().requires_grad_() for name, tensor in copy.tensors.items()}


def product(copy, seed=1):
    """Hv and v for all parameters, by plain double backward over all micro-batches."""
    generator = torch.Generator().manual_seed(seed)
    v = {n: torch.randn(t.shape, generator=generator, dtype=torch.float64).to(t) for n, t in copy.tensors.items()}
    with copy.guard():
        leaves = live(copy)
        loss = sum(copy.batch_loss(i, leaves) for i in range(copy.count))
        gradients = torch.autograd.grad(loss, list(leaves.values()), create_graph=True, allow_unused=True)
        pairs = [(g, w) for g, w in zip(gradients, v.values(), strict=True) if g is not None and g.requires_grad]
        hv = torch.autograd.grad([g for g, _ in pairs], list(leaves.values()), [w for _, w in pairs], allow_unused=True)
    return torch.cat(
        [torch.zeros_like(t).ravel() if h is None else h.ravel() for h, t in zip(hv, v.values(), strict=True)]
    ), v


def gradient(copy, leaves):
    with copy.guard():
        loss = sum(copy.batch_loss(i, leaves) for i in range(copy.count))
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    return torch.cat(
        [torch.zeros_like(t).ravel() if g is None else g.ravel() for g, t in zip(found, leaves.values(), strict=True)]
    )


def difference(copy, v, step=6e-6):
    """The derivative of the gradient along v by a central difference: knows nothing of double backward."""
    ends = [
        gradient(copy, {n: (t + sign * step * v[n]).requires_grad_() for n, t in copy.tensors.items()})
        for sign in (1, -1)
    ]
    return (ends[0] - ends[1]) / (2 * step)


# ---- numbers


def test_loss_gradient_and_accuracy_are_those_of_the_model():
    model = mlp().double()
    copy = replica(model)
    loss = F.cross_entropy(model(X.double()), Y)
    assert copy.value() == pytest.approx(loss.item() if not loss.requires_grad else loss.detach().item(), rel=EXACT)
    expected = torch.autograd.grad(loss, list(model.parameters()))
    torch.testing.assert_close(
        gradient(copy, live(copy)), torch.cat([g.ravel() for g in expected]), rtol=EXACT, atol=EXACT
    )
    assert copy.accuracy() == pytest.approx((model(X.double()).argmax(1) == Y).double().mean().item())


def test_outputs_and_criterion_apart_give_the_same_loss():
    copy = replica(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])))
    with copy.guard(), torch.no_grad():
        for i in range(copy.count):
            outputs = copy.batch_outputs(i)
            assert copy.loss_of_outputs(i, outputs).item() == pytest.approx(copy.batch_loss(i).item(), rel=EXACT)


def test_outputs_in_another_dtype_take_the_criterion_with_them():
    copy = replica(loss=nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0])), dtype=torch.float32)
    with copy.guard(), torch.no_grad():
        wide = copy.loss_of_outputs(0, copy.batch_outputs(0).double())
    assert wide.dtype == torch.float64


def test_a_product_is_the_slope_of_the_gradient():
    copy = replica()
    hv, v = product(copy)
    assert (difference(copy, v) - hv).norm() <= SMOOTH * hv.norm()


def test_accuracy_is_none_where_outputs_are_no_classes():
    assert replica(loss=nn.MSELoss(), data=batches(y=torch.randn(12, 3))).accuracy() is None
    assert replica(loss=lambda model, batch: F.cross_entropy(model(batch[0]), batch[1])).accuracy() is None
    masked = Y.clone()
    masked[:6] = -100
    model = mlp().double()
    right = (model(X.double()).argmax(1) == Y)[6:]
    assert replica(model, data=batches(y=masked)).accuracy() == pytest.approx(right.double().mean().item())


def test_two_snapshots_give_two_losses_and_earlier_graphs_stay_true():
    first, second = mlp().double(), seeded(lambda: mlp().double(), 1)
    nn.init.normal_(second[0].weight, generator=torch.Generator().manual_seed(5))
    copy = replica(first)
    with copy.guard():
        leaves = live(copy)
        kept = copy.batch_loss(0, leaves)
    copy.load(second.state_dict())
    assert copy.value() == pytest.approx(F.cross_entropy(second(X.double()), Y).detach().item(), rel=EXACT)
    x, y = X[:5].double(), Y[:5]
    expected = torch.autograd.grad(F.cross_entropy(first(x), y) * 5 / 12, list(first.parameters()))
    found = torch.autograd.grad(kept, list(leaves.values()))
    torch.testing.assert_close(found, expected, rtol=EXACT, atol=EXACT)


def test_load_refuses_what_does_not_fit():
    copy, state = replica(), mlp().state_dict()
    with pytest.raises(MismatchError, match=r"0\.weight is missing"):
        copy.load({n: t for n, t in state.items() if n != "0.weight"})
    with pytest.raises(MismatchError, match="extra is unknown"):
        copy.load({**state, "extra": torch.zeros(1)})
    with pytest.raises(MismatchError, match=r"0\.bias is \[4\], expected \[5\]"):
        copy.load({**state, "0.bias": torch.zeros(4)})
    before = copy.value()
    with pytest.raises(NotFiniteError, match=r"2\.bias"):
        copy.load({**state, "2.bias": torch.full((3,), torch.nan)})
    assert copy.value() == before


def test_tied_weights_follow_every_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
            self.b.weight = self.a.weight

        def forward(self, x):
            return self.b(torch.tanh(self.a(x)))

    model = seeded(Tied).double()
    copy = replica(model, data=batches())
    assert copy.names == ("a.weight", "a.bias")
    assert copy.tensors["b.weight"] is copy.tensors["a.weight"]
    assert sum(t.numel() for t in copy.tensors.values()) == 42
    expected = torch.autograd.grad(F.cross_entropy(model(X.double()), Y), model.a.weight)[0]
    for name in ("a.weight", "b.weight"):
        leaf = copy.tensors[name].clone().requires_grad_()
        with copy.guard():
            loss = sum(copy.batch_loss(i, {name: leaf}) for i in range(copy.count))
        torch.testing.assert_close(torch.autograd.grad(loss, leaf)[0], expected, rtol=EXACT, atol=EXACT)
    copy.load(model.state_dict())  # lists both names


def test_a_released_replica_says_so():
    copy = replica()
    copy.release()
    with pytest.raises(ClosedError, match="released"):
        copy.loss_on((X, Y))
    with pytest.raises(ClosedError):
        copy.load(mlp().state_dict())
    assert sum(t.numel() for t in copy.tensors.values()) == 53  # what it was can still be told


# ---- what is the user's stays the user's


class Busy(nn.Module):
    """Batch norm, dropout, side effects, buffers that move, and a hook."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm, self.out = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)
        self.register_buffer("calls", torch.zeros(()))
        self.last = None
        self.seen = []

    def forward(self, x):
        self.calls += 1
        self.last = x
        hidden = F.dropout(self.norm(self.fc(x)), 0.5, training=self.training)
        return self.out(torch.tanh(hidden))


def busy():
    model = seeded(Busy)
    model.train()
    model.fc.weight.grad = torch.full_like(model.fc.weight, 3.0)
    model.out.bias.requires_grad_(False)
    model.norm.eval()
    model.fc.register_forward_hook(lambda module, args, out: model.seen.append(1))
    return model


def fails_at(call):
    """A criterion that fails at its n-th call."""
    calls = []

    def loss(model, batch):
        calls.append(1)
        if len(calls) >= call:
            raise RuntimeError("broken on purpose")
        return F.cross_entropy(model(batch[0]), batch[1])

    return loss


@pytest.mark.parametrize("mode", ["eval", "train-frozen"])
def test_nothing_of_the_user_changes(untouched, mode):
    model = busy()
    data = batches()
    with untouched(model):
        copy = replica(model, data=data, mode=mode)
        copy.value()
        copy.accuracy()
        copy.check()
        product(copy)
        copy.load(model.state_dict())
        copy.release()
    assert model.seen == []
    assert model.last is None


@pytest.mark.parametrize("call", [1, 2, 4])
def test_nothing_changes_after_an_error(untouched, call):
    model, data = busy(), batches()
    loss = fails_at(call)
    with untouched(model), pytest.raises(LossError, match="broken on purpose"):
        replica(model, loss, data).value()


def test_nothing_changes_when_a_generator_is_closed_in_the_guard(untouched):
    model, data = busy(), batches()

    def work():
        copy = replica(model, data=data)
        with copy.guard():
            for i in range(copy.count):
                yield float(copy.batch_loss(i).detach())

    with untouched(model):
        steps = work()
        next(steps)
        steps.close()


def test_nothing_changes_when_interrupted(untouched):
    model, data = busy(), batches()

    def interrupted(net, batch):
        raise KeyboardInterrupt

    with untouched(model), pytest.raises(KeyboardInterrupt):
        replica(model, interrupted, data)


def test_unusual_settings_of_the_process_come_back(untouched):
    model, data = mlp(), batches()
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    try:
        with untouched(model), torch.autocast("cpu"), torch.inference_mode():
            copy = replica(model, data=data, dtype=torch.float32)
            hv, _ = product(copy)
            assert hv.dtype == torch.float32
        with copy.guard():
            assert torch.get_float32_matmul_precision() == "highest"
            assert not torch.is_autocast_enabled("cpu")
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_float32_matmul_precision("highest")


def test_precision_set_through_the_newer_interface_comes_back(untouched):
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"
        with untouched():
            copy = replica(dtype=torch.float32)
            with copy.guard():
                assert matmul.fp32_precision == "ieee"
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before


def test_the_guard_on_the_same_thread_is_entered_twice_and_restored_once(untouched):
    copy = replica(threads=2)
    with untouched():
        with copy.guard():
            with torch.no_grad(), copy.guard():
                assert torch.is_grad_enabled()
            assert torch.get_num_threads() == 2
            assert not torch.backends.mha.get_fastpath_enabled()
            assert torch.backends.cuda.math_sdp_enabled()
            assert not torch.backends.cuda.flash_sdp_enabled()
        assert torch.get_num_threads() == 1


def test_the_guard_keeps_other_threads_out():
    one, other = replica(threads=2), replica(threads=3)
    seen = []

    def enter():
        with other.guard():
            seen.append(torch.get_num_threads())

    with one.guard():
        worker = threading.Thread(target=enter)
        worker.start()
        worker.join(0.2)
        assert not seen
    worker.join(10)
    assert seen == [3]


def test_a_training_thread_does_not_disturb():
    model = mlp().double()
    copy = replica(model)
    expected, _ = product(copy)
    stop = threading.Event()

    def train():
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        while not stop.is_set():
            optimiser.zero_grad()
            F.cross_entropy(model(X.double()), Y).backward()
            optimiser.step()

    worker = threading.Thread(target=train)
    worker.start()
    try:
        for _ in range(20):
            hv, _ = product(copy)
            torch.testing.assert_close(hv, expected, rtol=EXACT, atol=EXACT)
    finally:
        stop.set()
        worker.join()


def test_gradients_set_beforehand_have_no_effect():
    model = mlp()
    expected, _ = product(replica(model))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    hv, _ = product(replica(model))
    assert torch.equal(hv, expected)


# ---- models of all kinds


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.out = nn.Linear(6, 18), nn.Linear(6, 3)

    def forward(self, x):
        q, k, v = self.qkv(x.reshape(-1, 1, 3, 2).expand(-1, 1, 3, 2).repeat(1, 1, 1, 3)).chunk(3, -1)
        return self.out(F.scaled_dot_product_attention(q, k, v).mean((1, 2)))


class MultiHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention, self.out = nn.MultiheadAttention(6, 2, batch_first=True), nn.Linear(6, 3)

    def forward(self, x):
        x = torch.stack([x, x.flip(-1)], 1)
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(1))


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.out = nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation="gelu"), nn.Linear(6, 3)

    def forward(self, x):
        return self.out(self.layer(torch.stack([x, x.flip(-1)], 1)).mean(1))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn, self.out = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.rnn(x.reshape(-1, 3, 2))[0][:, -1])


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant):
        super().__init__()
        self.a, self.b, self.out, self.reentrant = nn.Linear(6, 5), nn.Linear(5, 5), nn.Linear(5, 3), reentrant

    def block(self, x):
        return torch.tanh(self.b(torch.tanh(x)))

    def forward(self, x):
        return self.out(checkpoint(self.block, self.a(x), use_reentrant=self.reentrant))


class MakesTensors(nn.Module):
    """Makes a tensor of the default dtype in its forward, which does not mix with a model cast to float64."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(x) @ torch.eye(3)


class CastsInputs(nn.Module):
    """Turns integer images into float32, whatever its weights are."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(x.float() / 255)


class Captured(nn.Module):
    """Runs its layer through a function that closed over the module."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)
        self.run = lambda x: torch.tanh(self.fc(x))

    def forward(self, x):
        return self.run(x)


class LooseTensors(nn.Module):
    """Keeps a constant as a plain attribute and the last output with its graph."""

    def __init__(self):
        super().__init__()
        self.fc, self.mix = nn.Linear(6, 3), torch.eye(3)
        self.last = self.fc(torch.ones(6))

    def forward(self, x):
        self.last = torch.tanh(self.fc(x))
        return self.last @ self.mix


def old_weight_norm():
    with pytest.warns(FutureWarning):
        layer = nn.utils.weight_norm(nn.Linear(6, 3))
    return nn.Sequential(layer, nn.Tanh())


def low_precision():
    return mlp().to(torch.bfloat16)


def inference_made():
    with torch.inference_mode():
        return mlp()


MODELS = {
    "mlp": mlp,
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Tanh(), nn.Linear(5, 3)),
    "layer norm": lambda: nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3)),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 5), nn.Dropout(0.5), nn.Tanh(), nn.Linear(5, 3)),
    "convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 3, 3), nn.SiLU(), nn.Flatten(), nn.Linear(12, 3)
    ),
    "fused attention": Attention,
    "multi-head attention": MultiHead,
    "transformer layer": Encoder,
    "lstm": Recurrent,
    "checkpointing that recomputes": lambda: Checkpointed(reentrant=False),
    "weight norm": lambda: nn.Sequential(parametrizations.weight_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "spectral norm": lambda: nn.Sequential(parametrizations.spectral_norm(nn.Linear(6, 4)), nn.Tanh(), nn.Linear(4, 3)),
    "old weight norm": old_weight_norm,
    "lazy": lambda: nn.Sequential(nn.LazyLinear(4), nn.Tanh(), nn.LazyLinear(3)),
    "bfloat16": low_precision,
    "made in inference mode": inference_made,
    "tensors made in the forward": MakesTensors,
    "a function that captured its module": Captured,
    "loose tensors": LooseTensors,
    "all frozen": lambda: mlp().requires_grad_(False),
    "data parallel": lambda: nn.DataParallel(mlp()),
}


@pytest.mark.parametrize("name", MODELS)
def test_second_derivatives_of_all_kinds_of_models(name, untouched):
    model, data = seeded(MODELS[name]), batches()
    with untouched(model):
        copy = replica(model, data=data)
        hv, v = product(copy)
        assert (difference(copy, v) - hv).norm() <= SMOOTH * hv.norm()
        rows = {row: (verdict, detail) for row, verdict, detail in copy.check()}
    assert hv.norm() > 1e-3
    assert {verdict for verdict, _ in rows.values()} <= {"ok", "note"}, rows
    assert rows["second derivative"][0] == rows["symmetry"][0] == rows["difference"][0] == "ok"


def test_checkpointing_that_recomputes_is_right_for_every_layer_alone():
    """A recomputation would run with the replica's own weights in place of the ones that are differentiated."""
    plain, recomputing = (
        seeded(lambda: Checkpointed(reentrant=False)),
        replica(seeded(lambda: Checkpointed(reentrant=False))),
    )

    class Plain(Checkpointed):
        def forward(self, x):
            return self.out(self.block(self.a(x)))

    plain.__class__ = Plain
    reference = replica(plain)
    for name in reference.names:
        blocks = []
        for copy in (reference, recomputing):
            leaf = copy.tensors[name].clone().requires_grad_()
            with copy.guard():
                (g,) = torch.autograd.grad(copy.batch_loss(0, {name: leaf}), leaf, create_graph=True)
            with copy.guard():
                blocks.append(torch.autograd.grad(g.sum(), leaf)[0])
        assert torch.equal(*blocks), name


def test_reentrant_checkpointing_is_refused_with_the_cure():
    with pytest.raises(SecondDerivativeError, match="use_reentrant=False"):
        replica(Checkpointed(reentrant=True))


def test_compiled_models_are_unwrapped():
    inner = mlp()
    wrapper = nn.Module()
    wrapper._orig_mod = inner
    assert torch.equal(product(replica(wrapper))[0], product(replica(inner))[0])


def test_train_frozen_uses_the_statistics_of_all_data_in_one_batch(untouched):
    model = seeded(
        lambda: nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Tanh(), nn.Linear(5, 3))
    )
    data = batches()
    with untouched(model):
        copy = replica(model, data=data, mode="train-frozen")
        assert copy.count == 1
        buffers = {name: value.clone() for name, value in copy._weights.buffers.items()}
        hv, v = product(copy)
        assert (difference(copy, v) - hv).norm() <= SMOOTH * hv.norm()
    assert all(torch.equal(value, copy._weights.buffers[name]) for name, value in buffers.items())
    by_hand = model.double()
    hidden = by_hand[0](X.double())
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + by_hand[1].eps).sqrt()
    loss = F.cross_entropy(by_hand[4](torch.tanh(normed)), Y)
    assert copy.value() == pytest.approx(loss.detach().item(), rel=EXACT)
    assert any("batch_size" in note for note in replica(model, data=data, mode="train-frozen", batch_size=2).notes)
    ragged = freeze([(X[:6], Y[:6]), (X[6:, :5], Y[6:])])
    with pytest.raises(DataError, match="train-frozen"):
        Replica(model, nn.CrossEntropyLoss(), ragged, mode="train-frozen")


# ---- unused and cut off


class Partly(nn.Module):
    def __init__(self, *, how):
        super().__init__()
        self.a, self.b, self.out, self.how = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, 3), how

    def forward(self, x):
        side = 0 if self.how == "unused" else self.b(x).detach()
        return self.out(torch.tanh(self.a(x)) + side)


def test_moves_loss_tells_unused_from_cut_off():
    unused, cut_off = replica(seeded(lambda: Partly(how="unused"))), replica(seeded(lambda: Partly(how="detached")))
    names = ["b.weight", "b.bias"]
    assert not unused.moves_loss(names)
    assert cut_off.moves_loss(names)
    assert unused.moves_loss(["a.weight"])
    rows = {name: (verdict, detail) for name, verdict, detail in unused.check()}
    assert rows["second derivative"] == ("ok", "exists for 4 tensors; unused: b.weight, b.bias")
    (row,) = [row for row in cut_off.check() if row[0] == "second derivative"]
    assert row[1] == "error"
    assert "'b.weight'" in row[2]


@pytest.mark.parametrize("how", ["no_grad", "inference_mode", "detach", "item", "numpy"])
def test_forwards_without_a_graph_name_the_first_cut(how):
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            if how in ("no_grad", "inference_mode"):
                with getattr(torch, how)():
                    return self.fc(x)
            out = self.fc(x)
            if how == "detach":
                return out.detach()
            return torch.tensor([[v.item() for v in row] for row in out] if how == "item" else out.detach().numpy())

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.encoder = nn.Linear(6, 6), Cut()

        def forward(self, x):
            return self.encoder(self.first(x))

    with pytest.raises(ModelError, match=r"output of 'encoder(\.fc)?' .* cut off"):
        replica(Model())


# ---- no second derivative: operation and layer are named


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.bag, self.out = nn.Linear(6, 5), nn.EmbeddingBag(9, 5, mode="mean"), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.first(x) + self.bag((x.abs() * 2).long().clamp(max=8))))


class OnlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * 3 * x**2


class Cubic(nn.Module):
    def forward(self, x):
        return OnlyOnce.apply(x)


def test_operations_without_a_second_derivative_are_named_with_their_layer():
    (row,) = [row for row in replica(seeded(Bag)).check() if row[0] == "second derivative"]
    assert row[1] == "error"
    assert "embedding_bag" in row[2]
    assert "'bag' (EmbeddingBag)" in row[2]


@pytest.mark.parametrize("override", ["0.weight", "2.weight"])
def test_functions_that_are_differentiable_once_raise_instead_of_dropping_curvature(override):
    """autograd.grad with given inputs passes over the node that would raise, and the curvature is silently missing."""
    copy = replica(nn.Sequential(nn.Linear(6, 3), nn.Sequential(Cubic()), nn.Linear(3, 3)))
    leaf = copy.tensors[override].clone().requires_grad_()
    with copy.guard():
        if override == "2.weight":  # behind the function: not concerned
            assert copy.batch_loss(0, {override: leaf}).requires_grad
            return
        for call in (copy.batch_loss, copy.batch_outputs):
            with pytest.raises(SecondDerivativeError, match=r"OnlyOnce in '1\.0' \(Cubic\)"):
                call(0, {override: leaf})
        with torch.no_grad():
            copy.batch_loss(0, {override: leaf})
    (row,) = [row for row in copy.check() if row[0] == "second derivative"]
    assert row[1] == "error"
    assert "'1.0' (Cubic)" in row[2]


class SilentlyOnce(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.x = x.detach()
        return x**3

    @staticmethod
    def backward(ctx, grad):
        return grad * 3 * ctx.x**2


class SilentCubic(nn.Module):
    def forward(self, x):
        return SilentlyOnce.apply(x)


def test_second_derivatives_that_are_silently_wrong_are_found_by_differences():
    copy = replica(nn.Sequential(nn.Linear(6, 3), nn.Sequential(nn.Tanh(), SilentCubic()), nn.Linear(3, 3)))
    (row,) = [row for row in copy.check() if row[0] == "difference"]
    assert row[1] == "error"
    assert "'1.1' (SilentCubic)" in row[2]


def test_the_fused_weight_norm_of_torch_is_still_wrong():
    """The reason for computing it by its formula: when torch mends it, this fails and the formula can go."""
    v, g = seeded(lambda: (torch.randn(4, 6, dtype=torch.float64), torch.rand(4, 1, dtype=torch.float64)))
    inputs = (v.requires_grad_(), g.requires_grad_())
    fused, formula = (
        lambda v, g: torch._weight_norm(v, g, 0),
        lambda v, g: v * (g / torch.norm_except_dim(v, 2, 0)),
    )
    torch.testing.assert_close(fused(*inputs), formula(*inputs), rtol=EXACT, atol=EXACT)
    assert torch.autograd.gradgradcheck(formula, inputs)
    with pytest.raises(GradcheckError):
        torch.autograd.gradgradcheck(fused, inputs)


def test_a_criterion_without_a_second_derivative_is_named():
    class Loss(nn.Module):
        def forward(self, out, y):
            return OnlyOnce.apply(out).mean()

    (row,) = [row for row in replica(loss=Loss()).check() if row[0] == "second derivative"]
    assert "the loss" in row[2]


def test_infinite_second_derivatives_are_an_error_row():
    class Norm(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x):
            return self.fc(x).square().sum(1).clamp(min=1e-300).sqrt()[:, None] * torch.ones(3)

    class Root(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.zeros(3))

        def forward(self, x):
            return x[:, :3] + torch.where(self.w > 0, self.w.sqrt(), self.w).abs().pow(1.5)

    (row,) = [row for row in replica(Root()).check() if row[0] == "second derivative"]
    assert row[1] == "error"
    assert "sqrt" in row[2]


# ---- checks find what is wrong


class HandWrittenNoise(nn.Module):
    def __init__(self, source):
        super().__init__()
        self.fc, self.source = nn.Linear(6, 3), source

    def forward(self, x):
        noise = {"torch": torch.rand(()), "numpy": np.random.rand(), "random": random.random()}[self.source]  # noqa: NPY002
        return self.fc(x) * noise


@pytest.mark.parametrize("source", ["torch", "numpy", "random"])
def test_random_forwards_are_fixed_named_and_never_move_the_users_states(source, untouched):
    model, data = nn.Sequential(nn.Linear(6, 6), HandWrittenNoise(source)), batches()
    with untouched(model):
        copy = replica(model, data=data)
        assert copy.value() == copy.value()
        hv, v = product(copy)
        assert (difference(copy, v) - hv).norm() <= SMOOTH * hv.norm()
        (row,) = [row for row in copy.check() if row[0] == "random draws"]
    assert row[1] == "error"
    assert "'1' (HandWrittenNoise)" in row[2]
    assert any("random" in note for note in copy.notes)


def test_examples_that_couple_are_noticed():
    def contrast(model, batch):
        out = model(batch[0])
        return (out - out.mean(0)).square().mean()

    (row,) = [row for row in replica(loss=contrast).check() if row[0] == "examples"]
    assert row[1] == "note"
    assert "couples" in row[2]
    (row,) = [row for row in replica().check() if row[0] == "examples"]
    assert row[1] == "ok"


def test_a_loss_that_couples_examples_is_not_cut():
    def contrast(model, batch):
        out = model(batch[0])
        return (out - out.mean(0)).square().mean()

    copy = replica(loss=contrast, batch_size=2)
    assert copy.count == 3
    assert copy.value() == pytest.approx(replica(loss=contrast).value(), rel=EXACT)
    assert any("couples" in note for note in copy.notes)
    assert replica(batch_size=2).count == 7


def test_forwards_that_change_weights_are_noticed():
    class Clamps(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3)

        def forward(self, x):
            self.fc.weight.data.mul_(0.5)
            return self.fc(x)

    (row,) = [row for row in replica(Clamps()).check() if row[0] == "side effects"]
    assert row[1] == "error"
    assert "fc.weight" in row[2]


# ---- refusals


def test_not_finite_losses_say_what_is_to_blame():
    def broken(where):
        x, y = X.clone(), torch.randn(12, 3)
        (x if where == "inputs" else y)[7] = torch.inf
        return batches(x, y)

    for where in ("inputs", "labels"):
        with pytest.raises(NotFiniteError, match=f"batch 1: the {where}"):
            replica(loss=nn.MSELoss(), data=broken(where)).value()
    with pytest.raises(NotFiniteError, match="computation"):
        replica(loss=lambda model, batch: model(batch[0]).mean().mul(0).log()).value()
    model = mlp()
    model[2].weight.data[0, 0] = torch.nan
    with pytest.raises(NotFiniteError, match=r"weights '2\.weight'"):
        replica(model).value()


def test_failing_forwards_name_layer_and_batch():
    with pytest.raises(DataError, match=r"'0' \(Linear\) failed on batch 0 .*float32 \[5, 4\].*float64|\[5, 4\]"):
        replica(data=batches(torch.randn(12, 4)))
    with pytest.raises(DataError, match="the loss failed"):
        replica(loss=nn.BCEWithLogitsLoss(), data=batches(y=torch.rand(12, 4)))


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"mode": "train"}, "train-frozen"),
        ({"dtype": torch.float16}, "float64"),
        ({"dtype": "float64"}, "float64"),
        ({"device": "abacus"}, "device="),
        ({"device": "meta"}, "meta"),
        ({"batch_size": 0}, "batch_size="),
        ({"threads": 0}, "threads="),
    ],
)
def test_settings_are_checked(settings, match):
    with pytest.raises(SettingError, match=match):
        replica(**settings)


def test_models_that_cannot_be_used():
    with pytest.raises(ModelError, match="no parameters"):
        replica(nn.Flatten())
    with pytest.raises(ModelError, match="Module"):
        replica(lambda x: x)
    with pytest.raises(ModelError, match="meta"):
        replica(nn.Linear(6, 3, device="meta"))
    with pytest.raises(ModelError, match="lazy"):
        replica(nn.Sequential(nn.Unflatten(1, (2, 2, 2)), nn.LazyLinear(3)))
    model = mlp()
    model.lock = threading.Lock()
    with pytest.raises(ModelError, match="cannot be copied"):
        replica(model)


def test_dtype_follows_size_and_wish():
    assert replica().dtype == torch.float64
    assert replica(dtype=torch.float32).dtype == torch.float32
    wide = nn.Sequential(nn.Linear(6, 3), nn.Linear(3, 1))
    wide[0].table = nn.Parameter(torch.zeros(1001, 1000))
    assert replica(wide, loss=nn.MSELoss(), data=batches(y=torch.randn(12, 1))).dtype == torch.float32
    copy = replica(low_precision())
    assert any("up-cast exactly" in note for note in copy.notes)


def test_forwards_that_cast_to_float32_are_computed_in_float32():
    images = freeze((torch.randint(0, 255, (12, 6), dtype=torch.uint8), Y))
    copy = replica(CastsInputs(), data=images)
    assert copy.dtype == torch.float32
    assert any("float32" in note for note in copy.notes)
    assert np.isfinite(copy.value())
    with pytest.raises(DataError, match=r"'fc' \(Linear\)"):
        replica(CastsInputs(), data=images, dtype=torch.float64)


def test_hooks_are_left_out_and_noted():
    model = mlp()
    model[0].register_forward_hook(lambda module, args, out: out * 100)
    assert replica(model).value() == replica(mlp()).value()
    assert "1 hook left out on the private copy" in replica(model).notes


def test_every_refusal_is_one_of_ours():
    kinds = (ModelError, DataError, LossError, SecondDerivativeError, NotFiniteError, SettingError, ClosedError)
    assert all(issubclass(kind, LhexploreError) for kind in kinds)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", ["mlp", "convolution", "fused attention", "transformer layer", "lstm"])
def test_cuda_gives_the_same_products(name, untouched):
    model, data = seeded(MODELS[name]), batches()
    expected, _ = product(replica(model, data=data, device="cpu"))
    with untouched(model):
        copy = replica(model, data=data, dtype=torch.float64)
        assert copy.device.type == "cuda"
        hv, _ = product(copy)
    assert (hv.cpu() - expected).norm() <= 1e-9 * expected.norm()

import collections
import functools
import json

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.identity import opaque
from lhexplore.curvature.losses import as_loss
from lhexplore.curvature.replica import Replica
from lhexplore.errors import DataError, LossError

EXACT = 1e-13  # float64 sums of a few dozen terms in two orders

torch.manual_seed(0)
N, CLASSES = 35, 4
X = torch.randn(N, 3, dtype=torch.float64)
Y = torch.randint(0, CLASSES, (N,))
TARGETS = torch.randn(N, CLASSES, dtype=torch.float64)
BITS = torch.randint(0, 2, (N, CLASSES)).double()
PROBABILITIES = torch.rand(N, CLASSES, dtype=torch.float64).softmax(1)
WEIGHTS = torch.tensor([0.2, 3.0, 1.0, 0.5], dtype=torch.float64)
MASKED = Y.clone().index_fill_(0, torch.tensor([0, 1, 5, 16, 30]), -100)


def net(seed=1):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, CLASSES)).double()


def number(tensor):
    return tensor.detach().item()


def ragged(x, y, sizes=(16, 16, 3)):
    return list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True))


CRITERIA = {
    "cross entropy": (nn.CrossEntropyLoss(), Y),
    "class weights": (nn.CrossEntropyLoss(weight=WEIGHTS), Y),
    "label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), Y),
    "both": (nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.1), Y),
    "ignored labels": (nn.CrossEntropyLoss(), MASKED),
    "ignored labels, weights, smoothing": (nn.CrossEntropyLoss(weight=WEIGHTS, label_smoothing=0.2), MASKED),
    "another ignored label": (nn.CrossEntropyLoss(ignore_index=2), Y),
    "class probabilities": (nn.CrossEntropyLoss(), PROBABILITIES),
    "class probabilities and weights": (nn.CrossEntropyLoss(weight=WEIGHTS), PROBABILITIES),
    "mean square": (nn.MSELoss(), TARGETS),
    "huber": (nn.HuberLoss(delta=0.3), TARGETS),
    "absolute": (nn.L1Loss(), TARGETS),
    "binary": (nn.BCEWithLogitsLoss(pos_weight=WEIGHTS), BITS),
    "function": (F.cross_entropy, Y),
    "function with ignored labels": (F.cross_entropy, MASKED),
    "partial function": (functools.partial(F.cross_entropy, weight=WEIGHTS, ignore_index=1), Y),
    "divergence, batch mean": (nn.KLDivLoss(reduction="batchmean"), PROBABILITIES),
}


@pytest.mark.parametrize("name", CRITERIA)
def test_micro_batches_add_up_to_the_criterion_on_all_data(name):
    criterion, y = CRITERIA[name]
    model = net()
    expected = number(criterion(model(X), y))
    for sizes in ((35,), (16, 16, 3), (1, 33, 1)):
        replica = Replica(model, criterion, freeze(ragged(X, y, sizes), samples=None))
        assert replica.value() == pytest.approx(expected, rel=EXACT)
        assert sum(replica.shares) == pytest.approx(1, rel=EXACT)
    replica = Replica(model, criterion, freeze(ragged(X, y), samples=None), batch_size=5)
    assert replica.count == 4 + 4 + 1 - (name == "another ignored label")  # one piece of only ignored labels
    assert replica.value() == pytest.approx(expected, rel=EXACT)


def test_unweighted_averaging_would_be_far_off():
    model, criterion = net(), nn.MSELoss()
    targets = TARGETS.clone()
    targets[-3:] += 5
    means = [number(criterion(model(x), y)) for x, y in ragged(X, targets)]
    replica = Replica(model, criterion, freeze(ragged(X, targets), samples=None))
    assert abs(sum(means) / 3 / replica.value() - 1) > 0.5


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("name", ["both", "ignored labels, weights, smoothing", "mean square", "binary"])
def test_sums_and_single_terms_are_turned_into_the_mean(reduction, name):
    criterion, y = CRITERIA[name]
    model = net()
    expected = number(criterion(model(X), y))
    other = type(criterion)(**{**_options(criterion), "reduction": reduction})
    replica = Replica(model, other, freeze(ragged(X, y), samples=None))
    assert replica.value() == pytest.approx(expected, rel=EXACT)
    assert other.reduction == reduction
    assert any(f"reduction='{reduction}'" in note for note in replica.notes)
    replica = Replica(model, functools.partial(F.mse_loss, reduction="sum"), freeze(ragged(X, TARGETS), samples=None))
    assert replica.value() == pytest.approx(number(F.mse_loss(model(X), TARGETS)), rel=EXACT)


def _options(criterion):
    names = ("weight", "label_smoothing", "ignore_index", "pos_weight")
    return (
        {name: getattr(criterion, name) for name in names if hasattr(criterion, name)}
        if not isinstance(criterion, nn.MSELoss)
        else {}
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 12), min_size=1, max_size=6), st.sampled_from(["both", "mean square", "ignored labels"]))
def test_the_cut_does_not_matter(sizes, name):
    criterion, y = CRITERIA[name]
    total = sum(sizes)
    x, y = X.repeat(3, 1)[:total], torch.cat([y, y, y])[:total]
    if name == "ignored labels" and bool((y == -100).all()):
        return
    model = net()
    replica = Replica(model, criterion, freeze(ragged(x, y, sizes), samples=None))
    assert replica.value() == pytest.approx(number(criterion(model(x), y)), rel=EXACT)


def test_a_fully_masked_batch_is_left_out_with_a_note():
    y = Y.clone()
    y[16:32] = -100
    replica = Replica(net(), nn.CrossEntropyLoss(), freeze(ragged(X, y), samples=None))
    assert replica.count == 2
    assert replica.value() == pytest.approx(number(F.cross_entropy(net()(X), y)), rel=EXACT)
    assert any("without a loss term" in note for note in replica.notes)
    with pytest.raises(LossError, match="no terms"):
        Replica(net(), nn.CrossEntropyLoss(), freeze(ragged(X, torch.full_like(Y, -100)), samples=None))


def test_a_rule_of_the_users_own_wins():
    model = net()
    batches = freeze(ragged(X, Y), samples=None, weight=lambda batch: 1.0)
    means = [number(F.cross_entropy(model(x), y)) for x, y in ragged(X, Y)]
    assert Replica(model, nn.CrossEntropyLoss(), batches).value() == pytest.approx(sum(means) / 3, rel=EXACT)


# ---- forms


Output = collections.namedtuple("Output", "loss logits")


class OwnLoss(nn.Module):
    """Returns its loss when it gets labels, like the models of large libraries."""

    def __init__(self, *, as_dict=False):
        super().__init__()
        self.fc, self.as_dict = nn.Linear(3, CLASSES), as_dict

    def forward(self, inputs, labels=None):
        logits = self.fc(inputs)
        loss = None if labels is None else F.cross_entropy(logits, labels)
        return {"loss": loss, "logits": logits} if self.as_dict else Output(loss, logits)


def criterion_without_name(out, target):
    return ((out - target) ** 2).mean()


def general(model, batch):
    x, y = batch
    return F.mse_loss(model(x), y)


def tried_general(first, second):
    return F.mse_loss(first(second[0]), second[1])


@pytest.mark.parametrize(
    ("loss", "form", "splits"),
    [
        (nn.MSELoss(), "criterion(model(x), y)", True),
        (F.mse_loss, "criterion(model(x), y)", True),
        (criterion_without_name, "criterion(model(x), y)", True),
        (lambda out, target: F.mse_loss(out, target), "criterion(model(x), y)", True),
        (general, "loss(model, batch)", False),
        (tried_general, "loss(model, batch)", False),
        (lambda net, data: general(net, data), "loss(model, batch)", False),
    ],
)
def test_forms_for_pairs(loss, form, splits):
    model = net()
    replica = Replica(model, loss, freeze(ragged(X, TARGETS), samples=None))
    assert replica.loss.identity["form"] == form
    assert replica.loss.splits is splits
    assert replica.value() == pytest.approx(number(F.mse_loss(model(X), TARGETS)), rel=EXACT)


@pytest.mark.parametrize("as_dict", [False, True])
def test_models_that_bring_their_loss(as_dict):
    torch.manual_seed(0)
    model = OwnLoss(as_dict=as_dict).double()
    batch = collections.UserDict(inputs=X, labels=Y)
    replica = Replica(model, None, freeze([batch], samples=None))
    assert replica.value() == pytest.approx(number(F.cross_entropy(model.fc(X), Y)), rel=EXACT)
    assert not replica.loss.splits
    with pytest.raises(LossError, match="labels"):
        Replica(model, None, freeze([{"inputs": X}], samples=None))


def test_masked_labels_with_sample_weights_bring_a_note():
    batches = [{"inputs": X[:20], "labels": MASKED[:20]}, {"inputs": X[20:], "labels": MASKED[20:]}]
    model = OwnLoss().double()
    assert any("tokens" in note for note in Replica(model, None, freeze(batches)).notes)
    replica = Replica(model, None, freeze(batches, weight="tokens"))
    assert not any("tokens" in note for note in replica.notes)
    assert replica.value() == pytest.approx(number(F.cross_entropy(model.fc(X), MASKED)), rel=EXACT)


def test_losses_may_use_parts_of_the_model():
    def penalised(model, batch):
        return F.mse_loss(model(batch[0]), batch[1]) + 0.1 * sum(p.square().sum() for p in model[0].parameters())

    model = net()
    replica = Replica(model, penalised, freeze([(X, TARGETS)], samples=None))
    weight = model[0].weight.detach().clone().requires_grad_()
    with replica.guard():
        (gradient,) = torch.autograd.grad(replica.batch_loss(0, {"0.weight": weight}), weight)
    expected = torch.autograd.grad(penalised(model, (X, TARGETS)), model[0].weight)[0]
    assert torch.allclose(gradient, expected, rtol=EXACT, atol=EXACT)


def test_what_a_loss_captured_is_cast_and_private():
    weights = WEIGHTS.float()  # would not go with float64 outputs
    teacher = nn.Sequential(nn.Linear(3, CLASSES), nn.BatchNorm1d(CLASSES))  # in training mode: moves when it is used
    before = {name: value.clone() for name, value in teacher.state_dict().items()}

    def helper(out, y):
        return F.cross_entropy(out, y, weight=weights)

    def distil(model, batch):
        x, y = batch
        return helper(model(x), y) + F.mse_loss(model(x), teacher(x))

    model = net().float()
    replica = Replica(model, distil, freeze([(X.float(), Y)]))
    assert replica.dtype == torch.float64
    frozen = nn.Sequential(*teacher).double().eval()
    with torch.no_grad():
        out = model.double()(X.float().double())
        wanted = F.cross_entropy(out, Y, weight=weights.double()) + F.mse_loss(out, frozen(X.float().double()))
    assert replica.value() == pytest.approx(number(wanted), rel=EXACT)
    assert weights.dtype == torch.float32
    for name, value in before.items():
        assert torch.equal(teacher.state_dict()[name].to(value.dtype), value), name


def test_a_loss_that_names_the_users_model_gets_the_private_copy():
    model = net()
    replica = Replica(model, lambda _, batch: F.mse_loss(model(batch[0]), batch[1]), freeze([(X, TARGETS)]))
    assert replica.moves_loss(["0.weight"])
    assert replica.value() == pytest.approx(number(F.mse_loss(model(X), TARGETS)), rel=EXACT)


# ---- identity


def identity(loss, y=Y):
    found = as_loss(loss, net(), (X, y)).identity
    json.dumps(found, allow_nan=False)
    return found


def make(scale):
    return lambda model, batch: scale * F.cross_entropy(model(batch[0]), batch[1])


def test_identity_changes_with_settings_code_and_captured_values():
    different = [
        nn.CrossEntropyLoss(),
        nn.CrossEntropyLoss(label_smoothing=0.1),
        nn.CrossEntropyLoss(weight=WEIGHTS),
        nn.CrossEntropyLoss(weight=WEIGHTS + 1),
        nn.MultiMarginLoss(),
        F.cross_entropy,
        functools.partial(F.cross_entropy, label_smoothing=0.1),
        make(1.0),
        make(2.0),
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        lambda model, batch: F.cross_entropy(model(batch[0]) * 2, batch[1]),
        lambda model, batch, scale=3: F.cross_entropy(model(batch[0]), batch[1]) * scale,
        lambda model, batch: (lambda out: F.cross_entropy(out + 1, batch[1]))(model(batch[0])),
        lambda model, batch: (lambda out: F.cross_entropy(out + 2, batch[1]))(model(batch[0])),
    ]
    texts = [json.dumps(identity(loss), sort_keys=True) for loss in different]
    assert len(set(texts)) == len(texts)


def test_identity_is_the_same_for_the_same_loss():
    assert identity(nn.CrossEntropyLoss(weight=WEIGHTS)) == identity(nn.CrossEntropyLoss(weight=WEIGHTS.clone()))
    assert identity(make(1.0)) == identity(make(1.0))


SCALE = 2.0


def uses_global(model, batch):
    return SCALE * F.cross_entropy(model(batch[0]), batch[1])


def test_identity_sees_globals_that_a_function_uses(monkeypatch):
    before = identity(uses_global)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert identity(uses_global) != before


def test_identity_says_what_it_cannot_see():
    class Hidden:
        __slots__ = ("a",)

    hidden = Hidden()
    found = identity(lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]) * bool(hidden))
    assert [name.rsplit(".", 1)[-1] for name in opaque(found)] == ["Hidden"]


# ---- refusals


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda model, batch: None, "returned None"),
        (lambda model, batch: F.cross_entropy(model(batch[0]), batch[1], reduction="none"), r"\[35\]"),
        (lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]).item(), "float"),
        (lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]).detach(), "without a graph"),
        (lambda model, batch: model(batch[0]).argmax(1).double().mean(), "without a graph"),
        (lambda model, batch: torch.zeros(()), "without a graph"),
        (lambda model, batch: torch.ones((), requires_grad=True) * 2, "does not use the model"),
        (lambda x: x, "takes 1 argument"),
        (3, "int"),
        (None, "No loss was given"),
        (lambda a, b: a.nothing + b.nothing, "neither way"),
    ],
)
def test_losses_that_cannot_be_used(loss, match):
    with pytest.raises(LossError, match=match):
        Replica(net(), loss, freeze([(X, Y)], samples=None))


def test_a_criterion_needs_pairs():
    with pytest.raises(LossError, match=r"\(x, y\)"):
        Replica(net(), nn.CrossEntropyLoss(), freeze([(X, X, Y)], samples=None))
    with pytest.raises(LossError, match=r"\(x, y\)"):
        Replica(net(), nn.CrossEntropyLoss(), freeze([{"x": X, "y": Y}], samples=None))


@pytest.mark.parametrize("bad", [4, 17, -1])
def test_labels_out_of_range_are_found_before_the_criterion_runs(bad):
    y = Y.clone()
    y[33] = bad
    with pytest.raises(DataError, match="batch 2 run from"):
        Replica(net(), nn.CrossEntropyLoss(), freeze(ragged(X, y), samples=None))

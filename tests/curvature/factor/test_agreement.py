"""What a factor's spectrum may be called: accepted where H = G, layer by layer, and nowhere else."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from curvature.objectives import gauss_newton, hessian
from sklearn.datasets import load_digits
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor import agreement as module
from lhexplore.curvature.factor.agreement import agreement
from lhexplore.curvature.factor.few import few
from lhexplore.curvature.factor.spectra import factor_rows
from lhexplore.curvature.layers import whole_network
from lhexplore.curvature.replica import Replica

EXACT = 1e-12  # ‖H − G‖ / ‖G‖ in float64 where both are the same matrix
CURVED = 1e-3  # and a bound from below where they are not: far above any rounding


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def data(*shape, classes=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator), torch.randint(0, classes, shape[:1], generator=generator)


def replica(model, x, y, *, cut=5, loss=None, dtype=torch.float32, **options):
    return Replica(
        model, loss or nn.CrossEntropyLoss(), freeze([(x[:cut], y[:cut]), (x[cut:], y[cut:])]), dtype=dtype, **options
    )


def findings(made, **options):
    return agreement(made, [layer for layer in made.layers if layer.status == "ok"], **options)


def verdicts(made, **options):
    return {name: found.verdict for name, found in findings(made, **options).items()}


def mlp(activation):
    return seeded(lambda: nn.Sequential(nn.Linear(6, 8), activation(), nn.Linear(8, 5), activation(), nn.Linear(5, 3)))


class Residual(nn.Module):
    """Convolutions, batch norm, both kinds of pooling and a way around."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 2)
        x = F.relu(x + self.bn2(self.conv2(x)))
        return self.fc(F.avg_pool2d(x, 2).flatten(2).mean(2))


def residual():
    model = seeded(Residual)
    for norm in (model.bn1, model.bn2):
        norm.running_mean.normal_(generator=torch.Generator().manual_seed(1))
        norm.running_var.uniform_(0.5, 2, generator=torch.Generator().manual_seed(2))
    return model


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(F.relu(self.b(F.relu(self.a(x)))))


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.c = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        return self.c(F.relu(self.a(F.relu(self.a(x)))))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.attend, self.out = (
            nn.Linear(6, 8),
            nn.MultiheadAttention(8, 2, batch_first=True),
            nn.Linear(8, 3),
        )

    def forward(self, x):
        x = self.embed(x)
        return self.out(self.attend(x, x, x, need_weights=False)[0].mean(1))


class Functional(nn.Module):
    """Weights that are used without calling their module, and a parameter of the model itself."""

    def __init__(self):
        super().__init__()
        self.a, self.c, self.scale = nn.Linear(6, 6), nn.Linear(6, 3), nn.Parameter(torch.rand(6))

    def forward(self, x):
        return self.c(self.scale * F.relu(F.linear(x, self.a.weight, self.a.bias)))


@functools.cache
def interpolating(activation):
    """A network that was trained on digits in float32 until its loss is nearly gone."""
    images, targets = load_digits(return_X_y=True)
    x, y = torch.tensor(images[:96] / 16, dtype=torch.float32), torch.tensor(targets[:96])
    model = seeded(
        lambda: nn.Sequential(nn.Linear(64, 12), activation(), nn.Linear(12, 12), activation(), nn.Linear(12, 10))
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-2)
    for _ in range(700):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model, x, y


# ---- piecewise linear networks


@pytest.mark.parametrize(
    "activation", [nn.ReLU, nn.LeakyReLU, nn.ReLU6, nn.Hardtanh, nn.Identity, functools.partial(nn.Threshold, 0.1, 0.0)]
)
def test_piecewise_linear_networks_are_accepted(activation):
    made = replica(mlp(activation), *data(12, 6))
    found = findings(made)
    assert [finding.verdict for finding in found.values()] == ["hessian"] * 3
    assert all(
        finding.is_hessian and finding.hessian <= EXACT and finding.factor <= EXACT for finding in found.values()
    )
    exact = replica(mlp(activation), *data(12, 6), dtype=torch.float64)
    for layer in exact.layers:
        h, g = hessian(exact, layer), gauss_newton(exact, layer)
        assert float((h - g).norm()) <= EXACT * float(g.norm())


def test_convolutions_batch_norm_pools_and_ways_around_are_accepted():
    x, y = data(12, 2, 8, 8)
    assert set(verdicts(replica(residual(), x, y)).values()) == {"hessian"}


@pytest.mark.parametrize("loss", [nn.MSELoss(), nn.BCEWithLogitsLoss(), lambda a, b: (a - b).pow(4).mean()])
def test_other_losses_are_accepted(loss):
    x, y = data(12, 6)[0], data(12, 3, seed=4)[0].sigmoid()
    assert set(verdicts(replica(mlp(nn.ReLU), x, y, loss=loss)).values()) == {"hessian"}


def test_a_network_that_interpolates_is_accepted():
    model, x, y = interpolating(nn.ReLU)
    made = replica(model, x, y, cut=50)
    assert made.value() < 1e-4
    assert set(verdicts(made).values()) == {"hessian"}


def test_without_a_float64_copy_nothing_drifts_either(monkeypatch):
    """H − G is no difference of two products, so a confident softmax in float32 does no harm."""
    monkeypatch.setattr(Replica, "widened", lambda self, batch=None: None)
    model, x, y = interpolating(nn.ReLU)
    found = findings(replica(model, x, y, cut=50))
    assert {finding.verdict for finding in found.values()} == {"hessian"}
    assert {finding.tolerance for finding in found.values()} == {1e-5}
    model, x, y = interpolating(nn.Tanh)
    assert list(verdicts(replica(model, x, y, cut=50)).values()) == ["ggn", "ggn", "hessian"]


def test_weights_that_are_used_without_their_module_are_accepted():
    assert set(verdicts(replica(seeded(Functional), *data(12, 6))).values()) == {"hessian"}


# ---- networks that are not


@pytest.mark.parametrize("activation", [nn.Tanh, nn.GELU, nn.SiLU, nn.Sigmoid, nn.Hardswish, nn.Softplus, nn.ELU])
def test_smooth_networks_are_accepted_after_the_last_smooth_function_only(activation):
    x, y = data(12, 6)
    assert list(verdicts(replica(mlp(activation), x, y)).values()) == ["ggn", "ggn", "hessian"]
    exact = replica(mlp(activation), x, y, dtype=torch.float64)
    for layer, curved in zip(exact.layers, (True, True, False), strict=True):
        h, g = hessian(exact, layer), gauss_newton(exact, layer)
        gap = float((h - g).norm() / g.norm())
        assert gap > CURVED if curved else gap <= EXACT


def test_layers_between_the_last_smooth_function_and_the_end_are_accepted():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 7), nn.ReLU(), nn.Linear(7, 3)))
    assert list(verdicts(replica(model, *data(12, 6))).values()) == ["ggn", "hessian", "hessian"]


def test_layer_norm():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3)))
    assert list(verdicts(replica(model, *data(12, 6))).values()) == ["ggn", "hessian", "hessian"]


def test_attention():
    found = verdicts(replica(seeded(Attention), *data(12, 4, 6)))
    assert found == {"embed": "ggn", "attend": "ggn", "attend.out_proj": "hessian", "out": "hessian"}


def test_batch_norm_with_the_statistics_of_the_batch():
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3)))
    x, y = data(12, 6)
    assert set(verdicts(replica(model, x, y)).values()) == {"hessian"}
    found = findings(replica(model, x, y, mode="train-frozen"))
    assert not found["0"].is_hessian
    assert found["1"].verdict == "unusable"  # a single example has no statistics, and no rows
    assert found["3"].is_hessian or found["3"].verdict == "unusable"


@pytest.mark.parametrize("make", [Tied, Twice])
def test_a_tensor_that_is_used_twice_is_curved(make):
    x, y = data(12, 6)
    found = findings(replica(seeded(make), x, y))
    assert not found["a"].is_hessian
    assert found["a"].hessian > CURVED
    assert found["a"].verdict in ("ggn", "examples")
    assert found["c"].verdict == "hessian"


def test_the_whole_network_is_curved():
    made = replica(mlp(nn.ReLU), *data(12, 6))
    whole = whole_network(made.layers)
    assert agreement(made, [whole])[whole.name].verdict == "ggn"


def test_a_gap_is_that_of_the_matrices():
    """For layers looked at one by one, on examples that are all there are: ‖(H − G) v‖ / ‖G v‖ of dense matrices."""
    x, y = data(4, 6)
    made = replica(mlp(nn.Tanh), x, y, cut=2, dtype=torch.float64)
    look = module._Look(made, made.layers, 2, 4)
    found = look.hessian(look.rows(made.layers))
    for layer in made.layers:
        h, g = hessian(made, layer), gauss_newton(made, layer)
        gaps = [float(((h - g) @ v).norm() / (g @ v).norm()) for v in look._directions[layer.name]]
        assert min(abs(found[layer.name].hessian - gap) for gap in gaps) <= 1e-9 * max(gaps) + EXACT


# ---- what some examples do not show


def saturated(count):
    """A softplus that is straight for all examples but the last, which a sample of four does not hold."""
    model = seeded(lambda: nn.Sequential(nn.Linear(6, 8), nn.Softplus(), nn.Linear(8, 3)))
    x, y = data(count, 6)
    x[-1] *= 0
    x[:-1] = x[:-1].abs() + 30
    with torch.no_grad():
        model[0].weight.abs_()
        model[0].bias.zero_()
        model[2].weight.mul_(1e-2)
    return model, x, y


def test_a_function_that_is_straight_on_some_examples_only(monkeypatch):
    made = replica(*saturated(40), cut=20)
    assert list(verdicts(made, examples=4).values()) == ["ggn", "hessian"]
    monkeypatch.setattr(module, "straight_everywhere", lambda outputs: True)
    assert list(verdicts(made, examples=4).values()) == ["hessian", "hessian"]  # what the four examples say


def test_a_function_that_is_straight_on_all_examples():
    model, x, y = saturated(40)
    assert list(verdicts(replica(model, x[:-1], y[:-1], cut=20)).values()) == ["hessian", "hessian"]


def test_examples_come_from_different_micro_batches_and_have_labels():
    x, y = data(24, 6)
    batches = [(x[i : i + 6], y[i : i + 6].clone()) for i in range(0, 24, 6)]
    batches[2][1][:5] = -100
    made = Replica(mlp(nn.ReLU), nn.CrossEntropyLoss(), freeze(batches), dtype=torch.float32)
    chosen, labels = few(made, 4).batch(0)
    assert [int(((chosen[i] - x).abs().sum(1)).argmin()) // 6 for i in range(4)] == [0, 1, 2, 3]
    assert (labels >= 0).all()


# ---- the factor


def test_rows_that_are_wrong_are_taken_by_example(monkeypatch):
    def wrong(objective, i, layers, *, examples=()):
        rows = factor_rows(objective, i, layers, examples=examples)
        return {name: m if name in examples or name != "2" else 1.001 * m for name, m in rows.items()}

    monkeypatch.setattr(module, "factor_rows", wrong)
    found = findings(replica(mlp(nn.ReLU), *data(12, 6)))
    assert [finding.verdict for finding in found.values()] == ["hessian", "examples", "hessian"]
    assert found["2"].is_hessian
    found = findings(replica(mlp(nn.Tanh), *data(12, 6)))
    assert [finding.verdict for finding in found.values()] == ["ggn", "examples", "hessian"]
    assert not found["2"].is_hessian


@pytest.mark.parametrize("factor", [1.001, math.nan])
def test_rows_that_are_wrong_either_way_are_refused(monkeypatch, factor):
    def wrong(objective, i, layers, *, examples=()):
        rows = factor_rows(objective, i, layers, examples=examples)
        return {name: factor * m if name == "0" else m for name, m in rows.items()}

    monkeypatch.setattr(module, "factor_rows", wrong)
    found = findings(replica(mlp(nn.ReLU), *data(12, 6)))
    assert [finding.verdict for finding in found.values()] == ["unusable", "hessian", "hessian"]
    assert not found["0"].is_hessian
    assert "off by" in found["0"].reason


def test_rows_in_another_order_are_wrong(monkeypatch):
    monkeypatch.setattr(
        module, "factor_rows", lambda *args, **options: {k: m.flip(0) for k, m in factor_rows(*args, **options).items()}
    )
    assert set(verdicts(replica(mlp(nn.ReLU), *data(12, 6))).values()) == {"unusable"}


def test_an_error_in_one_layer_is_its_own(monkeypatch):
    def fails(objective, i, layers, *, examples=()):
        if any(layer.name == "2" for layer in layers):
            raise RuntimeError("no rows today")
        return factor_rows(objective, i, layers, examples=examples)

    monkeypatch.setattr(module, "factor_rows", fails)
    found = findings(replica(mlp(nn.ReLU), *data(12, 6)))
    assert [finding.verdict for finding in found.values()] == ["hessian", "unusable", "hessian"]
    assert "no rows today" in found["2"].reason


@pytest.mark.parametrize(
    ("loss", "why"),
    [
        (lambda a, b: F.cross_entropy(a, b) ** 2, "couples the examples"),
        (lambda a, b: -F.cross_entropy(a, b), "not convex"),
        (lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]), "does not show"),
    ],
)
def test_losses_without_a_factor(loss, why):
    found = findings(replica(mlp(nn.ReLU), *data(12, 6), loss=loss))
    assert {finding.verdict for finding in found.values()} == {"unusable"}
    assert all(why in finding.reason for finding in found.values())


def test_parameters_that_are_cut_off_are_not_taken_for_unused():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.idle, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            self.idle(x)
            return self.c(F.relu(self.a(x)).detach())

    found = findings(replica(seeded(Cut), *data(12, 6)))
    assert found["a"].verdict == "unusable"
    assert "moving them moves the loss" in found["a"].reason
    assert (found["idle"].verdict, found["idle"].hessian) == ("hessian", 0.0)
    assert found["c"].verdict == "hessian"


def test_large_layers_are_looked_at_on_one_example(monkeypatch):
    counts = {}

    def counted(objective, i, layers, *, examples=()):
        counts.update({layer.name: len(objective.batch(i)[1]) for layer in layers})
        return factor_rows(objective, i, layers, examples=examples)

    monkeypatch.setattr(module, "factor_rows", counted)
    monkeypatch.setattr(module, "ROW_BYTES", 50 * 4 * 2 * 8)  # parameters × examples × columns × bytes
    made = replica(mlp(nn.ReLU), *data(12, 6))
    assert set(verdicts(made, examples=4).values()) == {"hessian"}
    assert counts == {"0": 1, "2": 4, "4": 4}
    monkeypatch.setattr(module, "MOST_BYTES", 50 * 2 * 8)
    found = findings(made, examples=4)
    assert [finding.verdict for finding in found.values()] == ["unusable", "hessian", "hessian"]
    assert "cannot be compared" in found["0"].reason


# ---- second derivatives


def test_an_operation_without_second_derivative_harms_its_own_layers_only():
    class Bag(nn.Module):
        def __init__(self):
            super().__init__()
            self.bag, self.a, self.c = nn.EmbeddingBag(20, 8), nn.Linear(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.c(F.relu(self.a(torch.tanh(self.bag(x)))))

    x = torch.randint(0, 20, (12, 4), generator=torch.Generator().manual_seed(0))
    found = findings(replica(seeded(Bag), x, data(12, 6)[1]))
    assert [finding.verdict for finding in found.values()] == ["ggn", "hessian", "hessian"]
    assert math.isnan(found["bag"].hessian)
    assert "no second derivative" in found["bag"].reason
    assert "bag" in found["bag"].reason


class Once(torch.autograd.Function):
    """A tanh that says that it is differentiable once."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(y := torch.tanh(x))
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g):
        return g * (1 - ctx.saved_tensors[0] ** 2)


def test_a_function_that_is_differentiable_once_harms_the_layers_before_it_only():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)

        def forward(self, x):
            return self.c(F.relu(self.b(Once.apply(self.a(x)))))

    found = findings(replica(seeded(Net), *data(12, 6)))
    assert not found["a"].is_hessian
    assert found["b"].verdict == "hessian"
    assert found["c"].verdict == "hessian"


def test_the_ggn_needs_no_second_derivative(monkeypatch):
    def never(*args, **options):
        raise AssertionError("a second derivative was taken")

    monkeypatch.setattr(module, "together", never)
    monkeypatch.setattr(module, "Alone", never)
    found = findings(replica(mlp(nn.Tanh), *data(12, 6)), curvature="ggn")
    assert {finding.verdict for finding in found.values()} == {"ggn"}
    assert all(math.isnan(finding.hessian) and not finding.is_hessian for finding in found.values())


def test_the_number_of_passes_does_not_grow_with_the_layers(monkeypatch):
    """One product serves all layers of a piecewise linear network."""
    passes = []
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *args, **options: passes.append(1) or grad(*args, **options))
    monkeypatch.setattr(module, "factor_rows", lambda *args, **options: _uncounted(passes, *args, **options))
    counts = []
    for depth in (1, 12):
        hidden = [part for _ in range(depth) for part in (nn.Linear(6, 6), nn.ReLU())]
        made = replica(seeded(lambda parts=hidden: nn.Sequential(*parts, nn.Linear(6, 3))), *data(12, 6))
        passes.clear()
        assert set(verdicts(made).values()) == {"hessian"}
        counts.append(len(passes))
    assert counts[0] == counts[1]


def _uncounted(passes, *args, **options):
    before = len(passes)
    rows = factor_rows(*args, **options)
    del passes[before:]
    return rows


def test_nothing_is_touched(untouched):
    model, (x, y) = residual(), data(12, 2, 8, 8)
    made = replica(model, x, y)
    with untouched(model, made.model):
        findings(made)


def test_the_same_again():
    made = replica(mlp(nn.Tanh), *data(12, 6))
    assert findings(made) == findings(made)
    assert agreement(made, []) == {}

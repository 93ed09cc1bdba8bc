"""Every layer's trace from shared products: right in the mean, honest in the error, one layer's trouble its own."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from curvature.matrices import rotated
from curvature.objectives import FunctionObjective, NetObjective, Parameters, classes, gauss_newton, hessian, mlp
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.hutchinson import Sample, trace_estimate
from lhexplore.curvature.replica import Replica
from lhexplore.curvature.traces import CERTAIN, layer_traces
from lhexplore.errors import NotFiniteError, SettingError, UnsupportedError

SAME = 1e-12  # float64, the same few hundred operations in another order
Z_SCORE = 4.0  # a right estimator exceeds it once in 16,000 tests


def quadratic(matrix, sizes):
    """½θᵀAθ, cut into blocks of the given sizes, and the exact traces of these."""
    edges = np.cumsum([0, *sizes])
    names = [f"t{i}" for i in range(len(sizes))]
    tensors = {name: torch.ones(size).double() for name, size in zip(names, sizes, strict=True)}

    def value(**parts):
        theta = torch.cat([parts[name] for name in names])
        return theta @ matrix @ theta / 2

    truth = [float(matrix[a:b, a:b].trace()) for a, b in pairwise(edges)]
    return FunctionObjective(value, **tensors), [Parameters(name, (name,)) for name in names], truth


def last(objective, layers, **settings):
    *_, value = layer_traces(objective, layers, **settings)
    return value


def net(activation=nn.Tanh, **data):
    objective = NetObjective(mlp(activation), classes(**data), nn.CrossEntropyLoss())
    return objective, [objective.block(prefix) for prefix in ("0.", "2.", "4.")]


# ---- the numbers


def test_mean_and_variance_are_those_of_the_formula():
    # Var t_l = 2(‖H_ll‖² − ‖diag H_ll‖²) + Σ ‖H_lk‖²: the second sum is the price of sharing. A rotated matrix, because
    # random signs are exact on a diagonal one.
    matrix = rotated(np.random.default_rng(1).standard_normal(30) + 0.5)
    sizes, count = (12, 10, 8), 1500
    objective, layers, truth = quadratic(matrix, sizes)
    means = np.array([[t.value for t in item.layers] for item in layer_traces(objective, layers, probes=count)])
    steps = np.arange(1, count + 1)[:, None]
    forms = np.diff(means * steps, axis=0, prepend=0)
    edges = np.cumsum([0, *sizes])
    for i, (a, b) in enumerate(pairwise(edges)):
        own, rows = matrix[a:b, a:b], matrix[a:b]
        coupling = float(rows.square().sum() - own.square().sum())
        variance = 2 * float(own.square().sum() - own.diagonal().square().sum()) + coupling
        assert abs(forms[:, i].mean() - truth[i]) <= Z_SCORE * math.sqrt(variance / count)
        fourth = ((forms[:, i] - truth[i]) ** 4).mean()
        error = math.sqrt((fourth - variance**2) / count)
        assert abs(((forms[:, i] - truth[i]) ** 2).mean() - variance) <= Z_SCORE * error
        assert coupling > variance / 10  # or the test says nothing about sharing


@pytest.mark.parametrize("curvature", ["hessian", "ggn"])
def test_networks_against_their_dense_matrices(curvature):
    objective, layers = net(cuts=(7, 15))
    oracle = hessian if curvature == "hessian" else gauss_newton
    whole = oracle(objective, objective.block())
    found, start, count = last(objective, layers, probes=400, curvature=curvature), 0, 400
    for layer, trace in zip(layers, found.layers, strict=True):
        exact, rows = oracle(objective, layer), whole[start : start + trace.size]
        assert abs(trace.value - float(exact.trace())) <= 2 * trace.stderr
        assert trace.size == len(exact)
        assert trace.stderr == pytest.approx(float(rows.norm()) * math.sqrt(2 / count), rel=0.2)  # and no wider
        start += trace.size
    assert abs(found.total.value - float(whole.trace())) <= 2 * found.total.stderr
    assert (found.total.layer, found.total.size) == (None, len(whole))


def test_traces_of_layers_add_up_to_the_total():
    objective, layers = net(cuts=(7,))
    for item in layer_traces(objective, layers, probes=4):
        assert sum(t.value for t in item.layers) == pytest.approx(item.total.value, rel=SAME)
    whole = hessian(objective, objective.block())
    assert sum(float(hessian(objective, layer).trace()) for layer in layers) == pytest.approx(float(whole.trace()))


class Tied(nn.Module):
    """Input and output share a matrix."""

    def __init__(self):
        super().__init__()
        self.embed, self.inner, self.head = nn.Linear(4, 5, bias=False), nn.Linear(4, 4), nn.Linear(4, 5)
        self.head.weight = self.embed.weight

    def forward(self, x):
        return self.through(x, self.embed.weight, self.head.weight)

    def through(self, x, first, second):
        return nn.functional.linear(torch.tanh(self.inner(x @ first)), second, self.head.bias)


def test_tied_weights_are_one_set_of_coordinates():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = Tied().double()
    x, y = classes(features=5, count=5)[0]
    replica = Replica(model, nn.CrossEntropyLoss(), freeze((x, y)), device="cpu", threads=1)
    found = last(replica, [layer for layer in replica.layers if layer.parameters], probes=1000)
    assert found.total.size == sum(p.numel() for p in model.parameters())  # parameters() lists the tied one once
    (tied,) = [trace for trace in found.layers if trace.layer == "embed"]
    weight = model.head.weight.detach()

    def traced(function):
        alone = FunctionObjective(lambda w: nn.functional.cross_entropy(function(w), y), w=weight)
        return float(hessian(alone, alone.block()).trace())

    both = traced(lambda w: model.through(x, w, w))
    apart = traced(lambda w: model.through(x, w, weight)) + traced(lambda w: model.through(x, weight, w))
    assert abs(tied.value - both) <= 2 * tied.stderr
    assert abs(tied.value - apart) > 2 * tied.stderr  # to take them for two would be seen


def test_every_layer_has_its_own_signs_whatever_the_order():
    objective, layers = net()
    found, turned = (last(objective, order, probes=3) for order in (layers, layers[::-1]))
    for trace, same in zip(found.layers, turned.layers[::-1], strict=True):
        assert trace.value == pytest.approx(same.value, rel=SAME)
        assert trace.stderr == pytest.approx(same.stderr, rel=SAME)
    again, other = last(objective, layers, probes=3), last(objective, layers, probes=3, seed=1)
    assert again == found
    assert other.layers[0].value != found.layers[0].value


def test_cutting_the_data_changes_nothing():
    whole, parts = (last(*net(cuts=cuts), probes=3) for cuts in ((), (5, 11, 20)))
    for one, other in zip(whole.layers, parts.layers, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-10)


@pytest.mark.parametrize("factor", [2.0**66, 2.0**-66])
def test_scale_of_the_loss_passes_through(factor):
    matrix = rotated(np.random.default_rng(0).standard_normal(20))
    plain, scaled = (last(*quadratic(matrix * c, (12, 8))[:2], probes=3) for c in (1.0, factor))
    for one, other in zip(plain.layers, scaled.layers, strict=True):
        assert (other.value, other.stderr) == (one.value * factor, one.stderr * factor)


# ---- their errors


@pytest.mark.parametrize("probes", [1, 2, 3, 5, 10, 30])
@pytest.mark.parametrize("coupling", [0.0, 1.0, 10.0])
def test_rank_one_is_covered_from_the_first_vector_on(probes, coupling):
    # A block uuᵀ beside others, u with many entries: t = g(g + a h) and ‖(Hz)_l‖ = |g + a h| with standard normal g, h.
    generator = np.random.default_rng(probes)
    g, h = generator.standard_normal((2, 20_000, probes))
    samples = np.stack([g * (g + coupling * h), np.abs(g + coupling * h)], axis=-1)
    estimates = np.array([trace_estimate([Sample(*pair) for pair in case]) for case in samples[:4000].tolist()])
    covered = np.abs(estimates[:, 0] - 1) <= 2 * estimates[:, 1]
    assert covered.mean() >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / len(covered))


def random_block_matrix(generator, kind, sizes):
    n = sum(sizes)
    if kind == "diagonal":
        return torch.diag(torch.tensor(generator.standard_normal(n)))
    if kind == "rank one":
        u = generator.standard_normal(n)
        return torch.tensor(np.outer(u, u))
    if kind == "rank one blocks":
        return torch.block_diag(*(torch.tensor(np.outer(u, u)) for u in map(generator.standard_normal, sizes)))
    if kind == "coupled":  # nothing on the diagonal blocks but a little, everything between them
        matrix = generator.standard_normal((n, n))
        edges = np.cumsum([0, *sizes])
        for a, b in pairwise(edges):
            matrix[a:b, a:b] *= 0.05
        return torch.tensor(matrix + matrix.T)
    decay = np.arange(1, n + 1.0) ** -generator.uniform(0, 2) * generator.choice([-1, 1], n)
    return rotated(decay, seed=int(generator.integers(2**31)))


@pytest.mark.parametrize("kind", ["diagonal", "rank one", "rank one blocks", "coupled", "decay"])
def test_two_errors_cover_95_percent_of_random_matrices(kind):
    generator = np.random.default_rng(7)
    covered = list[bool]()
    for case in range(60):
        sizes = generator.integers(8, 40, 3).tolist()
        objective, layers, truth = quadratic(random_block_matrix(generator, kind, sizes), sizes)
        found = last(objective, layers, probes=1 + case % 10, seed=case)
        covered += [abs(t.value - exact) <= 2 * t.stderr for t, exact in zip(found.layers, truth, strict=True)]
        covered.append(abs(found.total.value - sum(truth)) <= 2 * found.total.stderr)
    assert np.mean(covered) >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / len(covered))  # rank one is covered in just 95 %


@pytest.mark.parametrize("probes", [1, 3, 10])
def test_two_errors_cover_95_percent_of_random_networks(probes):
    covered = list[bool]()
    for case in range(70):
        generator = np.random.default_rng(case)
        sizes = (6, *generator.integers(3, 8, generator.integers(1, 3)).tolist(), 3)
        activation = [nn.Tanh, nn.GELU, nn.ReLU][case % 3]
        model = mlp(activation, sizes=sizes, seed=case)
        with torch.no_grad():
            for p in model.parameters():
                p *= 2  # steeper layers are coupled more strongly
        objective = NetObjective(model, classes(examples=12, seed=case), nn.CrossEntropyLoss())
        layers = [objective.block(f"{i}.") for i in range(0, 2 * len(sizes) - 2, 2)]
        found = last(objective, layers, probes=probes, seed=case)
        whole, start = hessian(objective, objective.block()).diagonal(), 0
        for trace in found.layers:
            exact = float(whole[start : start + trace.size].sum())
            covered.append(abs(trace.value - exact) <= 2 * trace.stderr)
            start += trace.size
    assert len(covered) >= 140
    assert np.mean(covered) >= 0.95


def test_signs_that_cancel_are_not_taken_for_a_zero_block():
    # (a − b)²/2: one vector in two has equal signs and sees nothing of it.
    objective = FunctionObjective(
        lambda a, b: ((a[0] - a[1]) ** 2 + (b**2).sum()) / 2, a=torch.ones(2).double(), b=torch.ones(3).double()
    )
    layers = [Parameters("a", ("a",)), Parameters("b", ("b",))]
    blind, covered = 0, list[bool]()
    for seed in range(100):
        first, *_, final = (item.layers[0] for item in layer_traces(objective, layers, probes=CERTAIN, seed=seed))
        if first.value == 0:
            blind += 1
            assert math.isinf(first.stderr)
            assert first.status == "ok"
        covered.append(abs(final.value - 2) <= 2 * final.stderr)
    assert 30 <= blind <= 70
    assert np.mean(covered) >= 0.95


# ---- what it costs, and when it comes


def test_one_graph_and_one_product_per_vector():
    objective, layers = net(cuts=(7, 15))
    calls = list[int]()
    plain = objective.batch_loss
    objective.batch_loss = lambda i, override: calls.append(i) or plain(i, override)
    work = layer_traces(objective, layers, probes=10)
    first = next(work)
    assert (first.products, first.probes, first.planned, first.complete) == (1, 1, 10, False)
    assert set(calls) == {0, 1, 2}
    assert len(calls) <= 4  # once each, and once to see how large a graph is
    built = len(calls)
    *_, final = work
    assert len(calls) == built  # kept, not built anew
    assert (final.products, final.probes, final.complete) == (10, 10, True)
    assert all(0 < t.stderr < u.stderr for t, u in zip(final.layers, first.layers, strict=True))


def test_nothing_of_the_users_is_touched(untouched):
    model = mlp(dtype=torch.float32)
    data = classes(dtype=torch.float32)[0]
    replica = Replica(model, nn.CrossEntropyLoss(), freeze(data), device="cpu", threads=1)
    with untouched(model):
        for _ in layer_traces(replica, replica.layers, probes=2):
            assert torch.is_grad_enabled()
    work = layer_traces(replica, replica.layers, probes=5)
    with untouched(model):
        next(work)
        work.close()


# ---- what cannot be had


class Awkward(nn.Module):
    """Something without a second derivative in the middle, and parameters without use."""

    def __init__(self):
        super().__init__()
        self.embed, self.bag = nn.Linear(6, 4), nn.EmbeddingBag(7, 4)
        self.hidden, self.unused, self.head = nn.Linear(4, 5), nn.Linear(3, 3), nn.Linear(5, 3)

    def forward(self, x):
        tokens = (x[:, :3].abs() * 2).long().clamp(max=6)
        return self.head(torch.tanh(self.hidden(self.embed(x).tanh() + self.bag(tokens))))


def awkward():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Awkward().double()
    return model, Replica(model, nn.CrossEntropyLoss(), freeze(classes()[0]), device="cpu", threads=1)


def test_a_layer_without_a_second_derivative_leaves_the_others_alone():
    model, replica = awkward()
    first, *_, final = layer_traces(replica, replica.layers, probes=200)
    traces = {trace.layer: trace for trace in final.layers}
    assert traces["bag"].status == "error"
    assert "embedding_bag" in traces["bag"].reason
    assert math.isnan(traces["bag"].value)
    assert (traces["unused"].status, traces["unused"].value, traces["unused"].stderr) == ("zero", 0.0, 0.0)
    assert "does not use" in traces["unused"].reason
    objective = NetObjective(model, classes(), nn.CrossEntropyLoss())
    for name in ("embed", "hidden", "head"):
        exact = float(hessian(objective, objective.block(f"{name}.")).trace())
        assert traces[name].status == "ok"
        assert abs(traces[name].value - exact) <= 2 * traces[name].stderr
    assert final.total.status == "error"
    assert "'bag'" in final.total.reason
    assert final.products == first.products + 199  # the rest shares its products again


def test_the_place_of_a_failure_is_looked_for_once(monkeypatch):
    _, replica = awkward()
    asked, plain = [], replica.blame
    monkeypatch.setattr(replica, "blame", lambda i, error: asked.append(i) or plain(i, error))
    next(layer_traces(replica, replica.layers))
    assert asked == [0]


def test_an_infinite_second_derivative_is_named_and_stays_where_it_is():
    objective = FunctionObjective(
        lambda a, b, c: (a * 0).norm() + (b**2).sum() + 3 * c.sum(),
        a=torch.ones(3).double(),
        b=torch.ones(2).double(),
        c=torch.ones(4).double(),
    )
    found = last(objective, [Parameters(name, (name,)) for name in "abc"], probes=3)
    a, b, c = found.layers
    assert (a.status, b.status, c.status) == ("error", "ok", "zero")
    assert "NaN" in a.reason
    assert b.value == 4.0
    assert "linear" in c.reason


def test_a_cut_derivative_is_refused_and_not_zero():
    objective = FunctionObjective(
        lambda a, b: (a.detach() * b).square().sum(), a=torch.ones(3).double(), b=torch.ones(3).double()
    )
    a, b = last(objective, [Parameters(name, (name,)) for name in "ab"], probes=2).layers
    assert a.status == "error"
    assert "cut off" in a.reason
    assert b.value == 6.0


def test_everything_zero_is_zero():
    objective = FunctionObjective(lambda a, b: a.sum() + b.sum(), a=torch.ones(3).double(), b=torch.ones(2).double())
    first = next(layer_traces(objective, [Parameters(name, (name,)) for name in "ab"]))
    assert [t.status for t in (*first.layers, first.total)] == ["zero"] * 3
    hidden = FunctionObjective(lambda a: (0 * a**2).sum(), a=torch.ones(5).double())
    first, *_, final = layer_traces(hidden, [hidden.block()], probes=CERTAIN)
    assert math.isinf(first.layers[0].stderr)
    assert (final.layers[0].status, final.layers[0].stderr) == ("zero", 0.0)
    assert str(CERTAIN) in final.layers[0].reason


def test_a_loss_that_is_not_finite_is_the_losses_fault():
    model = mlp()
    replica = Replica(model, nn.CrossEntropyLoss(), freeze(classes()[0]), device="cpu", threads=1)
    with torch.no_grad():
        next(iter(replica.tensors.values())).fill_(1e308).mul_(100)
    with pytest.raises(NotFiniteError):
        next(layer_traces(replica, replica.layers))


@pytest.mark.parametrize("settings", [{"probes": 0}, {"probes": 1.5}, {"seed": -1}, {"curvature": "fisher"}])
def test_settings_that_make_no_sense(settings):
    objective, layers = net()
    with pytest.raises(SettingError):
        layer_traces(objective, layers, **settings)


def test_layers_that_make_no_sense():
    objective, layers = net()
    with pytest.raises(SettingError, match="at least one"):
        layer_traces(objective, [])
    with pytest.raises(SettingError, match="once"):
        layer_traces(objective, [*layers, layers[0]])
    with pytest.raises(SettingError, match="nothing to differentiate"):
        layer_traces(objective, [Parameters("empty", ())])


def test_no_gauss_newton_where_the_loss_is_only_a_number():
    objective, layers, _ = quadratic(torch.eye(4).double(), (2, 2))
    with pytest.raises(UnsupportedError):
        next(layer_traces(objective, layers, curvature="ggn"))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_signs_and_traces_on_a_gpu_are_those_of_the_processor():
    found = []
    for device in ("cpu", "cuda"):
        replica = Replica(mlp(), nn.CrossEntropyLoss(), freeze(classes()[0]), dtype=torch.float64, device=device)
        found.append(last(replica, replica.layers, probes=3))
    for one, other in zip(found[0].layers, found[1].layers, strict=True):
        assert other.value == pytest.approx(one.value, rel=1e-10)
        assert other.stderr == pytest.approx(one.stderr, rel=1e-10)

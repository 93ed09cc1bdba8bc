"""What the session makes of the engine: which method answers, under which key it lies, and what is refused in words."""

import copy
import functools
import threading

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore import errors
from lhexplore.curvature import factored
from lhexplore.curvature import replica as replica_module

from .conftest import network

# Of λmax. Gram matrix, dense columns and double backward are float64 throughout; each is off by some n·ε ≈ 1e-13.
AGREE = 1e-10
# Of λmax, where 1 − tanh² is 1e-8 of 1 and keeps as many digits fewer.
SATURATED = 1e-6
ENTROPY = nn.CrossEntropyLoss()


def block_of(model, batches, names, scalar):
    """The float64 Hessian of Σ share · scalar(model, x, y) by two reverse passes: nothing of the package in it."""
    model = copy.deepcopy(model).double().eval()
    wanted = [dict(model.named_parameters())[name] for name in names]
    total = sum(len(y) for _, y in batches)
    value = sum(scalar(model, x.double(), y) * (len(y) / total) for x, y in batches)
    flat = torch.cat([g.reshape(-1) for g in torch.autograd.grad(value, wanted, create_graph=True)])
    rows = [torch.autograd.grad(g, wanted, retain_graph=True, materialize_grads=True) for g in flat]
    return torch.stack([torch.cat([part.reshape(-1) for part in row]) for row in rows]).detach().numpy()


def entropy(model, x, y):
    return nn.functional.cross_entropy(model(x), y)


def close(found, truth):
    np.testing.assert_allclose(found, truth, rtol=0, atol=AGREE * np.abs(truth).max())


def names_of(layer):
    return [f"{layer}.weight", f"{layer}.bias"]


def make(model, loader, **settings):
    return lh.Session(model, loader, settings.pop("loss", ENTROPY), **{"cache": False, **settings})


@pytest.fixture
def relu():
    return network(activation=nn.ReLU)


def float32_first(monkeypatch):
    """Small models as if they were large: an open dtype is float32."""
    choose = replica_module.choose_dtype
    monkeypatch.setattr(
        replica_module, "choose_dtype", lambda dtype, *rest: choose(torch.float32 if dtype is None else dtype, *rest)
    )


# ---- where the network is piecewise linear


def test_every_layer_comes_from_one_set_of_passes_and_equals_the_dense_hessian(relu, loader, tmp_path):
    session = make(relu, loader, cache=tmp_path)
    first = session.spectrum("2")
    kept = {name: session.cached(name) for name in ("0", "2", "4")}
    assert all(spectrum is not None and spectrum.method == "factor" and spectrum.psd for spectrum in kept.values())
    assert np.array_equal(kept["2"].nodes, first.nodes)
    for name, spectrum in kept.items():
        assert spectrum.layer == name
        close(spectrum.eigenvalues, session.spectrum(name, method="dense").eigenvalues)
    close(kept["2"].eigenvalues, np.linalg.eigvalsh(block_of(relu, loader, names_of("2"), entropy)))
    again = make(relu, loader, cache=tmp_path)
    assert all(np.array_equal(again.cached(name).nodes, spectrum.nodes) for name, spectrum in kept.items())


@pytest.mark.parametrize("name", ["0", "2", "4"])
def test_the_last_step_holds_the_answer_whichever_layer_was_asked_for(relu, loader, name):
    *rest, last = make(relu, loader).steps(name)
    assert last.spectrum.layer == name
    assert last.done == last.total
    early = [step.spectrum for step in rest if step.spectrum is not None]
    assert len(early) == 1  # to be seen while other layers are solved
    assert not early[0].complete
    assert np.array_equal(early[0].nodes, last.spectrum.nodes)


def test_compute_fills_two_snapshots_with_two_spectra(loader, tmp_path):
    states = {f"s{i}": network(seed=i, activation=nn.ReLU).state_dict() for i in range(2)}
    session = make(network(activation=nn.ReLU), loader, snapshots=states, cache=tmp_path)
    session.compute(progress=False)
    assert set(session.summary().method) == {"factor"}
    for i in range(2):
        alone = make(network(seed=i, activation=nn.ReLU), loader)
        for name in ("0", "2", "4"):
            close(session.cached(name, i).eigenvalues, alone.spectrum(name, method="dense").eigenvalues)
    assert session.cached("0", 0).largest != session.cached("0", 1).largest


def test_held_out_data_has_passes_of_its_own(relu, loader, digits):
    x, y = digits
    other = [(x[300:330], y[300:330])]
    session = make(relu, loader, held_out=other)
    found = session.spectrum("2", split="held_out")
    assert (found.method, found.split) == ("factor", "held_out")
    close(found.eigenvalues, np.linalg.eigvalsh(block_of(relu, other, names_of("2"), entropy)))
    assert session.cached("2") is None
    assert session.cached("4", split="held_out") is not None


def test_the_same_data_under_both_splits_is_one_entry_with_two_names(relu, loader):
    session = make(relu, loader, held_out=loader)
    data, held_out = session.spectrum("4"), session.spectrum("4", split="held_out")
    assert (data.split, held_out.split) == ("data", "held_out")
    assert np.array_equal(data.nodes, held_out.nodes)


def test_a_layer_that_is_not_used_is_zero(loader):
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = network(activation=nn.ReLU), nn.Linear(3, 4)

        def forward(self, x):
            return self.net(x)

    session = make(Spare(), loader)
    session.compute(progress=False)
    spare = session.cached("spare")
    assert not spare.nodes.any()
    assert spare.size == 16
    assert session.cached("net.4").method == "factor"
    assert session.cached("net.4").largest > 0


def test_ignored_labels_count_for_nothing(relu, digits):
    x, y = digits
    few = torch.full((60,), -100)
    few[[3, 17, 41]] = y[[3, 17, 41]]
    session = make(relu, [(x[:40], few[:40]), (x[40:60], few[40:60])], weight="tokens")
    chosen = [(x[[3, 17, 41]], y[[3, 17, 41]])]
    for name in ("2", "4"):
        found = session.spectrum(name)
        assert found.method == "factor"
        close(found.eigenvalues, np.linalg.eigvalsh(block_of(relu, chosen, names_of(name), entropy)))
        assert np.count_nonzero(found.eigenvalues > AGREE * found.largest) <= 3 * 9  # examples × (classes − 1)


# ---- where it is not


def test_curved_layers_are_refused_in_words_and_computed_otherwise(model, loader):
    session = make(model, loader)
    for name in ("0", "2"):
        found = session.spectrum(name)
        assert found.method == "dense"
        assert "not from its factor: H v differs from G v" in found.reason
    close(session.cached("2").eigenvalues, np.linalg.eigvalsh(block_of(model, loader, names_of("2"), entropy)))
    last = session.spectrum("4")
    assert last.method == "factor"
    close(last.eigenvalues, np.linalg.eigvalsh(block_of(model, loader, names_of("4"), entropy)))


def test_a_curved_layer_too_large_for_all_columns_is_estimated(loader):
    wide = nn.Sequential(nn.Linear(64, 70), nn.Tanh(), nn.Linear(70, 10))
    session = make(wide, loader)
    found = session.spectrum("0", steps=5, probes=1)
    assert found.method == "lanczos"
    assert "not from its factor" in found.reason
    assert session.cached("0", steps=5, probes=1) is not None
    assert session.cached("0", steps=6, probes=1) is None


def test_asking_for_the_factor_by_name_where_it_is_not_the_hessian(model, loader):
    session = make(model, loader)
    with pytest.raises(errors.UnsupportedError, match="does not give the Hessian of '0'"):
        session.spectrum("0", method="factor")
    ggn, dense = (session.spectrum("0", method=m, curvature="ggn") for m in ("factor", "dense"))
    assert (ggn.method, ggn.curvature, ggn.psd) == ("factor", "ggn", True)
    close(ggn.eigenvalues, dense.eigenvalues)
    assert session.spectrum("0").smallest < -session.spectrum("0").zero_band


def test_the_whole_network_has_a_factor_for_its_gauss_newton_matrix_only(relu, loader):
    session = make(relu, loader)
    assert session.spectrum(None).method == "dense"
    with pytest.raises(errors.UnsupportedError, match="act on one another"):
        session.spectrum(None, method="factor")
    ggn = session.spectrum(None, curvature="ggn")
    assert (ggn.method, ggn.layer) == ("factor", None)
    close(ggn.eigenvalues, session.spectrum(None, curvature="ggn", method="dense").eigenvalues)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.c = nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False), nn.Linear(8, 10)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.c(self.b(torch.relu(self.a(x[:, 16:24]))))


def test_a_tied_weight_is_not_taken_for_a_piecewise_linear_one(loader):
    model = Tied()
    session = make(model, loader)
    hessian, ggn = session.spectrum("a"), session.spectrum("a", curvature="ggn")
    assert (hessian.method, ggn.method) == ("dense", "factor")
    close(hessian.eigenvalues, np.linalg.eigvalsh(block_of(model, loader, ["a.weight"], entropy)))
    close(ggn.eigenvalues, session.spectrum("a", curvature="ggn", method="dense").eigenvalues)
    assert hessian.smallest < -hessian.zero_band
    assert session.spectrum("c").method == "factor"


class Concave(nn.Module):
    """Squared errors, of the opposite sign where the label is marked by 10 more."""

    def forward(self, outputs, labels):
        squares = (outputs - nn.functional.one_hot(labels % 10, 10)).square().sum(1)
        return torch.where(labels >= 10, -squares, squares).mean()


def test_a_loss_that_is_concave_on_one_example_falls_back(relu, digits):
    x, y = digits
    labels = y[:400].clone()
    labels[237] += 10  # none of the few on which the factor is tried
    data = [(x[:200], labels[:200]), (x[200:400], labels[200:400])]
    session = make(relu, data, loss=Concave())
    found = session.spectrum("4")
    assert (found.method, found.psd) == ("dense", False)
    assert "not convex" in found.reason
    close(
        found.eigenvalues, np.linalg.eigvalsh(block_of(relu, data, names_of("4"), lambda m, a, b: Concave()(m(a), b)))
    )
    with pytest.raises(errors.UnsupportedError, match="not convex"):
        session.spectrum("2", method="factor")


def test_a_layer_whose_factor_does_not_fit_leaves_the_others_theirs(relu, loader, monkeypatch):
    session, compute = make(relu, loader), factored.factor_spectra

    def small(replica, layers, **settings):
        if any(layer.name == "0" for layer in layers):
            raise errors.TooLargeError("The factor of '0' does not fit.")
        return compute(replica, layers, **settings)

    monkeypatch.setattr(factored, "factor_spectra", small)
    assert session.spectrum("4").method == "factor"
    found = session.spectrum("0")
    assert found.method == "dense"
    assert "does not fit" in found.reason
    with pytest.raises(errors.TooLargeError):
        session.spectrum("0", method="factor")


class Straight(nn.Module):
    """A straight-through sign."""

    def forward(self, x):
        return x + (torch.sign(x) - x).detach()


def test_behind_a_straight_through_estimator_nothing_is_claimed(loader):
    session = make(network(activation=Straight), loader)
    for refused in (session.spectrum, session.eigenvectors):
        with pytest.raises(errors.SecondDerivativeError, match="trustworthy"):
            refused("0")
    assert session.spectrum("4").method == "factor"
    traces = session.traces(probes=2)
    assert [trace.status for trace in traces.layers] == ["error", "error", "ok"]
    assert traces.total.status == "error"


# ---- eigenvectors


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_eigenvectors_are_those_of_the_block(loader, activation):
    model = network(activation=activation)
    block = block_of(model, loader, names_of("2"), entropy)
    values, vectors = np.linalg.eigh(block)
    order = np.argsort(-np.abs(values))[:3]
    found = make(model, loader).eigenvectors("2", 3)
    assert found.complete
    close(found.values, values[order])
    gap = 1e-6  # directions are off by the error of the products over the gap of eigenvalues, here 1e-3 λmax or more
    np.testing.assert_allclose(np.abs(np.sum(found.vectors * vectors.T[order], axis=1)), 1, atol=gap)
    residuals = np.linalg.norm(found.vectors @ block - found.values[:, None] * found.vectors, axis=1)
    assert (residuals <= found.residuals + AGREE * abs(values).max()).all()


# ---- local functionals


def half_square(z):
    return z.square().sum() / 2


def cubes(z):
    return (z**3).sum()


HAND_MADE = {  # of the block of layer "2": itself and the activation behind it
    "half_square": lambda m, x, y: m[:4](x).square().sum(1).mean() / 2,
    "cubes": lambda m, x, y: (m[:4](x) ** 3).sum(1).mean(),
    "sum": lambda m, x, y: m[:4](x).sum(1).mean(),
}


@pytest.mark.parametrize(
    ("functional", "activation", "truth"),
    [("half_square", nn.ReLU, "half_square"), (cubes, nn.ReLU, "cubes"), ("sum", nn.Tanh, "sum")],
)
def test_local_functionals_are_those_of_the_block(loader, functional, activation, truth):
    model = network(activation=activation)
    session = make(model, loader, functional=functional, held_out=loader[1:2])
    for split, batches in (("data", loader), ("held_out", loader[1:2])):
        found = session.spectrum("2", split=split)
        assert found.functional == (functional if isinstance(functional, str) else functional.__name__)
        close(found.eigenvalues, np.linalg.eigvalsh(block_of(model, batches, names_of("2"), HAND_MADE[truth])))
    with pytest.raises(errors.SettingError, match="local to a layer's block"):
        session.spectrum(None)
    for refused in (session.traces, lambda: session.eigenvectors("0")):
        with pytest.raises(errors.UnsupportedError, match="functional='loss'"):
            refused()


def test_each_functional_has_a_key_of_its_own(model, loader, tmp_path):
    def scaled(k):
        return lambda z: k * z.square().sum()

    functionals = ["loss", "sum", "half_square", half_square, cubes, scaled(1.0), scaled(2.0)]
    for i, functional in enumerate(functionals):
        session = make(model, loader, functional=functional, cache=tmp_path)
        assert session.cached("0") is None, i
        session.spectrum("0")
    assert make(model, loader, functional=scaled(2.0), cache=tmp_path).cached("0") is not None


def test_what_a_functional_captured_is_that_of_the_beginning(model, loader):
    scale = torch.tensor(1.0)
    session = make(model, loader, functional=lambda z: scale * z.square().sum())
    before = session.spectrum("2").largest
    scale.mul_(3)
    assert (
        session.spectrum("0").largest
        == make(model, loader, functional=lambda z: z.square().sum()).spectrum("0").largest
    )
    assert session.spectrum("2", method="lanczos").largest == pytest.approx(before, rel=AGREE)


def test_a_functional_that_holds_what_cannot_be_looked_into_is_not_kept_on_disk(model, loader, tmp_path):
    hidden = iter([1.0])
    session = make(model, loader, functional=lambda z: z.sum() if hidden else z.sum() * 2, cache=tmp_path)
    session.spectrum("4")
    assert any("this session only" in notice for notice in session.notices)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_an_estimate_asked_for_by_name_does_not_answer_auto(loader):
    wide = nn.Sequential(nn.Linear(64, 70), nn.Tanh(), nn.Linear(70, 10))
    session = make(wide, loader, functional="half_square")
    assert session.spectrum("0", method="lanczos", steps=4, probes=1).method == "lanczos"
    assert session.spectrum("0", steps=4, probes=1).exact  # neuron by neuron
    assert session.cached("0", steps=4, probes=1).exact


def test_what_a_batch_counts_by_may_be_a_partial(relu, loader, tmp_path):
    weight = functools.partial(lambda batch, scale: scale * len(batch[1]), scale=2.0)
    found = make(relu, loader, weight=weight, cache=tmp_path).spectrum("4")
    close(found.eigenvalues, make(relu, loader).spectrum("4").eigenvalues)
    assert make(relu, loader, weight=weight, cache=tmp_path).cached("4") is not None


# ---- precision


@pytest.fixture(scope="module")
def interpolating(digits):
    """A network that fits 60 digits to a loss below 1e-4: p − y has lost its digits in float32."""
    x, y = digits
    model = network()
    torch.set_num_threads(1)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(1500):
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(model(x[:60]), y[:60])
        value.backward()
        optimiser.step()
    assert value.item() < 2e-4
    return model, [(x[:40], y[:40]), (x[40:60], y[40:60])]


def whole_loss(model, batch):
    return nn.functional.cross_entropy(model(batch[0]), batch[1])  # not taken apart, so that all of it is in float32


def test_where_float32_would_decide_a_sign_it_is_float64(interpolating, monkeypatch, tmp_path):
    float32_first(monkeypatch)
    model, data = interpolating
    coarse = make(model, data, loss=whole_loss, dtype=torch.float32, cache=tmp_path).spectrum("4")
    assert coarse.provenance["dtype"] == "float32"
    assert coarse.smallest < -coarse.zero_band  # a negative eigenvalue that there is not
    session = make(model, data, loss=whole_loss, cache=tmp_path)
    assert session.cached("4") is None  # what was asked for in float32 does not answer an open dtype
    *_, rough, fine = session.stream("4")
    assert (rough.complete, fine.complete) == (False, True)
    assert fine.provenance["dtype"] == "float64"
    assert any(note.startswith("Computed again in float64: ") for note in fine.notes)
    close(fine.eigenvalues, np.linalg.eigvalsh(block_of(model, data, names_of("4"), entropy)))
    asked = make(model, data, loss=whole_loss, dtype=torch.float32, cache=tmp_path)
    assert np.array_equal(asked.cached("4").nodes, coarse.nodes)


def test_where_products_in_float32_are_wrong_altogether_it_is_float64(digits, monkeypatch):
    float32_first(monkeypatch)
    x, y = digits
    model = network()
    with torch.no_grad():  # saturated: 1 − tanh² is some 1e-8, which float32 takes for zero
        model[2].bias.fill_(10)
    data = [(x[:40], y[:40])]
    assert not make(model, data, dtype=torch.float32).spectrum("2").nodes.any()
    found = make(model, data).spectrum("2")
    assert found.provenance["dtype"] == "float64"
    assert any("of their size away" in note for note in found.notes)
    truth = np.linalg.eigvalsh(block_of(model, data, names_of("2"), entropy))
    np.testing.assert_allclose(found.eigenvalues, truth, rtol=0, atol=SATURATED * np.abs(truth).max())


# ---- two at a time


def test_closing_midway_leaves_nothing_locked(relu, loader):
    session = make(relu, loader)
    for settings in ({}, {"method": "dense"}, {"method": "lanczos"}):
        items = session.steps("0", **settings)
        next(items)
        items.close()
    found = []
    other = threading.Thread(target=lambda: found.append(session.spectrum("4")))
    other.start()
    other.join(30)
    assert found
    assert found[0].method == "factor"


def test_requests_that_take_turns_at_different_weights_do_not_mix(loader):
    def normed():
        return nn.Sequential(nn.Linear(64, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 10))

    states = {}
    for i in range(2):
        torch.manual_seed(i)
        states[f"s{i}"] = {
            k: torch.rand_like(t) + 0.5 if t.is_floating_point() else t for k, t in normed().state_dict().items()
        }
    alone, session = (make(normed(), loader, snapshots=states) for _ in range(2))
    ways = {"factor": {}, "dense": {"method": "dense"}, "lanczos": {"method": "lanczos", "steps": 6, "probes": 2}}
    live = {(way, k): session.steps("0", k, **settings) for way, settings in ways.items() for k in range(2)}
    live |= {("vectors", k): session.stream_eigenvectors("0", 1, k) for k in range(2)}
    last = {}
    while live:
        for key in list(live):
            item = next(live[key], None)
            if item is None:
                del live[key]
            elif getattr(item, "spectrum", item) is not None:
                last[key] = item
    for k in range(2):
        for way, settings in ways.items():
            truth = alone.spectrum("0", k, **settings)
            assert truth.method == way
            assert np.array_equal(last[way, k].spectrum.nodes, truth.nodes), (way, k)
        close(last["vectors", k].values, alone.eigenvectors("0", 1, k).values)


def test_traces_go_on_where_other_weights_were_loaded_in_between(relu, loader):
    with make(relu, loader, snapshots=[relu.state_dict(), {k: 2 * v for k, v in relu.state_dict().items()}]) as session:
        alone = session.traces(0, probes=3)
        items = session.stream_traces(0, probes=3)
        next(items)
        session.evaluate(1)
        *_, mixed = items
    assert [t.value for t in mixed.layers] == [t.value for t in alone.layers]


# ---- plans, names and eigenvectors


def test_the_plan_shows_more_memory_for_more_examples():
    model = network(activation=nn.Tanh)
    width = model[0].in_features

    def planned(examples):
        data = [(torch.randn(examples, width), torch.randint(0, 10, (examples,)))]
        plan = make(model, data, dtype=torch.float64).plan()
        return {row["layer"]: row["MB"] for row in plan}

    few, many = planned(32), planned(512)
    assert all(many[name] > few[name] > 0 for name in few)


def test_eigenvectors_of_a_piecewise_linear_layer_come_from_its_rows(relu, loader):
    session = make(relu, loader)
    pairs = session.eigenvectors("2", 3)
    assert pairs.products == 0  # with the block: its rows say it
    truth = session.spectrum("2", method="dense").eigenvalues
    close(pairs.values, truth[::-1][:3])
    ggn = session.eigenvectors("2", 3, curvature="ggn")
    assert np.array_equal(pairs.vectors, ggn.vectors)
    smooth = make(network(activation=nn.Tanh), loader).eigenvectors("2", 3)
    assert smooth.products > 0


def test_the_plan_names_what_will_be_done_where_the_factor_does_not_fit():
    model = network(activation=nn.Tanh)
    data = [(torch.randn(32, model[0].in_features), torch.randint(0, 10, (32,)))]
    session = make(model, data, dtype=torch.float64)
    planned = {row["layer"]: row for row in session.plan()}
    for layer in planned:
        assert planned[layer]["method"] == session.spectrum(layer).method
    first = next(iter(planned))
    assert planned[first]["method"] != "factor"
    assert "not by the factor" in planned[first]["why"]

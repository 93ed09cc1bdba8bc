"""Each state is what its name says, is found again, and touches nothing global."""

import inspect
import itertools
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

import lhexplore as lh
from lhexplore.demo import STATES, ready, states
from lhexplore.demo.images import choose, load_split, redraw_labels
from lhexplore.errors import SettingError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Sessions over states, in a cache of this module; the same settings train once."""
    cache = tmp_path_factory.mktemp("cache")
    return lambda name, **settings: lh.demo.state(name, cache=cache, **settings)


@pytest.fixture(scope="module")
def images():
    """The 512 images that all states train on, with their true labels."""
    return choose(load_split()[0], 512)


def linear(session):
    return [layer.name for layer in session.layers]


def weights(session, snapshot=-1):
    return session.snapshots[snapshot].load()


# ---- all of them


@pytest.mark.parametrize("name", STATES)
def test_every_state_is_a_session_with_its_course(name, run, images):
    with run(name, steps=4) as session:
        assert [snapshot.step for snapshot in session.snapshots] == [0, 1, 2, 4]
        assert linear(session) == [f"fc{i}" for i in range(1, len(session.layers) + 1)]
        first, last = session.losses(0), session.losses(-1)
        assert set(last) >= {"loss", "accuracy", "held_out_loss", "held_out_accuracy", "lr", "momentum"}
        assert first["loss"] == pytest.approx(2.3, abs=0.1)  # ten equally likely digits: log 10
        assert sum(layer.size for layer in session.layers) < 2000
        spectrum = session.spectrum(linear(session)[-1])
        assert spectrum.exact
        assert spectrum.largest > 0
        assert session.has_held_out
        assert "512 examples" in session.description  # all that it was trained on


@pytest.mark.parametrize("name", STATES)
def test_the_second_call_trains_nothing(name, run, monkeypatch):
    run(name, steps=4).close()

    def fail(*arguments, **settings):
        raise AssertionError("trained again")

    monkeypatch.setattr(ready, "train", fail)
    run(name, steps=4).close()


def test_no_two_states_train_the_same(run):
    found = {}
    for name in STATES:
        with run(name, steps=4) as session:
            found[name] = session.snapshots[-1].digest, session.losses(-1)["loss"]
    assert len(set(found.values())) == len(STATES)


def test_seed_activation_and_optimiser_make_other_runs(run):
    ends = set()
    for settings in ({}, {"seed": 1}, {"activation": "gelu"}):
        with run("sgd", steps=4, **settings) as session:
            ends.add(session.snapshots[-1].digest)
    assert len(ends) == 3


def test_every_state_has_a_function_and_a_sentence():
    public = {name for name, value in vars(lh.demo).items() if inspect.isfunction(value)} - {"digits", "state"}
    assert public == {getattr(state.make, "func", state.make).__name__ for state in STATES.values()}
    assert public <= set(STATES)
    for name, state in STATES.items():
        assert state.description.endswith("."), name
        assert state.description[0].isupper()
        assert callable(state.make)


def test_the_page_of_measurements_has_every_state():
    page = (Path(__file__).parents[2] / "docs" / "states.md").read_text(encoding="utf-8")
    head, tables = page.split("<!-- tables begin -->")
    for name in STATES:
        assert f"`{name}`" in head
        assert tables.count(f"\n| {name} |") == 3, name  # at the end, on the way, findings


def test_the_annotated_settings_are_those_that_are_taken():
    taken = inspect.signature(states._state).parameters.values()
    assert set(states.Settings.__annotations__) == {p.name for p in taken if p.kind is p.KEYWORD_ONLY}


def test_nothing_global_is_touched(tmp_path):
    code = f"""
import random, sys, numpy, torch
import lhexplore as lh
torch.set_num_threads(2)
def state():
    legacy = numpy.random.get_state()[1].tolist()
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    return torch.get_rng_state().tolist(), legacy, random.getstate(), torch.get_num_threads(), modes
before = state()
for name in lh.demo.STATES:
    lh.demo.state(name, steps=2, samples=8, cache={str(tmp_path)!r}).close()
    if state() != before:
        sys.exit(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # fresh: first imports can draw random numbers too


def test_it_works_under_the_callers_modes(run, tmp_path):
    with torch.inference_mode(), run("adahessian", steps=4, snapshots_folder=tmp_path / "run") as session:
        inside = session.snapshots[-1].digest
    with run("adahessian", steps=4) as session:
        assert session.snapshots[-1].digest == inside


# ---- each of them


def test_plain_sgd_learns_and_says_its_rate(run):
    with run("sgd") as session:
        last = session.losses(-1)
        assert last["accuracy"] == 1
        assert last["held_out_accuracy"] > 0.9
        assert (last["lr"], last["momentum"]) == (0.2, 0)


def test_one_step_of_plain_sgd_is_the_gradient_of_the_first_batch(run, images):
    with run("sgd", steps=4) as session:
        before, after = weights(session, 0), weights(session, 1)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randperm(512, generator=generator)[:64]
    gradients = gradient(before, images.images[rows], images.labels[rows])
    for name, value in before.items():  # what is recorded is rounded to float32
        torch.testing.assert_close(after[name].double(), value.double() - 0.2 * gradients[name], rtol=1e-6, atol=1e-7)


def gradient(state, inputs, labels):
    """Gradients of the mean cross-entropy by autograd, written down without the package's network."""
    tensors = {name: value.double().requires_grad_() for name, value in state.items()}
    depth = len(tensors) // 2
    x = inputs.flatten(1)
    for i in range(1, depth + 1):
        x = x @ tensors[f"fc{i}.weight"].T + tensors[f"fc{i}.bias"]
        x = x.tanh() if i < depth else x
    found = torch.autograd.grad(cross_entropy(x, labels), list(tensors.values()))
    return dict(zip(tensors, found, strict=True))


@pytest.mark.parametrize("name", ["adamw", "adahessian"])
def test_adaptive_optimisers_learn(name, run):
    with run(name) as session:
        last = session.losses(-1)
        assert last["accuracy"] == 1
        assert last["held_out_accuracy"] > 0.9
        assert last["momentum"] == 0.9


@pytest.mark.parametrize(("by", "at"), [("norm", 0.02), ("value", 0.0005)])
def test_no_update_exceeds_what_is_clipped(by, at, tmp_path):
    settings = {"steps": 4, "cache": tmp_path}
    with lh.demo.clipped(by, at, **settings) as session, lh.demo.sgd(**settings) as free:
        moves = [[flat(weights(s, i + 1)) - flat(weights(s, i)) for i in (0, 1)] for s in (session, free)]
        assert session.losses(-1)[f"clip_{by}"] == at
    size = (lambda move: move.norm()) if by == "norm" else (lambda move: move.abs().max())
    rounding = 1e-6  # of recorded weights, below 1 in size, to float32; 1,482 of them
    limit = 0.2 * at
    for clipped, unclipped in zip(*moves, strict=True):
        assert size(clipped) <= limit + rounding
        assert size(clipped) >= 0.99 * limit  # it was clipped
        assert size(unclipped) > 2 * limit


def flat(state):
    return torch.cat([state[name].double().flatten() for name in sorted(state)])


def test_a_clip_that_never_acts_changes_nothing(tmp_path):
    with (
        lh.demo.clipped("norm", 1e6, steps=4, cache=tmp_path) as clipped,
        lh.demo.sgd(steps=4, cache=tmp_path) as free,
    ):
        torch.testing.assert_close(flat(weights(clipped)), flat(weights(free)), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("share", "name"), [(0.5, "noisy"), (1.0, "noisy-100")])
def test_noise_changes_as_many_labels_as_it_should(share, name, images):
    noisy = redraw_labels(images.labels, share, seed=0)
    changed = (noisy != images.labels).sum().item()
    redrawn = round(share * 512)
    deviation = (redrawn * 0.9 * 0.1) ** 0.5  # nine in ten labels drawn anew are another digit: a binomial count
    assert abs(changed - 0.9 * redrawn) < 4 * deviation
    assert changed <= redrawn
    assert noisy.bincount(minlength=10).min() > 20  # every digit stays in use


def test_label_noise_is_an_input_like_any_other(images):
    none, all_ = (redraw_labels(images.labels, share, seed=0) for share in (0.0, 1.0))
    assert torch.equal(none, images.labels)
    assert torch.equal(all_, redraw_labels(images.labels, 1.0, seed=0))
    assert not torch.equal(all_, redraw_labels(images.labels, 1.0, seed=1))


def test_noise_is_in_the_sessions_training_data_and_not_in_its_held_out_data(run, images):
    held_out = load_split()[1]
    with run("noisy", steps=4) as session:
        recorded, state = session.losses(-1), weights(session)
        noisy = redraw_labels(images.labels, 0.5, seed=0)
        own, true = (loss_of(state, images.images, labels) for labels in (noisy, images.labels))
        assert recorded["loss"] == pytest.approx(own, rel=1e-9)
        assert own != pytest.approx(true, rel=1e-3)
        assert recorded["held_out_loss"] == pytest.approx(loss_of(state, *held_out), rel=1e-9)
        trained = session.spectrum("fc1").trace  # in a hidden layer behind tanh the trace depends on the labels
    assert trained == pytest.approx(block_trace(state, images.images, noisy), rel=1e-4)
    assert trained != pytest.approx(block_trace(state, images.images, images.labels), rel=1e-2)


def loss_of(state, inputs, labels):
    return cross_entropy(network(state)(inputs), labels).item()


def network(state):
    sizes = [64, *(state[f"fc{i}.weight"].shape[0] for i in range(1, len(state) // 2 + 1))]
    parts = [nn.Flatten()]
    for i, (before, after) in enumerate(itertools.pairwise(sizes), start=1):
        layer = nn.Linear(before, after).double()
        layer.weight.data, layer.bias.data = state[f"fc{i}.weight"].double(), state[f"fc{i}.bias"].double()
        parts += [layer, nn.Tanh()]
    return nn.Sequential(*parts[:-1])


def block_trace(state, inputs, labels):
    """Trace of the first layer's Hessian block by torch.func: an independent way."""
    model = network(state)
    parameters = [model[1].weight.detach(), model[1].bias.detach()]

    def loss(weight, bias):
        named = {**dict(model.named_parameters()), "1.weight": weight, "1.bias": bias}
        return cross_entropy(torch.func.functional_call(model, named, (inputs,)), labels)

    blocks = torch.autograd.functional.hessian(loss, tuple(parameters), vectorize=True)
    return sum(blocks[i][i].reshape(p.numel(), p.numel()).trace().item() for i, p in enumerate(parameters))


def test_memorising_ends_when_the_labels_are_learnt(run):
    with run("noisy") as session:
        last, step = session.losses(-1), session.snapshots[-1].step
        assert 0.99 <= last["accuracy"] < 1
        assert last["held_out_accuracy"] < 0.7
        assert last["held_out_loss"] > 1.5
        assert step < states.MEMORISING_STEPS
        assert step % 8 == 0  # at the end of an epoch: 512 images in batches of 64


def test_a_narrow_network_does_not_get_there(run):
    with run("narrow", steps=1024) as narrow, run("sgd") as wide:
        assert [layer.size for layer in narrow.layers] == [195, 12, 40]
        assert narrow.losses(-1)["loss"] > 0.3
        assert wide.losses(-1)["loss"] < 0.03


def test_gradients_vanish_on_the_way_through_a_deep_network(run, images):
    norms = {}
    for name in ("deep", "sgd"):
        with run(name, steps=4) as session:
            found = gradient(weights(session, 0), images.images, images.labels)
            norms[name] = [found[f"{layer}.weight"].norm().item() for layer in linear(session)]
    assert len(norms["deep"]) == 13
    assert norms["deep"][0] < norms["deep"][-1] / 50
    assert norms["sgd"][0] > norms["sgd"][-1] / 2
    with run("deep", steps=512) as session:
        assert session.losses(-1)["loss"] > 2.2  # log 10 = 2.3: nothing learnt yet


def test_overtraining_leaves_no_loss(run):
    with run("overtrained", steps=2048) as session:
        last = session.losses(-1)
        assert last["loss"] < 0.002
        assert last["accuracy"] == 1
        first = next(session.losses(s.label) for s in session.snapshots if session.losses(s.label)["accuracy"] == 1)
        assert last["loss"] < first["loss"] / 10


# ---- bad input


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: lh.demo.state("nosiy"), "no state 'nosiy'. Did you mean 'noisy'"),
        (lambda: lh.demo.state("xyz"), "There are 'sgd', .*'overtrained'"),
        (lambda: lh.demo.noisy(1.5), "share must be from 0 .* to 1 .*got 1.5"),
        (lambda: lh.demo.noisy(-0.1), "share must be from 0"),
        (lambda: lh.demo.noisy(float("nan")), "share must be from 0"),
        (lambda: lh.demo.noisy("half"), "share must be a number; got 'half'"),
        (lambda: lh.demo.narrow(0), "width must be a whole number from 1 up; got 0"),
        (lambda: lh.demo.narrow(2.5), "width must be a whole number"),
        (lambda: lh.demo.deep(0), "depth must be a whole number from 1 up; got 0"),
        (lambda: lh.demo.clipped("norm", 0), "at must be a positive number, the norm .*got 0"),
        (lambda: lh.demo.clipped("value", -1.0), "at must be a positive number, the value"),
        (lambda: lh.demo.clipped("norm", float("inf")), "at must be a positive number"),
        (lambda: lh.demo.clipped("norm", True), "at must be a number; got True"),
        (lambda: lh.demo.clipped("length"), "by must be one of 'norm', 'value'; got 'length'"),
        (lambda: lh.demo.sgd(activation="relu"), "activation must be one of 'tanh', 'gelu'; got 'relu'"),
        (lambda: lh.demo.sgd(steps=0), "steps must be a whole number from 1 up"),
        (lambda: lh.demo.sgd(seed=-1), "seed must be a whole number from 0 up"),
    ],
)
def test_settings_without_sense_are_refused(call, words):
    with pytest.raises(SettingError, match=words):
        call()


def test_a_folder_with_another_state_is_left_alone(run, tmp_path):
    run("narrow", steps=1, snapshots_folder=tmp_path / "run").close()
    with pytest.raises(SettingError, match="holds another run already"):
        run("sgd", steps=1, snapshots_folder=tmp_path / "run")
    run("narrow", steps=1, snapshots_folder=tmp_path / "run").close()

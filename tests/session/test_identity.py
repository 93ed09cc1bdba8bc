"""Two models that compute different things never share a result, however alike their weights are."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh

SETTINGS = SimpleNamespace(factor=1.0)


def scaled_loss(model, batch):
    return SETTINGS.factor * nn.functional.cross_entropy(model(batch[0]), batch[1])


class Own(nn.Module):
    def __init__(self, factor=1.0, act=torch.tanh, shift=0.0):
        super().__init__()
        self._factor, self.act = factor, act
        self.first, self.last = nn.Linear(64, 5), nn.Linear(5, 10)
        self.register_buffer("shift", torch.tensor(shift), persistent=False)

    def forward(self, x):
        return self.head(self.act(self.first(x)))

    def head(self, z):
        return self._factor * self.last(z) + self.shift * z.sum(1, keepdim=True)


class Edited(Own):
    def head(self, z):
        return self._factor * self.last(z) ** 2


Edited.__qualname__ = Edited.__name__ = "Own"  # what running an edited cell again leaves behind


def attention(heads):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.last = nn.MultiheadAttention(8, heads, batch_first=True), nn.Linear(8, 10)

        def forward(self, x):
            x = x.reshape(len(x), 8, 8)
            return self.last(self.attend(x, x, x)[0].mean(1))

    return Net()


def encoder(**settings):
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, **settings)
    return nn.Sequential(nn.Unflatten(1, (8, 8)), layer, nn.Flatten(), nn.Linear(64, 10))


def spectrum(model, loader, folder, layer=None, loss=None):
    with lh.Session(model, loader, loss or nn.CrossEntropyLoss(), cache=folder, samples=30) as session:
        return session.spectrum(layer).nodes


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: Own(1.0), lambda: Own(3.0)),
        (lambda: Own(act=torch.tanh), lambda: Own(act=nn.functional.gelu)),
        (lambda: Own(act=lambda z: z.tanh()), lambda: Own(act=lambda z: z.sin())),
        (lambda: Own(shift=0.0), lambda: Own(shift=2.0)),
        (Own, Edited),
        (lambda: attention(1), lambda: attention(4)),
        (lambda: encoder(norm_first=True), lambda: encoder(norm_first=False)),
        (lambda: encoder(activation="relu"), lambda: encoder(activation="gelu")),
    ],
    ids=["attribute", "function", "lambda", "buffer", "method", "heads", "norm_first", "activation"],
)
def test_what_a_model_computes_is_part_of_the_name_of_its_results(one, other, loader, tmp_path):
    first, second = one(), other()
    second.load_state_dict(first.state_dict())
    kept = spectrum(first, loader, tmp_path)
    truth = spectrum(second, loader, False)
    assert not np.array_equal(kept, truth)
    assert np.array_equal(spectrum(second, loader, tmp_path), truth)
    assert np.array_equal(spectrum(copy.deepcopy(first), loader, tmp_path), kept)


def test_tied_and_untied_weights_do_not_share(loader, tmp_path):
    def net(tie):
        model = nn.Sequential(nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 10))
        if tie:
            model[2].weight = model[1].weight
        return model

    tied, untied = net(True), net(False)
    untied.load_state_dict(tied.state_dict())
    sizes = []
    for model in (tied, untied):
        with lh.Session(model, loader, nn.CrossEntropyLoss(), cache=tmp_path) as session:
            sizes.append(session.spectrum(None, method="lanczos", steps=5, probes=1).size)
    assert sizes[1] == sizes[0] + 64


def test_what_a_loss_reads_from_outside_is_part_of_the_name(model, loader, tmp_path, monkeypatch):
    once = spectrum(model, loader, tmp_path, "4", scaled_loss)
    monkeypatch.setattr(SETTINGS, "factor", 3.0)
    thrice = spectrum(model, loader, tmp_path, "4", scaled_loss)
    np.testing.assert_allclose(thrice, 3 * once, atol=1e-12 * once.max(), rtol=0)


def test_a_private_attribute_of_a_criterion_is_part_of_the_name(model, loader, tmp_path):
    class Scaled(nn.Module):
        def __init__(self, factor):
            super().__init__()
            self._settings = {"factor": factor}

        def forward(self, outputs, targets):
            return self._settings["factor"] * nn.functional.cross_entropy(outputs, targets)

    once, thrice = (spectrum(model, loader, tmp_path, "4", Scaled(factor)) for factor in (1.0, 3.0))
    np.testing.assert_allclose(thrice, 3 * once, atol=1e-12 * once.max(), rtol=0)


def test_the_same_model_built_again_finds_its_results(loader, tmp_path):
    state = attention(2).state_dict()
    for expected in (False, True):
        model = attention(2)
        model.load_state_dict(state)
        with lh.Session(model, loader, nn.CrossEntropyLoss(), cache=tmp_path) as session:
            assert (session.cached("last") is not None) == expected
            session.spectrum("last")


def test_what_cannot_be_looked_into_is_not_kept_on_disk(loader, tmp_path):
    model = Own()
    model.source = iter([1, 2, 3])
    with lh.Session(model, loader, nn.CrossEntropyLoss(), cache=tmp_path) as session:
        session.spectrum("last")
        assert session.cached("last") is not None
        assert any("this session only" in notice for notice in session.notices)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_held_out_spectra_are_of_the_model_as_it_was(loader):
    model = Own()
    criterion = nn.CrossEntropyLoss(weight=torch.ones(10))
    data = {"held_out": loader[1:], "cache": False}
    truth = lh.Session(model, loader, criterion, **data).spectrum("last", split="held_out").nodes
    session = lh.Session(model, loader, criterion, **data)
    model._factor = 3.0
    criterion.weight[0] = 9.0
    assert np.array_equal(session.spectrum("last", split="held_out").nodes, truth)


def test_a_layer_may_be_called_whole_network(loader):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module("whole network", nn.Linear(64, 5))
            self.last = nn.Linear(5, 10)

        def forward(self, x):
            return self.last(getattr(self, "whole network")(x).tanh())

    session = lh.Session(Odd(), loader, nn.CrossEntropyLoss(), cache=False)
    assert session.spectrum("whole network").size == 64 * 5 + 5
    assert session.spectrum(None, method="lanczos", steps=5, probes=1).size == 64 * 5 + 5 + 60

"""From a layer and a functional to a finished spectrum, whichever way is taken."""

from functools import partial

import numpy as np
import pytest
import torch
from curvature.functional.cases import conv_net, conv_truth, data, dense_net, dense_truth, layer_of, replica_of
from torch import nn

from lhexplore.curvature.functional import local_objective, measure, neurons
from lhexplore.curvature.functional.measure import measure_functional
from lhexplore.errors import SettingError

EXACT = 1e-12  # float64, relative to the largest eigenvalue
ESTIMATE = 1e-8  # the ends of a Lanczos run with almost as many steps as there are distinct eigenvalues


def spectrum_of(replica, name, functional, **settings):
    layer = layer_of(replica, name)
    objective = local_objective(replica, layer, functional)
    steps = list(measure_functional(objective, layer, label=name, snapshot="now", **settings))
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert all(step.spectrum.functional == objective.loss.name for step in steps if step.spectrum)
    return steps[-1].spectrum


@pytest.mark.parametrize("functional", ["sum", "half_square"])
@pytest.mark.parametrize("method", ["auto", "dense", "lanczos"])
def test_every_method_tells_the_same(method, functional):
    model, batches = dense_net(nn.Tanh, norm=True), data((6,), cuts=(5,))
    truth = torch.linalg.eigvalsh(dense_truth(model, batches, functional)).numpy()
    found = spectrum_of(replica_of(model, batches), "fc", functional, method=method, steps=25)
    scale = np.abs(truth).max()
    assert found.functional == functional
    assert not found.psd
    assert found.trace == pytest.approx(truth.sum(), abs=EXACT * scale if found.exact else 4 * found.trace_stderr)
    if method == "lanczos":
        assert abs(found.largest - truth[-1]) <= ESTIMATE * scale
        assert abs(found.smallest - truth[0]) <= ESTIMATE * scale
    else:
        assert "from the blocks of 5 neurons" in found.reason
        assert np.abs(found.eigenvalues - truth).max() <= EXACT * scale
        assert np.abs(found.eigenvalues - truth).max() <= found.error
        assert found.seconds > 0


def test_convolutions_of_any_size_are_exact():
    make = partial(nn.Conv2d, 8, 20, 3, padding=1)  # 1,460 parameters: more than columns are taken of
    model, batches = conv_net(make, nn.ReLU), data((8, 4, 4), examples=4, cuts=(3,))
    found = spectrum_of(replica_of(model, batches), "conv", "half_square")
    assert found.exact
    assert found.size == 1460
    assert found.psd
    assert found.smallest >= -found.zero_band
    truth = torch.linalg.eigvalsh(conv_truth(model, batches, "half_square")).numpy()
    assert np.abs(found.eigenvalues - truth).max() <= EXACT * truth.max()


def test_blocks_without_neurons_go_the_ways_of_the_loss():
    replica = replica_of(dense_net(nn.Tanh, norm=True), data((6,)))
    for name, functional in (("bn", "half_square"), ("fc", lambda a: a.norm())):
        found = spectrum_of(replica, name, functional)
        assert found.exact
        assert "neurons" not in found.reason
    ggn = spectrum_of(replica, "fc", "half_square", curvature="ggn")
    assert ggn.curvature == "ggn"
    assert ggn.psd


def test_what_neurons_cannot_do_in_time_or_memory_is_done_otherwise(monkeypatch):
    replica = replica_of(dense_net(nn.Tanh), data((6,)))
    plain = spectrum_of(replica, "fc", "half_square")
    with monkeypatch.context() as patch:
        patch.setattr(measure, "MOST_FLOPS", 1)
        slow = spectrum_of(replica, "fc", "half_square")
    rows = neurons.input_rows
    monkeypatch.setattr(neurons, "input_rows", lambda module, z: rows(module, z).flip(2))
    wrong = spectrum_of(replica, "fc", "half_square")
    for other in (slow, wrong):
        assert "neurons" not in other.reason
        assert np.abs(other.eigenvalues - plain.eigenvalues).max() <= EXACT * plain.largest
    monkeypatch.undo()
    wide = replica_of(dense_net(nn.Tanh, inputs=40, width=3), data((6,), examples=50))
    assert "3 neurons" in spectrum_of(wide, "fc", "half_square").reason
    assert spectrum_of(wide, "fc", "half_square", memory=40_000, steps=10, probes=1).method == "lanczos"


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_exact_zeros_say_why(dtype):
    found = spectrum_of(replica_of(dense_net(nn.ReLU), data((6,)), dtype=dtype), "fc", "sum")
    assert found.largest == found.smallest == found.trace == 0
    assert found.reason.startswith("exact zeros: functional='sum': the block is piecewise linear")
    off = dense_net(nn.ReLU)
    with torch.no_grad():
        off.fc.bias.fill_(-100)
    found = spectrum_of(replica_of(off, data((6,)), dtype=dtype), "fc", "half_square")
    assert found.reason == "exact zeros: no neuron has curvature"
    assert found.size == 25


def test_settings_that_make_no_sense():
    replica = replica_of(dense_net(nn.ReLU), data((6,)))
    for settings in ({"curvature": "round"}, {"split": "train"}, {"method": "guess"}):
        with pytest.raises(SettingError):
            spectrum_of(replica, "fc", "half_square", **settings)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("functional", ["sum", "half_square", lambda a: a.norm()])
def test_cuda_gives_the_same_spectra(functional):
    model, batches = dense_net(nn.Tanh, norm=True), data((6,), cuts=(5,))
    there = replica_of(model, batches, device="cuda", dtype=torch.float64)
    truth = torch.linalg.eigvalsh(dense_truth(model, batches, functional)).numpy()
    found = spectrum_of(there, "fc", functional)
    assert found.provenance["device"] == "cuda"
    assert np.abs(found.eigenvalues - truth).max() <= EXACT * np.abs(truth).max()

"""Float64 is asked for where float32 leaves open what a reader is told, and nowhere else."""

import functools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.engine import measure
from lhexplore.curvature.precision import noise_decides, product_noise
from lhexplore.curvature.replica import Replica
from lhexplore.spectrum import Spectrum

EPOCHS = {"ordinary": 60, "interpolating": 1500}
RATE = {"ordinary": 1e-2, "interpolating": 5e-2}


def spectrum(*nodes, dtype="float32", defect=0.0, method="dense", **values):
    """All nodes weigh the same; the size is large enough for weights to be whole numbers of eigenvalues."""
    return Spectrum(
        layer="layer",
        snapshot="s",
        size=len(nodes),
        nodes=np.array(nodes),
        weights=np.full(len(nodes), 1 / len(nodes)),
        method=method,
        symmetry_defect=defect,
        provenance={"dtype": dtype},
        **values,
    )


def loss(model, batch):
    """No criterion to look into: neither structure nor a more careful criterion helps."""
    return F.cross_entropy(model(batch[0]), batch[1])


@functools.cache
def trained(activation, kind):
    """A network on 128 digits, trained in float32, and its data."""
    images, targets = load_digits(return_X_y=True)
    x = torch.tensor(images[:128] / 16, dtype=torch.float32)
    y = torch.tensor(targets[:128])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 16), activation(), nn.Linear(16, 12), activation(), nn.Linear(12, 10))
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE[kind])
    for _ in range(EPOCHS[kind]):
        optimizer.zero_grad()
        loss(model, (x, y)).backward()
        optimizer.step()
    return model, x, y


def replica(activation, kind, dtype):
    model, x, y = trained(activation, kind)
    return Replica(model, loss, freeze([(x, y)]), dtype=dtype)


def measured(made, name):
    layer = next(layer for layer in made.layers if layer.name == name)
    *_, last = measure(made, layer, label=name, snapshot="s")
    return last.spectrum, product_noise(made, layer)


@pytest.mark.parametrize(("activation", "name"), [(nn.ReLU, "2"), (nn.ReLU, "4"), (nn.Tanh, "4")])
def test_past_interpolation_float64_is_asked_for_once(activation, name):
    made = replica(activation, "interpolating", torch.float32)
    assert made.value() < 1e-4
    narrow, noise = measured(made, name)
    assert noise_decides(narrow, noise=noise)
    wide, nothing = measured(replica(activation, "interpolating", torch.float64), name)
    assert nothing == 0.0
    assert noise_decides(wide, noise=nothing) == ""
    assert noise_decides(wide) == ""


def test_negative_curvature_beyond_the_noise_is_believed():
    narrow, noise = measured(replica(nn.Tanh, "interpolating", torch.float32), "2")
    wide, _ = measured(replica(nn.Tanh, "interpolating", torch.float64), "2")
    assert noise > 1e-5
    assert noise_decides(narrow, noise=noise) == ""
    assert narrow.smallest == pytest.approx(wide.smallest, abs=noise * wide.magnitude)
    assert wide.smallest < -noise * wide.magnitude


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.GELU])
@pytest.mark.parametrize("name", ["2", "4"])
def test_an_ordinary_network_is_left_alone(activation, name):
    made = replica(activation, "ordinary", torch.float32)
    assert 1e-3 < made.value() < 1
    found, noise = measured(made, name)
    assert noise < 1e-5
    assert noise_decides(found, noise=noise) == ""


def test_asymmetry_alone_shows_the_noise_of_a_hidden_layer_only():
    """The last layer's errors are symmetric, yet its smallest eigenvalue is wrong by as much."""
    made = replica(nn.ReLU, "interpolating", torch.float32)
    hidden, _ = measured(made, "2")
    last, noise = measured(made, "4")
    exact, _ = measured(replica(nn.ReLU, "interpolating", torch.float64), "4")
    assert hidden.symmetry_defect > 1e-4
    assert last.symmetry_defect < 1e-6
    off = abs(last.smallest - exact.smallest) / exact.largest
    assert 1e-5 < off < noise
    assert exact.smallest > -1e-9 * exact.largest


def test_the_noise_of_products_is_that_of_the_whole_data():
    """On the examples that were looked at, the two products are those of the two replicas."""
    made, wide = (replica(nn.ReLU, "interpolating", dtype) for dtype in (torch.float32, torch.float64))
    layer = made.layers[-1]
    (_, x, y) = trained(nn.ReLU, "interpolating")
    head = Replica(made.model, loss, freeze([(x[:64], y[:64])]), dtype=torch.float32)
    assert product_noise(head, layer) == pytest.approx(product_noise(made, layer), rel=1e-3)  # summed the same way
    assert product_noise(wide, layer) == 0.0


# ---- the rule on made-up spectra


def test_float64_and_structure_need_nothing():
    assert noise_decides(spectrum(-1e-3, 1.0, defect=0.5))
    assert noise_decides(spectrum(-1e-3, 1.0, defect=0.5, dtype="float64")) == ""
    assert noise_decides(spectrum(-1e-3, 1.0, defect=0.5, psd=True)) == ""


def test_an_operator_far_from_symmetric_is_repeated():
    assert "not symmetric" in noise_decides(spectrum(0.5, 1.0, defect=0.051))
    assert noise_decides(spectrum(0.5, 1.0, defect=0.049)) == ""


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_the_sign_of_the_smallest(scale):
    def decides(smallest, defect):
        return "negative curvature" in noise_decides(spectrum(smallest * scale, 0.5 * scale, scale, defect=defect))

    assert decides(-1e-3, 2e-3)
    assert not decides(-1e-3, 5e-4)  # negative beyond the noise
    assert not decides(1e-3, 2e-3)  # not negative, with or without it
    assert not decides(-1e-8, 2e-3)  # within plain rounding: nobody would call it negative
    assert not decides(-1e-8, 0.0)


def test_noise_that_was_measured_counts_like_asymmetry():
    assert noise_decides(spectrum(-1e-3, 0.5, 1.0)) == ""
    assert "negative curvature" in noise_decides(spectrum(-1e-3, 0.5, 1.0), noise=2e-3)


def test_the_ratio_of_the_ends():
    def decides(ratio, defect, **values):
        return "ratio" in noise_decides(spectrum(ratio, 0.5, 1.0, defect=defect, **values))

    assert decides(-0.599, 2e-3)
    assert decides(-0.601, 2e-3)
    assert not decides(-0.59, 2e-3)
    assert not decides(-0.61, 2e-3)
    assert not decides(-0.599, 1e-9)
    # What the residuals leave open float64 would not tell either.
    assert not decides(-0.599, 2e-3, residuals=np.full(3, 0.01))


def test_the_ratio_of_an_estimate_is_taken_by_start_vector():
    nodes, probe = (-0.2, 1.0, -0.59, 0.984), np.array([0, 0, 1, 1])
    estimate = spectrum(*nodes, defect=2e-3, method="lanczos", probe=probe, probes=2, steps=2)
    assert "ratio" in noise_decides(estimate)
    assert noise_decides(spectrum(-0.2, 1.0, -0.2, 1.0, defect=2e-3, method="lanczos", probe=probe)) == ""


def test_without_positive_or_without_any_curvature():
    assert noise_decides(spectrum(-1.0, -0.5, defect=1e-3)) == ""
    assert noise_decides(spectrum(0.0, 0.0, defect=0.5)) == ""

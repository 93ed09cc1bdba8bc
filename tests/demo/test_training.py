"""The networks, the images and the training of the demo."""

import copy

import pytest
import torch
from torch import nn

from lhexplore.demo.images import load_split
from lhexplore.demo.networks import NETWORKS, build, draw_weights
from lhexplore.demo.training import train
from lhexplore.snapshots import Snapshots


@pytest.fixture(scope="module")
def parts():
    return load_split()


def test_images_are_the_real_1797_split_without_overlap(parts):
    data, held_out = parts
    assert len(data.labels) + len(held_out.labels) == 1797
    assert len(held_out.labels) == 449
    assert data.images.min() >= 0
    assert data.images.max() == 1
    for part in parts:
        assert part.labels.bincount().min() > len(part.labels) / 15  # no digit is rare in either part
    assert torch.equal(load_split()[0].images, data.images)


@pytest.mark.parametrize("kind", NETWORKS)
def test_docstrings_tell_the_sizes(kind):
    sizes = [sum(p.numel() for p in layer.parameters()) for layer in build(kind).children()]
    words = NETWORKS[kind].__doc__.replace(",", "")
    assert all(str(size) in words for size in sizes)
    assert 2000 < sum(sizes) < 5000


@pytest.mark.parametrize("kind", NETWORKS)
def test_first_weights_are_drawn_like_torchs_own(kind):
    network = build(kind)
    draw_weights(network, seed=3)
    for layer in network.children():
        bound = layer.weight[0].numel() ** -0.5
        reference = copy.deepcopy(layer)
        reference.reset_parameters()
        for name in ("weight", "bias"):
            ours, theirs = layer.get_parameter(name), reference.get_parameter(name)
            assert ours.dtype == torch.float32
            assert not torch.equal(ours, theirs)
            assert max(ours.abs().max(), theirs.abs().max()) <= bound
        assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)  # the deviation of a uniform draw
        assert reference.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_building_draws_no_random_number():
    before = torch.get_rng_state()
    draw_weights(build("conv"), seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_training_learns_and_records_its_course(parts, tmp_path):
    network = build("dense")
    train(network, *parts, tmp_path, steps=130, seed=0)
    snapshots = Snapshots.discover(tmp_path)
    assert [s.step for s in snapshots] == [0, 1, 2, 4, 8, 16, 32, 64, 128, 130]
    first, last = snapshots[0].metrics, snapshots[-1].metrics
    assert first["loss"] == pytest.approx(2.3, abs=0.1)  # ten equally likely digits: log 10
    assert last["loss"] < 0.3
    assert last["held_out_loss"] < 0.4
    assert last["held_out_accuracy"] > 0.85
    assert last["accuracy"] > 0.9
    assert snapshots[-1].epoch == pytest.approx(130 / 22)  # 1,348 images in 22 batches
    loss = nn.CrossEntropyLoss()(network.double()(parts[0].images), parts[0].labels).item()
    assert last["loss"] == pytest.approx(loss, rel=1e-12)  # the metrics belong to the recorded weights
    recorded = snapshots[-1].load()
    assert all(torch.equal(recorded[name], value.float()) for name, value in network.state_dict().items())

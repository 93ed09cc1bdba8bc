"""Names tell step and epoch only where they say so."""

import re

import pytest

from lhexplore.errors import SettingError
from lhexplore.snapshots import names
from lhexplore.snapshots.names import Named, natural, parse

STATED = {
    "epoch=0-step=2": Named(step=2, epoch=0),
    "model_epoch_10": Named(epoch=10),
    "net_e05": Named(epoch=5),
    "step-7": Named(step=7),
    "step-000128": Named(step=128),
    "step143000": Named(step=143000),
    "iter_90000": Named(step=90000),
    "global_step100": Named(step=100),
    "ep5_it100": Named(step=100, epoch=5),
    "epoch=3-val_loss=0.25": Named(epoch=3),
    "epoch_10_acc_93.5": Named(epoch=10),
    "Epoch-2": Named(epoch=2),
    "epoch=12.5": Named(epoch=12.5),
    "ep0.25_step40": Named(step=40, epoch=0.25),
    "step_20000000": Named(step=20_000_000),
    "step-20240501": Named(step=20_240_501),
    "epoch=3-step=20000101": Named(step=20_000_101, epoch=3),
    "run-2024-05-01-step-7": Named(step=7),
    "step_100_1": Named(step=100),
    "step_5_loss=1e-3": Named(step=5),
    "step_7_2024_05_01": Named(step=7),
}
NUMBERED = {
    "checkpoint-500": 500,
    "checkpoint_0": 0,
    "ckpt_000123": 123,
    "0099": 99,
    "net10": 10,
    "model.7": 7,
    "checkpoint-20000000": 20_000_000,
}
SILENT = [
    "resnet50",
    "val_loss=0.33",
    "step=1e3",
    "2024-05-01",
    "model_20240501_120000",
    "vgg16",
    "step_100.50",
    "step_1_000",
    "step_1,000",
    "step_1_000_000",
    "step=1.5e3",
    "step2024-05-01",
    "epoch_1_000",
    "epoch=1.2.3",
    "epoch=1e3",
    "checkpoint-20240501",
    "weights",
    "footstep7",
]
TAGGED = {"last": "last", "last-v1": "last", "model_best": "best", "final": "final"}


@pytest.mark.parametrize("name", STATED)
def test_a_stated_kind_is_read(name):
    assert parse(name) == STATED[name]


@pytest.mark.parametrize("name", NUMBERED)
def test_a_number_of_unknown_kind_is_only_a_number(name):
    assert parse(name) == Named(number=NUMBERED[name])


@pytest.mark.parametrize("name", SILENT)
def test_numbers_that_mean_something_else_are_left_alone(name):
    assert parse(name) == Named()


@pytest.mark.parametrize("name", TAGGED)
def test_tags_are_tags(name):
    assert parse(name) == Named(tag=TAGGED[name])


def test_the_persons_pattern_comes_first_and_the_others_after_it():
    pattern = names.checked(r"run(?P<step>\d+)")
    assert parse("run12_step5", pattern) == Named(step=12)
    assert parse("step5", pattern) == Named(step=5)
    assert parse("e1.5", re.compile(r"e(?P<epoch>[\d.]+)")) == Named(epoch=1.5)


@pytest.mark.parametrize(("pattern", "said"), [("(", "regular expression"), (r"(\d+)", "group named step or epoch")])
def test_a_pattern_that_cannot_work_is_refused(pattern, said):
    with pytest.raises(SettingError, match=said):
        names.checked(pattern)


def test_a_pattern_that_matches_no_number_says_so():
    with pytest.raises(SettingError, match="must match numbers"):
        parse("step_abc", names.checked(r"step_(?P<step>\w+)"))


def test_natural_order_counts():
    shuffled = ["checkpoint-1000", "checkpoint-50", "b2", "b10", "B1", "a"]
    assert sorted(shuffled, key=natural) == ["a", "B1", "b2", "b10", "checkpoint-50", "checkpoint-1000"]

import collections
import dataclasses
import gc
import itertools
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.trees import count_examples, cut, describe, join, leaves, tensors, tree_map
from lhexplore.errors import DataError, EmptyDataError, SettingError

Pair = collections.namedtuple("Pair", "inputs targets")


@dataclasses.dataclass(frozen=True)
class Record:
    x: torch.Tensor
    y: torch.Tensor
    name: str = "record"


class Encoding(collections.UserDict):
    """A mapping that is no dict, with ``.to``: what tokenizers return."""

    def to(self, device):
        self.data = {key: value.to(device) for key, value in self.data.items()}
        return self


class Graph:
    """Holds tensors as attributes and moves itself, in place."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def to(self, device):
        self.x, self.y = self.x.to(device), self.y.to(device)
        return self


X, Y = torch.arange(12.0).reshape(6, 2), torch.arange(6)

FORMS = {
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "dict": lambda x, y: {"x": x, "labels": y},
    "mapping that is no dict": lambda x, y: Encoding(x=x, labels=y),
    "ordered dict": lambda x, y: collections.OrderedDict(x=x, labels=y),
    "named tuple": Pair,
    "dataclass": Record,
    "nested": lambda x, y: ({"pixels": x, "more": [x, {"mask": y}]}, y),
    "with strings and None": lambda x, y: (x, y, [f"id{i}" for i in range(len(x))], None),
    "object with .to": Graph,
}


def same(one: Any, other: Any) -> bool:
    pairs = list(zip(leaves(one), leaves(other), strict=True))
    return all(
        p == q and (torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b or a is b) for (p, a), (q, b) in pairs
    )


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_batch_is_frozen_cut_and_joined(form):
    make = FORMS[form]
    batches = freeze([make(X, Y), make(X + 1, Y)], samples=8 if form != "object with .to" else None)
    assert type(batches.batches[0]) is type(make(X, Y))
    assert same(batches.batches[0], make(X, Y))
    assert all(t.device.type == "cpu" for batch in batches.batches for _, t in tensors(batch))
    if form == "object with .to":
        assert batches.weights == (6.0, 6.0)
        return
    assert batches.weights == (6.0, 2.0)
    assert batches.examples == 8
    parts = [cut(make(X, Y), 0, 2), cut(make(X, Y), 2, 6)]
    assert [count_examples(part) for part in parts] == [2, 4]
    if form != "with strings and None":
        assert same(join(parts), make(X, Y))


@pytest.mark.parametrize("form", FORMS)
def test_frozen_tensors_are_private(form):
    x, y = X.clone(), Y.clone()
    source = [FORMS[form](x, y)]
    batches = freeze(source)
    x.add_(100.0)
    assert same(batches.batches[0], FORMS[form](X, Y))
    moved = tree_map(lambda leaf: leaf + 1 if isinstance(leaf, torch.Tensor) else leaf, source[0])
    assert same(source[0], FORMS[form](x, y))
    assert not same(moved, source[0])


def test_digest_sees_numbers_places_and_weights_and_nothing_else():
    digest = freeze([(X, Y)]).digest
    assert freeze([(X.clone(), Y.clone())]).digest == digest
    assert freeze((X, Y)).digest == digest  # a ready pair is one batch
    assert freeze([(X.T.contiguous().T, Y)]).digest == digest  # another memory order of the same numbers
    assert freeze([(X + 1, Y)]).digest != digest
    assert freeze([(X.double(), Y)]).digest != digest
    assert freeze([(Y, X)]).digest != digest
    assert freeze([(X, Y)], weight=lambda batch: 2.0).digest != digest
    assert freeze([{"a": X}]).digest != freeze([{"b": X}]).digest
    assert freeze([{"x": X, "n": np.arange(3)}]).digest != freeze([{"x": X, "n": np.arange(3) + 1}]).digest
    assert freeze([(X, ["a"])]).digest != freeze([(X, ["b"])]).digest


@settings(max_examples=25, deadline=None)
@given(samples=st.integers(1, 40), size=st.integers(1, 9))
def test_samples_cuts_the_last_batch(samples, size):
    loader = DataLoader(TensorDataset(torch.arange(30.0)), batch_size=size)
    batches = freeze(loader, samples=samples)
    assert batches.examples == sum(batches.weights) == min(samples, 30)
    assert torch.cat([batch[0] for batch in batches.batches]).tolist() == list(range(min(samples, 30)))
    assert bool(batches.notes) == (samples > 30)


def test_samples_larger_than_the_data_uses_all_and_says_so():
    batches = freeze([(X, Y)], samples=100)
    assert batches.examples == 6
    assert any("asked for 100" in note for note in batches.notes)
    assert freeze([(X, Y)], samples=None).notes == ()


def test_reading_leaves_all_random_states_alone(untouched):
    class Augmented(TensorDataset):
        def __getitem__(self, index):
            (x,) = super().__getitem__(index)
            return x + torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002

    generator = torch.Generator().manual_seed(3)
    loaders = [
        DataLoader(TensorDataset(X), batch_size=2),
        DataLoader(Augmented(X), batch_size=2, shuffle=True),
        DataLoader(Augmented(X), batch_size=2, shuffle=True, generator=generator),
    ]
    state = generator.get_state()
    for loader in loaders:
        with untouched():
            one = freeze(loader)
        assert torch.equal(generator.get_state(), state)
        random.random()
        torch.rand(3)
        assert freeze(loader).digest == one.digest  # whatever the states were meanwhile
        assert freeze(loader, seed=1).digest != one.digest or loader is loaders[0]
    assert any("shuffles" in note for note in one.notes)


def test_random_states_survive_a_failing_loader(untouched):
    def failing():
        torch.rand(1)
        yield X, Y
        raise KeyError("broken file")

    with untouched(), pytest.raises(DataError, match="batch 1: KeyError"):
        freeze(failing())


def test_workers_end_with_the_reading():
    loader = DataLoader(TensorDataset(X, Y), batch_size=1, num_workers=1)
    batches = freeze(loader, samples=2)
    gc.collect()
    assert batches.examples == 2
    assert not [p for p in torch.multiprocessing.active_children() if p.is_alive()]
    assert threading.active_count() < 10


class Stream(IterableDataset):
    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter(torch.arange(self.count).float())


class Endless:
    def __iter__(self):
        return iter(lambda: (torch.zeros(50_000, 1),), None)


def test_streams_generators_and_data_without_an_end():
    assert freeze(DataLoader(Stream(10), batch_size=4), samples=None).examples == 10
    assert freeze(((X, Y) for _ in range(3)), samples=None).examples == 18
    assert freeze(itertools.cycle([(X, Y)]), samples=10).examples == 10
    assert freeze(Endless(), samples=60_000).examples == 60_000
    with pytest.raises(DataError, match="no end"):
        freeze(itertools.cycle([(X, Y)]), samples=None)
    with pytest.raises(DataError, match="without reaching an end"):
        freeze(Endless(), samples=None)


def test_an_iterator_of_the_user_stays_open():
    source = iter([(X, Y)] * 3)
    freeze(source, samples=6)
    assert next(source)[0] is X


@pytest.mark.parametrize("data", [[], iter(()), DataLoader(TensorDataset(X[:0])), [(X[:0], Y[:0])]])
def test_empty(data):
    with pytest.raises(EmptyDataError, match="no batch"):
        freeze(data)


def test_empty_batches_are_skipped_with_a_note():
    batches = freeze([(X[:0], Y[:0]), (X, Y)])
    assert batches.weights == (6.0,)
    assert "1 empty batch skipped" in batches.notes


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (TensorDataset(X, Y), "Dataset"),
        (X, "one tensor"),
        ("data/train", "str"),
        (3, "int"),
        (None, "NoneType"),
        ([["a", "b"]], "Batch 0"),
        ([torch.tensor(3.0)], "first dimension"),
        ([(X, Y), None], "Batch 1"),
    ],
)
def test_what_is_no_data_is_refused_in_words(data, match):
    with pytest.raises(DataError, match=match):
        freeze(data)


def test_settings_are_checked():
    for samples in (0, -3, 2.5, True, "all"):
        with pytest.raises(SettingError, match="samples must be"):
            freeze([(X, Y)], samples=samples)
    with pytest.raises(SettingError, match="weight="):
        freeze([(X, Y)], weight="words")
    with pytest.raises(DataError, match="finite"):
        freeze([(X, Y)], weight=lambda batch: float("nan"))


def test_token_weights_count_labels_that_are_not_masked():
    labels = torch.tensor([[1, -100, -100], [1, 2, -100]])
    batches = freeze(
        [{"input_ids": labels, "labels": labels}, (X, torch.tensor([1, 2, -100, 1, 1, 1]))], weight="tokens"
    )
    assert batches.weights == (3.0, 5.0)
    with pytest.raises(DataError, match="No loss terms"):
        freeze([{"labels": torch.full((2, 3), -100)}], weight="tokens")
    with pytest.raises(DataError, match="tokens"):
        freeze([(X, X)], weight="tokens")


def test_tensors_made_in_inference_mode_are_cloned():
    with torch.inference_mode():
        x = torch.ones(4, 2)
        batches = freeze([(x, x)])
    assert not batches.batches[0][0].is_inference()


def test_packed_sequences_are_kept_whole():
    packed = pack_sequence([torch.ones(3, 2), torch.ones(2, 2)])
    batches = freeze([(packed, torch.zeros(2))], samples=1)
    assert torch.equal(batches.batches[0][0].batch_sizes, packed.batch_sizes)
    assert any("kept whole" in note for note in batches.notes)


def test_join_refuses_ragged_shapes():
    with pytest.raises(DataError, match="cannot be joined"):
        join([(torch.zeros(2, 3),), (torch.zeros(2, 4),)])
    with pytest.raises(DataError, match="differ in form"):
        join([(X,), (X, Y)])


def test_describe_names_the_parts():
    assert describe({"x": X, "y": [Y]}) == "dict with ['x']: float32 [6, 2], ['y'][0]: int64 [6]"

"""A snapshot fits a model name by name, or the message says what differs; nothing is loaded halfway."""

import pytest
import torch
from torch import nn

from lhexplore.errors import MismatchError
from lhexplore.snapshots import fit


def assert_same(fitted, state):
    assert list(fitted) == list(state)
    for name, tensor in state.items():
        torch.testing.assert_close(fitted[name], tensor, rtol=0, atol=0)


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
        self.head.weight = self.embed.weight


def test_matching_names_pass_without_a_note(model, state):
    fitted, notes = fit(state, model)
    assert_same(fitted, state)
    assert notes == ()


def test_the_order_of_the_model_is_taken(model, state):
    assert_same(fit(dict(reversed(state.items())), model)[0], state)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "net.", "model.", "_forward_module.module."])
def test_one_prefix_of_all_names_is_taken_off(prefix, model, state):
    fitted, notes = fit({prefix + name: tensor for name, tensor in state.items()}, model)
    assert_same(fitted, state)
    assert [prefix in note for note in notes] == ([True] if prefix != "_orig_mod." else [])


def test_a_prefix_is_put_on_where_the_model_is_wrapped(model, state):
    outer = nn.ModuleDict({"net": model})
    fitted, notes = fit(state, outer)
    assert_same(fitted, outer.state_dict())
    assert "'net.'" in notes[0]


def test_wrappers_of_the_model_do_not_count(model, state):
    assert_same(fit(state, nn.DataParallel(torch.compile(model)))[0], state)


def test_a_compiled_part_does_not_change_names(model, state):
    model[0] = torch.compile(model[0])
    fitted, notes = fit(state, model)
    assert list(fitted) == list(model.state_dict())
    assert notes == ()


def test_a_prefix_of_some_names_is_only_a_guess(model, state):
    mixed = {f"net.{name}": tensor for name, tensor in state.items()} | {"loss.weight": torch.ones(2)}
    with pytest.raises(MismatchError, match=r"prefix 'net\.' 9 of the snapshot's 10 names would match"):
        fit(mixed, model)


def test_the_first_five_differences_are_listed(model, state):
    wrong = {f"x{i}": torch.ones(1) for i in range(7)}
    with pytest.raises(MismatchError, match="9 are missing, 7 are unexpected") as caught:
        fit(wrong, model)
    assert str(caught.value).count(" is missing") == 5
    assert "and 11 more" in str(caught.value)


def test_a_wrong_shape_is_told_with_both_shapes(model, state):
    state["2.weight"] = torch.ones(2, 5)
    with pytest.raises(MismatchError, match=r"'2\.weight' is \(2, 5\) in the snapshot and \(2, 3\) in the model"):
        fit(state, model)


@pytest.mark.parametrize("dtype", [torch.int64, torch.complex64, torch.bool])
def test_another_kind_of_number_is_no_weight(dtype, model, state):
    state["2.bias"] = state["2.bias"].to(dtype)
    with pytest.raises(MismatchError, match="1 another kind of number"):
        fit(state, model)


def test_another_float_type_is_noted_and_left_as_it_is(model, state):
    fitted, notes = fit({n: t.half() if t.is_floating_point() else t for n, t in state.items()}, model)
    assert fitted["2.bias"].dtype == torch.float16
    assert notes == ("weights are float16 in the snapshot and float32 in the model",)


def test_tied_names_may_be_absent_and_must_agree():
    model = Tied()
    weight = torch.arange(6.0).reshape(3, 2)
    fitted, notes = fit({"embed.weight": weight}, model)
    assert_same(fitted, {"embed.weight": weight, "head.weight": weight})
    assert "tied" in notes[0]
    assert fit({"embed.weight": weight, "head.weight": weight.clone()}, model)[1] == ()
    with pytest.raises(MismatchError, match=r"ties 'embed\.weight' and 'head\.weight'"):
        fit({"embed.weight": weight, "head.weight": weight + 1}, model)


def test_an_old_file_without_counters_fits(model, state):
    del state["1.num_batches_tracked"]
    fitted, notes = fit(state, model)
    assert fitted["1.num_batches_tracked"] == 0
    assert "num_batches_tracked" in notes[0]


def test_neither_model_nor_state_is_changed(model, state):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    given = {f"module.{name}": tensor for name, tensor in state.items()}
    names = list(given)
    fit(given, model)
    assert list(given) == names
    assert_same(model.state_dict(), before)
    assert model.training

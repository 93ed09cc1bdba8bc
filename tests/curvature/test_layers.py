import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from lhexplore.curvature.layers import find_layer, list_layers, whole_network
from lhexplore.errors import ModelError, SettingError, UnknownLayerError, UnsupportedError


class Language(nn.Module):
    """Embedding and output layer share their weight; the output layer has a bias of its own."""

    def __init__(self, *, bias):
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 7, bias=bias)
        self.head.weight = self.embed.weight


class WithOwn(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.fc = nn.Linear(3, 2)


def by_name(layers):
    return {layer.name: layer for layer in layers}


def test_every_module_with_parameters_has_one_row():
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 2)))
    layers = list_layers(model)
    assert [(layer.name, layer.kind, layer.size, layer.status) for layer in layers] == [
        ("0", "Linear", 16, "ok"),
        ("2", "BatchNorm1d", 8, "ok"),
        ("3.0", "Linear", 10, "ok"),
    ]
    assert [n for layer in layers for n in layer.parameters] == [n for n, _ in model.named_parameters()]


def test_parameters_of_the_model_itself_are_the_root():
    root, fc = list_layers(WithOwn())
    assert (root.name, root.parameters, root.size, root.kind) == ("(root)", ("scale",), 3, "WithOwn")
    assert fc.name == "fc"


def test_tied_weights_are_one_block_under_all_names():
    rows = by_name(list_layers(Language(bias=False)))
    assert rows["embed"].parameters == ("embed.weight", "head.weight")
    assert rows["embed"].size == 28
    assert "head.weight" in rows["embed"].reason
    assert (rows["head"].status, rows["head"].reason, rows["head"].size) == ("skipped", "tied to embed", 0)


def test_a_partly_tied_layer_keeps_its_own_part():
    rows = by_name(list_layers(Language(bias=True)))
    assert (rows["head"].status, rows["head"].parameters, rows["head"].size) == ("ok", ("head.bias",), 7)
    assert "tied to embed" in rows["head"].reason


def test_a_tied_block_is_selected_by_any_of_its_names():
    rows = by_name(list_layers(Language(bias=False), "head"))
    assert rows["embed"].status == "ok"
    assert rows["norm"].status == "skipped"


def test_a_module_used_twice_is_one_block():
    shared = nn.Linear(3, 3)
    rows = by_name(list_layers(nn.ModuleDict({"a": shared, "b": shared})))
    assert rows["a"].parameters == ("a.weight", "b.weight", "a.bias", "b.bias")
    assert rows["a"].size == 12
    assert rows["b"].status == "skipped"


def test_whole_network_takes_all_usable_parameters_whatever_is_selected():
    model = Language(bias=True)
    whole = whole_network(list_layers(model, "norm"))
    assert whole.size == sum(p.numel() for p in model.parameters())
    assert len(set(whole.parameters)) == len(whole.parameters)


def test_frozen_layers_are_usable_and_say_so():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0].requires_grad_(False)
    model[1].bias.requires_grad_(False)
    first, second = list_layers(model)
    assert first.status == second.status == "ok"
    assert first.reason.startswith("frozen in your model")
    assert "bias" in second.reason
    assert not model[0].weight.requires_grad


@pytest.mark.parametrize(
    ("tensor", "word"),
    [
        (torch.zeros(3, dtype=torch.int64), "int64"),
        (torch.zeros(3, dtype=torch.complex64), "complex64"),
        (torch.zeros(3, device="meta"), "meta"),
        (torch.zeros(0), "no elements"),
    ],
)
def test_what_cannot_be_differentiated_is_a_row_with_a_reason(tensor, word):
    model = WithOwn()
    model.scale = nn.Parameter(tensor, requires_grad=False)
    root, fc = list_layers(model)
    assert (root.status, root.size, root.parameters) == ("skipped", 0, ())
    assert word in root.reason
    assert fc.status == "ok"
    assert whole_network([root, fc]).parameters == fc.parameters


def test_parametrised_weights_stand_with_the_layer_they_serve():
    model = nn.Sequential(parametrizations.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 2))
    first, second = list_layers(model)
    assert first.name == "0"
    assert first.kind == "Linear"
    assert set(first.parameters) == {n for n, _ in model.named_parameters() if n.startswith("0.")}
    assert first.size == 3 * 2 + 2 + 2
    assert "weight is parametrised" in first.reason
    assert second.reason == ""


def test_parametrised_root():
    (row,) = list_layers(parametrizations.spectral_norm(nn.Linear(3, 2)))
    assert row.name == "(root)"
    assert row.size == 8


@pytest.mark.parametrize(
    ("select", "chosen"),
    [
        (None, ["a.fc", "a.norm", "b.fc"]),
        ("a.*", ["a.fc", "a.norm"]),
        (["*.norm", "b.*"], ["a.norm", "b.fc"]),
        (lambda name, module: isinstance(module, nn.Linear), ["a.fc", "b.fc"]),
    ],
)
def test_select(select, chosen):
    model = nn.ModuleDict(
        {
            "a": nn.ModuleDict({"fc": nn.Linear(2, 2), "norm": nn.LayerNorm(2)}),
            "b": nn.ModuleDict({"fc": nn.Linear(2, 2)}),
        }
    )
    layers = list_layers(model, select)
    assert [layer.name for layer in layers if layer.status == "ok"] == chosen
    assert len(layers) == 3
    assert all(layer.reason.startswith("not selected") for layer in layers if layer.status != "ok")


def test_unknown_patterns_and_names_suggest_near_ones():
    model = nn.ModuleDict({"encoder": nn.Linear(2, 2)})
    with pytest.raises(UnknownLayerError, match="'encoder'"):
        list_layers(model, "encodr")
    with pytest.raises(UnknownLayerError, match="Did you mean 'encoder'"):
        find_layer(list_layers(model), "encodre")
    with pytest.raises(SettingError, match="glob"):
        list_layers(model, [3])


def test_find_layer_refuses_what_has_nothing_in_it_and_finds_what_was_not_selected():
    layers = list_layers(Language(bias=False), "norm")
    assert find_layer(layers, "norm").size == 8
    assert find_layer(layers, "embed").size == 28
    with pytest.raises(UnknownLayerError, match="tied to embed"):
        find_layer(layers, "head")


def test_models_that_have_nothing_to_look_at():
    with pytest.raises(ModelError, match="no parameters"):
        list_layers(nn.ReLU())
    with pytest.raises(ModelError, match="lazy"):
        list_layers(nn.Sequential(nn.LazyLinear(3)))
    with pytest.raises(ModelError, match=r"torch\.nn\.Module"):
        list_layers(lambda x: x)
    broken = nn.Module()
    broken.index = nn.Parameter(torch.zeros(3, dtype=torch.int64), requires_grad=False)
    with pytest.raises(ModelError, match="int64"):
        list_layers(broken)


def test_wrappers_are_looked_through():
    inner = nn.Sequential(nn.Linear(2, 2))
    assert list_layers(nn.DataParallel(inner)) == list_layers(inner)
    compiled = nn.Module()
    compiled._orig_mod = inner  # what torch.compile leaves on its wrapper
    assert list_layers(compiled) == list_layers(inner)


def test_sharded_and_scripted_models_are_refused():
    class FullyShardedDataParallel(nn.Module):
        pass

    with pytest.raises(UnsupportedError, match="spreads"):
        list_layers(FullyShardedDataParallel())
    with pytest.warns(DeprecationWarning, match="script"), pytest.raises(ModelError, match="compiled"):
        list_layers(torch.jit.script(nn.Linear(2, 2)))


def test_hostile_names_pass_unchanged():
    name = "<img onerror=alert(1)>" + "x" * 300
    (row,) = list_layers(nn.ModuleDict({name: nn.Linear(1, 1)}))
    assert row.name == name

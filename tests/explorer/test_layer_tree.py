from hypothesis import given
from hypothesis import strategies as st

from lhexplore.explorer.layer_tree import DEEPEST, FEW, OWN, layer_tree

PARTS = st.sampled_from(["encoder", "layers", "0", "1", "2", "attn", "", "<img>", "ש", "🧠", "x" * 300])
NAMES = st.lists(st.lists(PARTS, min_size=1, max_size=20).map(".".join), max_size=40)


def outline(nodes):
    return [node.label if node.row is not None else (node.label, outline(node.children)) for node in nodes]


def walk(nodes, level=1):
    for node in nodes:
        yield level, node
        yield from walk(node.children, level + 1)


def test_few_layers_are_a_plain_list():
    names = ["net.0", "net.2", "head.weight_norm", "head.out"]
    assert outline(layer_tree([None, *names])) == ["", *names]


def test_paths_fold_and_what_has_nothing_beside_it_is_one_row():
    names = ["embed"]
    for block in range(2):
        names += [f"encoder.layers.{block}.{part}" for part in ("attn.q", "attn.k", "norm")]
    names += ["decoder.layers.0.out.proj", "head"]
    block = [("attn", ["q", "k"]), "norm"]
    assert outline(layer_tree([None, *names])) == [
        "",
        "embed",
        ("encoder.layers", [("0", block), ("1", block)]),
        "decoder.layers.0.out.proj",
        "head",
    ]


def test_a_branch_around_everything_is_none():
    tops = layer_tree([f"transformer.h.{i}.{part}" for i in range(3) for part in ("a", "b", "c")])
    assert outline(tops) == [(f"transformer.h.{i}", ["a", "b", "c"]) for i in range(3)]
    assert outline(layer_tree([f"net.{i}" for i in range(9)])) == [f"net.{i}" for i in range(9)]


def test_a_module_with_layers_below_it_keeps_its_own_row():
    (top, *_) = layer_tree(["attn", "attn.out", "a", "b", "c", "d", "e"])
    assert outline([top]) == [("attn", [OWN, "out"])]
    assert list(top.rows()) == [0, 1]


@given(NAMES)
def test_every_layer_has_exactly_one_row(names):
    nodes = list(walk(layer_tree([None, *names])))
    assert sorted(node.row for _, node in nodes if node.row is not None) == list(range(len(names) + 1))
    for level, node in nodes:
        assert level <= DEEPEST + 2  # two of one name stand below their name
        assert (node.row is None) == bool(node.children)
        assert node.row is not None or len(node.children) > 1
    if len(names) <= FEW:
        assert all(level == 1 for level, _ in nodes)


def test_five_hundred_layers_of_one_long_path_are_no_trouble():
    nodes = list(walk(layer_tree([".".join(["deep"] * i) for i in range(1, 501)])))
    assert sum(node.row is not None for _, node in nodes) == 500

"""The map of a session: rows in the order asked for, parts of a large network, metrics of one's own."""

import json

import numpy as np
import pytest
from canned import HOSTILE, STEPS, CannedLayer, CannedSession, spectrum

from lhexplore.diagnosis import METRICS, metric, metric_error, register_metric, unregister
from lhexplore.diagnosis.number_texts import short
from lhexplore.errors import SettingError
from lhexplore.explorer import views
from lhexplore.explorer.figures import heat_map
from lhexplore.explorer.views.heat_map import MOST

PATIENCE = 60
LAYERS = ("conv1", "conv2", HOSTILE, "head")


@pytest.fixture
def made():
    alive = []

    def make(session=None, **choices):
        alive.append(views.HeatMap(session or CannedSession(missing=set()), **choices))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def names(view):
    return [entry.name for entry in view.rows]


def source(view, name="heat-cells"):
    return view.pane._plot.root.select_one({"name": name}).data


class Many(CannedSession):
    """As many layers as wanted, all with the spectra of one."""

    def _spectrum(self, layer, k, split, curvature):
        return spectrum("conv1", k, self.snapshots[k].label)

    def known_diagnosis(self, layer, snapshot=-1):
        return None


def test_rows_are_sorted_by_the_values_of_the_moment(made):
    view = made(metric="trace", snapshot=3, layers=LAYERS)
    now = {name: metric("trace", spectrum(name, 3, "")) for name in LAYERS}
    view.sort.value = "now"
    view.settled(PATIENCE)
    expected = sorted(LAYERS, key=lambda name: -now[name])
    assert names(view) == expected != list(LAYERS)
    assert source(view)["layer"][:: len(STEPS)][0].startswith(expected[0][:8])
    view.hub.clock.value = 11  # scrubbing moves no row
    view.layer = "head"
    view.settled(PATIENCE)
    assert names(view) == expected
    assert source(view, "heat-now")["y"] == [expected.index("head")]
    assert "at step 4" in json.loads(view.sentence.texts)[11]
    view.again.click()
    view.settled(PATIENCE)
    later = {name: metric("trace", spectrum(name, 11, "")) for name in LAYERS}
    assert names(view) == sorted(LAYERS, key=lambda name: -later[name])
    assert "at step 1,024" in json.loads(view.sentence.texts)[11]


def test_a_click_on_a_sorted_row_leads_to_its_layer(made):
    view = made(order="name", layers=LAYERS)
    assert names(view) == sorted(LAYERS)
    view.pane._heard(None, {"kind": "pick", "index": 3 * 12 + 5}, [])
    assert (view.layer, view.snapshot) == ("head", 5)
    view.order = "network"
    view.settled(PATIENCE)
    assert names(view) == list(LAYERS)
    assert view.again.layout.display == "none"


def test_an_unknown_order_is_refused(made):
    with pytest.raises(SettingError, match="network"):
        made(order="size")
    view = made()
    with pytest.raises(SettingError, match="largest"):
        view.order = "biggest"
    assert view.order == "network"


def test_cells_say_their_value_with_its_error(made):
    view = made(metric="trace", layers=LAYERS)
    words = source(view)["words"]
    off = metric_error("trace", spectrum("conv2", 5, ""))
    assert f"± {short(off, digits=2)}" in words[LAYERS.index("conv2") * 12 + 5]
    assert words[LAYERS.index("conv2") * 12 + 5].startswith(short(metric("trace", spectrum("conv2", 5, ""))))


def test_a_metric_registered_later_is_listed_at_once_and_drawn(made):
    view = made(layers=LAYERS)
    picker = views.LayerPicker(view)
    try:
        register_metric(lambda s: float(s.size), name="how_many")
        for chooser in (view, picker):
            listed = next(c for row in chooser.children if hasattr(row, "children") for c in row.children)
            assert ("how many", "how_many") in listed.options
            assert listed.value == "lambda_max"
        view.metric = "how_many"
        view.settled(PATIENCE)
        assert source(view)["words"][0] == "80"
        register_metric(lambda s: 2.0 * s.size, name="how_many")  # and anew under the same name
        view.settled(PATIENCE)
        assert source(view)["words"][0] == "160"
    finally:
        unregister("how_many")
        picker.close()
    assert view.metric == "lambda_max"  # what is gone cannot be shown
    view.settled(PATIENCE)
    assert not view.note


def test_many_layers_are_shown_in_parts_with_one_scale(made):
    layers = tuple(CannedLayer(f"block.{i}.fc", 80) for i in range(2 * MOST + 7))
    view = made(Many(missing=set(), layers=layers, run=None), layer="block.3.fc")
    count = len(layers) + 1  # the whole network is cached, too
    assert view.parts.options[-1][0] == f"{2 * MOST + 1} to {count} of {count}"
    assert len(source(view)["x"]) == MOST * 12
    view.layer = f"block.{2 * MOST + 2}.fc"  # its part comes with it
    view.settled(PATIENCE)
    assert (view.parts.value, source(view, "heat-now")["y"]) == (2 * MOST, [2])
    view.pane._heard(None, {"kind": "pick", "index": 5 * 12 + 1}, [])
    assert (view.layer, view.snapshot) == (f"block.{2 * MOST + 5}.fc", 1)
    view.parts.value = 0
    view.settled(PATIENCE)
    assert source(view)["layer"][0] == "block.0.fc"
    assert source(view, "heat-now")["y"][0] < 0


def test_a_part_has_the_colours_and_the_words_of_all():
    values = np.array([[1.0, 2.0], [30.0, 40.0], [5.0, 600.0]])
    whole, part = (
        heat_map(values, list("abc"), ["s", "t"], metric=METRICS["lambda_max"], layer=2, part=rows)
        for rows in (None, range(1, 2))
    )
    for name in ("low", "high"):
        bars = [getattr(plot.root.select_one({"name": "heat-colours"}), name) for plot in (whole, part)]
        assert bars[0] == bars[1]
    assert part.sentences == whole.sentences
    cells = [plot.root.select_one({"name": "heat-cells"}).data for plot in (whole, part)]
    assert list(cells[1]["colour"]) == list(cells[0]["colour"][2:4])
    assert list(cells[1]["y"]) == [0, 0]


def test_labels_of_long_paths_differ():
    names = [f"transformer.encoder.layers.{i}.attention.query" for i in range(4)]
    axis = heat_map(np.ones((4, 1)), names, ["s"], metric=METRICS["trace"]).root.yaxis[0]
    assert len(set(axis.major_label_overrides.values())) == 4

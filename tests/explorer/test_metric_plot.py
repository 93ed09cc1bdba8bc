import json

import numpy as np
import pytest
from canned import FROM, HOSTILE, LAYERS, MISSING, CannedSession, layer_state, spectrum

from lhexplore.diagnosis import METRICS, metric, metric_error, register_metric, unregister
from lhexplore.errors import SettingError, UnknownLayerError
from lhexplore.explorer import views
from lhexplore.explorer.metric_figure import STROKES, metric_plot, value_texts, value_words
from lhexplore.explorer.number_axis import number_axis
from lhexplore.explorer.theme import DARK, LIGHT

PATIENCE = 20  # seconds; only a hang takes longer
LABELS = [str(k) for k in range(4)]
TRACE = METRICS["trace"]


def column(plot, source, name):
    return np.asarray(plot.root.select_one({"name": source}).data[name])


def drawn(values, errors=None, log=True, **how):
    values = np.array(values, dtype=float)
    errors = np.zeros_like(values) if errors is None else np.array(errors, dtype=float)
    chosen = TRACE if log else METRICS["lambda_min"]
    return metric_plot(values, errors, ["a", "b", "c", "d", "e", "f"][: len(values)], LABELS, metric=chosen, **how)


def test_values_stand_on_a_logarithmic_axis_with_bands_of_two_errors():
    plot = drawn([[1.0, 10.0, np.nan, 100.0]], [[0.1, 1.0, np.nan, 0.0]])
    assert type(plot.root.y_scale).__name__ == "LogScale"
    np.testing.assert_array_equal(column(plot, "metric-curve0", "y"), [1, 10, np.nan, 100])
    np.testing.assert_allclose(column(plot, "metric-band0", "y"), [0.8, 8, 12, 1.2])
    np.testing.assert_allclose(column(plot, "metric-band0", "x"), [0, 1, 1, 0])
    assert plot.root.y_range.start <= 0.8
    assert plot.root.y_range.end >= 100


def test_both_signs_make_the_axis_symmetric_and_nothing_leaves_it():
    values = [[-10.0, 0.0, 1e-3, np.inf]]
    plot = drawn(values)
    places = column(plot, "metric-curve0", "y")
    assert places[0] < places[1] == 0 < places[2] < places[3] == plot.root.y_range.end
    assert "∞" in plot.sentences[3]


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("values", [[np.nan] * 4, [0.0] * 4, [5.0] * 4, [-2.0, -2.0, -3.0, -1.0], [1e-30, 1e30, 1, 2]])
def test_odd_values_have_an_axis(values, log):
    axis = number_axis(np.array(values), log=log)
    places = axis.position(np.array(values))
    known = places[np.isfinite(places)]
    assert axis.low < axis.high
    assert np.all((known >= axis.low) & (known <= axis.high))
    if known.size:
        assert 2 <= len(axis.ticks) <= 14
        assert all(axis.low * (1 - 1e-9) <= at <= axis.high * (1 + 1e-9) or axis.low <= at for at in axis.ticks)


def test_a_little_more_moves_no_axis():
    first, second = (number_axis(np.array([1.3, top]), log=True) for top in (60.0, 80.0))
    assert (first.low, first.high) == (second.low, second.high)
    first, second = (number_axis(np.array([0.0, top]), log=False) for top in (8.1, 8.6))
    assert (first.low, first.high) == (second.low, second.high)


def test_values_are_said_with_what_they_may_be_off_by():
    assert value_words(3.2, 0.4, "loss") == "3.2 ± 0.4 loss"
    assert value_words(3.2, np.nan, "loss") == "3.2 loss"
    assert value_texts(np.full(3, 3.2), np.array([0.2, 1e-12, np.nan]), "loss") == ["3.2 ± 0.4 loss", *["3.2 loss"] * 2]
    assert value_words(np.nan, np.nan, "loss") == "not known"
    plot = drawn([[1.0, 2, 3, 4], [np.nan, 5, 6, 7]], [[0.1] * 4, [0.0] * 4], more=3)
    assert plot.sentences[0] == ("trace at 0: a 1 ± 0.2 loss / parameter²; b not known. 3 more layers are not drawn.")
    assert column(plot, "metric-cells", "layer1")[0] == "b: not known"


def test_strips_are_hatched_where_no_layer_is_known():
    plot = drawn([[1.0, np.nan, np.nan, 4], [np.nan, np.nan, 6, 7]])
    assert column(plot, "metric-cells", "missing").tolist() == [0, 1, 0, 0]


def test_six_layers_are_told_apart_without_colour():
    assert len({str(s.dash) for s in STROKES}) == len({s.marker for s in STROKES}) == 6
    for colours in (LIGHT, DARK):
        assert len({colours[s.role] for s in STROKES}) == 6
    plot = drawn(np.ones((6, 4)), layer=2)
    assert [key.words for key in plot.legend] == ["a", "b", "c (on show)", "d", "e", "f"]
    np.testing.assert_array_equal(column(plot, "metric-shown", "y"), np.ones(4))
    assert [("halo", "marker") in key.marks for key in plot.legend] == [i == 2 for i in range(6)]


def test_round_off_is_no_error_and_the_key_of_bands_has_the_colour_of_a_band():
    values = [[1.0, 2, 3, 4], [5.0, 6, 7, 8]]
    exact = drawn(values, np.array(values) * 1e-15, layer=0)
    assert [key.words for key in exact.legend] == ["a (on show)", "b"]
    assert not column(exact, "metric-band0", "x").size
    unsure = drawn(values, [[1e-15] * 4, [np.nan, 0.1, 0, 0]], layer=0)
    assert unsure.legend[-1].words == "± 2 standard errors"
    assert {role for _, role in unsure.legend[-1].marks} == {STROKES[1].role}


# ---- the view


@pytest.fixture
def made():
    alive = []

    def make(source=None, **how):
        alive.append(views.MetricPlot(CannedSession(missing=set()) if source is None else source, **how))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def curve(view, i, name="y"):
    return np.asarray(view.pane._plot.root.select_one({"name": f"metric-curve{i}"}).data[name])


def test_curves_are_the_metric_and_bands_its_error(made):
    view = made(metric="trace", layers=["conv2", "head"])
    for i, layer in enumerate(("conv2", "head")):
        expected = [metric("trace", spectrum(layer, k, "")) for k in range(12)]
        np.testing.assert_allclose(curve(view, i), expected)
    off = 2 * metric_error("trace", spectrum("conv2", 5, ""))
    assert f"± {off:.2g}"[:4] in json.loads(view.sentence.texts)[5]
    assert view.metric == view.quantity == "trace"


def test_unknown_spectra_leave_gaps(made):
    session = CannedSession()
    session.steps = lambda *_, **__: iter(())  # nothing more can be had
    view = made(session, layers=["conv1"])
    assert set(np.flatnonzero(np.isnan(curve(view, 0)))) == {k for name, k in MISSING if name == "conv1"}


def test_a_metric_chosen_in_the_list_is_that_of_all_views(made):
    view = made()
    heat = views.HeatMap(view)
    view.list.value = "stable_rank"
    assert heat.metric == "stable_rank"
    heat.metric = "trace"
    view.settled(PATIENCE)
    assert view.quantity == view.list.value == "trace"
    heat.close()


def test_metrics_of_states_are_drawn_where_they_are_known(made):
    view = made(metric="gradient_norm", layers=["head"])
    view.settled(PATIENCE)
    assert view.metric == "lambda_max"  # that of the other views stays
    np.testing.assert_allclose(curve(view, 0), [layer_state("head", k).gradient_norm for k in range(12)])
    assert view.list.value == "gradient_norm"


def test_a_metric_registered_later_is_in_the_list_and_can_be_drawn(made):
    view = made(layers=["head"])
    try:
        register_metric(lambda s: float(s.size), name="how_many")
        view.layer = "head"
        view.metric = "how_many"
        view.settled(PATIENCE)
        assert "how_many" in [value for _, value in view.list.options]
        np.testing.assert_array_equal(curve(view, 0), [650.0] * 12)
        view.metric = "trace"
        view.settled(PATIENCE)
    finally:
        unregister("how_many")


def test_layers_are_chosen_or_the_first_ones_with_the_one_on_show(made):
    view = made(CannedSession(missing=set()), layer="head")
    assert [row.name for row in view.rows] == ["conv1", "conv2", HOSTILE, "head"]
    view.chosen = ["head", "conv1"]
    view.settled(PATIENCE)
    assert [row.name for row in view.rows] == ["conv1", "head"]
    view.layers = ["conv2", "head"]
    view.settled(PATIENCE)
    assert [row.name for row in view.rows] == ["head"]
    with pytest.raises(UnknownLayerError, match="conv"):
        view.chosen = ["conv3"]
    many = tuple(LAYERS[0].__class__(f"fc{i}", 80) for i in range(9))
    session = CannedSession(missing=set(), layers=many)
    session._spectrum = lambda layer, k, split: spectrum("conv1", k, f"{layer}{k}")
    session.states = session.shapes = lambda *_, **__: {}
    view = made(session, layer="fc8")
    assert [row.name for row in view.rows] == ["fc0", "fc1", "fc2", "fc3", "fc4", "fc8"]
    assert "3 more layers are not drawn" in json.loads(view.sentence.texts)[0]
    with pytest.raises(SettingError, match="At most 6"):
        view.chosen = [f"fc{i}" for i in range(7)]


def test_what_lies_over_the_layer_on_show_is_compared_with_it(made):
    view = made(layer="conv2", overlay=["head"])
    assert [entry.name for entry in view.rows] == ["conv2", "head"]
    view.chosen = ["conv1"]
    view.settled(PATIENCE)
    assert [entry.name for entry in view.rows] == ["conv1"]


def test_findings_stand_at_their_step(made):
    view = made(layers=["conv1"])
    marks = view.pane._plot.root.select_one({"name": "metric-marks"}).data
    assert list(marks["x"]) == [FROM]
    assert "D2" in marks["words"][0]
    assert "Marked: warning D2" in json.loads(view.sentence.texts)[FROM]


def test_a_click_leads_to_the_snapshot(made):
    view = made()
    view.pane._heard(None, {"kind": "pick", "index": 2}, [])
    assert view.snapshot == 2


def test_the_trait_that_the_repr_shows_may_be_given(made):
    view = made(quantity="gradient_norm", chosen="head")
    assert view.quantity == view.list.value == "gradient_norm"
    assert "quantity='gradient_norm'" in repr(view)
    assert [entry.name for entry in view.rows] == ["head"]
    assert made(quantity="trace").metric == "trace"


def test_a_metric_that_does_not_exist_is_refused():
    for name in ("metric", "quantity"):
        with pytest.raises(SettingError, match="gradient_norm"):
            views.MetricPlot(CannedSession(), **{name: "gradient_nrm"})
    with pytest.raises(SettingError, match="give one"):
        views.MetricPlot(CannedSession(), metric="trace", quantity="lambda_max")


@pytest.mark.parametrize("chosen", [5, ()])
def test_what_names_no_layers_is_refused(chosen):
    with pytest.raises(SettingError, match="names of one to 6 layers"):
        views.MetricPlot(CannedSession(), chosen=chosen)

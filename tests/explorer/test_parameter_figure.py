import json
from dataclasses import replace

import numpy as np
import pytest
from canned import HOSTILE, LAYERS, STEPS, CannedSession, layer_state

from lhexplore.errors import SnapshotError
from lhexplore.explorer import views
from lhexplore.explorer.figures import gradient_plot, singular_plot, weights_plot
from lhexplore.explorer.parameter_figure import state_sentence

PATIENCE = 20  # seconds; only a hang takes longer
LABELS = [f"step {step}" for step in STEPS]
TICKS = {0.0: "0"}


def states_of(layer="conv1"):
    return [layer_state(layer, k) for k in range(len(STEPS))]


def source(plot, name):
    return plot.root.select_one({"name": name}).data


def test_bands_are_the_quantiles_and_what_is_unknown_is_hatched():
    states = states_of()
    states[4] = None
    states[5] = replace(states[5], quantiles=())
    plot = weights_plot(states, LABELS, TICKS, x_label="step")
    data = source(plot, "weights")
    for i in range(7):
        for k in (0, 3, 11):
            assert data[f"q{i}"][k] == states[k].quantiles[i]
        assert np.isnan(data[f"q{i}"][[4, 5]]).all()
    assert data["mean"][3] == states[3].mean
    assert source(plot, "weights-cells")["missing"].tolist() == [float(k in (4, 5)) for k in range(12)]
    assert "not known yet" in [key.words for key in plot.legend]
    assert plot.frames["weights-now__x"][:, 0].tolist() == list(range(12))


def test_the_gradient_is_drawn_in_decades_and_zero_has_a_place():
    states = states_of()
    plot = gradient_plot(states, LABELS, TICKS, x_label="step")
    np.testing.assert_allclose(source(plot, "gradients")["y"], 2.0 ** -np.arange(12.0))
    assert "LogScale" in type(plot.root.y_scale).__name__
    assert plot.legend == ()
    states[11] = replace(states[11], gradient_norm=0.0)
    flat = gradient_plot(states, LABELS, TICKS, x_label="step")
    places = source(flat, "gradients")["y"]
    assert np.isfinite(places).all()
    assert np.all(np.diff(places) < 0)


def test_singular_values_follow_the_snapshot_and_unknown_ones_are_missing():
    plot = singular_plot(states_of(), LABELS)
    values = plot.frames["singular__value"]
    assert np.isnan(values[:6]).all()
    np.testing.assert_allclose(values[6], np.array([4, 2, 1, 0]) * 0.1 * 2.2, rtol=1e-6)  # float32
    assert plot.frames["singular__x"][6].tolist() == [1, 2, 3, 4]


def test_nothing_known_is_a_figure_too():
    nothing = [None] * 3
    for draw in (weights_plot, gradient_plot):
        assert draw(nothing, LABELS[:3], {}, x_label="").count == 3
    assert singular_plot(nothing, LABELS[:3]).frames["singular__x"].shape == (3, 0)


def test_sentences_say_numbers_data_and_reasons():
    state = replace(layer_state("conv1", 7, "held_out"), reason="No product was asked for.")
    words = state_sentence(state, "conv1", "step 64")
    for part in ("half of the 80 weights", "moved by 70 %", "on held-out data", "4 singular values", "No product"):
        assert part in words
    assert state_sentence(None, "conv1", "step 64") == "conv1 at step 64: gradient and weights are not known yet."
    assert "cut off" in state_sentence(None, HOSTILE, "step 64", "The file is cut off.")
    assert "$$" not in state_sentence(state, HOSTILE, "step 64")


# ---- the view


@pytest.fixture
def made():
    alive = []

    def make(session, **how):
        alive.append(views.ParameterPlot(session, **how))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def sentences(view):
    return json.loads(view.sentence.texts)


def test_states_are_fetched_and_no_spectrum_is(made):
    session = CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)})
    view = made(session, layer="head", snapshot=7)
    assert session.asked == []
    assert "gradient norm 0.00781 on training data" in sentences(view)[7]
    assert view.singular.layout.display == ""
    view.gradient._heard(None, {"kind": "pick", "index": 2}, [])
    assert view.snapshot == 2
    view.layer = "conv2"
    view.settled(PATIENCE)
    assert sentences(view)[2].startswith("conv2 at step 2: half of the 3,000 weights")


def test_other_data_are_fetched_when_they_are_chosen(made):
    view = made(CannedSession(has_held_out=True), layer="head", snapshot=7)
    view.split = "held_out"
    view.settled(PATIENCE)
    assert "gradient norm 0.0102 on held-out data" in sentences(view)[7]


def test_a_failure_is_told_where_it_happened(made):
    session, states = CannedSession(), CannedSession().states

    def failing(k, **how):
        if k == 3:
            raise SnapshotError("The file of this snapshot is cut off.")
        return {name: replace(state, singular_values=np.empty(0)) for name, state in states(k, **how).items()}

    session.states = failing
    view = made(session, layer="conv1", snapshot=3)
    assert sentences(view)[3].endswith("The file of this snapshot is cut off.")
    assert "gradient norm" in sentences(view)[4]
    assert view.singular.layout.display == "none"
    assert view.note == ""

import json

import numpy as np
import pytest
from canned import HOSTILE, MISSING, STEPS, CannedSession, held_out

from lhexplore.errors import SettingError
from lhexplore.explorer import views
from lhexplore.explorer.axes import axis_of
from lhexplore.explorer.evolution_figure import MISSING as WORDS
from lhexplore.explorer.evolution_figure import evolution_plot
from lhexplore.explorer.evolution_shapes import MOST, SHARES
from lhexplore.explorer.figures import refresh
from lhexplore.explorer.ribbons import ALONE, ribbon
from lhexplore.spectrum import Spectrum

FLOAT32 = 1e-6  # frames are rounded to float32
FORMS = ["ridge", "quantiles"]


def of(layer, shape, over=False, **how):
    session = CannedSession()
    spectra = [session.cached(layer, k) for k in range(12)]
    beside = [None if s is None else held_out(s) for s in spectra] if over else None
    return spectra, evolution_plot(spectra, session.snapshots.labels, layer=layer, shape=shape, held_out=beside, **how)


def column(plot, source, name):
    return np.asarray(plot.root.select_one({"name": source}).data[name], dtype=float)


@pytest.mark.parametrize("shape", FORMS)
def test_the_values_stand_where_the_spectrum_plot_has_them(shape):
    spectra, plot = of("conv1", shape)
    axis = axis_of(spectra)
    span = plot.root.x_range if shape == "ridge" else plot.root.y_range
    assert (span.start, span.end) == (axis.start, axis.end)


def test_lines_are_quantiles_of_the_eigenvalues():
    spectra, plot = of("conv1", "quantiles")
    axis = axis_of(spectra)
    for q in (0, 3, 6):
        drawn = column(plot, "evolution-lines", f"y{q}")
        for k, spectrum in enumerate(spectra):
            if spectrum is None:
                assert np.isnan(drawn[k])
            else:  # the eigenvalue that this share of all does not exceed, as numpy counts
                by_numpy = np.quantile(spectrum.nodes, SHARES[q], method="inverted_cdf")
                assert drawn[k] == pytest.approx(axis.position(np.array([by_numpy]))[0])


def test_a_ridge_is_as_high_as_eigenvalues_are_dense():
    nodes = np.array([-1.0, 0.5, 0.5, 0.5, 0.5])
    spectrum = Spectrum("fc", "a", 5, nodes, np.full(5, 0.2), "dense", zero_band=1e-9)
    plot = evolution_plot([spectrum], ["a"], scale="linear")
    x, y = plot.frames["evolution-now__x"][0, 1:-1], -plot.frames["evolution-now__y"][0, 1:-1]
    single, four = y[np.abs(x + 1.0) < 0.05].max(), y[np.abs(x - 0.5) < 0.05].max()
    assert x[np.argmax(y)] == pytest.approx(0.5, abs=float(x[1] - x[0]))
    lone = evolution_plot([spectrum], ["a"], scale="linear").root.y_range
    decade = (four - single) / np.log10(4)  # four eigenvalues at one place are four times as dense as one
    assert decade == pytest.approx(2.2 / 2, rel=0.1)  # bins: the peak of a Gaussian lies within one of two cells
    assert lone.end < -four
    assert np.all(y >= -FLOAT32)


def test_what_is_missing_is_hatched_and_said_and_nowhere_drawn():
    missing = [k for layer, k in MISSING if layer == "conv1"]
    for shape in FORMS:
        _, plot = of("conv1", shape)
        assert set(np.flatnonzero(column(plot, "evolution-cells", "missing"))) == set(missing)
        said = plot.root.select_one({"name": "evolution-cells"}).data["ends"]
        assert [k for k, text in enumerate(said) if text == WORDS] == sorted(missing)
        assert set(np.flatnonzero(np.isfinite(plot.frames["evolution-missing__x"][:, 0]))) == set(missing)
        assert WORDS in [key.words for key in plot.legend]
        for k in missing:
            assert "is not computed yet" in plot.sentences[k]
            assert "not computed yet" in plot.titles[k]
    _, plot = of("conv1", "ridge")
    assert np.isnan(plot.frames["evolution-now__y"][missing]).all()
    assert len(plot.root.select_one({"name": "evolution-ridges"}).data["xs"]) == 12 - len(missing)


@pytest.mark.parametrize("shape", FORMS)
def test_nothing_known_is_a_picture_too(shape):
    plot = evolution_plot([None] * 3, list("abc"), layer="fc", shape=shape, held_out=[None] * 3)
    assert column(plot, "evolution-cells", "missing").tolist() == [1, 1, 1]
    assert plot.sentences[0] == (
        "fc at a is not computed yet. On held-out data: not computed yet. 0 of 3 snapshots computed."
    )
    assert evolution_plot([], [], shape=shape).count == 0


def test_sentences_compare_with_the_known_snapshot_before():
    spectra, plot = of("head", "ridge")
    ratio = spectra[6].largest / spectra[4].largest  # the one between is missing
    assert f"{ratio:.3g} times that at step-{STEPS[4]:06d}" in plot.sentences[6]
    assert plot.sentences[6].endswith("11 of 12 snapshots computed.")
    assert "times that" not in plot.sentences[0]


@pytest.mark.parametrize("shape", FORMS)
def test_names_from_models_are_text(shape):
    _, plot = of(HOSTILE, shape, over=True)
    assert "$$" not in "".join([*plot.titles, *plot.sentences])
    cells = plot.root.select_one({"name": "evolution-cells"}).data
    assert all("On held-out data" in text for text in cells["beside"])


def test_of_many_snapshots_some_ridges_are_drawn_and_the_current_one_always():
    spectrum = of("conv1", "ridge")[0][0]
    plot = evolution_plot([spectrum] * 100, [str(k) for k in range(100)])
    assert len(plot.root.select_one({"name": "evolution-ridges"}).data["xs"]) <= MOST
    assert np.isfinite(plot.frames["evolution-now__y"]).all()
    assert len(plot.root.select_one({"name": "evolution-cells"}).data["y"]) == 100


@pytest.mark.parametrize("shape", FORMS)
def test_what_arrives_is_carried_over_without_a_new_figure(shape):
    full, fresh = of("conv2", shape)
    before = evolution_plot([*full[:6], *[None] * 6], CannedSession().snapshots.labels, layer="conv2", shape=shape)
    assert before.structure == fresh.structure
    refresh(before.root, fresh)
    for name in ("evolution-cells", "evolution-ridges" if shape == "ridge" else "evolution-lines"):
        new, old = (plot.root.select_one({"name": name}).data for plot in (fresh, before))
        for key in new:
            np.testing.assert_array_equal(np.asarray(new[key]), np.asarray(old[key]))


def test_ribbons_are_torn_where_nothing_is_known():
    low = np.array([0.0, 1.0, np.nan, 2.0, np.nan])
    x, y = ribbon(low, low + 1)
    nan = np.nan
    np.testing.assert_array_equal(x, [0, 1, 1, 0, nan, 3 - ALONE, 3 + ALONE, 3 + ALONE, 3 - ALONE])
    np.testing.assert_array_equal(y, [0, 1, 2, 1, nan, 2, 2, 3, 3])
    assert ribbon(np.full(3, nan), np.ones(3))[0].size == 0


# ---- the view


@pytest.fixture
def view():
    made = views.Evolution(CannedSession(missing=set(), has_held_out=True), layer="conv1", snapshot=3)
    made.settled(20)
    yield made
    made.close()


def test_a_click_leads_to_the_snapshot(view):
    view.pane._heard(None, {"kind": "pick", "index": 7}, [])
    assert (view.snapshot, view.layer) == (7, "conv1")
    view.pane._heard(None, {"kind": "pick", "index": 12}, [])
    assert view.snapshot == 7


def test_the_shape_is_a_choice_of_the_view_alone(view):
    assert repr(view).endswith("shape='ridge', scale='symlog')")
    view.shape = "quantiles"
    view.settled(20)
    assert json.loads(view.pane.spec)["legend"][0][0] == "λmax"
    other = views.Evolution(view)
    assert (other.shape, view.shape) == ("ridge", "quantiles")
    other.close()
    with pytest.raises(SettingError, match="ridge"):
        view.shape = "pie"
    with pytest.raises(SettingError, match="ridge"):
        views.Evolution(view, shape="pie")


def test_held_out_data_are_drawn_when_they_are_shown(view):
    view.split = "both"
    view.settled(20)
    assert any("held-out" in words for words, _ in json.loads(view.pane.spec)["legend"])
    view.split = "held_out"
    view.settled(20)
    assert "held-out data" in json.loads(view.sentence.texts)[0]
    assert view.note == ""

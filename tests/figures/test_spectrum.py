"""One snapshot: what is drawn is what the spectrum says, and what is not known is said."""

import numpy as np
import pytest
from canned import GAP, HOSTILE, spectrum
from drawn import bars, frame, line, svg_texts

from lhexplore import figures
from lhexplore.diagnosis import Course
from lhexplore.errors import SettingError, UnknownLayerError, UnknownSnapshotError
from lhexplore.figures.scales import ValueScale, scale_of
from lhexplore.figures.shapes import cumulative, density, quantile
from lhexplore.spectrum import Spectrum

LAST = "step-001024"
ROUND = 1e-9  # of sums of some hundred floats


def exact(values, **more):
    values = np.asarray(values, float)
    return Spectrum(None, "now", len(values), values, np.full(len(values), 1 / len(values)), "dense", **more)


@pytest.mark.parametrize("scale", ["symlog", "linear"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_bars_count_every_eigenvalue_where_it_lies(session, layer, scale):
    found = session.cached(layer, LAST)
    counts, edges = bars(frame(figures.spectrum(session, layer, scale=scale)), f"{layer}, {LAST}")
    assert counts.sum() == pytest.approx(found.size, rel=ROUND)
    expected = np.histogram(found.nodes, edges, weights=found.size * found.weights)[0]
    np.testing.assert_allclose(counts, expected, atol=ROUND)


def test_on_two_logarithmic_axes_both_signs_are_counted(session):
    found = session.cached("conv1", LAST)
    axes = frame(figures.spectrum(session, "conv1", scale="loglog"))
    for sign, word in ((1, "λ > 0"), (-1, "λ < 0")):
        counts, edges = bars(axes, f"conv1, {LAST}, {word}")
        expected = np.histogram(sign * found.nodes, edges)[0]
        np.testing.assert_allclose(counts, expected, atol=ROUND)
        assert counts.sum() == pytest.approx((sign * found.nodes >= edges[0]).sum(), rel=ROUND)


def test_whiskers_are_two_standard_errors(session):
    found = session.cached("conv2", LAST)
    axes = frame(figures.spectrum(session, "conv2"))
    counts, edges = bars(axes, f"conv2, {LAST}")
    error = 2 * found.size * found.histogram(edges).stderr
    drawn = (error > 0) & (counts > axes.get_ylim()[0])
    whiskers = next(c for c in axes.collections if len(c.get_paths()) == drawn.sum() and drawn.sum() > 3)
    ends = np.array([path.vertices[:, 1] for path in whiskers.get_paths()])
    np.testing.assert_allclose(ends[:, 1], (counts + error)[drawn])
    np.testing.assert_allclose(ends[:, 0], np.maximum(counts - error, 1e-12)[drawn])


def test_the_density_integrates_to_the_number_of_eigenvalues(session):
    found = session.cached("conv1", LAST)
    scale = scale_of([found])
    curve = density(found, scale)
    assert np.trapezoid(curve.y, scale.place(curve.x)) == pytest.approx(found.size, rel=1e-3)
    drawn = line(frame(figures.spectrum(session, "conv1", kind="density")), f"conv1, {LAST}")
    np.testing.assert_allclose(drawn, [curve.x, curve.y])


def test_the_density_on_a_linear_axis_is_that_of_the_spectrum():
    """A second witness: Spectrum.density sums Gaussians at the nodes instead of at cells."""
    found = exact(np.linspace(0.2, 1, 40))
    scale = scale_of([found], "linear")
    curve = density(found, scale)
    width = (scale.high - scale.low) / 80
    # Cells are a 25th of the width wide, so a Gaussian is moved by a 50th of it at most.
    np.testing.assert_allclose(curve.y, found.size * found.density(curve.x, width=width), atol=0.02 * curve.y.max())


def test_the_cumulative_curve_is_the_share_up_to_each_value(session):
    found = session.cached("conv1", LAST)
    x, y = line(frame(figures.spectrum(session, "conv1", kind="cumulative")), f"conv1, {LAST}")
    np.testing.assert_allclose(y[1:-1], np.arange(1, found.size + 1) / found.size)
    np.testing.assert_array_equal(x[1:-1], found.eigenvalues)


def test_an_estimated_cumulative_curve_agrees_with_its_weights(session):
    found = session.cached("conv2", LAST)
    curve = cumulative(found, scale_of([found]))
    expected = [found.weights[found.nodes < at].sum() for at in curve.x]
    np.testing.assert_allclose(curve.y, expected, atol=ROUND)
    assert (curve.error[(curve.y > 0.05) & (curve.y < 0.95)] > 0).all()


def test_over_sizes_it_is_the_rank_of_each_eigenvalue():
    axes = frame(figures.spectrum(exact([-3.0, -1.0, 2.0, 4.0, 8.0]), kind="cumulative", scale="loglog"))
    np.testing.assert_allclose(line(axes, "whole network, now, λ > 0"), [[2, 4, 8], [3, 2, 1]], rtol=1e-12)
    np.testing.assert_allclose(line(axes, "whole network, now, λ < 0"), [[1, 3], [2, 1]], rtol=1e-12)


def test_the_rug_has_a_line_per_eigenvalue(session):
    axes = frame(figures.spectrum(session, "conv1", kind="rug"))
    rug = next(c for c in axes.collections if c.get_label() == f"conv1, {LAST}")
    np.testing.assert_array_equal([path.vertices[0, 0] for path in rug.get_paths()], session.cached("conv1").nodes)


def test_held_out_data_lie_over_those_of_training(session):
    axes = frame(figures.spectrum(session, "conv1", held_out=True))
    counts, edges = bars(axes, "held-out data")
    expected = np.histogram(GAP * session.cached("conv1").nodes, edges)[0]
    np.testing.assert_allclose(counts, expected, atol=ROUND)
    assert {t.get_text() for t in axes.get_legend().get_texts()} == {"training data", "held-out data"}


def test_overlays_are_layers_places_and_bare_spectra(session):
    bare = spectrum(HOSTILE, 3, "step-000004")
    picture = figures.spectrum(session, "conv1", overlay=["head", ("conv2", 0), bare])
    assert len(frame(picture).get_legend().get_texts()) == 4
    counts, _ = bars(frame(picture), "conv2, step-000000")
    assert counts.sum() == pytest.approx(3000)
    assert "Over it: head, step-001024; conv2, step-000000; <img src" in picture.caption


def test_bare_spectra_and_courses_do_without_a_session(session):
    a, b = session.cached("conv1", 0), session.cached("conv1", LAST)
    axes = frame(figures.spectrum([a, b]))
    assert [t.get_text() for t in axes.get_legend().get_texts()] == ["step-000000", LAST]
    course = Course(("step-000000", LAST), {("conv1", "step-000000"): a, ("conv1", LAST): b})
    one, two = (bars(frame(figures.spectrum(s, "conv1")), f"conv1, {LAST}") for s in (course, session))
    np.testing.assert_array_equal(one[0], two[0])


def test_findings_stand_at_their_eigenvalue(session):
    picture = figures.spectrum(session, "conv1", "step-000008", findings=True)
    flags = {artist.get_text(): artist.xy[0] for artist in frame(picture).texts}
    found = session.cached("conv1", "step-000008")
    assert flags["D2, D7"] == found.largest
    assert flags["D6"] == found.smallest
    assert "Marked: D2, D2 speaks; D7, D7 speaks; D6, D6 speaks." in picture.caption
    assert "D2, D7" not in svg_texts(figures.spectrum(session, "conv1", "step-000008"))


def test_outliers_are_marked_and_counted():
    values = np.concatenate([np.geomspace(1e-4, 1e-2, 60), [5.0, 6.0, 7.0]])
    axes = frame(figures.spectrum(exact(values)))
    marks = next(found for found in axes.lines if found.get_marker() == "v")
    assert sorted(marks.get_xdata()) == [5.0, 6.0, 7.0]
    assert "3 outliers, λmax 7" in [found.get_text() for found in axes.texts]


def test_what_has_no_sign_is_shaded():
    axes = frame(figures.spectrum(exact([-1e-3, 1e-9, 0.1, 1.0], zero_band=1e-2), scale="linear"))
    band = next(patch for patch in axes.patches if patch.get_x() < 0 < patch.get_x() + patch.get_width())
    assert (band.get_x(), band.get_x() + band.get_width()) == pytest.approx((-1e-2, 1e-2))


HARD = {
    "one eigenvalue": [3.0],
    "all zero": [0.0, 0.0, 0.0],
    "one value many times": [2.0] * 50,
    "only negative": [-5.0, -0.1, -0.01],
    "enormous": [1e-300, 1.0, 1e300],
    "tiny": [-1e-300, 1e-301, 2e-300],
    "far apart": [-1e-12, 1e-9, 1e6],
}


@pytest.mark.parametrize("kind", ["histogram", "density", "cumulative", "rug"])
@pytest.mark.parametrize("scale", ["symlog", "linear", "loglog"])
@pytest.mark.parametrize("values", HARD.values(), ids=HARD)
def test_hard_spectra_are_drawn(values, scale, kind):
    found = exact(values)
    picture = figures.spectrum(found, kind=kind, scale=scale)
    assert "λ" in "".join(svg_texts(picture))
    low, high = frame(picture).get_xlim()
    assert np.isfinite([low, high]).all()
    assert low < high
    if scale != "loglog":
        assert low <= found.smallest <= found.largest <= high


def test_a_single_probe_has_no_whiskers():
    found = Spectrum(
        "a", "now", 100, np.array([0.1, 1.0, 2.0]), np.array([0.7, 0.2, 0.1]), "lanczos", steps=3, probes=1
    )
    for kind in ("histogram", "density", "cumulative"):
        figures.spectrum(found, kind=kind)._repr_svg_()


def test_what_is_missing_is_said_with_the_call(session):
    picture = figures.spectrum(session, "conv1", 2, overlay=["head"])
    call = "Not computed yet: session.compute(['conv1'], ['step-000002'])."
    assert call in picture.caption
    assert "40" not in frame(picture).get_legend().get_texts()[0].get_text()
    empty = figures.spectrum(session, "conv1", 2)
    assert empty.caption == call
    assert " ".join(" ".join(svg_texts(empty)).split()) == call
    assert session.asked == []


def test_wrong_names_and_settings_say_what_there_is(session):
    with pytest.raises(UnknownLayerError, match=r"Did you mean .*'conv1'"):
        figures.spectrum(session, "convl")
    with pytest.raises(UnknownLayerError, match="integer parameters"):
        figures.spectrum(session, "old")
    with pytest.raises(UnknownSnapshotError, match="step-001024"):
        figures.spectrum(session, "conv1", "step-1024")
    with pytest.raises(UnknownSnapshotError):
        figures.spectrum(session, "conv1", 12)
    for wrong in ({"kind": "pie"}, {"scale": "log"}, {"overlay": [3]}, {"overlay": ["conv2"] * 6}):
        with pytest.raises(SettingError):
            figures.spectrum(session, "conv1", **wrong)
    for source in (None, 3, [], "session", [1]):
        with pytest.raises(SettingError, match="Session, a Course"):
            figures.spectrum(source, "conv1")
    with pytest.raises(SettingError, match="Bare spectra"):
        figures.spectrum(session.cached("conv1"), held_out=True)
    session.has_held_out = False
    with pytest.raises(SettingError, match="held_out=loader"):
        figures.spectrum(session, "conv1", held_out=True)


def test_the_whole_network_has_two_names(session):
    assert figures.spectrum(session, None).caption == figures.spectrum(session, "whole network").caption


@pytest.mark.parametrize("kind", ["symlog", "linear", "loglog"])
def test_places_and_values_are_inverse(kind):
    scale = ValueScale(kind, -3.0 if kind != "loglog" else 1e-3, 50.0, 1e-3)
    values = np.array([1e-3, 0.2, 7.0, 50.0]) if kind == "loglog" else np.array([-3.0, -1e-4, 0.0, 5e-4, 7.0])
    np.testing.assert_allclose(scale.value(scale.place(values)), values, rtol=1e-12, atol=1e-18)


def test_the_axis_of_matplotlib_is_the_same(session):
    """Positions on paper: what `place` says, up to a linear map."""
    axes = frame(figures.spectrum(session, "conv1"))
    scale = scale_of([session.cached("conv1")])
    values = np.array([-1e-2, -1e-6, 0.0, 3e-6, 1e-3, 1.0, 20.0])
    paper = axes.transData.transform(np.column_stack([values, np.ones(7)]))[:, 0]
    slope, offset = np.polyfit(scale.place(values), paper, 1)
    np.testing.assert_allclose(slope * scale.place(values) + offset, paper, atol=0.01)


def test_quantiles_agree_with_numpy():
    values = np.sort(np.random.default_rng(3).normal(size=200))
    shares = np.array([0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0])
    np.testing.assert_array_equal(quantile(exact(values), shares), np.quantile(values, shares, method="inverted_cdf"))

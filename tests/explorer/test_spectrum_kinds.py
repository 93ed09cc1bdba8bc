"""The other kinds, scales and overlays of the spectrum figure, against counting by hand."""

import re
from itertools import pairwise

import numpy as np
import pytest
from bokeh.models import GlyphRenderer
from canned import HOSTILE, CannedSession, gauss_newton, spectrum

from lhexplore.errors import SettingError, UnknownLayerError
from lhexplore.explorer import views
from lhexplore.explorer.axes import axis_of
from lhexplore.explorer.escape import plain
from lhexplore.explorer.figures import show_frame, spectrum_plot
from lhexplore.explorer.flags import LETTER, WIDTH
from lhexplore.explorer.hub import Hub
from lhexplore.explorer.outliers import outliers_of
from lhexplore.explorer.overlays import STROKES
from lhexplore.explorer.spectrum_figure import KINDS
from lhexplore.spectrum import Spectrum

FLOAT32 = 1e-5  # frames are rounded to float32, and shares are powers of ten in them
SMOOTHING = 2e-3  # cells of the smoothing are 1/1600 of the axis; tails of a Gaussian beyond the grid
PATIENCE = 20  # seconds; only a hang takes longer
LABELS = [f"step {k}" for k in range(12)]
SCALES = ("symlog", "linear", "loglog")


def row(layer):
    return [spectrum(layer, k, LABELS[k]) for k in range(12)]


def exact(*values, band=0.0):
    return Spectrum(
        "fc", "a", len(values), np.array(values), np.full(len(values), 1 / len(values)), "dense", zero_band=band
    )


def of_sign(found, sign):
    """How many eigenvalues are positive, zero or negative."""
    signs = np.where(np.abs(found.nodes) <= found.zero_band, 0, np.sign(found.nodes))
    return found.size * found.weights[signs == sign].sum()


# ---- the axis of sizes


def test_on_an_axis_of_sizes_both_signs_stand_at_the_same_place():
    axis = axis_of([exact(-2.0, 1e-4, 3.0)], scale="loglog")
    values = np.geomspace(1e-6, 3, 20)
    np.testing.assert_array_equal(axis.position(values), axis.position(-values))
    np.testing.assert_allclose(axis.value(axis.position(values)), values)
    assert axis.start == 0.0 == axis.position(np.zeros(1))[0]
    np.testing.assert_allclose(axis.edges, -axis.edges[::-1])
    assert axis.holds(-3.0)
    assert not axis.holds(300.0)
    ticks = list(axis.ticks())
    assert ticks == sorted(set(ticks))
    assert not any("−" in text.split("10")[0] for text in axis.ticks().values())


@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_bars_and_the_outline_beside_them_count_each_sign_once(layer):
    """What is too small for the axis stands in the grey bin, whatever its sign."""
    spectra = row(layer)
    plot = spectrum_plot(spectra, LABELS, scale="loglog")
    below = [
        found.size * found.weights[found.nodes < -plot.frames["band__half"][k]].sum() for k, found in enumerate(spectra)
    ]
    for k, found in enumerate(spectra):
        assert np.nansum(plot.frames["bars__count"][k]) == pytest.approx(found.size - below[k], rel=FLOAT32)
    tops = plot.frames["minus__y"][4][1:-1:2]  # every bin's stands there twice
    if spectra[4].exact:
        assert np.nansum(tops[tops > 1.5 * plot.root.y_range.start]) == pytest.approx(below[4])
    assert "λ < 0" in [key.words for key in plot.legend]


@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_the_smooth_curve_of_sizes_loses_nothing_at_zero(layer):
    spectra = row(layer)
    plot = spectrum_plot(spectra, LABELS, kind="density", scale="loglog")
    for k, area in enumerate(np.trapezoid(plot.frames["curve__true"], plot.frames["curve__x"], axis=1)):
        assert area == pytest.approx(of_sign(spectra[k], 1) + of_sign(spectra[k], 0), rel=SMOOTHING)


# ---- cumulative, rug


@pytest.mark.parametrize("scale", ["symlog", "linear"])
@pytest.mark.parametrize("layer", ["conv1", "conv2"])
def test_the_cumulative_curve_agrees_with_counting_by_hand(layer, scale):
    spectra = row(layer)
    plot = spectrum_plot(spectra, LABELS, kind="cumulative", scale=scale)
    k = 6
    axis, found = axis_of(spectra, scale=scale), spectra[6]
    at = axis.value(np.linspace(axis.start, axis.end, plot.frames["curve__x"].shape[1]))
    values = np.where(np.abs(found.nodes) <= found.zero_band, 0.0, found.nodes)
    expected = np.array([found.weights[values <= x].sum() for x in at])
    np.testing.assert_allclose(plot.frames["curve__true"][k], expected, atol=FLOAT32)
    np.testing.assert_allclose(np.log10(plot.frames["curve__y"][k]), expected, atol=FLOAT32)
    assert list(plot.root.yaxis[0].major_label_overrides.values()) == ["0", "0.25", "0.5", "0.75", "1"]


def test_the_cumulative_numbers_of_sizes_agree_with_counting_by_hand():
    found = exact(-2.0, -0.5, 0.1, 0.5, 1.0, 4.0, 1e-9, band=1e-8)
    plot = spectrum_plot([found], ["a"], kind="cumulative", scale="loglog")
    at, above = plot.frames["curve__value"][0], plot.frames["curve__true"][0]
    for size, number in ((1e-3, 4), (0.3, 3), (0.7, 2), (2.0, 1), (4.5, 0)):
        assert above[np.searchsorted(at, size)] == pytest.approx(number)
    assert above[0] == pytest.approx(5)  # and what has no sign
    assert plot.frames["minus__y"][0][np.searchsorted(at, 1.0)] == pytest.approx(1)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("layer", ["conv1", "conv2", "head"])
def test_a_rug_has_a_line_for_every_eigenvalue(layer, scale):
    spectra = row(layer)
    plot = spectrum_plot(spectra, LABELS, kind="rug", scale=scale)
    axis = axis_of(spectra, scale=scale)
    for k, found in enumerate(spectra):
        counted = np.nansum(plot.frames["rug__count"][k])
        if scale == "loglog":
            counted += np.nansum(plot.frames["minus__count"][k])
        assert counted == pytest.approx(found.size, rel=FLOAT32)
        x = plot.frames["rug__x"][k]
        top = axis.position(np.array([found.largest]))[0]
        assert np.nanmin(np.abs(x - top)) < (axis.end - axis.start) / 500
        assert np.isnan(plot.frames["rug__low"][k]).sum() == np.isnan(x).sum()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scale", SCALES)
def test_every_kind_on_every_scale_holds_still_and_draws_nothing_where_nothing_is_known(kind, scale):
    spectra = [*row("conv1")[:2], None, *row("conv2")[3:]]
    how = {"kind": kind, "scale": scale, "held_out": row("head"), "overlay": {"head": row("head")}, "ggn": [None] * 12}
    plot = spectrum_plot(spectra, LABELS, layer="conv1", **how)
    ends = [(r.start, r.end) for r in (plot.root.x_range, plot.root.y_range)]
    for k in range(12):
        show_frame(plot, k)
    assert [(r.start, r.end) for r in (plot.root.x_range, plot.root.y_range)] == ends
    main = [key for key in plot.frames if key.split("__")[0] in ("bars", "curve", "rug", "minus", "ends", "outliers")]
    for key in main:
        if key.split("__")[1] not in ("x", "value", "low", "high") and key not in ("minus__y", "curve__y"):
            assert np.isnan(plot.frames[key][2]).all(), key
    assert "not computed yet" in plot.titles[2]
    assert spectrum_plot([None], ["a"], kind=kind, scale=scale).titles == ("this block · a · not computed yet",)


# ---- outliers


def test_the_outliers_are_those_before_the_largest_ratio():
    found = exact(*np.linspace(0.5, 1, 40), 5.0, 20.0, 80.0)
    np.testing.assert_array_equal(outliers_of(found), [80, 20, 5])
    assert outliers_of(None).size == 0
    plot = spectrum_plot([found, None], ["a", "b"], scale="symlog")
    assert [name for name in plot.words["outliers__name"][0] if name] == ["λ1", "λ2", "λ3"]
    np.testing.assert_allclose(plot.frames["outliers__value"][0], [80, 20, 5])
    assert "Above the bulk: 80, 20, 5." in plot.sentences[0]
    assert not any(plot.words["outliers__name"][1])


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("spread", [1.001, 1.05, 1.5, 3.0])
def test_no_label_stands_over_another_and_every_outlier_has_one(scale, spread):
    found = exact(-50.0, *np.linspace(0.001, 0.0011, 40), *(100 * spread**i for i in range(9)))
    plot = spectrum_plot([found], ["a"], scale=scale)
    pixel = (plot.root.x_range.end - plot.root.x_range.start) / WIDTH
    labels = sorted(
        (at, text)
        for at, text in zip(plot.frames["outliers__at"][0], plot.words["outliers__label"][0], strict=True)
        if text
    )
    for (left, one), (right, other) in pairwise(labels):
        assert right - left >= LETTER * (len(one) + len(other)) / 2 * pixel
    numbers = {
        n
        for _, text in labels
        for part in re.findall(r"λ(\d+)(?:–λ(\d+))?", text)
        for n in range(int(part[0]), int(part[1] or part[0]) + 1)
    }
    assert numbers == set(range(1, 10))
    assert any("λmin" in text for _, text in labels) == (scale == "loglog")


# ---- axes fitted to one snapshot


@pytest.mark.parametrize("kind", KINDS)
def test_axes_can_be_fitted_to_one_snapshot(kind):
    spectra = row("conv1")
    plot, one = spectrum_plot(spectra, LABELS, kind=kind, fit=0), spectrum_plot(spectra[:1], LABELS[:1], kind=kind)
    for fitted, alone in ((plot.root.x_range, one.root.x_range), (plot.root.y_range, one.root.y_range)):
        assert fitted.start == alone.start
    assert plot.root.x_range.end == one.root.x_range.end < spectrum_plot(spectra, LABELS, kind=kind).root.x_range.end


# ---- what lies over


def test_an_outline_is_the_histogram_of_what_it_is_called_after():
    mine, other = row("conv1"), row("head")
    plot = spectrum_plot(mine, LABELS, layer="conv1", overlay={"head": other}, ggn=[gauss_newton(s) for s in mine])
    alone = spectrum_plot(other, LABELS, axis=axis_of([*mine, *other]))
    np.testing.assert_allclose(
        np.nanmax(plot.frames["over1__y"], 1), np.nanmax(alone.frames["bars__count"], 1), rtol=FLOAT32
    )
    assert "ghost__y" not in plot.frames
    assert "head: from 0 to " in plot.sentences[4]
    assert "The Gauss-Newton matrix: from 0 to " in plot.sentences[4]
    dashes = [
        tuple(r.glyph.line_dash)
        for r in plot.root.select({"type": GlyphRenderer})
        if r.data_source.name.startswith("over")
    ]
    assert sorted(dashes) == sorted([STROKES[0].dash, STROKES[3].dash])
    assert {key.words for key in plot.legend} > {"head", "GGN"}


def test_strokes_are_told_apart_without_colour():
    assert len({stroke.dash for stroke in STROKES}) == len({stroke.swatch for stroke in STROKES}) == len(STROKES)


@pytest.mark.parametrize("kind", KINDS)
def test_a_hostile_name_over_a_spectrum_stays_text(kind):
    name = HOSTILE + "a" * 300
    plot = spectrum_plot(row("conv1"), LABELS, overlay={name: [None] * 12}, kind=kind)
    (key,) = [key.words for key in plot.legend if "img" in key.words]
    assert key == plain(name, longest=32)
    texts = str([plot.sentences, list(plot.root.yaxis[0].major_label_overrides.values())])
    assert not re.search(r"\$\$", texts.replace(plain("$$"), ""))
    assert len(max(re.split(r"\W", texts), key=len)) < 100
    assert "not computed yet" in plot.sentences[0]


# ---- the view


@pytest.fixture
def made():
    alive = []

    def make(session, **how):
        alive.append(views.SpectrumPlot(Hub(session), layer="conv1", **how))
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def test_what_lies_over_is_computed_when_it_is_asked_for_and_not_before(made):
    session = CannedSession(
        missing={(name, k, *more) for name in ("conv1", "head") for k in range(12) for more in ((), ("ggn",))}
    )
    plot = made(session, snapshot=3)
    plot.settled(PATIENCE)
    assert {cell[0] for cell in session.asked} == {"conv1"}
    assert not any("ggn" in cell for cell in session.asked)
    plot.overlay, plot.ggn = ["head"], True
    plot.settled(PATIENCE)
    assert sum(cell[0] == "head" for cell in session.asked) == 12
    assert sum(cell == ("conv1", cell[1], "ggn") for cell in session.asked) == 12
    assert "head: from 0 to" in plot.sentence.texts
    assert "Gauss-Newton matrix: from" in plot.sentence.texts
    plot.layer = "head"
    plot.settled(PATIENCE)
    assert "head: from" not in plot.sentence.texts  # it does not lie over itself


def test_the_list_lays_layers_over_and_takes_them_away(made):
    plot = made(CannedSession(missing=set()))
    chooser = plot.over
    assert chooser.options[0][0] == "none"
    for name in ("head", "conv2", HOSTILE):
        chooser.value = ("layer", name)
    assert plot.overlay == ("head", "conv2", HOSTILE)
    assert chooser.value == ("", "")
    chooser.value = ("layer", "whole network")
    assert plot.overlay == ("conv2", HOSTILE, "whole network")
    chooser.value = ("layer", "conv2")
    chooser.value = ("GGN", "")
    assert (plot.overlay, plot.ggn) == ((HOSTILE, "whole network"), True)
    assert chooser.options[0][0].endswith("whole network + GGN")
    chooser.value = ("none", "")
    assert (plot.overlay, plot.ggn, chooser.options[0][0]) == ((), False, "none")


def test_autoscale_fits_the_snapshot_on_show_holds_still_and_goes_back(made):
    plot = made(CannedSession(missing=set()), snapshot=0)
    plot.settled(PATIENCE)

    def ends():
        plot.settled(PATIENCE)
        axes = plot.pane._plot.root
        return axes.x_range.start, axes.x_range.end, axes.y_range.end

    wide = ends()
    plot.autoscale.click()
    narrow = ends()
    assert narrow[1] < wide[1]
    assert plot.autoscale.description == "All snapshots"
    plot.snapshot = 9
    assert ends() == narrow
    plot.autoscale.click()
    assert ends() == wide
    plot.autoscale.click()
    plot.layer = "head"
    plot.settled(PATIENCE)
    assert (plot.autoscale.fit, plot.autoscale.description) == (None, "Autoscale")


@pytest.mark.parametrize(
    ("wanted", "error", "says"),
    [
        (["conv1", "conv2", "head", HOSTILE], SettingError, "at most 3 layers, got 4"),
        (["hed"], UnknownLayerError, "head"),
        (["old"], UnknownLayerError, "integer parameters"),
    ],
)
def test_overlays_that_make_no_sense_are_refused(made, wanted, error, says):
    plot = made(CannedSession(missing=set()), overlay="head")
    with pytest.raises(error, match=says):
        plot.overlay = wanted
    assert plot.overlay == ("head",)


def test_scrubbing_sends_no_frames(made):
    plot = made(CannedSession(missing=set()), overlay=["head", "conv2"], ggn=True)
    plot.settled(PATIENCE)
    sent = []
    plot.pane.observe(sent.append, ["frames", "spec"])
    for k in range(12):
        plot.snapshot = k
    plot.settled(PATIENCE)
    assert sent == []

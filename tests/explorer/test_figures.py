import re

import numpy as np
import pytest
from bokeh.models import HoverTool, Legend
from canned import HOSTILE, CannedSession, CannedSnapshot

from lhexplore.explorer.axes import axis_of
from lhexplore.explorer.escape import markup, plain, script_json
from lhexplore.explorer.figures import (
    apply_theme,
    cell_of,
    heat_map,
    loss_plot,
    show_frame,
    snapshot_ticks,
    snapshot_words,
    spectrum_plot,
)
from lhexplore.explorer.theme import DARK, LIGHT
from lhexplore.spectrum import Spectrum

FLOAT32 = 1e-6  # frames are rounded to float32
SMOOTHING = 2e-3  # cells of the smoothing are 1/1600 of the axis; tails of a Gaussian beyond the grid
READABLE, VISIBLE = 4.5, 3.0  # contrast of text and of graphics after WCAG 2.1, 1.4.3 and 1.4.11


class Metric:
    def __init__(self, name="lambda_max", unit="loss", log=True):
        self.name, self.unit, self.log = name, unit, log


@pytest.fixture
def session():
    return CannedSession()


def layer_plot(session, layer, **settings):
    spectra = [session.cached(layer, k) for k in range(12)]
    return spectra, spectrum_plot(spectra, session.snapshots.labels, layer=layer or "whole network", **settings)


def all_plots(session):
    losses = [session.losses(k) for k in range(12)]
    values = np.array([[1.0, np.nan, -2.0]])
    return [
        layer_plot(session, "conv1")[1],
        layer_plot(session, "conv2", kind="density", scale="linear")[1],
        loss_plot(session.snapshots, losses),
        loss_plot(session.snapshots, [{}] * 12),
        heat_map(values, ["fc"], list("abc"), metric=Metric()),
    ]


# ---- spectrum


@pytest.mark.parametrize("scale", ["symlog", "linear"])
@pytest.mark.parametrize("layer", ["conv1", "conv2", "head", HOSTILE, None])
def test_bars_count_every_eigenvalue_once(session, layer, scale):
    spectra, plot = layer_plot(session, layer, scale=scale)
    totals = np.nansum(plot.frames["bars__count"], axis=1)
    for known, total in zip(spectra, totals, strict=True):
        if known is not None:
            assert total == pytest.approx(known.size, rel=FLOAT32 * 10)


def test_bars_agree_with_counting_by_hand(session):
    spectra, plot = layer_plot(session, "conv1")
    k = 6
    for low, high, count in zip(*(plot.frames[f"bars__{c}"][k] for c in ("from", "to", "count")), strict=True):
        expected = np.sum((spectra[k].nodes >= low) & (spectra[k].nodes < high)) if np.isfinite(low) else 0
        assert (0 if np.isnan(count) else count) == expected


def test_the_zero_band_is_one_bin(session):
    spectra, plot = layer_plot(session, "conv1")
    axis = axis_of(spectra)
    half = plot.frames["band__half"][5, 0]
    assert half == pytest.approx(max(axis.threshold, spectra[5].zero_band))
    middle = np.flatnonzero((plot.frames["bars__from"][5] < 0) & (plot.frames["bars__to"][5] > 0))
    assert len(middle) == 1
    assert plot.frames["bars__to"][5, middle[0]] == pytest.approx(half)
    assert plot.frames["bars__count"][5, middle[0]] == np.sum(np.abs(spectra[5].nodes) < half)


def test_a_wide_zero_band_swallows_its_bins():
    nodes = np.array([-1e-3, -1e-5, 1e-5, 1e-3, 1.0])
    one, other = (
        Spectrum("fc", label, 5, nodes, np.full(5, 0.2), "dense", zero_band=band)
        for label, band in (("a", 0.0), ("b", 0.1))
    )
    plot = spectrum_plot([one, other], ["a", "b"])
    inside = np.nanmax(np.where(plot.frames["bars__from"] < 0, plot.frames["bars__count"], np.nan), axis=1)
    np.testing.assert_array_equal(inside, [1, 4])
    assert "4 in the zero band" in plot.sentences[1]


def test_missing_snapshots_are_empty_and_say_so(session):
    spectra, plot = layer_plot(session, "conv1")
    for k, known in enumerate(spectra):
        drawn = np.concatenate([plot.frames[key][k] for key in plot.frames if not key.startswith("missing")])
        assert np.isnan(drawn).all() == (known is None)
        assert np.isfinite(plot.frames["missing__x"][k]).all() == (known is None)
        assert ("not computed yet" in plot.titles[k]) == (known is None)
        assert ("not computed yet" in plot.sentences[k]) == (known is None)


@pytest.mark.parametrize("kind", ["histogram", "density"])
@pytest.mark.parametrize("scale", ["symlog", "linear"])
def test_nothing_known_at_all_is_a_figure_too(kind, scale):
    plot = spectrum_plot([None, None], ["a", "b"], layer="fc", kind=kind, scale=scale)
    assert plot.titles == ("fc · a · not computed yet", "fc · b · not computed yet")
    assert plot.root.x_range.start < 0 < plot.root.x_range.end


def test_whiskers_are_the_standard_errors_of_the_shares(session):
    spectra, plot = layer_plot(session, "conv2")
    k = 4
    bars = np.isfinite(plot.frames["bars__from"][k])
    edges = np.append(plot.frames["bars__from"][k][bars], plot.frames["bars__to"][k][bars][-1]).astype(float)
    rows = np.array([np.histogram(n, edges, weights=w)[0] for n, w in spectra[k].per_probe()]) * spectra[k].size
    expected = spectra[k].histogram(edges).stderr * spectra[k].size
    assert (expected >= rows.std(axis=0, ddof=1) / np.sqrt(len(rows))).all()  # and more, for few probes
    got = plot.frames["bars__stderr"][k][bars]
    filled = rows.sum(axis=0) > 0
    np.testing.assert_allclose(got[filled], expected[filled], rtol=1e-4)
    high = plot.frames["whiskers__high"][k][bars][filled]
    np.testing.assert_allclose(high, (rows.mean(axis=0) + expected)[filled], rtol=1e-4)


def test_exact_spectra_have_no_whiskers(session):
    _, plot = layer_plot(session, "conv1")
    assert np.isnan(plot.frames["whiskers__high"]).all()
    assert "± standard error" not in [key.words for key in plot.legend]
    assert "± standard error" in [key.words for key in layer_plot(session, "conv2")[1].legend]


def test_ends_are_hollow_where_not_settled(session):
    spectra, plot = layer_plot(session, "conv2")
    np.testing.assert_array_equal(plot.frames["ends__fill"][0], [0, 1])  # the canned λmin has a large residual
    np.testing.assert_allclose(plot.frames["ends__value"][0], [spectra[0].smallest, spectra[0].largest], rtol=FLOAT32)
    assert plot.frames["ends__low"][0, 0] < plot.frames["ends__x"][0, 0] < plot.frames["ends__high"][0, 0]
    assert layer_plot(session, "conv1")[1].frames["ends__fill"][0].tolist() == [1, 1]


def test_axes_do_not_depend_on_the_frame(session):
    _, plot = layer_plot(session, "conv1")
    before = (plot.root.x_range.start, plot.root.x_range.end, plot.root.y_range.start, plot.root.y_range.end)
    for k in range(12):
        show_frame(plot, k)
    after = (plot.root.x_range.start, plot.root.x_range.end, plot.root.y_range.start, plot.root.y_range.end)
    assert after == before
    assert np.nanmin(plot.frames["bars__left"]) >= before[0] - FLOAT32 * 10
    assert np.nanmax(plot.frames["bars__right"]) <= before[1] + FLOAT32 * 10
    assert before[3] > np.nanmax(plot.frames["bars__top"])


@pytest.mark.parametrize("layer", ["conv1", "conv2"])
@pytest.mark.parametrize("scale", ["symlog", "linear"])
def test_the_smooth_curve_holds_as_many_eigenvalues(session, layer, scale):
    spectra, plot = layer_plot(session, layer, kind="density", scale=scale)
    area = np.trapezoid(plot.frames["curve__true"], plot.frames["curve__x"], axis=1)
    for known, total in zip(spectra, area, strict=True):
        if known is not None:
            assert total == pytest.approx(known.size, rel=SMOOTHING)


def test_the_smooth_curve_agrees_with_the_spectrum_on_a_linear_axis(session):
    spectra, plot = layer_plot(session, HOSTILE, kind="density", scale="linear")
    grid = plot.frames["curve__value"][5].astype(float)
    width = (grid[-1] - grid[0]) / 80
    expected = spectra[5].size * spectra[5].density(grid, width=width)
    got = plot.frames["curve__true"][5]
    np.testing.assert_allclose(got, expected, atol=0.01 * expected.max())


def test_sentences_say_what_the_figure_shows(session):
    spectra, plot = layer_plot(session, "head")
    known = spectra[4]
    positive = int(np.sum(known.nodes > known.zero_band))
    assert f"{positive} positive" in plot.sentences[4]
    assert "0 negative" in plot.sentences[4]
    assert "from 0 to" in plot.sentences[4]  # round-off below zero has no sign
    estimate = layer_plot(session, "conv2")[1].sentences[4]
    assert "Estimate, 5 probes × 20 steps." in estimate
    assert "about" in estimate


# ---- losses


def test_losses_stand_on_a_log_axis_when_they_span_decades(session):
    losses = [{"loss": 10.0**-k} for k in range(12)]
    assert type(loss_plot(session.snapshots, losses).root.y_scale).__name__ == "LogScale"
    losses = [{"loss": 1 + 0.1 * k} for k in range(12)]
    assert type(loss_plot(session.snapshots, losses).root.y_scale).__name__ == "LinearScale"


def test_losses_are_drawn_as_recorded_with_gaps(session):
    losses = [{"loss": 1.0 + k, "val_loss": 2.0 + k} if k != 3 else {"lr": 0.5} for k in range(12)]
    plot = loss_plot(session.snapshots, losses)
    data = plot.root.select_one({"name": "losses"}).data
    assert np.isnan(data["y0"][3])
    assert data["y1"][4] == 6
    assert plot.sentences[3].endswith("no loss recorded.")
    assert "training loss 5, val loss 6" in plot.sentences[4]
    np.testing.assert_array_equal(plot.frames["loss-now__x"].ravel(), np.arange(12))


BOTH = {"accuracy": 0.9, "loss": 1.0, "held_out_accuracy": 0.8, "held_out_loss": 1.1}


def test_accuracies_stand_on_an_axis_of_their_own_from_0_to_1(session):
    plot, bare = (loss_plot(session.snapshots, [row] * 12) for row in (BOTH, {"loss": 1.0, "held_out_loss": 1.1}))
    assert plot.sentences[0].endswith(
        "training loss 1, held-out loss 1.1, training accuracy 0.9, held-out accuracy 0.8."
    )
    left, right = plot.root.y_range, plot.root.extra_y_ranges["accuracy"]
    assert (left.start, left.end) == (bare.root.y_range.start, bare.root.y_range.end)
    assert right.start < 0 < 1 < right.end
    assert [axis.axis_label for axis in plot.root.right] == ["accuracy"]
    others = loss_plot(session.snapshots, [{"loss": 1.0, "accuracy": 0.001 * k} for k in range(12)])
    ends = others.root.extra_y_ranges["accuracy"]
    decades = loss_plot(session.snapshots, [{"loss": 10.0**-k, "accuracy": 0.5} for k in range(12)]).root
    kinds = [type(scale).__name__ for scale in (decades.y_scale, decades.extra_y_scales["accuracy"])]
    assert kinds == ["LogScale", "LinearScale"]
    assert (ends.start, ends.end) == (right.start, right.end)
    lines = {r.glyph.y: r for r in plot.root.renderers if type(r.glyph).__name__ == "Line"}
    assert [lines[f"y{i}"].y_range_name for i in range(4)] == ["default", "default", "accuracy", "accuracy"]


def test_an_accuracy_has_the_colour_of_its_loss_and_is_told_apart_without_it(session):
    for row in (BOTH, {"val_loss": 1.0, "val_acc": 0.5, "train_acc": 0.5}, {f"B {k}": v for k, v in BOTH.items()}):
        legend = loss_plot(session.snapshots, [row] * 12).legend
        assert len({tuple(shape for shape, _ in key.marks) for key in legend}) == len(legend)
        roles = {key.words: key.marks[0][1] for key in legend}
        pairs = [(name, name.replace("loss", "accuracy")) for name in roles if "loss" in name]
        pairs = [(loss, name if name in roles else "val acc") for loss, name in pairs]
        assert all(roles[loss] == roles[accuracy] for loss, accuracy in pairs)
    alone = loss_plot(session.snapshots, [{"loss": 1.0, "held_out_accuracy": 0.5}] * 12).legend
    assert [key.marks[0] for key in alone] == [("line", "train"), ("dots", "held_out")]


@pytest.mark.parametrize("row", [{}, {"accuracy": 93.5}, {"accuracy": np.nan}, {"lr": 0.1, "fraction": 0.5}])
def test_nothing_changes_where_no_accuracy_is_known(session, row):
    plot, bare = (loss_plot(session.snapshots, [{"loss": 1.0, **more}] * 12) for more in (row, {}))
    assert plot.structure == bare.structure
    assert (plot.root.height, plot.sentences) == (bare.root.height, bare.sentences)
    assert not plot.root.right


def test_accuracies_alone_are_drawn(session):
    plot = loss_plot(session.snapshots, [{"accuracy": 0.5}] * 12)
    assert plot.sentences[0].endswith(": training accuracy 0.5.")
    assert plot.root.yaxis[0].axis_label == ""
    assert not any("text" in r.data_source.data for r in plot.root.renderers)


def test_no_losses_are_said_in_words(session):
    plot = loss_plot(session.snapshots, [{}] * 12)
    texts = [t for r in plot.root.renderers for t in r.data_source.data.get("text", [])]
    assert texts == ["no losses were recorded"]
    assert all("no loss recorded" in s for s in plot.sentences)


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_any_number_of_snapshots(count):
    rows = [CannedSnapshot(f"step {k}", k, None, {}) for k in range(count)]
    plot = loss_plot(rows, [{"loss": 1.0}] * count)
    assert plot.count == count
    ticks = list(snapshot_ticks(rows))
    assert len(ticks) <= 15
    if count:
        assert ticks[0] == 0
        assert ticks[-1] == count - 1


@pytest.mark.parametrize(
    ("label", "step", "epoch", "words"),
    [
        ("step-000016", 16, 0.25, "step 16, epoch 0.25"),
        ("step 1024", 1024, None, "step 1,024"),
        ("best", 30, 2.0, "best, step 30, epoch 2"),
        ("now", None, None, "now"),
        ("checkpoint-500", 500, None, "step 500"),
        ("run2-5", 5, None, "run2-5, step 5"),
    ],
)
def test_snapshots_are_called_by_name_step_and_epoch(label, step, epoch, words):
    assert snapshot_words(CannedSnapshot(label, step, epoch, {})) == words


# ---- map


def test_unknown_cells_are_hatched_and_have_no_colour():
    values = np.array([[1.0, np.nan], [10.0, 100.0]])
    plot = heat_map(values, ["a", "b"], ["s", "t"], metric=Metric())
    data = plot.root.select_one({"name": "heat-cells"}).data
    np.testing.assert_array_equal(data["missing"], [0, 1, 0, 0])
    np.testing.assert_array_equal(np.isnan(data["colour"]), [False, True, False, False])
    assert data["words"][1] == "not computed"
    assert [key.words for key in plot.legend] == ["not computed"]
    assert heat_map(np.ones((2, 2)), ["a", "b"], ["s", "t"], metric=Metric()).legend == ()
    assert plot.root.select_one({"name": "heat-colours"}).nan_color == "rgba(0, 0, 0, 0)"
    assert "1 of 2 layers computed" in plot.sentences[1]
    np.testing.assert_allclose(np.diff(data["colour"][[0, 2, 3]]), [1, 1])  # equal ratios, equal steps


def test_values_of_both_signs_get_a_diverging_palette_around_zero():
    plot = heat_map(np.array([[-1.0, 0.0, 3.0]]), ["a"], list("xyz"), metric=Metric(log=False))
    mapper = plot.root.select_one({"name": "heat-colours"})
    assert (mapper.low, mapper.high) == (-3, 3)
    assert list(mapper.palette) == list(LIGHT["diverging"])
    one_sign = heat_map(np.array([[1.0, 2.0]]), ["a"], list("xy"), metric=Metric(log=False))
    assert list(one_sign.root.select_one({"name": "heat-colours"}).palette) == list(LIGHT["sequential"])


@pytest.mark.parametrize(
    "values",
    [np.full((2, 3), np.nan), np.zeros((2, 3)), np.full((2, 3), 5.0), np.array([[np.inf, 1.0, -1.0]] * 2)],
    ids=["unknown", "zero", "constant", "infinite"],
)
@pytest.mark.parametrize("log", [True, False])
def test_degenerate_maps(values, log):
    plot = heat_map(values, ["a", "b"], list("xyz"), metric=Metric(log=log))
    mapper = plot.root.select_one({"name": "heat-colours"})
    assert mapper.low < mapper.high
    assert np.isfinite([mapper.low, mapper.high]).all()


def test_a_tap_finds_its_cell():
    values = np.arange(12.0).reshape(3, 4)
    data = (
        heat_map(values, list("abc"), list("wxyz"), metric=Metric(log=False))
        .root.select_one({"name": "heat-cells"})
        .data
    )
    for index in range(12):
        layer, snapshot = cell_of(index, 4)
        assert (data["y"][index], data["x"][index]) == (layer, snapshot)
        assert data["words"][index].split()[0] == f"{values[layer, snapshot]:g}"


def test_the_frame_of_the_map_follows_the_snapshot_in_the_chosen_row():
    plot = heat_map(np.ones((3, 4)), list("abc"), list("wxyz"), metric=Metric(), layer=2)
    show_frame(plot, 1)
    now = plot.root.select_one({"name": "heat-now"}).data
    assert (now["x"][0], now["y"][0]) == (1, 2)


# ---- all of them


def test_figures_are_transparent_and_without_logo(session):
    for plot in all_plots(session):
        assert plot.root.background_fill_color is None
        assert plot.root.border_fill_color is None
        assert plot.root.toolbar.logo is None
        assert plot.root.sizing_mode == "stretch_width"


def test_legends_are_no_part_of_what_is_painted_and_their_colours_are_known(session):
    for plot in all_plots(session):
        assert not plot.root.select({"type": Legend})
        for key in plot.legend:
            assert key.words == plain(key.words)
            assert all(role in LIGHT and role in DARK for _, role in key.marks)


def test_losses_are_called_as_people_call_them(session):
    names = {"loss": 1.0, "held_out_loss": 2.0, "val_loss": 3.0}
    assert [key.words for key in loss_plot(session.snapshots, [names] * 12).legend] == [
        "training loss", "held-out loss", "val loss",
    ]  # fmt: skip
    alike = loss_plot(session.snapshots, [{"loss": 1.0, "train_loss": 2.0}] * 12)
    assert [key.words for key in alike.legend] == ["loss", "train_loss"]  # else nobody could tell


def test_tooltips_are_text_and_name_columns_only(session):
    hostile = {"@label{safe} loss": 1.0}
    plots = [*all_plots(session), loss_plot(session.snapshots, [hostile] * 12)]
    for plot in plots:
        for tool in plot.root.select({"type": HoverTool}):
            assert isinstance(tool.tooltips, list)  # text nodes; a string would be read as HTML
            assert not re.search(r"safe|[{}<>$]", str(tool.tooltips))
            for name in re.findall(r"@(\w+)", str(tool.tooltips)):
                assert all(name in renderer.data_source.data for renderer in tool.renderers), name


def test_hostile_names_start_no_formula_and_no_new_line():
    name = "a$$b$$\n\u202ec\x00\\[d\\(" + "e" * 100
    shown = plain(name)
    assert not re.search(r"\$\$|\\\[|\\\(|[\n\x00\u202e]", shown)
    assert len(shown) < 70
    plot = spectrum_plot([None], [name], layer=name)
    assert not re.search(r"\$\$|\\\[|\\\(|[\n\x00\u202e]", plot.titles[0] + plot.sentences[0])


def test_markup_and_script_json_escape():
    assert markup("<a href=\"x\" b='y'>&") == "&lt;a href=&quot;x&quot; b=&#x27;y&#x27;&gt;&amp;"
    text = script_json({"</script><!--": [float("nan"), float("inf"), 1.5, "\u2028&"]})
    assert not re.search("[<>&\u2028]", text)
    assert "null,null,1.5" in text


def test_theme_switches_every_coloured_part_and_back(session):
    for plot in all_plots(session):
        light = _colours(plot.root)
        apply_theme(plot.root, True)
        dark = _colours(plot.root)
        assert light.keys() == dark.keys()
        assert dark != light
        apply_theme(plot.root, False)
        assert _colours(plot.root) == light


def test_text_and_marks_can_be_read_on_both_pages():
    for colours, page in ((LIGHT, "#ffffff"), (DARK, "#111111")):
        assert _contrast(colours["text"], page) >= READABLE
        for role in ("bar", "ends", "train", "held_out", "third", "fourth", "marker", "whisker"):
            assert _contrast(colours[role], page) >= VISIBLE, role


def _colours(root):
    found = {}
    for model in root.references():
        for tag in model.tags:
            found |= {(model.id, name): str(getattr(model, name)) for name in tag["theme"]}
    return found


def _contrast(one, other):
    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)

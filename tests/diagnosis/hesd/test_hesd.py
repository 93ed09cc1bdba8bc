"""Types, criteria and guards on spectra whose answers are known by hand."""

import math

import numpy as np
import pytest

from lhexplore.diagnosis import compare_kh, diagnose, hesd
from lhexplore.diagnosis.hesd.causes import Context
from lhexplore.diagnosis.hesd.methodology import methodology
from lhexplore.errors import ComparisonError, SettingError

EXACT = 1e-14  # one division and a few powers in float64
FORMULA = 1e-12  # sums of some dozen powers in another order

INF, NAN = math.inf, math.nan

# eigenvalues, C_t, K_H with exponent .5, type
BY_HAND = {
    "at the limit": ([-6, 10], -0.6, math.sqrt(0.6), "MP"),
    "just below the limit": ([-6.01, 10], -0.601, math.sqrt(0.601), "MN"),
    "positive": ([1, 2, 3], 0.0, 0.0, "MP"),
    "negative": ([-2, -1], -INF, INF, "MN"),
    "zero": ([0, 0, 0], NAN, NAN, "undecided"),
    "balanced": ([-1, 1], -1.0, 1.0, "MN"),
    "quarter": ([-1, 4], -0.25, 0.5, "MP"),
    "four values": ([-1, -1, 4, 9], -1 / 9, 0.4, "MP"),
    "more negative": ([-20, 10], -2.0, math.sqrt(2), "MN"),
    "single positive": ([3], 0.0, 0.0, "MP"),
    "single negative": ([-3], -INF, INF, "MN"),
    "zeros beside": ([-1, 0, 0, 0, 4], -0.25, 0.5, "MP"),
}


@pytest.mark.parametrize("case", BY_HAND)
def test_known_answers(exact, case):
    values, ct, kh, type_ = BY_HAND[case]
    h = hesd(exact(values))
    assert h.type == type_
    np.testing.assert_allclose([h.ct, h.re, h.kh], [ct, abs(ct), kh], rtol=EXACT)
    assert h.flat == (case == "zero")
    assert h.kh_basis == "exact"
    assert not h.quasi_singular
    assert h.reasons


@pytest.mark.parametrize("case", BY_HAND)
@pytest.mark.parametrize("scale", [1e-20, 1e20, 2.0**-60, 3.7])
def test_known_answers_at_any_scale(exact, case, scale):
    values, ct, kh, type_ = BY_HAND[case]
    h = hesd(exact(np.array(values) * scale))
    assert h.type == type_
    np.testing.assert_allclose([h.ct, h.kh], [ct, kh], rtol=1e-13)


def test_round_off_below_zero_is_inside_the_band(exact):
    band = float(np.finfo(np.float32).eps) * math.sqrt(2)
    h = hesd(exact([-1e-9, 1.0], zero_band=band))
    assert (h.type, h.ct, h.re, h.kh) == ("MP", 0.0, 0.0, 0.0)
    bare = hesd(exact([-1e-9, 1.0], zero_band=band), band=0)
    np.testing.assert_allclose(bare.ct, -1e-9, rtol=EXACT)
    assert bare.kh > 0


@pytest.mark.parametrize(("band", "ct"), [(0.99, -0.25), (1.0, 0.0), (3.99, 0.0)])
def test_a_value_on_the_edge_of_the_band_has_no_sign(exact, band, ct):
    assert hesd(exact([-1.0, 4.0]), band=band).ct == ct
    assert hesd(exact([-1.0, 4.0], zero_band=band)).ct == ct


def test_everything_inside_the_band_is_flat(exact):
    h = hesd(exact([-1.0, 4.0]), band=4.0)
    assert h.flat
    assert h.type == "undecided"
    assert all(math.isnan(x) for x in (h.ct, h.re, h.kh, *h.interval))
    assert "inside the zero band" in h.reasons[0]
    assert "exactly zero" in hesd(exact([0.0, 0.0])).reasons[0]


def test_probes_are_averaged_never_pooled(lanczos):
    h = hesd(lanczos([[-1, 10], [-5, 10]]))
    np.testing.assert_allclose(h.ct, -0.3, rtol=EXACT)
    np.testing.assert_allclose(h.kh, (math.sqrt(0.1) + math.sqrt(0.5)) / 2, rtol=EXACT)
    assert round(h.kh, 6) == 0.511667
    assert h.kh_basis == "m=100"


# An end that carries next to no weight: whatever the start vectors hide beyond it lies within its residual.
LIGHT = [1e-12, 1 - 1e-12]


def test_interval_across_the_limit_is_undecided(lanczos):
    h = hesd(lanczos([[-0.59, 1.0]] * 3, [LIGHT] * 3, residuals=[[0.02, 0.0]] * 3))
    np.testing.assert_allclose(h.interval, (-0.61, -0.57), rtol=FORMULA)
    assert h.type == "undecided"
    assert "both sides" in h.reasons[0]
    sure = hesd(lanczos([[-0.59, 1.0]] * 3, [LIGHT] * 3, residuals=[[0.009, 0.0]] * 3))
    assert sure.type == "MP"


def test_two_steps_do_not_know_the_ends(lanczos):
    seen = {"residuals": [[0.009, 0.0]] * 3}
    assert hesd(lanczos([[-0.59, 1.0]] * 3, **seen)).type == "undecided"  # the same nodes, half of the weight at each


def test_interval_of_few_probes_is_their_envelope(lanczos):
    h = hesd(lanczos([[-1, 0, 10], [-5, 0, 8]], [[1e-12, 1, 1e-12]] * 2, residuals=[[0.1, 0, 1.0], [0.5, 0, 0.2]]))
    np.testing.assert_allclose(h.interval, (-(5 + 0.5) / (8 - 0.2), -(1 - 0.1) / (10 + 1)), rtol=FORMULA)
    assert h.interval[0] < h.ct < h.interval[1]


def test_interval_of_five_probes_is_two_standard_errors_and_what_any_of_them_saw(lanczos):
    low = np.array([2.5, 3.0, 3.0, 3.0, 3.5])
    h = hesd(lanczos([[-x, 10] for x in low]))
    spread = 2 * np.std(-low / 10, ddof=1) / math.sqrt(5)
    np.testing.assert_allclose(h.interval, (-0.35, -0.3 + spread), rtol=FORMULA)  # −3.5 was seen without error
    assert hesd(lanczos([[-x, 10] for x in low[:4]])).interval == pytest.approx((-0.3, -0.25))
    close = hesd(lanczos([[-x, y] for x, y in zip(low, [10, 8, 8, 10, 10], strict=True)]))
    assert close.interval[0] < -0.35  # two standard errors reach beyond the outermost nodes here


def test_interval_never_claims_a_positive_ratio(lanczos):
    h = hesd(lanczos([[-x, 10] for x in (0.0, 0.0, 0.0, 0.0, 5.0)]))
    assert h.interval[1] == 0.0


def test_an_uncertain_smallest_value_may_be_negative(lanczos):
    h = hesd(lanczos([[0.1, 1.0]] * 3, [LIGHT] * 3, residuals=[[0.3, 0.0]] * 3))
    assert h.ct == 0.0
    np.testing.assert_allclose(h.interval, (-0.2, 0.0), rtol=FORMULA)
    assert h.type == "MP"


def test_a_largest_value_lost_in_its_error_leaves_everything_open(lanczos):
    h = hesd(lanczos([[-0.1, 1.0]] * 3, residuals=[[0.0, 1.5]] * 3))
    assert h.interval[0] == -INF
    assert h.type == "undecided"


def test_one_probe_without_positive_values_decides_nothing(lanczos):
    h = hesd(lanczos([[-1, 10]] * 5 + [[-2, -1]]))
    assert h.ct == -INF
    assert h.interval == (-INF, pytest.approx(-0.1))
    assert h.type == "undecided"


def test_a_probe_that_sees_nothing_is_left_out(lanczos):
    h = hesd(lanczos([[-1, 4], [0, 0]]))
    assert (h.ct, h.kh, h.flat) == (-0.25, 0.5, False)


@pytest.mark.parametrize(("defect", "type_"), [(0.05, "MP"), (0.0501, "undecided")])
def test_asymmetry_rules_a_type_out(exact, defect, type_):
    h = hesd(exact([-1.0, 10.0], symmetry_defect=defect))
    assert h.type == type_
    assert h.interval[0] < -0.1 < h.interval[1]
    if type_ == "undecided":
        assert "round-off decides" in h.reasons[0]


@pytest.mark.parametrize(("floor", "type_"), [(10.0, "MP"), (10.1, "undecided")])
def test_floor(exact, floor, type_):
    h = hesd(exact([-1.0, 10.0]), floor=floor)
    assert h.type == type_
    assert ("floor" in h.reasons[0]) == (type_ == "undecided")


def test_psd_by_structure_is_named_and_never_negative(exact):
    h = hesd(exact([-1e-17, 0.0, 2.0], psd=True))
    assert (h.type, h.psd, h.ct, h.re, h.kh, h.interval) == ("MP", True, 0.0, 0.0, 0.0, (0.0, 0.0))
    assert (h.word, h.symbol, h.colour) == ("PSD by structure", "≥", "structure")
    assert any("not informative" in r for r in h.reasons)


def test_a_contradicted_structure_is_not_believed(exact):
    h = hesd(exact([-0.5, 2.0], psd=True))
    assert not h.psd
    assert h.ct == -0.25
    assert any("Marked PSD by structure" in r for r in h.reasons)


def test_flat_comes_before_structure(exact):
    h = hesd(exact([0.0, 0.0], psd=True))
    assert (h.type, h.flat, h.word) == ("undecided", True, "flat: no curvature")


def test_structure_with_nothing_but_noise_is_flat(exact):
    h = hesd(exact([-1e-3, 0.0], psd=True, symmetry_defect=2.0))
    assert h.flat
    assert h.type == "undecided"


def test_bare_formula_ignores_structure(exact):
    h = hesd(exact([-1e-16, 1.0], psd=True), band=0)
    np.testing.assert_allclose(h.ct, -1e-16, rtol=EXACT)


def test_every_badge_has_word_symbol_and_colour(exact):
    cases = [exact(v) for v in ([-1, 4], [-2, 1], [0, 0])] + [
        exact([1, 2], psd=True),
        exact([-1, 4], symmetry_defect=0.2),
    ]
    badges = [hesd(s) for s in cases]
    assert [b.colour for b in badges] == ["positive", "negative", "flat", "structure", "undecided"]
    assert len({b.symbol for b in badges}) == len({b.word for b in badges}) == 5
    assert badges[1].word == "mainly negative, or not yet trained"


def test_plain_causes_come_with_every_negative_type(exact):
    unknown = " ".join(hesd(exact([-2, 1])).reasons)
    for cause in ("untrained", "not really loaded", "dropout", "ghost"):
        assert cause in unknown
    known = hesd(
        exact([-2, 1]), losses={"loss": 2.3}, past_losses=[{"loss": 2.3}], context=Context(dropout=("drop",), step=5)
    )
    assert "Likely: an untrained network (the loss is 2.3" in " ".join(known.reasons)
    assert "'drop'" in " ".join(known.reasons)
    assert "untrained" not in " ".join(hesd(exact([-1, 4])).reasons)


def test_scope_and_progress_are_said(exact, lanczos):
    assert any("lhexplore's extension" in r for r in hesd(exact([-1, 4])).reasons)
    assert not any("extension" in r for r in hesd(exact([-1, 4], layer=None)).reasons)
    early = hesd(lanczos([[-1, 4]], complete=False))
    assert early.preliminary
    assert early.word == "mainly positive, preliminary"
    assert any(r.startswith("Preliminary") for r in early.reasons)
    assert any(r.startswith("Preview only") for r in early.reasons)
    assert not any(r.startswith("Pre") for r in hesd(lanczos([[-1, 4]] * 3)).reasons)


def test_merged_eigenvalues_count_as_often_as_they_occur(exact):
    merged = hesd(type(exact([1]))("fc1", "now", 5, np.array([-1.0, 4.0, 9.0]), np.array([0.4, 0.2, 0.4]), "factor"))
    np.testing.assert_allclose(merged.kh, hesd(exact([-1, -1, 4, 9, 9])).kh, rtol=EXACT)


def test_the_two_ratios_are_one(exact):
    for seed in range(50):
        h = hesd(exact(np.random.default_rng(seed).standard_normal(5)))
        assert h.re == -h.ct or math.isinf(h.ct)
        assert h.interval[0] <= h.ct <= h.interval[1]


@pytest.mark.parametrize("exponent", [0.25, 0.5, 0.9])
def test_bare_formula_on_many_probes(lanczos, exponent):
    rng = np.random.default_rng(0)
    probes = [rng.standard_normal(40) for _ in range(7)]
    weights = [w / w.sum() for w in rng.random((7, 40))]
    ct, kh = [], []
    for nodes, shares in zip(probes, weights, strict=True):
        above = math.fsum((x * w) ** exponent for x, w in zip(nodes, shares, strict=True) if x > 0)
        below = math.fsum(abs(x * w) ** exponent for x, w in zip(nodes, shares, strict=True) if x < 0)
        ct.append(min(nodes) / max(nodes))
        kh.append(below / above)
    h = hesd(lanczos(probes, weights, zero_band=0.5), band=0, exponent=exponent)
    np.testing.assert_allclose(h.ct, np.mean(ct), rtol=FORMULA)
    np.testing.assert_allclose(h.re, np.mean(np.abs(ct)), rtol=FORMULA)
    np.testing.assert_allclose(h.kh, np.mean(kh), rtol=FORMULA)
    np.testing.assert_allclose(h.kh_stderr, np.std(kh, ddof=1) / math.sqrt(7), rtol=FORMULA)


def test_spread_of_kh_is_unknown_from_one_probe_and_nothing_for_exact(exact, lanczos):
    assert math.isnan(hesd(lanczos([[-1, 4]])).kh_stderr)
    assert hesd(exact([-1, 4])).kh_stderr == 0.0


def test_interval_of_kh_is_that_of_the_start_vectors(exact, lanczos):
    h = hesd(lanczos([[-x, 4] for x in (0.81, 1.0, 1.21)]))
    values = np.array([0.45, 0.5, 0.55])
    # Student's t with 2 degrees of freedom: its 97.5 % point is 4.3027.
    reach = 4.302652729911275 * values.std(ddof=1) / math.sqrt(3)
    np.testing.assert_allclose(h.kh_interval, (0.5 - reach, 0.5 + reach), rtol=1e-9)  # as good as Student's t is
    assert hesd(lanczos([[-1, 4]])).kh_interval == (0.0, INF)
    assert hesd(lanczos([[-1, 400], [-4, 4]])).kh_interval[0] == 0.0
    assert hesd(lanczos([[-2, -1]] * 3)).kh_interval == (0.0, INF)
    assert hesd(lanczos([[1, 2]] * 3)).kh_interval == (0.0, 0.0)
    assert hesd(exact([-1, 4])).kh_interval == (0.5, 0.5)
    assert all(map(math.isnan, hesd(exact([0, 0])).kh_interval))


def test_kh_of_different_bases_refuses_comparison(exact, lanczos):
    a, b = hesd(lanczos([[-1, 4]] * 3)), hesd(lanczos([[-4, 4]] * 3))
    assert compare_kh(a, b) == pytest.approx(0.5)
    others = {
        "steps": hesd(lanczos([[-1, 4]] * 3, steps=50)),
        "exact": hesd(exact([-1, 4])),
        "exponent": hesd(lanczos([[-1, 4]] * 3), exponent=0.25),
        "preliminary": hesd(lanczos([[-1, 4]] * 3, complete=False)),
        "infinite": hesd(lanczos([[-2, -1]] * 3)),
        "flat": hesd(lanczos([[0, 0]] * 3)),
    }
    for other in others.values():
        with pytest.raises(ComparisonError):
            compare_kh(a, other)


@pytest.mark.parametrize(
    "setting", [{"band": -1.0}, {"band": NAN}, {"floor": -1.0}, {"exponent": 0.0}, {"exponent": 1.0}]
)
def test_senseless_settings(exact, setting):
    with pytest.raises(SettingError):
        hesd(exact([-1, 4]), **setting)


# --- the quasi-singular flag ---


def test_collapsed_scale_with_a_small_loss(exact):
    past = [exact([-1, 10], snapshot="0")]
    h = hesd(exact([-0.05, 0.5]), history=past, train_loss=0.001)
    assert h.quasi_singular
    assert h.type == "MP"
    assert h.word == "mainly positive, quasi-singular"
    assert h.symbol == "+↓"
    negative = hesd(exact([-0.4, 0.5]), history=past, train_loss=0.001)
    assert (negative.type, negative.quasi_singular) == ("MN", True)


@pytest.mark.parametrize(
    ("largest", "loss", "flag"), [(1.0, 0.0, False), (0.99, 0.0, True), (0.5, 0.1, True), (0.5, 0.11, False)]
)
def test_collapse_boundaries(exact, largest, loss, flag):
    h = hesd(
        exact([0.1, largest]), history=[exact([-1, 10], snapshot="0"), exact([-1, 2], snapshot="1")], train_loss=loss
    )
    assert h.quasi_singular == flag


def test_collapse_without_a_known_loss_is_said_not_flagged(exact):
    h = hesd(exact([-0.05, 0.5]), history=[exact([-1, 10], snapshot="0")])
    assert not h.quasi_singular
    assert any("the loss is not known" in r for r in h.reasons)


@pytest.mark.parametrize(("largest", "flag"), [(0.99, True), (1.0, False), (5.9, False)])
def test_gap_to_held_out_data(exact, largest, flag):
    there = exact([-1, 10], split="held_out")
    assert hesd(exact([-0.01, largest]), held_out=there, train_loss=0.1).quasi_singular == flag
    for loss in (0.11, math.nan, None):  # not a small loss, or none that is known
        h = hesd(exact([-0.01, largest]), held_out=there, train_loss=loss)
        assert not h.quasi_singular
        assert any("the loss is not known" in r for r in h.reasons) == (flag and loss != 0.11)


def test_flat_is_never_quasi_singular(exact):
    held_out = exact([-1, 10], split="held_out")
    past = {"history": [exact([-1, 10], snapshot="0")], "held_out": held_out, "train_loss": 0.0}
    assert not hesd(exact([0, 0]), **past).quasi_singular
    assert hesd(exact([-0.1, 0.5]), **past).quasi_singular
    assert not hesd(exact([-0.1, 0.5]), band=0.5, **past).quasi_singular


def test_foreign_spectra_are_refused(exact):
    for foreign in (exact([1, 2], layer="fc2"), exact([1, 2], curvature="ggn"), exact([1, 2], functional="sum")):
        with pytest.raises(ComparisonError):
            hesd(exact([1, 2]), history=[foreign])
        with pytest.raises(ComparisonError):
            hesd(exact([1, 2]), held_out=foreign)


KNOWN = {"data_digest": "a", "mode": "eval"}


@pytest.mark.parametrize(
    "other",
    [
        {"provenance": {**KNOWN, "data_digest": "b"}},
        {"provenance": {**KNOWN, "mode": "train-frozen"}},
        {"split": "held_out"},
        {"complete": False},
        {"snapshot": "now"},
        {"values": [-1, 5, 10]},
    ],
)
def test_a_past_of_something_else_is_refused(exact, other):
    values, fields = other.get("values", [-1, 10]), {k: v for k, v in other.items() if k != "values"}
    now = exact([-0.05, 0.5], provenance=KNOWN)
    past = exact(values, **{"snapshot": "0", "provenance": KNOWN, **fields})
    for judged in (hesd, diagnose, methodology):
        with pytest.raises(ComparisonError):
            judged(now, history=[past])


@pytest.mark.parametrize(
    "other",
    [
        {"provenance": KNOWN},
        {"provenance": {}, "split": "data"},
        {"snapshot": "later"},
        {"complete": False},
        {"provenance": {**KNOWN, "data_digest": "b", "mode": "train-frozen"}},
        {"values": [-1, 5, 10]},
    ],
)
def test_held_out_of_something_else_is_refused(exact, other):
    values, fields = other.get("values", [-1, 10]), {k: v for k, v in other.items() if k != "values"}
    now = exact([-0.05, 0.5], provenance=KNOWN if "provenance" not in other or other["provenance"] else {})
    other_data = {"provenance": {**KNOWN, "data_digest": "b"}, "split": "held_out"}
    held_out = exact(values, **{**other_data, **fields})
    for judged in (hesd, diagnose, methodology):
        with pytest.raises(ComparisonError):
            judged(now, held_out=held_out)


def test_the_past_must_be_found_in_the_same_way_and_held_out_need_not(exact, lanczos):
    now, past = lanczos([[-0.05, 0.5]] * 3), lanczos([[-1, 10]] * 3, snapshot="0", steps=10)
    with pytest.raises(ComparisonError, match="steps"):
        hesd(now, history=[past])
    assert hesd(now, held_out=lanczos([[-1, 10]] * 3, steps=50, split="held_out"))


def test_a_spectrum_on_its_way_has_a_past_and_weights_are_known_by_digest(exact):
    past = exact([-1, 10], snapshot="0")
    assert hesd(exact([-0.05, 0.5], complete=False), history=[past], train_loss=0.0).quasi_singular
    mine, theirs = (exact([-1, 10], provenance={"snapshot_digest": d}, snapshot=d) for d in "ab")
    renamed = exact([-1, 10], split="held_out", snapshot="other name", provenance={"snapshot_digest": "a"})
    assert hesd(mine, held_out=renamed)
    assert hesd(mine, history=[theirs])
    with pytest.raises(ComparisonError, match="different weights"):
        hesd(theirs, held_out=renamed)

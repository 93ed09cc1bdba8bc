"""Each rule fires on its picture, at its limit, and falls silent when one of its conditions is missing."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from lhexplore.diagnosis import Thresholds, diagnose
from lhexplore.diagnosis.finding_texts import FINDINGS
from lhexplore.errors import ComparisonError, SettingError


def rules(diagnosis):
    return {f.rule for f in diagnosis.findings}


def one(diagnosis, title):
    (found,) = [f for f in diagnosis.findings if f.title == title]
    return found


def titles(diagnosis):
    return {f.title for f in diagnosis.findings}


# --- D1 ---
OVERFIT = "Interpolation or overfitting: watch"


def overfitting(
    exact, *, train=(1.0, 0.5, 0.2), held_out=(1.0, 1.1, 1.3), scales=(4.0, 2.0, 1.0), negative=(2, 1, 0), **kw
):
    spectra = [
        exact([-0.1 * scale] * k + [scale] * (10 - k), snapshot=str(i))
        for i, (scale, k) in enumerate(zip(scales, negative, strict=True))
    ]
    rows = [{"loss": a, "val_loss": b} for a, b in zip(train, held_out, strict=True)]
    return diagnose(spectra[-1], history=spectra[:-1], losses=rows[-1], past_losses=rows[:-1], **kw)


def test_overfitting_fires(exact):
    d = overfitting(exact)
    f = one(d, OVERFIT)
    assert (f.rule, f.level, f.heuristic, f.window) == ("D1", "warning", True, ("0", "1", "2"))
    assert f.value == pytest.approx(1.3)
    assert "0.2 of its value" in f.text
    assert f.evidence
    assert f.refute


@pytest.mark.parametrize(
    "broken",
    [
        {"train": (1.0, 0.5, 0.5)},
        {"held_out": (1.0, 1.1, 1.1)},
        {"scales": (4.0, 2.0, 2.5)},
        {"negative": (0, 1, 1)},
        {"train": (1.0, math.nan, 0.2)},
    ],
)
def test_overfitting_needs_every_sign(exact, broken):
    assert "D1" not in rules(overfitting(exact, **broken))


def test_overfitting_needs_three_snapshots_and_losses(exact):
    short = {"train": (1.0, 0.5), "held_out": (1.0, 1.1), "scales": (4.0, 2.0), "negative": (1, 0)}
    assert "D1" not in rules(overfitting(exact, **short))
    spectra = [exact([scale], snapshot=str(i)) for i, scale in enumerate((4.0, 2.0, 1.0))]
    assert "D1" not in rules(diagnose(spectra[-1], history=spectra[:-1], losses={"loss": 0.1, "val_loss": 2.0}))
    assert "D1" in rules(overfitting(exact, **short, thresholds=Thresholds(window=2)))


# --- D3 ---


def stuck(exact, *, train=(2.0, 2.01, 2.005), top=5.0, own=(1.0, 1.0, 1.0, 1.0), others=2, **kw):
    block = exact(np.array(own) * top)
    peers = [exact([0.01, 0.1, 0.2, 1.0], layer=f"peer{i}") for i in range(others)]
    rows = [{"train_loss": x} for x in train]
    return diagnose(block, history=[block, block], peers=peers, losses=rows[-1], past_losses=rows[:-1], **kw)


def test_bottleneck_fires_at_its_limit(exact):
    f = one(stuck(exact), "Underparameterised or a bottleneck")
    assert (f.rule, f.value, f.threshold, f.eigenvalue) == ("D3", 5.0, 5.0, 5.0)


@pytest.mark.parametrize(
    "broken",
    [
        {"train": (2.0, 2.03, 2.0)},
        {"top": 4.99},
        {"own": (0.001, 0.001, 0.001, 1.0)},
        {"others": 1},
        {"thresholds": Thresholds(small_loss_ratio=1.1)},
    ],
)
def test_bottleneck_needs_every_sign(exact, broken):
    assert "D3" not in rules(stuck(exact, **broken))


# --- D4 ---


def test_underused_by_rank(exact):
    peers = [exact(np.ones(100), layer=f"peer{i}") for i in range(2)]
    fires = diagnose(exact([1.0] * 10 + [0.0] * 90), peers=peers)
    f = one(fires, "Dead or underused layer")
    assert (f.rule, f.value) == ("D4", pytest.approx(0.1))
    assert "numerical rank" in f.text
    assert "D4" not in rules(diagnose(exact([1.0] * 11 + [0.0] * 89), peers=peers))
    assert "D4" not in rules(diagnose(exact([1.0] * 10 + [0.0] * 90), peers=peers[:1]))


def test_underused_by_effective_rank(exact):
    peers = [exact(np.ones(100), layer=f"peer{i}") for i in range(2)]
    f = one(diagnose(exact([1.0] + [1e-6] * 99), peers=peers), "Dead or underused layer")
    assert "effective rank" in f.text


def test_a_rank_bounded_by_the_data_is_not_dead(exact):
    seen = {"examples": 5, "outputs": 3}
    peers = [exact(np.ones(100), layer=f"peer{i}") for i in range(2)]
    assert "D4" not in rules(diagnose(exact([1.0] * 10 + [0.0] * 90, provenance=seen), peers=peers))


def test_no_curvature(exact):
    d = diagnose(exact([0.0, 0.0]))
    assert {"Zero block", "No curvature: dead or unused?"} <= titles(d)
    assert one(d, "Zero block").heuristic is False
    by_construction = diagnose(exact([0.0, 0.0], functional="sum"))
    assert "D4" not in rules(by_construction)
    assert "Degenerate functional" in titles(by_construction)
    assert "Degenerate functional" not in titles(d)


# --- D5 ---


@pytest.mark.parametrize(("ratio", "fires"), [(20.0, True), (19.9, False)])
def test_ill_conditioned_by_median(exact, ratio, fires):
    peers = [exact([1.0, 1.0, 1.0, 2.0], layer=f"peer{i}") for i in range(3)]
    d = diagnose(exact([1.0, 1.0, 1.0, ratio]), peers=peers)
    assert ("D5" in rules(d)) == fires


def test_ill_conditioned_by_peak(exact):
    peers = [exact(np.ones(40), layer=f"peer{i}") for i in range(3)]
    d = diagnose(exact([0.0] * 21 + [1e-3] * 18 + [1e-2]), peers=peers)
    f = one(d, "Ill-conditioned")
    assert "mean" in f.text
    assert f.eigenvalue == 1e-2


def test_the_network_and_the_layer_itself_are_no_peers(exact):
    itself = [exact([1.0, 1.0, 1.0, 1.0], layer=x) for x in ("fc1", "fc1", None, None)]
    assert "D5" not in rules(diagnose(exact([1.0, 1.0, 1.0, 50.0]), peers=itself))
    peers = [exact(np.ones(4), layer=f"peer{i}") for i in range(3)]
    assert "D5" not in rules(diagnose(exact([1.0, 1.0, 1.0, 50.0], layer=None), peers=peers))


# --- D6 ---


def saddle(exact, *, smallest=(-2.0, -2.0, -2.0), norms=(1.0, 0.5, 0.1), **kw):
    spectra = [exact([x, 1.0, 10.0], snapshot=str(i), **kw) for i, x in enumerate(smallest)]
    return diagnose(spectra[-1], history=spectra[:-1], gradient_norms=norms)


def test_saddle_like(exact):
    f = one(saddle(exact), "Saddle-like")
    assert (f.rule, f.value, f.eigenvalue) == ("D6", 0.2, -2.0)


@pytest.mark.parametrize(
    "broken",
    [
        {"norms": ()},
        {"norms": (1.0, 0.5, 0.11)},
        {"smallest": (-2.0, -1.0, -2.0)},
        {"zero_band": 2.0},
        {"smallest": (-2.0, -2.0), "norms": (1.0, 0.1)},
        {"norms": (0.0, 0.0, 0.0)},
    ],
)
def test_saddle_like_needs_every_sign(exact, broken):
    assert "D6" not in rules(saddle(exact, **broken))


# --- D7 ---


def test_quasi_singular(exact):
    past, now = exact([-1.0, 10.0], snapshot="0"), exact([-0.05, 0.5])
    known = {"losses": {"loss": 0.05}, "past_losses": [{"loss": 2.0}]}
    f = one(diagnose(now, history=[past], **known), "Quasi-singular")
    assert (f.rule, f.value, f.window) == ("D7", pytest.approx(0.05), ("0", "now"))
    assert "D7" not in rules(diagnose(now, history=[past]))
    assert "D7" not in rules(diagnose(now, history=[past], losses={"loss": 0.21}, past_losses=[{"loss": 2.0}]))
    by_gap = diagnose(now, held_out=exact([-1.0, 10.0], split="held_out"))
    assert "held-out" in one(by_gap, "Quasi-singular").text


def test_small_loss_is_relative_where_the_past_is_known(exact):
    past, now = exact([-1.0, 10.0]), exact([-0.05, 0.5])
    big_unit = {"losses": {"loss": 50.0}, "past_losses": [{"loss": 900.0}]}
    assert "D7" in rules(diagnose(now, history=[past], **big_unit))
    assert "D7" not in rules(diagnose(now, history=[past], losses={"loss": 50.0}))


# --- facts and the type ---


def test_psd_by_structure_is_a_fact(exact):
    f = one(diagnose(exact([0.0, 1.0], psd=True)), "PSD by structure")
    assert (f.rule, f.level, f.heuristic) == ("D9", "info", False)
    assert "PSD by structure" not in titles(diagnose(exact([0.0, 1.0])))


@pytest.mark.parametrize(("defect", "level"), [(1e-4, None), (2e-4, "note"), (0.05, "note"), (0.06, "warning")])
def test_unresolved(exact, defect, level):
    d = diagnose(exact([-0.1, 1.0], symmetry_defect=defect))
    found = [f.level for f in d.findings if f.title == "Unresolved: round-off decides"]
    assert found == ([level] if level else [])


def test_not_converged_points_at_the_worse_end(lanczos):
    s = lanczos([[-1.0, 10.0]] * 3, residuals=[[0.02, 0.001]] * 3)
    f = one(diagnose(s), "Ends not converged")
    assert (f.value, f.eigenvalue) == (pytest.approx(0.002), -1.0)
    assert "Ends not converged" not in titles(diagnose(replace(s, residuals=s.residuals / 2)))


def test_preliminary(lanczos):
    assert "Preliminary" in titles(diagnose(lanczos([[-1.0, 10.0]], complete=False)))


def test_unchanged(exact):
    before = exact([-1.0, 10.0], snapshot="before")
    f = one(diagnose(exact([-1.0, 10.0]), history=[before]), "Unchanged since the snapshot before")
    assert "'before'" in f.text
    other = "Unchanged since the snapshot before"
    assert other not in titles(diagnose(exact([-1.0, 10.0 + 1e-14]), history=[before]))
    assert other not in titles(diagnose(exact([0.0]), history=[exact([0.0])]))


def test_mainly_negative_and_undecided(exact):
    f = one(diagnose(exact([-2.0, 1.0])), "Mainly negative, or not yet trained")
    assert (f.level, f.value, f.eigenvalue) == ("warning", -2.0, -2.0)
    d = diagnose(exact([-2.0, 1.0]), thresholds=Thresholds(floor=5.0))
    assert "floor" in one(d, "Type undecided").text


@pytest.mark.parametrize(
    ("values", "reading"),
    [([-0.01] + [1.0] * 9, "good"), ([-0.4] + [1.0] * 3, "moderate"), ([-0.3] * 3 + [1.0], "poor")],
)
def test_criteria_are_read_on_the_whole_network_only(exact, values, reading):
    assert f"Criteria: {reading}" in titles(diagnose(exact(values, layer=None)))
    assert not any(t.startswith("Criteria") for t in titles(diagnose(exact(values))))
    assert not any(t.startswith("Criteria") for t in titles(diagnose(exact([1.0, 2.0], layer=None, psd=True))))


def test_quiet_on_a_plain_spectrum(exact):
    assert diagnose(exact([-0.1, 0.5, 1.0, 2.0])).findings == ()


def test_warnings_come_first_and_the_value_travels(lanczos):
    s = lanczos([[-8.0, 10.0]] * 3, residuals=[[0.02, 0.001]] * 3, complete=False, symmetry_defect=1e-3)
    d = diagnose(s)
    order = [f.level for f in d.findings]
    assert order == sorted(order, key=["warning", "note", "info"].index)
    assert len(set(order)) == 3
    again = pickle.loads(pickle.dumps(d))
    assert again.findings == d.findings
    assert (d.layer, d.snapshot) == ("fc1", "now")


def test_braces_in_a_name_stay_text(exact):
    before = exact([-1.0, 10.0], snapshot="{value}{0!r}")
    f = one(diagnose(exact([-1.0, 10.0]), history=[before]), "Unchanged since the snapshot before")
    assert "{value}{0!r}" in f.text


@pytest.mark.parametrize("bad", [{"past_losses": [{}]}, {"gradient_norms": [1.0, 2.0]}])
def test_lists_must_fit_the_history(exact, bad):
    with pytest.raises(SettingError):
        diagnose(exact([1.0]), **bad)


def test_peers_must_be_the_same_kind(exact):
    with pytest.raises(ComparisonError):
        diagnose(exact([1.0]), peers=[exact([1.0], layer="fc2", curvature="ggn")])


@pytest.mark.parametrize("bad", [{"window": 1}, {"others": 0}, {"condition": -1.0}, {"low": math.nan}])
def test_senseless_thresholds(bad):
    with pytest.raises(SettingError):
        Thresholds(**bad)


def test_every_wording_is_a_sentence_with_a_next_step():
    for words in FINDINGS.values():
        assert words.title
        assert words.action.endswith(".")
        assert words.text.endswith((".", "}"))

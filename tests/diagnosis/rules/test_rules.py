"""One spectrum: D5, D6, facts and types fire on their pictures, at their limits, not where a condition is missing."""

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from lhexplore.diagnosis import Thresholds, diagnose
from lhexplore.diagnosis.rules.finding_texts import FINDINGS
from lhexplore.errors import ComparisonError, SettingError


def rules(diagnosis):
    return {f.rule for f in diagnosis.findings}


def one(diagnosis, title):
    (found,) = [f for f in diagnosis.findings if f.title == title]
    return found


def titles(diagnosis):
    return {f.title for f in diagnosis.findings}


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
    assert other not in titles(diagnose(exact([0.0]), history=[exact([0.0], snapshot="before")]))


def test_mainly_negative_and_undecided(exact):
    f = one(diagnose(exact([-2.0, 1.0])), "Mainly negative, or not yet trained")
    assert (f.level, f.value, f.eigenvalue) == ("note", -2.0, -2.0)
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
    s = lanczos([[-8.0, 10.0]] * 3, residuals=[[0.02, 0.001]] * 3, complete=False, symmetry_defect=0.06)
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

"""Changes between two data sets on spectra whose criteria are known by hand."""

import math

import pytest
from scipy.stats import binomtest

from lhexplore.diagnosis.hesd.relative import relative
from lhexplore.diagnosis.thresholds import Thresholds
from lhexplore.errors import ComparisonError, SettingError


def test_changes_and_what_they_say(exact):
    found = relative(exact([-1, 4]), exact([-1.44, 4]), accuracy=(0.9, 0.8), examples=(1000, 1000))
    assert found.kh.difference == pytest.approx(0.1)  # √.36 − √.25
    assert found.ct.difference == pytest.approx(-0.11)
    assert found.accuracy.difference == pytest.approx(-0.1)
    a, b = (binomtest(count, 1000).proportion_ci(method="wilson") for count in (900, 800))
    down, up = math.hypot(0.8 - b.low, a.high - 0.9), math.hypot(b.high - 0.8, 0.9 - a.low)
    assert found.accuracy.interval == pytest.approx((-0.1 - down, -0.1 + up))
    assert (found.kh.direction, found.accuracy.direction) == ("rises", "falls")
    assert "as expected" in found.reading
    for shown in (repr(found), found._repr_html_()):
        assert "K_H (exact)" in shown
        assert found.reading in shown


def test_a_change_against_what_is_expected_is_said(exact):
    found = relative(exact([-1, 4]), exact([-1.44, 4]), accuracy=(0.5, 0.9), examples=(1000, 1000))
    assert "against it" in found.reading
    fallen = relative(exact([-1.44, 4]), exact([-1, 4]))
    assert "higher accuracy" in fallen.reading
    assert "No accuracies" in fallen.reading


def test_within_the_error_nothing_is_said(exact, lanczos):
    noisy = lanczos([[-0.8, 4], [-1, 4], [-1.2, 4]]), lanczos([[-0.9, 4], [-1.1, 4], [-1.3, 4]])
    found = relative(*noisy, accuracy=(0.9, 0.5), examples=(100, 100))
    assert found.kh.direction == "undecided"
    assert "undecided" in found.reading
    assert relative(exact([-1, 4]), exact([-1, 4])).kh.direction == "undecided"
    few = relative(exact([-1, 4]), exact([-1.44, 4]), accuracy=(0.9, 0.89), examples=(100, 100))
    assert few.accuracy.direction == "undecided"
    unknown = relative(exact([-1, 4]), exact([-1.44, 4]), accuracy=(0.9, 0.5))
    assert unknown.accuracy.direction == "undecided"
    assert "as expected" not in unknown.reading


@pytest.mark.parametrize(
    ("values", "fields"),
    [([-4, 4], {}), ([0, 0], {}), ([0, 4], {"psd": True}), ([-1, 4], {"symmetry_defect": 0.1})],
)
def test_only_mainly_positive_spectra_are_read(exact, values, fields):
    for pair in ((exact([-1, 4]), exact(values, **fields)), (exact(values, **fields), exact([-1, 4]))):
        with pytest.raises(ComparisonError, match="mainly positive spectra only"):
            relative(*pair)


@pytest.mark.parametrize(
    "other",
    [
        {"layer": "fc2"},
        {"functional": "sum"},
        {"curvature": "ggn"},
        {"complete": False},
        {"snapshot": "later"},
        {"provenance": {"mode": "train-frozen"}},
    ],
)
def test_only_the_data_may_differ(exact, other):
    with pytest.raises(ComparisonError):
        relative(exact([-1, 4], provenance={"mode": "eval"}), exact([-1, 4], **other))


def test_other_steps_are_refused_and_equal_weights_known_by_digest(exact, lanczos):
    with pytest.raises(ComparisonError, match="steps"):
        relative(lanczos([[-1, 4]] * 3), lanczos([[-1, 4]] * 3, steps=50))
    pair = [exact([-1, 4], snapshot=s, provenance={"snapshot_digest": "a", "data_digest": s}) for s in ("x", "y")]
    assert relative(*pair).kh.difference == 0
    assert relative(pair[0], exact([-1, 4], split="held_out", snapshot="x", provenance={"snapshot_digest": "a"}))


def test_accuracies_are_shares(exact):
    for accuracy in ((90, 80), (math.nan, 0.5), (-0.1, 0.5)):
        with pytest.raises(SettingError, match="between 0 and 1"):
            relative(exact([-1, 4]), exact([-1, 4]), accuracy=accuracy)


def test_the_floor_of_the_thresholds_holds_here_too(exact):
    pair = exact([-1, 4]), exact([-1.44, 4])
    assert relative(*pair, thresholds=Thresholds(floor=3.9)).kh.difference
    with pytest.raises(ComparisonError, match="below the floor"):
        relative(*pair, thresholds=Thresholds(floor=4.1))


def test_it_is_escaped(exact):
    page = relative(exact([-1, 4], layer="<b>"), exact([-1, 4], layer="<b>"))._repr_html_()
    assert "<b>" not in page

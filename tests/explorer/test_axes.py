import numpy as np
import pytest
from canned import CannedSession
from hypothesis import given
from hypothesis import strategies as st

from lhexplore.diagnosis.number_texts import power_of_ten, short
from lhexplore.explorer.axes import APART, ValueAxis, axis_of, log_ticks
from lhexplore.figures.decades import DECADES
from lhexplore.spectrum import Spectrum

ROUND_OFF = 1e-12  # a logarithm and a power, both in float64
MOST_BINS = 200  # what a browser draws in one frame without effort

VALUES = st.floats(-1e6, 1e6, allow_nan=False)


def spectrum(nodes, band=0.0, layer="fc"):
    nodes = np.asarray(nodes, dtype=float)
    return Spectrum(layer, "s", len(nodes), nodes, np.full(len(nodes), 1 / len(nodes)), "dense", zero_band=band)


CASES = {
    "both signs": [spectrum([-0.1, -1e-4, 0, 0, 1e-3, 2.0], 1e-12)],
    "positive": [spectrum([1e-3, 1.0, 50.0])],
    "negative": [spectrum([-3.0, -1e-2])],
    "all zero": [spectrum([0.0, 0.0])],
    "one value": [spectrum([3.0])],
    "tiny": [spectrum([-1e-30, 1e-28], 1e-40)],
    "huge": [spectrum([-1e20, 1e25], 1e9)],
    "band beyond the values": [spectrum([-1e-9, 1e-9], 1e-8)],
    "very different snapshots": [spectrum([-1e-6, 1e-5], 1e-12), None, spectrum([1e3, 1e4], 1e-3)],
    "nothing known": [None, None],
}


@pytest.fixture(params=CASES, ids=str)
def spectra(request):
    return CASES[request.param]


@pytest.fixture(params=["symlog", "linear"])
def axis(request, spectra):
    return axis_of(spectra, scale=request.param)


@given(st.lists(VALUES, min_size=1, max_size=20), st.integers(-8, 3))
def test_position_and_value_are_inverse_and_ordered(values, exponent):
    axis = ValueAxis("symlog", 10.0**exponent, np.array([-1e6, 1e6]))
    values = np.sort(np.array(values))
    places = axis.position(values)
    assert np.all(np.diff(places) >= 0)
    np.testing.assert_allclose(axis.value(places), values, rtol=ROUND_OFF * 100, atol=10.0**exponent * ROUND_OFF)


def test_positions_count_decades():
    axis = ValueAxis("symlog", 1e-3, np.array([-1.0, 1.0]))
    places = axis.position(np.array([-1e-1, -1e-2, 0.0, 1e-3, 1e-2, 1e-1]))
    np.testing.assert_allclose(places, [-2.5, -1.5, 0.0, 0.5, 1.5, 2.5], atol=ROUND_OFF)


def test_every_value_band_and_error_lies_inside(axis, spectra):
    low, high = axis.edges[0], axis.edges[-1]
    for known in filter(None, spectra):
        assert low <= known.smallest - known.error
        assert high >= known.largest + known.error
        assert low <= -known.zero_band <= known.zero_band <= high


def test_edges_ascend_around_zero_and_are_few(axis):
    assert np.all(np.diff(axis.edges) > 0)
    assert len(axis.edges) - 1 <= MOST_BINS
    assert np.any(np.isclose(axis.edges, axis.threshold, rtol=1e-9))
    assert np.any(np.isclose(axis.edges, -axis.threshold, rtol=1e-9))
    assert not np.any(np.abs(axis.edges) < axis.threshold * (1 - 1e-9))


@given(st.floats(0, 10))
def test_one_bin_holds_the_zero_band(band):
    axis = axis_of([spectrum([-10.0, -1e-3, 1e-3, 10.0])])
    edges = axis.edges_around(band)
    assert np.all(np.diff(edges) > 0)
    assert len(edges) <= len(axis.edges)
    first, last = np.searchsorted(edges, [-band, band], side="right")
    inside = np.digitize([-band * 0.999, 0.0, band * 0.999], edges)
    assert len(set(inside)) == 1, (first, last)


def test_the_threshold_stays_within_sight_of_the_largest_value():
    axis = axis_of([spectrum([1e-30, 1e-20, 1.0])])
    assert axis.threshold == pytest.approx(10.0**-DECADES)


def test_a_stray_small_value_does_not_stretch_the_axis():
    crowd = np.geomspace(1e-2, 1, 1000)
    assert axis_of([spectrum([*crowd, 1e-6])]).threshold == pytest.approx(1e-2)


def test_labels_are_true_and_stand_apart(axis):
    ticks = axis.ticks()
    places = np.array(list(ticks))
    assert "0" in ticks.values()
    assert axis.start <= places.min() <= places.max() <= axis.end
    if axis.scale == "symlog":
        assert np.all(np.diff(places) >= APART * (axis.end - axis.start) - 1e-9)
    for place, label in ticks.items():
        assert _number(label) == pytest.approx(axis.value(np.array([place]))[0], rel=1e-2, abs=1e-300)


@pytest.mark.parametrize("factor", [1e-20, 1e-3, 1e6])
def test_the_scale_of_the_loss_moves_labels_only(factor):
    nodes, band = np.array([-0.3, -1e-3, 1e-4, 0.02, 7.0]), 1e-9
    one, other = axis_of([spectrum(nodes, band)]), axis_of([spectrum(factor * nodes, factor * band)])
    np.testing.assert_allclose(one.position(one.edges), other.position(other.edges), rtol=1e-6)


def test_one_axis_for_all_snapshots_of_a_layer():
    session = CannedSession()
    spectra = [session.cached("conv1", k) for k in range(12)]
    axis = axis_of(spectra)
    tops = [s.largest for s in spectra if s is not None]
    assert axis.edges[-1] >= max(tops)
    assert axis.threshold < min(tops)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0312, "−0.0312"),
        (1240.4, "1,240"),
        (2.1e-7, "2.1×10⁻⁷"),
        (-1e-5, "−10⁻⁵"),
        (float("nan"), "unknown"),
        (float("-inf"), "−∞"),
        (1.0, "1"),
        (9_994.4, "9,994"),
        (999_999.9, "10⁶"),
        (-15_234.0, "−1.52×10⁴"),
    ],
)
def test_short_numbers(value, text):
    assert short(value) == text


@pytest.mark.parametrize(
    ("exponent", "text"), [(0, "1"), (-1, "0.1"), (3, "1,000"), (4, "10⁴"), (-5, "10⁻⁵"), (-12, "10⁻¹²")]
)
def test_powers_of_ten(exponent, text):
    assert power_of_ten(exponent) == text
    assert power_of_ten(exponent, negative=True) == f"−{text}"


@given(st.floats(-12, 12), st.floats(0.41, 15))
def test_log_ticks_lie_inside_and_are_few(start, decades):
    low, high = 10**start, 10 ** (start + decades)
    ticks = log_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low * 0.999 <= value <= high * 1.001 for value in ticks)
    assert all(_number(label) == pytest.approx(value, rel=1e-2) for value, label in ticks.items())


def _number(label):
    """Read a label back."""
    digits = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-", ",")
    mantissa, ten, exponent = label.partition("10") if any(c in label for c in "⁻⁰¹²³⁴⁵⁶⁷⁸⁹") else (label, "", "")
    if not ten:
        return float(label.translate(digits))
    sign = -1.0 if mantissa.startswith("−") else 1.0
    factor = mantissa.strip("−×")
    return sign * (float(factor) if factor else 1.0) * 10.0 ** int(exponent.translate(digits))

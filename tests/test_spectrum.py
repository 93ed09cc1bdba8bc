"""The shared value: one shape for exact and estimated spectra, and nothing that can be written to."""

import inspect

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lhexplore.errors import NotExactError, SettingError
from lhexplore.spectrum import Spectrum

ROUND_OFF = {"rtol": 1e-12, "atol": 1e-300}  # sums of at most a hundred float64 numbers


def exact(values, **kw):
    values = np.asarray(values, float)
    return Spectrum("fc", "0", len(values), values, np.full(len(values), 1 / len(values)), "dense", **kw)


def estimate(probes, size=1000, **kw):
    nodes = np.concatenate([np.asarray(n, float) for n, _ in probes])
    weights = np.concatenate([np.asarray(w, float) for _, w in probes]) / len(probes)
    number = np.concatenate([np.full(len(n), i) for i, (n, _) in enumerate(probes)])
    return Spectrum("fc", "0", size, nodes, weights, "lanczos", probe=number, steps=10, probes=len(probes), **kw)


def test_nodes_are_sorted_with_everything_that_belongs_to_them():
    s = Spectrum(
        "a", "0", 3, np.array([3.0, 1, 2]), np.array([0.5, 0.2, 0.3]), "lanczos", residuals=np.array([9.0, 7, 8])
    )
    assert s.nodes.tolist() == [1, 2, 3]
    assert s.weights.tolist() == [0.2, 0.3, 0.5]
    assert s.residuals.tolist() == [7, 8, 9]


def test_it_owns_read_only_copies():
    values = np.array([1.0, 2.0])
    s = exact(values)
    values[0] = 99
    assert s.nodes[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        s.nodes[0] = 5
    with pytest.raises(AttributeError):
        s.size = 3


def test_eigenvalues_repeat_merged_nodes():
    s = Spectrum("a", "0", 10, np.array([0.0, 4.0]), np.array([0.7, 0.3]), "factor")
    assert s.eigenvalues.tolist() == [0.0] * 7 + [4.0] * 3
    assert s.trace == pytest.approx(12)


def test_an_estimate_has_no_list_of_eigenvalues():
    with pytest.raises(NotExactError, match="method='dense'"):
        _ = estimate([([1, 2], [0.5, 0.5])]).eigenvalues


@pytest.mark.parametrize(
    ("nodes", "weights"),
    [([1.0], [0.5]), ([1.0, 2.0], [1.5, -0.5]), ([np.nan], [1.0]), ([], [])],
)
def test_what_is_no_spectrum_is_refused(nodes, weights):
    with pytest.raises(SettingError):
        Spectrum("a", "0", 1, np.array(nodes), np.array(weights), "dense")


def made(**changes):
    """A spectrum past the shape checker of the tests: what a person without one would get."""
    fields = {"size": 4, "nodes": np.array([1.0, 2.0]), "weights": np.array([0.25, 0.75]), "method": "dense"}
    spectrum = object.__new__(Spectrum)
    inspect.unwrap(Spectrum.__init__)(spectrum, layer="a", snapshot="0", **(fields | changes))
    return spectrum


BAD = {
    "size": [2.5, 0, -1, "x", None, np.nan, True],
    "zero_band": [np.nan, np.inf, -1e-9, "x", None],
    "residuals": [np.array([np.nan, 0]), np.array([0, np.inf]), np.array([-1e-9, 0]), "x", np.array([1j, 0])],
    "trace": [np.inf, -np.inf, "x", None],
    "probe": [np.array([0.5, 0]), np.array([-1, 0]), np.array([np.nan, 0]), "x", np.array([True, False])],
    "nodes": ["x", [[1.0], [1.0, 2.0]], np.array([1j, 2]), None, np.array(["1", "2"])],
    "weights": ["x", None, np.array([[0.25, 0.75]])],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_fields_that_make_no_sense_are_refused(name, value):
    with pytest.raises(SettingError, match=f"{name}|of size|NaN"):
        made(**{name: value})
    assert made().eigenvalues.tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize(
    ("size", "weights", "fine"),
    [
        (4, [0.25, 0.75], True),
        (4, [0.25 + 2e-7, 0.75 - 2e-7], True),  # 8e-7 of an eigenvalue: round-off
        (4, [0.25 + 5e-7, 0.75 - 5e-7], False),
        (4, [0.3, 0.7], False),
        (3, [0.5, 0.5], False),
        (10**6, [1e-6, 1 - 1e-6], True),
    ],
)
def test_weights_of_exact_spectra_are_whole_numbers_of_eigenvalues(size, weights, fine):
    given = {"size": size, "weights": np.array(weights)}
    assert made(**given, method="lanczos").size == size
    if fine:
        assert len(made(**given).eigenvalues) == size
    else:
        with pytest.raises(SettingError, match=f"lists {size} eigenvalues"):
            made(**given)


def test_a_size_of_numpy_is_a_plain_one():
    assert type(made(size=np.int64(4)).size) is int


@pytest.mark.parametrize(
    ("grid", "width"),
    [
        *(([0.0, 1.0], width) for width in ("x", None, np.nan, np.inf, 0, -1.0)),
        *((grid, 0.1) for grid in (5, "x", None, [1j], np.zeros((2, 2)))),
    ],
)
def test_a_density_needs_a_grid_and_a_width(grid, width):
    with pytest.raises(SettingError, match=r"grid|width"):
        inspect.unwrap(Spectrum.density)(exact([1.0, 2.0]), grid, width=width)


@pytest.mark.parametrize("bins", ["auto", None, 0, -1, 2.5, True, [1.0], [2.0, 1.0], [0.0, np.nan], [[0.0, 1.0]], "x"])
def test_a_histogram_needs_a_number_of_bins_or_edges(bins):
    with pytest.raises(SettingError, match="bins"):
        inspect.unwrap(Spectrum.histogram)(exact([1.0, 2.0]), bins)


def test_a_histogram_takes_numbers_of_numpy_and_lists():
    s = exact([1.0, 2.0])
    assert len(inspect.unwrap(Spectrum.histogram)(s, np.int64(3)).mass) == 3
    assert inspect.unwrap(Spectrum.histogram)(s, [0, 1.5, 3]).mass.tolist() == [0.5, 0.5]


def test_histogram_of_probes_has_mean_and_standard_error():
    s = estimate([([0.0, 1.0], [0.5, 0.5]), ([0.0, 1.0], [0.7, 0.3])])
    h = s.histogram(np.array([-0.5, 0.5, 1.5]))
    np.testing.assert_allclose(h.mass, [0.6, 0.4], **ROUND_OFF)
    floor = np.sqrt(2 * h.mass / s.size)  # the largest spread that a share of random signs can have
    student = 4.302652729749462  # t of two probes, two-sided 95 %
    spread = np.maximum(np.sqrt(0.02), floor)
    np.testing.assert_allclose(h.stderr, spread / np.sqrt(2) * student / 2, **ROUND_OFF)


def test_one_probe_cannot_tell_its_error():
    assert np.isnan(estimate([([0.0, 1.0], [0.5, 0.5])]).histogram(3).stderr).all()


@pytest.mark.parametrize("value", [0.0, 1e-20, -3.0, 1e20])
def test_a_constant_spectrum_gets_a_narrow_bin(value):
    edges, mass, _ = exact([value] * 4).histogram(1)
    assert mass.tolist() == [1.0]
    assert edges[0] <= value <= edges[-1]
    assert edges[-1] - edges[0] <= 1e-8 * (abs(value) or 1)


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=50), st.integers(1, 60))
def test_the_bins_hold_all_of_the_weight(values, bins):
    assert exact(values).histogram(bins).mass.sum() == pytest.approx(1, abs=1e-12)


def test_density_integrates_to_one_and_matches_the_closed_form():
    s = exact([-1.0, 2.0])
    grid = np.linspace(-10, 10, 20_001)
    density = s.density(grid, width=0.3)
    assert np.trapezoid(density, grid) == pytest.approx(1, abs=1e-9)  # Gaussian tails past 26 widths
    at_two = (1 + np.exp(-(3**2) / (2 * 0.3**2))) / 2 / (0.3 * np.sqrt(2 * np.pi))
    assert s.density(np.array([2.0]), width=0.3)[0] == pytest.approx(at_two, rel=1e-12)
    with pytest.raises(SettingError):
        s.density(grid, width=0)


def test_moments_extremes_and_error():
    s = exact([-3.0, 1.0, 2.0], residuals=np.array([1e-3, 5.0, 1e-4]))
    assert s.moment(2) == pytest.approx(14 / 3)
    assert (s.smallest, s.largest, s.magnitude) == (-3.0, 2.0, 3.0)
    assert s.error == pytest.approx(1e-3, rel=1e-6)  # the inner residual does not count
    assert s.converged(rtol=1e-3).tolist() == [True, False, True]


def test_repr_names_the_whole_network_and_never_computes():
    s = Spectrum(None, "step-4", 7, np.array([1.0]), np.array([1.0]), "dense")
    assert "whole network" in repr(s)
    assert "step-4" in repr(s)

"""Two spectra in one sentence: ratios, what errors leave undecided, and when nothing is compared."""

from dataclasses import replace

import pytest
from canned import held_out, spectrum

from lhexplore.diagnosis import hesd
from lhexplore.diagnosis.side_by_side import Value, side_by_side


def doubled(found, factor=2.0, **more):
    """The same shape, all of it larger."""
    more = {"snapshot": "later", **more}
    residuals = None if found.residuals is None else factor * found.residuals
    return replace(
        found, nodes=factor * found.nodes, residuals=residuals, trace=factor * found.trace,
        trace_stderr=factor * found.trace_stderr, zero_band=factor * found.zero_band, **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def exact():
    return spectrum("conv1", 8, "a")


@pytest.fixture(scope="module")
def estimate():
    return spectrum("conv2", 8, "a")


def test_what_errors_separate_is_said_as_a_ratio(exact):
    said = side_by_side(exact, doubled(exact))
    assert said.startswith("B against A: λmax ratio 2 ± ")
    assert "trace ratio 2; C_t" in said
    assert said.endswith("undecided; type of both: “mainly positive”.")  # C_t has no scale


def test_overlapping_intervals_leave_it_undecided(estimate):
    said = side_by_side(estimate, doubled(estimate, 1.3), names=("old", "new"))
    ratio, trace, ct, _ = said.split("; ")
    assert ratio.startswith("new against old: λmax ratio 1.3 ± ")
    assert "undecided" not in ratio
    assert trace.startswith("trace ratio 1.3 (")
    assert trace.endswith("), undecided")
    assert ct.endswith("in new, undecided")


def test_the_interval_of_a_ratio_spans_every_quotient(estimate):
    a, b = (Value.of("trace", s) for s in (estimate, doubled(estimate, 5.0)))
    said = side_by_side(estimate, doubled(estimate, 5.0))
    assert str(Value(b.value / a.value, b.low / a.high, b.high / a.low)) in said


def test_without_a_sign_values_are_said_in_place_of_a_ratio(exact):
    flipped = replace(exact, nodes=-exact.nodes[::-1], trace=-exact.trace, snapshot="later")
    said = side_by_side(exact, flipped)
    assert "trace ratio" not in said
    assert "in A, −" in said
    assert said.endswith(f"type: “{hesd(exact).word}” in A, “{hesd(flipped).word}” in B.")


def test_one_probe_tells_no_error_and_decides_nothing(estimate):
    first = estimate.probe == 0
    alone = replace(
        estimate, nodes=estimate.nodes[first], weights=estimate.weights[first] / estimate.weights[first].sum(),
        residuals=estimate.residuals[first], probe=estimate.probe[first], probes=1, trace_stderr=float("nan"),
    )  # fmt: skip
    said = side_by_side(alone, doubled(alone))
    assert "(error unknown) in B, undecided" in said


def test_the_same_spectrum_twice_is_called_so(exact):
    assert side_by_side(exact, replace(exact, snapshot="b")) == "A and B are the same spectrum: nothing differs."


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"steps": 30}, "number of Lanczos steps (m) is 20 in A and 30 in B"),
        ({"functional": "logit"}, "functional is loss in A and logit in B"),
        ({"curvature": "ggn"}, "curvature is hessian in A and ggn in B"),
        ({"split": "held_out"}, "split is data in A and held_out in B"),
        ({"provenance": {"data_digest": "2"}}, "computed on different data"),
        ({"provenance": {"data_digest": "1", "mode": "train"}}, "mode of the network is eval in A and train in B"),
        ({"complete": False}, "B will still change"),
    ],
)
def test_spectra_that_were_not_made_alike_are_not_compared(estimate, change, says):
    first = replace(estimate, provenance={"data_digest": "1", "mode": "eval"})
    said = side_by_side(first, doubled(estimate, **{"provenance": dict(first.provenance), **change}))
    assert says in said
    assert "ratio" not in said


def test_layers_differ_in_size_and_one_layer_does_not(exact):
    assert "ratio" in side_by_side(exact, spectrum("head", 8, "a"))
    assert "method is exact in A and lanczos in B" in side_by_side(exact, spectrum("conv2", 8, "a"))
    namesake = replace(spectrum("head", 8, "a"), layer="conv1")
    assert "has 80 parameters in A and 650 in B" in side_by_side(exact, namesake)


def test_held_out_spectra_compare_with_their_like(exact):
    assert "ratio" in side_by_side(held_out(exact), held_out(doubled(exact)))

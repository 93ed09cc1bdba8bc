"""Which snapshot is chosen by what, on courses whose answers are known by hand."""

import math

import pytest
from scipy.stats import binomtest

from lhexplore.diagnosis.hesd.picker import pick_snapshots
from lhexplore.errors import ComparisonError, SettingError

LIGHT = [1e-12, 1 - 1e-12]  # of an end that hides nothing beyond its residual


def course(exact, values, **fields):
    return [exact(v, snapshot=f"step-{i}", **fields) for i, v in enumerate(values)]


def test_three_criteria_may_choose_three_snapshots(exact):
    found = pick_snapshots(
        course(exact, [[-0.1, 10], [-0.5, 2], [-3, 20]]),
        losses=[{"val_accuracy": 0.5, "val_loss": 1.0}, {"val_accuracy": 0.6}, {"val_accuracy": 0.9}],
    )
    ct, largest, held_out = found.picks
    assert (ct.snapshot, largest.snapshot, held_out.snapshot) == ("step-0", "step-1", "step-2")
    assert [pick.criterion for pick in found.picks] == ["smallest |C_t|", "smallest λmax", "largest val_accuracy"]
    assert (ct.value, largest.value, held_out.value) == pytest.approx((0.01, 2, 0.9))
    assert all(pick.ties == () for pick in found.picks)
    for shown in (repr(found), found._repr_html_()):
        assert all(label in shown for label in ("step-0", "step-1", "step-2", "No criterion is the right one"))
        assert " to " not in shown  # exact values have no interval worth writing


def test_only_mainly_positive_snapshots_are_chosen_by_ct(exact):
    found = pick_snapshots(course(exact, [[-0.7, 1], [-0.59, 1], [0, 0]]))
    assert found.picks[0].snapshot == "step-1"
    assert "only snapshot" in found.picks[0].why
    assert found.picks[1].ties == ("step-1",)  # λmax = 1 both times; the flat one is no candidate
    assert found.picks[2].snapshot is None
    assert "no accuracy or loss" in found.picks[2].why


@pytest.mark.parametrize(
    ("values", "fields", "word"),
    [
        ([[0, 0], [0, 0]], {}, "flat"),
        ([[0, 1], [0, 2]], {"psd": True}, "PSD by structure"),
        ([[-1, 1], [-2, 1]], {}, "mainly negative"),
        ([[-1, 4], [-1, 5]], {"symmetry_defect": 0.1}, "undecided"),
    ],
)
def test_where_none_can_be_chosen_it_is_said(exact, values, fields, word):
    ct, largest, _ = pick_snapshots(course(exact, values, **fields)).picks
    assert ct.snapshot is None
    assert word in ct.why
    assert math.isnan(ct.value)
    assert (largest.snapshot is None) == (word == "flat")


def test_overlapping_intervals_are_ties(lanczos):
    def at(i, least, residual):
        return lanczos([[least, 1.0]] * 3, [LIGHT] * 3, residuals=[[residual, 0.0]] * 3, snapshot=f"step-{i}")

    found = pick_snapshots([at(0, -0.10, 0.02), at(1, -0.13, 0.02), at(2, -0.2, 0.02)]).picks[0]
    assert (found.snapshot, found.ties) == ("step-0", ("step-1",))
    assert found.interval == pytest.approx((0.08, 0.12))
    assert "not told apart from step-1" in found.why
    assert pick_snapshots([at(0, -0.10, 0.02), at(1, -0.15, 0.02)]).picks[0].ties == ()


def test_a_coarse_estimate_of_the_largest_value_ties(lanczos):
    near = [lanczos([[-0.1, x]] * 3, residuals=[[0, 0.1]] * 3, snapshot=f"{x}") for x in (1.0, 1.2)]
    assert pick_snapshots(near).picks[1].ties == ("1.2",)
    sharp = [lanczos([[-0.1, x]] * 3, snapshot=f"{x}") for x in (1.0, 1.2)]
    assert pick_snapshots(sharp).picks[1].ties == ()


def test_accuracies_of_counted_examples_have_an_interval(exact):
    rows = [{"val_acc": 0.80}, {"val_acc": 0.85}, {"val_acc": math.nan}]
    spectra = course(exact, [[-1, 4], [-1, 5], [-1, 6]])
    few = pick_snapshots(spectra, losses=rows, held_out_examples=100).picks[2]
    assert (few.snapshot, few.ties) == ("step-1", ("step-0",))
    known = binomtest(85, 100).proportion_ci(method="wilson")
    assert few.interval == pytest.approx((known.low, known.high))
    assert pick_snapshots(spectra, losses=rows, held_out_examples=10_000).picks[2].ties == ()
    uncounted = pick_snapshots(spectra, losses=rows).picks[2]
    assert all(map(math.isnan, uncounted.interval))
    assert uncounted.why.endswith("how sure that is, is not known.")
    perfect = pick_snapshots(spectra, losses=[{"val_acc": 1.0}, {"val_acc": 0.75}, {}], held_out_examples=4)
    assert perfect.picks[2].ties == ("step-1",)  # four of four is not certain
    with pytest.raises(SettingError, match="between 0 and 1"):
        pick_snapshots(spectra, losses=[{"val_acc": 80.0}, {}, {}], held_out_examples=100)


def test_without_accuracy_the_smallest_loss_is_best(exact):
    found = pick_snapshots(course(exact, [[-1, 4], [-1, 5]]), losses=[{"val_loss": 0.5}, {"val_loss": 0.7}])
    assert (found.picks[2].criterion, found.picks[2].snapshot) == ("smallest val_loss", "step-0")
    assert found.held_out_name == "val_loss"


def test_one_snapshot_has_nothing_to_be_chosen_from(exact):
    found = pick_snapshots(course(exact, [[-1, 4]]))
    assert "only snapshot" in found.picks[0].why
    assert "only snapshot" in found.picks[1].why


@pytest.mark.parametrize(
    "other",
    [
        {"layer": "fc2"},
        {"functional": "sum"},
        {"curvature": "ggn"},
        {"split": "held_out"},
        {"complete": False},
        {"provenance": {"data_digest": "b"}},
        {"provenance": {"mode": "train-frozen"}},
    ],
)
def test_what_was_made_otherwise_is_refused(exact, other):
    first = exact([-1, 4], snapshot="0", provenance={"data_digest": "a", "mode": "eval"})
    with pytest.raises(ComparisonError):
        pick_snapshots([first, exact([-1, 4], snapshot="1", **other)])


def test_other_methods_steps_and_sizes_are_refused(exact, lanczos):
    for pair in (
        [exact([-1, 4], snapshot="0"), lanczos([[-1, 4]] * 3, size=2, steps=0)],
        [lanczos([[-1, 4]] * 3, snapshot="0"), lanczos([[-1, 4]] * 3, steps=50)],
        [exact([-1, 4], snapshot="0"), exact([-1, 1, 4])],
    ):
        with pytest.raises(ComparisonError, match=r"has (method|steps|size)"):
            pick_snapshots(pair)
    assert pick_snapshots([exact([-1, 4], snapshot="0"), exact([-1, 4], method="factor")])  # exact is exact


def test_bad_input(exact):
    with pytest.raises(SettingError, match="at least one"):
        pick_snapshots([])
    with pytest.raises(SettingError, match="one entry per spectrum"):
        pick_snapshots([exact([-1, 4])], losses=[{}, {}])
    with pytest.raises(SettingError):
        pick_snapshots([exact([-1, 4])], held_out_examples=0)
    with pytest.raises(ComparisonError, match="stand once"):
        pick_snapshots([exact([-1, 4]), exact([-1, 5])])


def test_it_is_escaped(exact):
    page = pick_snapshots([exact([-1, 4], snapshot="<script>", layer="<b>")])._repr_html_()
    assert "<script>" not in page
    assert "<b>" not in page

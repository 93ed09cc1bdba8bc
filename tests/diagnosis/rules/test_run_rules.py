"""D5, D6, D8, D9 and types on a whole run: each fires on its picture and in its place, at its limit, not beside it."""

import math
from dataclasses import replace

import numpy as np
import pytest

from lhexplore.diagnosis import Thresholds, diagnose_run

W = 3  # snapshots in a row that rules need


def of(run, rule):
    return [f for f in run.findings if f.rule == rule]


def one(run, rule):
    (found,) = of(run, rule)
    return found


def flat(value, count=W):
    return [value] * count


# --- D5 ---


@pytest.mark.parametrize(("ratio", "fires"), [(20.0, True), (19.99, False)])
def test_ill_conditioned_by_median(course, ratio, fires):
    rows = {"fc1": flat([1.0, 1.0, 1.0, ratio])} | {f"peer{k}": flat([1.0, 1.0, 1.0, 2.0]) for k in range(3)}
    run = diagnose_run(course(rows))
    assert bool(of(run, "D5")) == fires
    if fires:
        f = one(run, "D5")
        assert (f.layer, f.eigenvalue, f.value, f.level) == ("fc1", 20.0, 10.0, "note")


def test_ill_conditioned_by_the_mean_where_the_median_is_zero(course):
    rows = {"fc1": flat([0.0] * 21 + [1e-3] * 18 + [1e-2])} | {f"p{k}": flat([1.0] * 40) for k in range(3)}
    assert "λmax over the mean" in one(diagnose_run(course(rows)), "D5").text


def test_ill_conditioned_needs_to_last(course):
    peers = {f"peer{k}": flat([1.0, 1.0, 1.0, 2.0], 4) for k in range(3)}
    sick, well = [1.0, 1.0, 1.0, 20.0], [1.0, 1.0, 1.0, 2.0]
    assert not of(diagnose_run(course({"fc1": [sick, sick, well, sick]} | peers)), "D5")
    f = one(diagnose_run(course({"fc1": [well, sick, sick, sick]} | peers)), "D5")
    assert (f.snapshot, f.window) == ("3", ("1", "2", "3"))


# --- D6 ---


def saddle(course, *, smallest=(-2.0, -2.0, -2.0), norms=(1.0, 0.5, 0.1), largest=10.0, **fields):
    rows = {"fc1": [[x, 1.0, largest] for x in smallest]}
    return diagnose_run(course(rows, gradients={"fc1": norms}, fields=fields))


def test_saddle_like_fires_at_its_limit(course):
    f = one(saddle(course), "D6")
    assert (f.layer, f.snapshot, f.value, f.eigenvalue, f.level) == ("fc1", "2", 0.2, -2.0, "note")


@pytest.mark.parametrize(
    "broken",
    [
        {"norms": (1.0, 0.5, 0.11)},
        {"norms": (0.0, 0.0, 0.0)},
        {"norms": (1.0, 0.5, math.nan)},
        {"smallest": (-2.0, -1.0, -2.0)},
        {"largest": 20.0},
        {"zero_band": 2.0},
        {"psd": True, "zero_band": 3.0},
    ],
    ids=str,
)
def test_saddle_like_needs_every_sign(course, broken):
    assert not of(saddle(course, **broken), "D6")


def test_a_negative_value_within_its_error_is_no_saddle_of_a_block_that_is_psd(course, exact):
    row = [[-2.0 - k, 1.0, 10.0] for k in range(W)]
    gradients = dict.fromkeys(("fc1", "fc2"), (1.0, 0.5, 0.1))
    psd = [exact(values, psd=True, residuals=np.array([5.0, 0.0, 0.0])) for values in row]
    run = diagnose_run(course({"fc1": psd, "fc2": row}, gradients=gradients))
    assert one(run, "D6").layer == "fc2"


def test_saddle_like_says_what_it_lacks(course):
    assert "Gradient norms" in diagnose_run(course({"fc1": flat([-2.0, 10.0])})).silent["D6"]
    assert "3 snapshots" in saddle(course, smallest=(-2.0, -2.0), norms=(1.0, 0.1)).silent["D6"]
    psd = diagnose_run(course({"fc1": flat([0.0, 1.0])}, gradients={"fc1": flat(1.0)}, fields={"psd": True}))
    assert "PSD by structure" in psd.silent["D6"]


# --- D8 ---


def stepping(course, *, rate=0.2, network=10.0, **more):
    rows = {"fc1": flat([1.0, 8.0]), "fc2": flat([1.0, 6.0])} | ({None: flat([1.0, network])} if network else {})
    return diagnose_run(course(rows, recorded={"lr": flat(rate), **more}))


def test_the_edge_of_stability_is_found_at_its_limit(course):
    f = one(stepping(course), "D8")
    assert (f.layer, f.snapshot, f.value, f.threshold, f.eigenvalue) == (None, "2", 2.0, 2.0, 10.0)
    assert "at least" not in f.text
    assert not of(stepping(course, rate=0.1999), "D8")


def test_the_largest_layer_is_a_lower_bound(course):
    f = one(stepping(course, network=None, rate=0.25), "D8")
    assert (f.value, f.eigenvalue) == (2.0, None)
    assert "at least" in f.text


@pytest.mark.parametrize(
    "more", [{"momentum": flat(0.9)}, {"optimizer": flat("adam")}, {"beta1": flat(0.9)}, {"clip_norm": flat(1.0)}]
)
def test_another_optimiser_has_another_limit(course, more):
    run = stepping(course, **more)
    assert not of(run, "D8")
    assert "plain gradient descent" in run.silent["D8"]


@pytest.mark.parametrize("more", [{"momentum": flat(0.0)}, {"optimizer": flat("SGD")}, {"clip_norm": flat(0.0)}])
def test_plain_gradient_descent_may_be_said(course, more):
    assert of(stepping(course, **more), "D8")


def test_without_a_learning_rate_there_is_no_edge(course):
    assert "learning rate" in diagnose_run(course({"fc1": flat([1.0])})).silent["D8"]


# --- D9 and the type ---


def titles(run):
    return {f.title for f in run.findings}


def test_structure_is_told_once_for_all_layers(course):
    rows = {name: [[0.0, top * k] for k in (1, 2, 3)] for name, top in (("fc1", 1.0), ("fc2", 2.0))}
    f = one(diagnose_run(course(rows, fields={"psd": True})), "D9")
    assert (f.title, f.layer, f.others, f.heuristic) == ("PSD by structure", None, ("fc1", "fc2"), False)
    assert f.window == ("0", "1", "2")
    assert "In 2 of 2 blocks" in f.evidence


def test_an_unused_layer_is_called_so(course):
    why = "exact zeros: the loss does not use these parameters (moving them left it unchanged)"
    found = titles(diagnose_run(course({"fc1": flat([0.0])}, fields={"reason": why})))
    assert "Unused layer" in found
    assert "Zero block" not in found


def test_tied_layers_say_so(course):
    f = one(
        diagnose_run(course({"fc1": [[1.0]], "fc2": [[1.0]]}, remarks={"fc1": "shares weight with fc2.weight"})), "D9"
    )
    assert (f.layer, "shares weight with fc2.weight" in f.text) == ("fc1", True)


def test_the_same_weights_at_several_steps(course, exact):
    digests = ("a", "b", "a")
    row = [exact([1.0 + k], provenance={"snapshot_digest": d}) for k, d in enumerate(digests)]
    run = diagnose_run(course({"fc1": row}, steps={"0": 0, "2": 2000}))
    f = one(run, "D9")
    assert (f.title, f.layer, f.snapshot) == ("Same weights as an earlier snapshot", None, "2")
    assert "'2' (step 2,000)" in f.text
    assert "'0' (step 0)" in f.text
    assert not diagnose_run(course({"fc1": row[:2]})).findings


def test_a_layer_that_does_not_move_is_told_apart_from_saved_twice(course, exact):
    still = {"fc1": [exact([1.0], provenance={"snapshot_digest": d}) for d in "ab"]}
    twice = {"fc1": [exact([1.0], provenance={"snapshot_digest": "a"})] * 2}
    assert titles(diagnose_run(course(still))) == {"Unchanged since the snapshot before"}
    assert titles(diagnose_run(course(twice))) == {"Same weights as an earlier snapshot"}


def test_types_stand_where_they_are(course):
    run = diagnose_run(course({"fc1": [[-2.0, 1.0], [-0.5, 1.0], [-0.1, 1.0]], "fc2": [[-0.1, 1.0], None, None]}))
    (f,) = run.findings
    assert (f.rule, f.layer, f.snapshot, f.window, f.eigenvalue) == ("HESD", "fc1", "0", ("0",), -2.0)
    floor = diagnose_run(course({"fc1": [[-0.1, 1.0]]}), Thresholds(floor=2.0))
    assert titles(floor) == {"Type undecided"}


def test_precision_is_a_fact_of_the_run(course, lanczos):
    s = lanczos([[-1.0, 10.0]] * 3, residuals=[[0.02, 0.001]] * 3, complete=False, symmetry_defect=1e-3)
    run = diagnose_run(course({"fc1": [s], "fc2": [s]}))
    assert titles(run) >= {"Unresolved: round-off decides", "Ends not converged", "Preliminary"}
    assert all(f.layer is None for f in of(run, "D9"))
    worse = diagnose_run(course({"fc1": [replace(s, symmetry_defect=0.06)]}))
    assert {f.level for f in of(worse, "D9") if "Unresolved" in f.title} == {"warning"}

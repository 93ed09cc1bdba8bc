"""D1, D2, D3, D4, D7 and negative types on a whole run: each at its limit, and silent where one sign is missing."""

import math

import pytest

from lhexplore.diagnosis import Thresholds, diagnose, diagnose_run

T = Thresholds()
BESIDE = 1e-6  # relative: far above rounding, far below any limit


def of(run, rule):
    return [f for f in run.findings if f.rule == rule]


def one(run, rule):
    (found,) = of(run, rule)
    return found


def above(limit):
    return limit * (1 + BESIDE)


def below(limit):
    return limit * (1 - BESIDE)


# --- D1 ---


def overfitting(course, *, rise=above(T.rise), train=(1.0, 0.5, 0.4, 0.3), held=None):
    held = held or (2.0, 1.0, rise, rise)
    rows = {"fc1": [[1.0 + 0.1 * k] for k in range(4)]}
    return diagnose_run(course(rows, recorded={"loss": train, "val_loss": held}))


def test_a_held_out_loss_that_rises_again_is_placed(course):
    f = one(overfitting(course), "D1")
    assert (f.layer, f.level, f.threshold) == (None, "warning", T.rise)
    assert f.value == pytest.approx(T.rise)
    assert f.snapshot in ("2", "3")


@pytest.mark.parametrize(
    "broken",
    [
        {"rise": below(T.rise)},
        {"train": (1.0, 0.5, 0.5, 0.5)},
        {"train": (1.0, 0.5, math.nan, math.nan)},
        {"held": (2.0, 1.0, None, math.nan)},
        {"held": (1.0, 0.9, 0.8, 0.7)},
    ],
    ids=str,
)
def test_overfitting_needs_every_sign(course, broken):
    assert not of(overfitting(course, **broken), "D1")


def test_one_block_is_told_of_its_run(exact):
    rows = [{"loss": a, "val_loss": b} for a, b in ((1.0, 1.0), (0.5, 2.0), (0.2, 3.0))]
    spectra = [exact([1.0 + k], snapshot=str(k)) for k in range(3)]
    d = diagnose(spectra[-1], history=spectra[:-1], losses=rows[-1], past_losses=rows[:-1])
    (f,) = [f for f in d.findings if f.rule == "D1"]
    assert (f.layer, f.snapshot) == (None, "2")


def test_overfitting_says_what_it_lacks(course):
    rows = {"fc1": [[1.0], [2.0]]}
    assert "training loss" in diagnose_run(course(rows)).silent["D1"]
    assert "held-out loss" in diagnose_run(course(rows, recorded={"loss": [1.0, 0.5]})).silent["D1"]


# --- D2 ---

FALL = (2.0, 1.0, 0.5, 0.1, 0.05)


def memorised(course, *, ratio=above(T.reference), accuracy=1.0, held=None, theirs=FALL, size=1, **more):
    recorded = {"loss": FALL, "accuracy": (0.1, 0.3, 0.5, 0.9, accuracy)} | ({"val_loss": held} if held else {})
    reference = course({"fc1": [[1.0] * size] * 5}, recorded={"loss": theirs})
    rows = {"fc1": [[ratio + 0 * k] for k in range(5)]}
    return diagnose_run(course(rows, **{"recorded": recorded, "reference": reference, **more}))


def test_a_reference_without_spectra_is_told_as_such(course):
    reference = course({"fc1": [None] * 5}, recorded={"loss": FALL})
    run = memorised(course, reference=reference)
    assert run.silent["D2"] == "The reference run has no spectra yet: call reference.compute()."


def test_more_curvature_than_the_reference_at_equal_loss(course):
    f = one(memorised(course), "D2")
    assert (f.layer, f.snapshot, f.level, f.threshold) == (None, "4", "warning", T.reference)
    assert f.value == pytest.approx(T.reference)


@pytest.mark.parametrize(
    "broken",
    [
        {"ratio": below(T.reference)},
        {"accuracy": below(T.accuracy)},
        {"size": 2},
    ],
    ids=str,
)
def test_memorisation_needs_every_sign(course, broken):
    assert not of(memorised(course, **broken), "D2")


def test_a_reference_is_a_witness_even_where_something_general_was_learnt(course):
    f = one(memorised(course, held=(1.0, 0.9, 0.8, 0.7, 0.6)), "D2")
    assert f.threshold == T.reference
    assert not of(memorised(course, held=(1.0, 0.9, 0.8, 0.7, 0.6), reference=None), "D2")


@pytest.mark.parametrize("missing", range(5))
def test_a_run_does_not_differ_from_what_is_known_of_itself(course, missing):
    traces, fit = [[4.0**-k] for k in range(5)], (0.1, 0.3, 1.0, 1.0, 1.0)
    rows = {"fc1": [None] * missing + traces[missing:]}
    reference = course(rows, recorded={"loss": FALL, "accuracy": fit})
    run = diagnose_run(course({"fc1": traces}, recorded={"loss": FALL, "accuracy": fit}, reference=reference))
    assert not of(run, "D2")
    assert ("D2" in run.silent) == (missing > 3)  # the trace at one loss is no course


def test_a_held_out_loss_worse_than_at_the_start(course):
    def run(last, traces=(1.0, 1.1, 1.2, 1.3, 1.4)):
        recorded = {"loss": FALL, "accuracy": (0.1, 0.3, 0.5, 0.9, 1.0), "val_loss": (2.0, 2.0, 2.0, 2.0, last)}
        return diagnose_run(course({"fc1": [[trace] for trace in traces]}, recorded=recorded))

    f = one(run(above(2.0 * T.worse)), "D2")
    assert (f.layer, f.snapshot, f.threshold) == (None, "4", T.worse)
    assert not of(run(below(2.0 * T.worse)), "D2")
    assert not of(run(above(2.0 * T.worse), (1.0, 1.0, 1.0, 1.0, below(T.kept))), "D2")


@pytest.mark.parametrize("first", [None, math.nan, math.inf, 0.0])
def test_a_later_held_out_loss_does_not_stand_for_the_first(course, first):
    recorded = {"loss": FALL, "accuracy": (0.1, 0.3, 0.5, 0.9, 1.0), "val_loss": (first, 1.0, 1.0, 2.0, 9.0)}
    run = diagnose_run(course({"fc1": [[1.0]] * 5}, recorded=recorded))
    assert not of(run, "D2")
    assert "held-out loss from the first snapshot on" in run.silent["D2"]


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        ({"loss": "CrossEntropyLoss"}, {"loss": "MSELoss"}, "'MSELoss'"),
        ({"mode": "eval"}, {"mode": "train"}, "mode 'eval'"),
        ({"loss": "nll", "loss_digest": "a"}, {"loss": "nll", "loss_digest": "b"}, "nll, differ in settings"),
        ({"loss": "nll"}, {}, ""),
        ({"loss": "nll", "loss_digest": "a"}, {"loss": "nll"}, ""),
    ],
)
def test_a_reference_measured_with_another_loss_is_refused(course, mine, theirs, told):
    reference = course({"fc1": [[1.0]] * 5}, recorded={"loss": FALL}, fields={"provenance": theirs})
    run = memorised(course, reference=reference, fields={"provenance": mine})
    assert bool(of(run, "D2")) == (not told)
    assert told in run.silent.get("D2", "")


def test_alarms_without_steps_are_no_witness(course):
    run = diagnose_run(course({"fc1": [[1.0]] * 2}, recorded={"accuracy": [1.0, 1.0]}), alarms={"fc1": 1})
    assert "optimiser steps" in run.silent["D2"]


def test_memorisation_by_alarm(course):
    known = {"recorded": {"accuracy": [0.5, 1.0, 1.0]}, "steps": {"0": 0, "1": 10, "2": 20}}
    rows = {"fc1": [[1.0], [1.1], [1.2]], "fc2": [[1.0], [1.1], [1.2]]}
    f = one(diagnose_run(course(rows, **known), alarms={"fc1": 12}), "D2")
    assert (f.layer, f.snapshot) == ("fc1", "2")
    assert "step 12" in f.text
    assert one(diagnose_run(course(rows, **known), alarms={"fc1": 0}), "D2").snapshot == "1"  # fitted from there on
    assert not of(diagnose_run(course(rows, **known), alarms={"fc1": 21}), "D2")


def test_memorisation_says_what_it_lacks(course):
    rows = {"fc1": [[1.0], [1.1]]}
    assert "training accuracy" in diagnose_run(course(rows)).silent["D2"]
    assert "reference" in diagnose_run(course(rows, recorded={"accuracy": [1.0, 1.0]})).silent["D2"]
    other = course({"fc2": [[1.0], [1.1]]})
    run = diagnose_run(course(rows, recorded={"accuracy": [1.0, 1.0]}, reference=other))
    assert "same blocks" in run.silent["D2"]  # one was given: not that one is lacking


# --- D3 ---


def stuck(
    course,
    *,
    loss=(2.0, 1.0, 1.0, 1.0),
    top=above(T.grown),
    gain=below(T.headroom),
    gradients=True,
    fields=None,
    beside=(),
):
    """λmax per loss grows from 1 to ``top``; one step along the gradient takes ``gain`` of the loss off."""
    tops = [loss[0], *(top * x for x in loss[1:])]
    norms = [math.sqrt(2 * t * gain * x) for t, x in zip(tops, loss, strict=True)]
    known = {"gradients": {"fc1": norms}} if gradients else {}
    rows = {"fc1": [[0.1, t] for t in tops], **dict(beside)}
    return diagnose_run(course(rows, recorded={"loss": loss}, fields=fields, **known))


def test_bottleneck_is_placed(course):
    f = one(stuck(course), "D3")
    assert (f.layer, f.snapshot, f.threshold) == (None, "3", T.headroom)
    assert f.value == pytest.approx(T.headroom)


@pytest.mark.parametrize(
    "broken",
    [
        {"top": below(T.grown)},
        {"gain": above(T.headroom)},
        {"loss": (2.0, 1.0, 1.0, 1.0 + 2 * T.flat_loss)},
        {"loss": (2.0, *[below(2.0 * T.small_loss_ratio)] * 3)},
        {"gradients": False},
    ],
    ids=str,
)
def test_bottleneck_needs_every_sign(course, broken):
    assert not of(stuck(course, **broken), "D3")


@pytest.mark.parametrize("loss", ["MSELoss", "mse_loss", "L1Loss", "HuberLoss"])
def test_noise_in_the_targets_of_a_regression_is_no_bottleneck(course, loss):
    run = stuck(course, fields={"provenance": {"loss": loss}})
    assert not of(run, "D3")
    assert loss in run.silent["D3"]
    assert one(stuck(course, fields={"provenance": {"loss": "CrossEntropyLoss"}}), "D3")


def test_a_linear_model_has_no_width(course):
    run = stuck(course, fields={"psd": True})
    assert not of(run, "D3")
    assert "linear" in run.silent["D3"]
    beside = {"fc2": [[0.01]] * 4}
    assert one(stuck(course, fields={"psd": True}, beside=beside), "D3")  # a ReLU network: every layer is PSD


def test_bottleneck_says_what_it_lacks(course):
    assert "Gradient norms" in stuck(course, gradients=False).silent["D3"]
    assert "training loss" in diagnose_run(course({"fc1": [[1.0]]})).silent["D3"]


@pytest.mark.parametrize("lacking", ["loss", "spectrum"])
def test_a_bottleneck_is_judged_from_the_first_snapshot_on(course, lacking):
    loss = (None if lacking == "loss" else 2.0, 1.5, 1.0, 1.0, 1.0)
    rows = {"fc1": [None if lacking == "spectrum" else [1.0], [1.0], [9.0], [9.1], [9.2]]}
    run = diagnose_run(course(rows, recorded={"loss": loss}, gradients={"fc1": [1e-6] * 5}))
    assert not of(run, "D3")
    assert "first snapshot" in run.silent["D3"]


# --- D4 ---


def low_rank(course, rank, size=1000, **fields):
    row = [[0.0] * (size - rank) + [1.0 + k] * rank for k in range(3)]
    return of(diagnose_run(course({"fc1": row}, fields=fields)), "D4")


def test_low_rank_fires_at_its_limit(course):
    (f,) = low_rank(course, round(1000 * T.low))
    assert (f.layer, f.snapshot, f.value, f.level) == ("fc1", "2", pytest.approx(T.low), "warning")
    assert not low_rank(course, round(1000 * T.low) + 1)


def test_low_rank_names_rows_of_an_embedding_that_are_never_asked_for(course):
    (f,) = low_rank(course, 50)
    assert "embedding" in f.action
    assert "embedding" in f.refute


def test_a_rank_that_the_data_bound_is_not_dead(course):
    assert not low_rank(course, 50, provenance={"examples": 10, "outputs": 6})


def test_no_curvature_stays_for_three_snapshots(course):
    def titles(*values, **kw):
        return {f.title for f in of(diagnose_run(course({"fc1": values}, **kw)), "D4")}

    assert titles([0.0], [0.0], [0.0]) == {"No curvature: dead or unused?"}
    assert titles([0.0], [1.0], [0.0]) == set()
    assert titles([0.0]) == {"No curvature: dead or unused?"}  # all that is known
    assert titles([0.0], [0.0], [0.0], fields={"functional": "sum"}) == set()


def test_a_gradient_speaks_against_a_dead_layer(course):
    rows = {"fc1": [[0.0]] * 3} | {f"p{i}": [[1.0 + k] for k in range(3)] for i in range(2)}
    gradients = {"fc1": [above(T.alive)] * 3, "p0": [1.0] * 3, "p1": [1.0] * 3}
    assert {f.level for f in of(diagnose_run(course(rows, gradients=gradients)), "D4")} == {"note"}
    dead = diagnose_run(course(rows, gradients=gradients | {"fc1": [T.alive] * 3}))
    assert {f.level for f in of(dead, "D4")} == {"warning"}


def test_a_layer_far_below_the_others_is_faint(course):
    def run(size):
        rows = {"fc1": [[size * (1 + k)] for k in range(3)]} | {f"p{i}": [[1.0 + k] for k in range(3)] for i in (0, 1)}
        return diagnose_run(course(rows))

    assert one(run(T.faint), "D4").layer == "fc1"
    assert not of(run(above(T.faint)), "D4")


# --- D7 ---


def collapsed(course, *, now=below(T.collapse), loss=T.vanishing, held_out=None):
    known = {"held_out": {"fc1": [None, [held_out]]}} if held_out else {}
    return diagnose_run(course({"fc1": [[1.0], [now]]}, recorded={"loss": [1.0, loss]}, **known))


def test_quasi_singular_is_a_state_of_the_run(course):
    f = one(collapsed(course), "D7")
    assert (f.layer, f.snapshot, f.level) == (None, "1", "warning")
    assert f.value == pytest.approx(T.collapse, rel=2 * BESIDE)
    by_gap = one(collapsed(course, now=0.5, held_out=above(0.5 / T.collapse)), "D7")
    assert "held-out" in by_gap.text


@pytest.mark.parametrize(
    "broken",
    [{"now": T.collapse}, {"loss": above(T.vanishing)}, {"loss": math.nan}, {"now": 0.5, "held_out": 0.5 / T.collapse}],
    ids=str,
)
def test_quasi_singular_needs_every_sign(course, broken):
    assert not of(collapsed(course, **broken), "D7")


# --- types ---


def test_a_negative_type_warns_of_a_whole_network_that_has_learnt(course):
    def level(layer, loss):
        run = diagnose_run(course({layer: [[-2.0, 1.0], [-3.0, 1.0]]}, recorded={"loss": [2.0, loss]}))
        return [f.level for f in run.at(layer, "1") if f.rule == "HESD"]

    assert level(None, 2 * T.trained) == ["warning"]
    assert level(None, above(2 * T.trained)) == ["note"]
    assert level("fc1", 2 * T.trained) == ["note"]

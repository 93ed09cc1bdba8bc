"""The trace monitor on series whose sums can be written down."""

import inspect
import math
from dataclasses import replace

import numpy as np
import pytest

from lhexplore.diagnosis.monitor.cusum import Monitor, MonitorSettings, at_labels, follow
from lhexplore.diagnosis.monitor.healthy import PRIOR, Reference, log_trace
from lhexplore.diagnosis.monitor.trace_paths import Alarm
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.trace_point import TracePoint

EXACT = 1e-9  # rounding of a logarithm and back, and of some tens of additions
STEPS = range(100, 3100, 100)


def series(logs, steps=STEPS, *, stderr=0.0, basis=""):
    """Points of one run from log-traces by layer."""
    return [
        TracePoint(step, {layer: (math.exp(values[i]), stderr) for layer, values in logs.items()}, basis)
        for i, step in enumerate(steps)
    ]


def course(steps=STEPS):
    """Rises and collapses, as a healthy trace does."""
    t = np.linspace(0, 1, len(steps))
    return 2 * np.sin(4 * t) - 3 * t


def pair(spread=0.2, *, layers=("a", "b"), steps=STEPS):
    """Two reference runs at the course ± spread: mean and s.d. are known at every step."""
    logs = course(steps)
    return [series(dict.fromkeys(layers, logs + sign * spread), steps) for sign in (1, -1)]


def unit(spread=0.2):
    """The s.d. that deviations are told in: spread √2 between two runs, and √(1 + 1/2) for their mean."""
    return spread * math.sqrt(2) * math.sqrt(1.5)


def test_the_reference_is_mean_and_sd_of_the_runs():
    found = Reference.of(pair()).courses["a"]
    np.testing.assert_allclose(found.mean, course(), atol=EXACT)
    np.testing.assert_allclose(found.sd, 0.2 * math.sqrt(2), atol=EXACT)  # ddof 1, the same at every step
    assert found.at(150)[0] == pytest.approx(np.interp(math.log1p(150), np.log1p([100, 200]), course()[:2]), abs=EXACT)
    assert found.at(99) is None
    assert found.at(3001) is None


def test_the_spread_at_a_step_is_drawn_towards_that_over_all_steps():
    wide = np.where(np.arange(30) == 7, 0.6, 0.2)
    runs = [series({"a": course() + sign * wide}) for sign in (1, -1)]
    own = 2 * wide**2
    expected = np.sqrt((PRIOR * own.mean() + own) / (PRIOR + 1))
    np.testing.assert_allclose(Reference.of(runs).courses["a"].sd, expected, rtol=EXACT)


@pytest.mark.parametrize("delta", [0.8, 1.0, 1.7, 4.0])
def test_a_lasting_shift_is_found_after_the_points_that_it_takes(delta):
    """S grows by shift − k a point, so it exceeds h after floor(h / (shift − k)) + 1 of them."""
    settings = MonitorSettings(h=4.7)  # no multiple of what S grows by
    at = 9
    shift = np.where(np.arange(30) >= at, delta * unit(), 0.0)
    found = follow(series({"a": course() + shift, "b": course()}), Reference.of(pair()), settings)
    points = math.floor(settings.h / (delta - settings.k)) + 1
    path = found.paths[0]
    np.testing.assert_allclose(path.upper[:at], 0)
    np.testing.assert_allclose(path.upper[at:], (delta - settings.k) * np.arange(1, 30 - at + 1), atol=EXACT)
    if points <= 30 - at:
        (alarm,) = found.alarms
        assert (alarm.layer, alarm.step, alarm.side, alarm.h) == ("a", STEPS[at + points - 1], "upper", 4.7)
        assert alarm.s == pytest.approx(points * (delta - settings.k), abs=EXACT)
        assert found.first_alarms == {"a": alarm.step}
    else:
        assert found.alarms == ()


def test_a_shift_of_k_or_less_is_never_found():
    found = follow(series({"a": course() + 0.49 * unit(), "b": course()}), Reference.of(pair()))
    assert found.alarms == ()
    assert not found.paths[0].upper.any()


@pytest.mark.parametrize(("sides", "expected"), [("upper", []), ("lower", ["lower"]), ("both", ["lower"])])
def test_a_collapse_is_found_on_the_lower_side_only(sides, expected):
    run = series({"a": course() - 3 * unit(), "b": course()})
    found = follow(run, Reference.of(pair()), MonitorSettings(sides=sides))
    assert [alarm.side for alarm in found.alarms] == expected
    assert np.isnan(found.paths[0].lower).all() == (sides == "upper")
    assert np.isnan(found.paths[0].upper).all() == (sides == "lower")


def test_an_alarm_is_raised_once_until_the_sum_was_back_at_zero():
    delta = np.zeros(30)
    delta[2:8], delta[20:26] = 3.1, 3.1  # 2.6 up at each point: above 5 at the second
    delta[8:12] = -9.0
    found = follow(series({"a": course() + delta * unit(), "b": course()}), Reference.of(pair()))
    assert [alarm.step for alarm in found.alarms] == [STEPS[3], STEPS[21]]
    assert found.first_alarms == {"a": STEPS[3]}


def test_online_and_offline_agree():
    rng = np.random.default_rng(0)
    run = series({"a": course() + rng.normal(0, 0.5, 30), "b": course() + 0.6})
    reference, settings = Reference.of(pair()), MonitorSettings(h=2, sides="both")
    monitor = Monitor(reference, settings)
    raised = [alarm for point in run for alarm in monitor.update(point.step, point.traces)]
    offline = follow(run, reference, settings)
    assert tuple(raised) == monitor.alarms == offline.alarms
    assert {alarm.layer for alarm in raised} == {"a", "b"}
    for one, other in zip(monitor.result.paths, offline.paths, strict=True):
        np.testing.assert_array_equal(one.upper, other.upper)
        np.testing.assert_array_equal(one.lower, other.lower)


def test_a_run_at_other_steps_is_compared_by_the_logarithm_of_the_step():
    steps = [100, 170, 333, 999, 3000]
    places = np.interp(np.log1p(steps), np.log1p(STEPS), course())
    run = series({"a": places + 2 * unit(), "b": places}, steps)
    found = follow(run, Reference.of(pair()))
    np.testing.assert_allclose(found.paths[0].x, 2, atol=EXACT)
    np.testing.assert_allclose(found.paths[1].x, 0, atol=EXACT)


def test_steps_outside_the_reference_are_skipped_and_marked():
    run = series({"a": np.full(3, 5.0), "b": np.zeros(3)}, [50, 100, 9000])
    found = follow(run, Reference.of(pair()))
    assert [(skip.step, skip.layer) for skip in found.skipped] == [(50, "a"), (50, "b"), (9000, "a"), (9000, "b")]
    assert "steps 100 to 3000 only" in found.skipped[0].reason
    assert [len(path.steps) for path in found.paths] == [1, 1]


def test_reference_runs_at_different_steps_meet_in_between():
    early, late = range(0, 2000, 100), range(500, 3000, 250)
    runs = [series({"a": np.log1p(np.array(steps)) + sign}, steps) for steps, sign in ((early, 0.3), (late, -0.3))]
    found = Reference.of(runs).courses["a"]
    np.testing.assert_array_equal(found.steps, [500, 750, 1000, 1250, 1500, 1750])
    np.testing.assert_allclose(found.mean, np.log1p(found.steps), atol=EXACT)


@pytest.mark.parametrize(
    ("value", "stderr", "said"),
    [
        (0.0, 0.0, "no logarithm"),
        (-1.0, 0.1, "no logarithm"),
        (0.5, 0.5, "no logarithm"),
        (0.5, math.inf, "no logarithm"),
        (math.inf, 0.0, "no logarithm"),
        (math.nan, 0.1, "no number"),
        (1.0, math.nan, "no number"),
    ],
)
def test_what_has_no_logarithm_is_skipped_and_marked(value, stderr, said):
    reference = Reference.of(pair())
    monitor = Monitor(reference)
    for step in (100, 200, 300):
        monitor.update(step, {"a": (value, stderr), "b": math.exp(course()[0])})
    result = monitor.result
    assert [(skip.layer, skip.step) for skip in result.skipped] == [("a", step) for step in (100, 200, 300)]
    assert all(said in skip.reason for skip in result.skipped)
    assert len(result.paths[0].steps) == 0
    assert said in str(result)


def test_a_trace_just_above_its_error_counts():
    assert log_trace(0.51, 0.5) == (math.log(0.51), "")


def test_a_skipped_point_leaves_the_sum_as_it_was():
    run = series({"a": course() + 2 * unit(), "b": course()})
    holes = [
        replace(point, traces={**point.traces, "a": (math.nan, math.nan)}) if i in (1, 2) else point
        for i, point in enumerate(run)
    ]
    found = follow(holes, Reference.of(pair()))
    np.testing.assert_allclose(found.paths[0].upper, 1.5 * np.arange(1, 29), atol=EXACT)
    assert found.alarms[0].step == STEPS[5]  # 4 × 1.5 = 6 > 5, two points later than without the holes


def test_points_without_any_trace_are_passed_over():
    run = series({"a": course(), "b": course()})
    run[3] = TracePoint(run[3].step, {}, note="NotFiniteError")
    run[4] = TracePoint(run[4].step, {"a": run[4].traces["a"]})
    found = follow(run, Reference.of(pair()))
    assert [len(path.steps) for path in found.paths] == [29, 28]
    assert [(skip.layer, skip.step) for skip in found.skipped] == [("b", STEPS[4])]


def test_one_layer_only():
    runs = pair(layers=("only",))
    assert follow(series({"only": course()}), Reference.of(runs)).alarms == ()


def test_other_layers_than_the_reference_are_refused():
    reference = Reference.of(pair())
    for layers in (("a",), ("a", "b", "c"), ("a", "c")):
        with pytest.raises(ComparisonError, match="layers="):
            follow(series(dict.fromkeys(layers, course())), reference)
    with pytest.raises(ComparisonError, match="Two reference runs"):
        Reference.of([pair()[0], series({"a": course()})])
    monitor = Monitor()
    monitor.update(0, {"a": 1.0})
    with pytest.raises(ComparisonError, match="monitor the same ones"):
        monitor.update(1, {"a": 1.0, "b": 1.0})


def test_traces_of_another_kind_are_refused():
    with pytest.raises(ComparisonError, match="record both in one way"):
        follow(
            series({"a": course()}, basis="hessian of MSELoss"),
            Reference.of([series({"a": course()}, basis="hessian of CrossEntropyLoss")]),
        )
    with pytest.raises(ComparisonError, match="one kind"):
        Reference.of([series({"a": course()}, basis="one"), series({"a": course()}, basis="two")])


@pytest.mark.parametrize("wrong", [5, None, [1.0], {"a": "x"}, {"a": None}, {"a": (1.0, 0.1, 2.0)}, {"a": (1.0, "x")}])
def test_traces_of_another_kind_are_refused_and_leave_the_monitor_as_it_was(wrong):
    update = inspect.unwrap(Monitor.update)  # past the shape checker of the tests
    monitor = Monitor()
    with pytest.raises(SettingError, match=r"traces must be|The trace of 'a' must be"):
        update(monitor, 1, wrong)
    monitor.update(1, {"a": 2.0})
    assert [path.steps for path in monitor.result.paths] == [path.steps for path in followed({"a": 2.0})]


def followed(traces):
    """What a fresh monitor has after one point."""
    monitor = Monitor()
    monitor.update(1, traces)
    return monitor.result.paths


def test_a_pair_may_be_a_list():
    update = inspect.unwrap(Monitor.update)
    monitor = Monitor()
    update(monitor, 1, {"a": [1.0, 2.0]})
    assert [one.reason for one in monitor.result.skipped] == [log_trace(1.0, 2.0)[1]]


def test_steps_must_grow():
    monitor = Monitor()
    monitor.update(5, {"a": 1.0})
    for step in (5, 4, math.nan, math.inf, "6"):
        with pytest.raises(SettingError, match="Steps must grow"):
            monitor.update(step, {"a": 1.0})


def test_a_layer_without_reference_is_skipped_with_its_reason():
    runs = [
        [replace(point, traces={**point.traces, "dead": (0.0, 0.0)}) for point in run] for run in pair(layers=("a",))
    ]
    found = follow(series({"a": course(), "dead": course()}), Reference.of(runs))
    assert len(found.skipped) == 30
    assert "no usable trace of it" in found.skipped[0].reason


@pytest.mark.parametrize("runs", [[], [[]], [series({"a": [0.0, 1.0]}, [0, 1])]])
def test_too_little_for_a_reference_is_refused(runs):
    with pytest.raises(SettingError, match="reference"):
        Reference.of(runs)


def test_a_constant_reference_has_the_floor_as_its_spread():
    runs = [series({"a": np.zeros(30)})] * 3
    assert Reference.of(runs, floor=0.1).courses["a"].sd == pytest.approx(0.1)


def test_one_reference_run_uses_its_scatter_and_says_so():
    steps = range(200)
    rng = np.random.default_rng(3)
    straight = 5 - np.log1p(np.array(steps))  # straight over log step, so that all that is left is noise
    reference = Reference.of([series({"a": straight + rng.normal(0, 0.3, 200)}, steps)])
    sd = reference.courses["a"].sd[0]
    assert abs(sd / 0.3 - 1) < 4 / math.sqrt(2 * 198 / 2)  # 4 s.e.; overlapping triples count for about half
    assert reference.widening == pytest.approx(math.sqrt(2))
    found = follow(series({"a": straight}, steps), reference)
    assert "one reference run" in str(found)
    assert found.runs == 1


def test_without_a_reference_the_first_points_serve_and_the_result_says_what_that_is_worth():
    settings = MonitorSettings(early=4, floor=0.1)
    logs = np.array([0.0, 0.2, 0.0, 0.2, 0.1, 1.1, 1.1, 1.1])
    found = follow(series({"a": logs}, range(8)), settings=settings)
    scale = np.std(logs[:4], ddof=1) * math.sqrt(1 + 1 / 4)
    np.testing.assert_allclose(found.paths[0].x, [*[np.nan] * 4, 0, *[1.0 / scale] * 3], atol=EXACT)
    assert [alarm.step for alarm in found.alarms] == [5]
    assert found.runs == 0
    assert "It cannot say that this is unhealthy" in str(found)


def test_a_calibrated_limit_says_where_it_does_not_hold():
    settings = MonitorSettings(false_alarms=0.05)
    steps = [*range(100, 1000, 100), *range(1000, 3000, 50)]  # 49 points where the reference has 30
    run = series({"a": np.zeros(49), "b": np.zeros(49)}, steps)
    reference = Reference.of(pair())
    assert "49 times, the reference 30 times" in str(follow(run, reference, settings))
    assert "times" not in str(follow(run, reference))  # nothing was claimed
    assert "times" not in str(follow(run[:37], reference, settings))


def test_nothing_to_follow_is_refused():
    for run in ([], [TracePoint(0, {}, note="failed")]):
        with pytest.raises(SettingError, match="no traces to follow"):
            follow(run)


@pytest.mark.parametrize(
    "settings",
    [
        {"h": 0}, {"h": math.nan}, {"shift": -1}, {"floor": 0}, {"h": math.inf}, {"early": 1}, {"early": True},
    ],
)  # fmt: skip
def test_settings_that_make_no_sense_are_refused(settings):
    with pytest.raises(SettingError):
        MonitorSettings(**settings)


def test_what_is_no_reference_is_refused():
    with pytest.raises(SettingError, match="reference must be"):
        Monitor("runs/a")


def test_k_is_half_the_expected_shift_and_the_defaults_are_the_textbooks():
    assert (MonitorSettings().k, MonitorSettings().h) == (0.5, 5.0)
    assert MonitorSettings(shift=3).k == 1.5


def test_alarms_find_their_snapshots():
    labels = {"step-0": 0, "step-1000": 1000, "step-2000": 2000}
    first = {"a": 0, "b": 1, "c": 1000, "d": 1001, "e": 9000}
    assert at_labels(first, labels) == {
        "a": "step-0", "b": "step-1000", "c": "step-1000", "d": "step-2000", "e": "step-2000"
    }  # fmt: skip
    assert at_labels(first, {}) == {}


def test_a_result_reads_well_and_does_not_change():
    run = series({"a": course() + 2 * unit(), "b": course()})
    monitor = Monitor(Reference.of(pair()))
    for point in run[:10]:
        monitor.update(point.step, point.traces)
    before = monitor.result
    for point in run[10:]:
        monitor.update(point.step, point.traces)
    assert len(before.paths[0].steps) == 10
    with pytest.raises(ValueError, match="read-only"):
        before.paths[0].x[0] = 1
    text = str(before)
    assert text.startswith("Trace monitor (lhexplore definition, after Page 1954): 1 of 2 layers alarmed; h = 5 s.d.,")
    assert "a  upper alarm at step 400 (S = 6.0), 10 points" in text
    assert "b  no alarm, 10 points" in text


def test_an_alarm_printed_is_a_sentence():
    assert str(Alarm("fc1", 1250, "upper", 7.519, 4.7923)) == (
        "Layer 'fc1', step 1,250: the trace stays above its reference (S = 7.52, limit 4.79)."
    )
    assert "stays below" in str(Alarm("fc1", 1, "lower", 6.0, 5.0))

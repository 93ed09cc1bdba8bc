"""The monitor's limit: it holds on healthy series, and its power is what is stated."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy.signal import lfilter

from lhexplore.diagnosis.monitor.calibrate import calibrate, sums
from lhexplore.diagnosis.monitor.cusum import MonitorSettings, follow
from lhexplore.diagnosis.monitor.healthy import Reference
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.trace_point import TracePoint

SURE = 4.0  # standard errors that a count of simulated runs may be off


def healthy(rng, *, points=30, layers=3, phi=0.6, sd=0.3, shift=0.0, start=0):
    """One run of first-order series around a course, by a recursion of scipy; ``shift`` s.d. in the first layer."""
    steps = 100 * np.arange(1, points + 1)
    traces = []
    for layer in range(layers):
        noise = rng.standard_normal(points) * np.r_[1.0, np.full(points - 1, math.sqrt(1 - phi**2))]
        logs = np.cos(np.arange(points) / 5) + sd * lfilter([1.0], [1.0, -phi], noise)
        if layer == 0:
            logs[start:] += shift * sd
        traces.append(logs)
    return [
        TracePoint(int(step), {f"layer{i}": (math.exp(logs[t]), 0.0) for i, logs in enumerate(traces)})
        for t, step in enumerate(steps)
    ]


def test_sums_are_page_s():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((5, 40))
    walk = np.cumsum(x - 0.5, axis=1)
    lowest = np.minimum(np.minimum.accumulate(walk, axis=1), 0)
    np.testing.assert_allclose(sums(x, 0.5), walk - lowest, atol=1e-12)  # the reflected walk, in closed form


@pytest.mark.parametrize(("runs", "phi"), [(3, 0.0), (5, 0.6)])
def test_false_alarms_of_healthy_runs_stay_within_the_designed_rate(runs, phi):
    """Of whole runs, over all layers together, each with reference runs and a limit of its own."""
    designed, trials = 0.1, 120
    alarmed = 0
    for trial in range(trials):
        rng = np.random.default_rng([trial, runs])
        reference = [healthy(rng, phi=phi, points=20) for _ in range(runs)]
        found = calibrate(reference, false_alarms=designed, simulations=300, seed=trial)
        alarmed += bool(follow(healthy(rng, phi=phi, points=20), Reference.of(reference), found.settings).alarms)
    z = (alarmed / trials - designed) / math.sqrt(designed * (1 - designed) / trials)
    assert abs(z) <= SURE


def test_a_shift_is_found_with_the_power_that_is_stated():
    """Stated by the calibration for one sd in one layer; counted on runs that it has not seen."""
    rng = np.random.default_rng(5)
    reference = [healthy(rng, phi=0.0, points=60) for _ in range(20)]
    found = calibrate(reference, simulations=1500, false_alarms=0.05)
    course = Reference.of(reference)
    delays = []
    for _ in range(150):
        result = follow(healthy(rng, phi=0.0, points=60, shift=1.0, start=20), course, found.settings)
        at = [alarm.step // 100 - 20 for alarm in result.alarms if alarm.layer == "layer0" and alarm.step > 2000]
        delays.append(at[0] if at else math.inf)
    counted = np.isfinite(delays).mean()
    # One set of reference runs has its own errors of mean and s.d.: they add to those of counting.
    assert abs(counted - found.power) <= SURE * (math.sqrt(found.power * (1 - found.power) / 150) + 0.01)
    assert found.power > 0.9
    assert np.median([d for d in delays if math.isfinite(d)]) == pytest.approx(found.delay, abs=4)


def test_the_limit_grows_with_layers_persistence_and_fewer_runs_and_falls_with_the_rate():
    def limit(*, runs=8, layers=2, phi=0.0, false_alarms=0.05, **settings):
        rng = np.random.default_rng(1)
        reference = [healthy(rng, layers=layers, phi=phi) for _ in range(runs)]
        return calibrate(
            reference, simulations=1000, false_alarms=false_alarms, settings=MonitorSettings(**settings)
        ).settings.h

    plain = limit()
    assert limit(layers=8) > plain
    assert limit(phi=0.8) > plain
    assert limit(runs=3) > plain
    assert limit(sides="both") > plain
    assert limit(false_alarms=0.3) < plain
    assert limit(shift=2.0) < plain


def test_the_same_seed_gives_the_same_limit_and_the_text_says_what_it_is():
    rng = np.random.default_rng(2)
    reference = [healthy(rng) for _ in range(4)]
    first, again, other = (calibrate(reference, simulations=500, seed=seed) for seed in (0, 0, 1))
    assert first == again
    assert first.settings.h != other.settings.h
    assert (first.runs, first.points, first.simulations) == (4, 30, 500)
    assert first.settings.false_alarms == 0.05
    assert "designed for any alarm in 5.0% of healthy runs" in repr(first)
    result = follow(healthy(rng), Reference.of(reference), first.settings)
    assert "simulated for false alarms in 5% of healthy runs" in str(result)


def test_a_layer_without_a_course_is_left_out():
    rng = np.random.default_rng(2)
    reference = [healthy(rng, layers=2) for _ in range(4)]
    dead = [[replace(p, traces={**p.traces, "dead": (0.0, 0.0)}) for p in run] for run in reference]
    assert calibrate(dead, simulations=200) == calibrate(reference, simulations=200)


def test_too_short_references_are_refused_with_words():
    rng = np.random.default_rng(2)
    runs = [healthy(rng) for _ in range(3)]
    with pytest.raises(SettingError, match="at least 3 healthy runs to tell how far they lie apart, got 2"):
        calibrate(runs[:2])
    with pytest.raises(SettingError, match="at least 8 steps with usable traces that the reference runs share, got 7"):
        calibrate([run[:7] for run in runs])
    with pytest.raises(ComparisonError, match="same layers"):
        calibrate([*runs, healthy(rng, layers=1)])


@pytest.mark.parametrize(
    "settings", [{"false_alarms": 0}, {"false_alarms": 1}, {"false_alarms": None}, {"simulations": 10}, {"seed": -1}]
)
def test_arguments_that_make_no_sense_are_refused(settings):
    rng = np.random.default_rng(2)
    with pytest.raises(SettingError):
        calibrate([healthy(rng) for _ in range(3)], **settings)

"""The trace monitor over sessions, folders and lists of them."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.diagnosis.monitor.cusum import MonitorSettings, follow
from lhexplore.diagnosis.monitor.healthy import Reference
from lhexplore.errors import ComparisonError, EmptyFolderError, SettingError
from lhexplore.session.monitoring import (
    calibrated,
    monitor,
    points_of,
    recorded_traces,
    reference_of,
    spectra_traces,
)
from lhexplore.session.recording import record
from lhexplore.snapshots import Snapshots, traces_file
from lhexplore.trace_point import TracePoint

X = torch.randn(30, 5, generator=torch.Generator().manual_seed(1))
Y = torch.randint(0, 3, (30,), generator=torch.Generator().manual_seed(2))
CRITERION = nn.CrossEntropyLoss()


def network():
    return nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))


def run(folder, *, seed=0, scale=1.0, traces=True, steps=12):
    """A short training, recorded; ``scale`` multiplies the first weights and so moves all curvature."""
    torch.manual_seed(seed)
    model = network()
    with torch.no_grad():
        model[2].weight.mul_(scale)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    given = {"data": (X, Y), "loss": CRITERION, "curvature_every": 1, "probes": 10} if traces else {}
    recorder = record(model, folder, every=3, **given)
    for step in range(steps):
        recorder.step(step)
        optimiser.zero_grad()
        CRITERION(model(X), Y).backward()
        optimiser.step()
    return folder


@pytest.fixture
def session(tmp_path):
    with lh.Session(network(), (X, Y), CRITERION, snapshots=run(tmp_path / "run"), cache=False) as made:
        yield made


def test_recorded_traces_are_those_of_the_folder(session, tmp_path):
    found = recorded_traces(session)
    assert [point.step for point in found] == list(range(12))
    assert points_of(tmp_path / "run") == points_of(str(tmp_path / "run")) == points_of(session) == found
    assert points_of(session.snapshots) == points_of(list(found)) == found


def test_traces_of_known_spectra_are_taken_and_none_is_computed(session):
    assert spectra_traces(session) == ()
    session.compute("0", [0, 2], progress=False)
    found = spectra_traces(session)
    assert [point.step for point in found] == [0, 6]
    for point, label in zip(found, ("step-000000", "step-000006"), strict=True):
        spectrum = session.cached("0", label)
        assert point.traces["0"] == (spectrum.trace, 0.0)
        assert spectrum.exact
        assert point.examples == 30
        assert point.basis == recorded_traces(session)[0].basis
    assert session.cached("0", "step-000003") is None


def test_a_run_is_followed_against_reference_runs_in_any_form(session, tmp_path):
    folders = [run(tmp_path / f"healthy{seed}", seed=seed) for seed in (1, 2, 3)]
    found = monitor(session, folders)
    by_hand = follow(recorded_traces(session), Reference.of([points_of(folder) for folder in folders]))
    np.testing.assert_array_equal(found.paths[0].upper, by_hand.paths[0].upper)
    assert found.runs == 3
    forms = [
        [Snapshots.discover(folder) for folder in folders],
        [points_of(folder) for folder in folders],
        tuple(str(folder) for folder in folders),
        reference_of(folders, floor=MonitorSettings().floor),
    ]
    for form in forms:
        np.testing.assert_array_equal(monitor(session, form).paths[1].x, by_hand.paths[1].x)
    assert monitor(session, folders[0]).runs == monitor(session, Snapshots.discover(folders[0])).runs == 1
    assert monitor(session).runs == 0


def test_a_run_with_more_curvature_raises_alarms_and_a_healthy_one_does_not(session, tmp_path):
    healthy = [run(tmp_path / f"healthy{seed}", seed=seed) for seed in (1, 2, 3, 4)]
    with lh.Session(network(), (X, Y), CRITERION, snapshots=run(tmp_path / "hot", scale=4.0), cache=False) as hot:
        found = monitor(hot, healthy, false_alarms=0.01)
    assert "0" in found.first_alarms
    assert found.settings.false_alarms == 0.01
    assert found.settings == calibrated(healthy, false_alarms=0.01).settings
    assert monitor(session, healthy, false_alarms=0.01).alarms == ()


def test_one_source_serves_the_run_and_its_reference(session, tmp_path):
    """Exact traces on one set of examples and estimates on another are not mixed in one comparison."""
    plain = run(tmp_path / "plain", seed=1, traces=False)
    with lh.Session(network(), (X, Y), CRITERION, snapshots=plain, cache=False) as reference:
        with pytest.raises(SettingError, match="no traces to follow"):
            monitor(session, reference)
        reference.compute(progress=False)
        with pytest.raises(SettingError, match="no traces to follow"):
            monitor(session, reference)
        session.compute(progress=False)
        found = monitor(session, reference)
        assert [len(path.steps) for path in found.paths] == [4, 4]  # snapshots, not the twelve recorded points
        exact = math.log(session.cached("0", "step-000003").trace), math.log(reference.cached("0", "step-000003").trace)
        course = Reference.of([spectra_traces(reference)]).courses["0"]
        assert found.paths[0].x[1] == pytest.approx((exact[0] - exact[1]) / (course.sd[1] * math.sqrt(2)))
        with pytest.raises(SettingError, match="no traces to follow"):
            monitor(session, reference, source="recorded")
    assert len(monitor(session).paths[0].steps) == 12  # both are there: more points count
    assert len(monitor(session, source="spectra").paths[0].steps) == 4


def test_a_folder_with_traces_alone_will_do(tmp_path):
    points = [TracePoint(step, {"0": (1.0 + step, 0.0)}) for step in range(5)]
    for point in points:
        traces_file.append(tmp_path, point)
    assert points_of(tmp_path) == tuple(points)
    with pytest.raises(EmptyFolderError):
        points_of(tmp_path / "nowhere")


@pytest.mark.parametrize("odd", [5, None, [5], {"a": 1}, [["x", 1]]])
def test_what_is_no_run_is_refused(odd, session):
    with pytest.raises((SettingError, EmptyFolderError)):
        reference_of(odd, floor=0.05)


def test_other_layers_and_kinds_are_refused(session):
    course = [TracePoint(step, {"0": (1.0 + step, 0.0), "other": (1.0, 0.0)}) for step in range(5)]
    with pytest.raises(ComparisonError, match="same layers"):
        monitor(session, course)
    other = [TracePoint(p.step, p.traces, "hessian of NLLLoss, eval mode") for p in recorded_traces(session)]
    with pytest.raises(ComparisonError, match="record both in one way"):
        monitor(session, other)


def test_settings_that_make_no_sense_are_refused(session, tmp_path):
    with pytest.raises(SettingError, match="source must be"):
        monitor(session, source="files")
    with pytest.raises(SettingError, match="needs the reference runs themselves"):
        monitor(session, reference_of(tmp_path / "run", floor=0.05), false_alarms=0.05)
    with pytest.raises(SettingError, match="at least 3 healthy runs"):
        monitor(session, tmp_path / "run", false_alarms=0.05)
    with pytest.raises(SettingError, match="at least 3 healthy runs"):
        monitor(session, false_alarms=0.05)


def test_a_reference_that_is_too_short_is_named_with_what_it_has_and_needs(session, tmp_path):
    short = [run(tmp_path / name, seed=9, steps=2) for name in ("short", "also")]
    long = run(tmp_path / "long", seed=8)
    for use in (lambda given: reference_of(given, floor=0.05), lambda given: monitor(session, given)):
        with pytest.raises(SettingError, match=r"short' has 2, '.*also' has 2 measurements .* 3 are needed"):
            use([*short, long])
    seven = run(tmp_path / "seven", seed=7, steps=7)
    with pytest.raises(SettingError, match=r"'.*seven' has 7 measurements .* 8 are needed"):
        calibrated([long, seven, long])
    points = recorded_traces(session)[:1]
    with pytest.raises(SettingError, match="run 1 has 1 measurements"):
        record(network(), tmp_path / "new", data=(X, Y), loss=CRITERION, curvature_every=1, reference=points)

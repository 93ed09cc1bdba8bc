"""Recorded traces on disk: lines that survive a crash, and traces beside the weights."""

import json
import math
import signal
import subprocess
import sys
import textwrap

import pytest
import torch
from safetensors import safe_open
from torch import nn

from lhexplore.snapshots import Recorder, Snapshots, record, traces_file
from lhexplore.snapshots.traces_file import append, decode, encode, read
from lhexplore.trace_point import TracePoint

POINT = TracePoint(
    100, {"fc": (1.5, 0.25), "dead": (0.0, math.inf), "λ\n": (-math.inf, 0.0)}, "hessian of x", 64, "a note"
)


def traced(model, path, *, due, also=None, tell=None):
    """A recorder whose traces are the step itself."""
    made = lambda step, state: TracePoint(step, {"fc": (float(step), 0.0)}, note=str(len(state)))  # noqa: E731
    return Recorder(model, path, due=due, traces=made, traces_due=also, tell=tell)


def test_a_point_comes_back_from_its_line():
    assert decode(encode(POINT)) == POINT
    assert "\n" not in encode(POINT)
    found = decode(encode(TracePoint(0, {"a": (math.nan, math.nan)})))
    assert math.isnan(found.traces["a"][0])
    json.loads(encode(POINT), parse_constant=lambda name: pytest.fail(f"{name} is no strict JSON"))


@pytest.mark.parametrize(
    "line",
    [
        "", "null", "[]", "{", '{"step": 1}', '{"step": -1, "traces": {}}', '{"step": 1.5, "traces": {}}',
        '{"step": true, "traces": {}}', '{"step": 1, "traces": []}', '{"step": 1, "traces": {"a": 3}}',
        '{"step": 1, "traces": {"a": [1]}}', '{"step": 1, "traces": {"a": [1, "low"]}}',
        '{"step": 1, "traces": {"a": [1, ' + "9" * 400 + "]}}", "[" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_point_is_none(line):
    assert decode(line) is None


def test_lines_are_added_in_any_order_and_the_last_of_a_step_counts(tmp_path):
    for step, value in ((3, 1.0), (1, 2.0), (3, 5.0)):
        append(tmp_path, TracePoint(step, {"a": (value, 0.0)}))
    assert [(point.step, point.traces["a"][0]) for point in read(tmp_path)] == [(1, 2.0), (3, 5.0)]
    assert read(tmp_path / "nowhere") == ()


@pytest.mark.parametrize("left", [1, 5, 40, -1])
def test_a_line_that_was_cut_off_is_left_out_and_the_next_one_starts_anew(left, tmp_path):
    append(tmp_path, POINT)
    line = (encode(TracePoint(200, {"a": (1.0, 0.0)})) + "\n").encode()
    with (tmp_path / traces_file.NAME).open("ab") as file:
        file.write(line[:left])  # −1: only the newline is missing, so the line itself is whole
    append(tmp_path, TracePoint(300, {"a": (2.0, 0.0)}))
    assert [point.step for point in read(tmp_path)] == [100, *([200] if left == -1 else []), 300]


def test_bytes_that_are_no_text_do_not_hide_the_other_lines(tmp_path):
    (tmp_path / traces_file.NAME).write_bytes(b"\xff\xfe\x00garbage\n")
    append(tmp_path, POINT)
    assert read(tmp_path) == (POINT,)


def test_a_killed_training_leaves_whole_lines(tmp_path):
    code = """
        import sys
        from pathlib import Path
        from lhexplore.snapshots.traces_file import append
        from lhexplore.trace_point import TracePoint
        for step in range(10**6):
            append(Path(sys.argv[1]), TracePoint(step, {f"layer{i}": (step + i, 1.0) for i in range(50)}))
            if step == 20:
                print("ready", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    found = read(tmp_path)
    assert [point.step for point in found] == list(range(len(found)))
    assert len(found) > 20
    assert all(len(point.traces) == 50 for point in found)


def test_traces_stand_in_the_file_of_their_weights_and_between_in_lines(model, tmp_path):
    told = []
    recorder = traced(model, tmp_path, due=lambda s: s % 4 == 0, also=lambda s: s % 2 == 0, tell=told.append)
    for step in range(9):
        recorder.step(step)
    snapshots = Snapshots.discover(tmp_path)
    assert [row.step for row in snapshots] == [0, 4, 8]
    assert [row.traces.traces["fc"] for row in snapshots] == [(0.0, 0.0), (4.0, 0.0), (8.0, 0.0)]
    assert [point.step for point in read(tmp_path)] == [2, 6]
    assert [point.step for point in snapshots.recorded_traces] == [0, 2, 4, 6, 8] == [point.step for point in told]
    assert [point.step for point in snapshots[:1].recorded_traces] == [0, 2, 6]
    assert snapshots.passed_over == ()


def test_traces_do_not_change_the_weights_digest_and_old_files_have_none(model, tmp_path):
    plain, with_traces = record(model, tmp_path / "a").step(1), traced(model, tmp_path / "b", due=bool).step(1)
    rows = [Snapshots.discover(path.parent)[0] for path in (plain, with_traces)]
    assert rows[0].digest == rows[1].digest
    assert rows[0].traces is None
    assert Snapshots.discover(tmp_path / "a").recorded_traces == ()
    with safe_open(plain, "pt") as file:
        assert traces_file.TRACES not in file.metadata()
    assert rows[1].called("other").traces == rows[1].traces
    assert rows[1].load().keys() == model.state_dict().keys()


def test_traces_are_left_out_when_asked(model, tmp_path):
    recorder = traced(model, tmp_path, due=lambda s: s == 1, also=lambda s: True)
    for step in range(3):
        recorder.step(step, curvature=False)
    assert Snapshots.discover(tmp_path).recorded_traces == ()


def test_curvature_without_data_is_refused(model, tmp_path):
    recorder = record(model, tmp_path, every=10)
    with pytest.raises(ValueError, match="curvature=True measures traces on data"):
        recorder.step(3, curvature=True)


def test_the_last_step_gets_its_traces_once(model, tmp_path):
    told = []
    with traced(model, tmp_path, due=lambda s: s == 0, also=lambda s: s == 2, tell=told.append) as recorder:
        for step in range(3):
            recorder.step(step)
    assert [point.step for point in told] == [0, 2]
    assert [point.step for point in Snapshots.discover(tmp_path).recorded_traces] == [0, 2]
    with traced(model, tmp_path / "b", due=lambda s: s == 0, tell=told.append) as recorder:
        recorder.step(0), recorder.step(1)
    assert [row.traces.step for row in Snapshots.discover(tmp_path / "b")] == [0, 1]


def test_a_full_disk_warns_and_the_monitor_still_hears_of_the_point(model, tmp_path, monkeypatch):
    told = []
    recorder = traced(model, tmp_path, due=lambda s: False, also=lambda s: True, tell=told.append)

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(traces_file.os, "fsync", fail)
    with pytest.warns(RuntimeWarning, match="The traces of step 3 could not be recorded"):
        recorder.step(3)
    assert [point.step for point in told] == [3]


def test_random_state_and_modes_are_put_back_whatever_measuring_does(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout())

    def careless(step, state):
        model.eval()
        torch.rand(3)
        return TracePoint(step, {})

    before = torch.get_rng_state()
    Recorder(model, tmp_path, due=lambda s: True, traces=careless).step(0)
    assert torch.equal(torch.get_rng_state(), before)
    assert model.training

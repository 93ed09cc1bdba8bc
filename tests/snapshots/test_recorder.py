"""Recording while training: the right steps, whole files, and no trace in the training."""

import errno
import json
import math
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

import lhexplore.snapshots.recorder as recorder_module
from lhexplore.digests import digest_tensors
from lhexplore.errors import ModelError, SettingError, SnapshotError, UnsupportedError
from lhexplore.snapshots import Snapshots, record


def steps_in(folder):
    return [row.step for row in Snapshots.discover(folder)]


SCHEDULES = {
    "default": ({}, [0, 1, 2, 4, 8, 16]),
    "log": ({"schedule": "log"}, [0, 1, 2, 4, 8, 16]),
    "every": ({"every": 7}, [0, 7, 14]),
    "function": ({"schedule": lambda step: step in (3, 5)}, [3, 5]),
    "list": ({"schedule": [9, 2, np.int64(4)]}, [2, 4, 9]),
    "range": ({"schedule": range(3)}, [0, 1, 2]),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_steps_that_are_due_are_recorded(name, model, tmp_path):
    settings, expected = SCHEDULES[name]
    recorder = record(model, tmp_path / "new" / "run", **settings)
    paths = [recorder.step(step) for step in range(20)]
    assert steps_in(tmp_path / "new" / "run") == expected
    assert [path is not None for path in paths] == [step in expected for step in range(20)]
    assert [recorder.due(step) for step in range(20)] == [step in expected for step in range(20)]
    assert recorder.written == [path for path in paths if path]


def test_the_file_holds_the_weights_and_says_when(model, tmp_path):
    path = record(model, tmp_path).step(128, epoch=torch.tensor(1.5), loss=torch.tensor([0.25]), acc=np.float32(0.5))
    assert path.name == "step-000128.safetensors"
    loaded = load_file(path)
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert (metadata["step"], float(metadata["epoch"])) == ("128", 1.5)
    assert json.loads(metadata["metrics"]) == {"loss": 0.25, "acc": 0.5}
    assert metadata["lhexplore_digest"] == digest_tensors(model.state_dict().items())
    assert abs(float(metadata["wall_time"]) - time.time()) < 60
    row = Snapshots.discover(tmp_path)[0]
    assert (row.step, row.epoch, row.metrics) == (128, 1.5, {"loss": 0.25, "acc": 0.5})


def test_metrics_that_are_not_finite_are_kept(model, tmp_path):
    path = record(model, tmp_path).step(0, a=float("nan"), b=float("inf"), c=-np.inf, d=1)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["metrics"]) == {"a": None, "b": "inf", "c": "-inf", "d": 1.0}
    metrics = Snapshots.discover(tmp_path)[0].metrics
    assert math.isnan(metrics["a"])
    assert (metrics["b"], metrics["c"], metrics["d"]) == (math.inf, -math.inf, 1.0)


def test_a_metric_that_is_a_function_is_called_only_when_it_is_needed(model, tmp_path):
    calls = []
    recorder = record(model, tmp_path, every=5)
    for step in range(11):
        recorder.step(step, held_out=lambda step=step: calls.append(step) or torch.tensor(float(step)))
    assert calls == [0, 5, 10]
    assert [row.metrics["held_out"] for row in Snapshots.discover(tmp_path)] == [0.0, 5.0, 10.0]


def test_nothing_of_the_training_is_touched(model, tmp_path):
    model[1].eval()
    model(torch.ones(2, 4)).sum().backward()
    modes = [module.training for module in model.modules()]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in model.parameters()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002

    def evaluate():
        model.eval()
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        return next(iter(torch.utils.data.DataLoader(torch.ones(4), shuffle=True))).item()

    assert record(model, tmp_path).step(1, loss=evaluate)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert np.array_equal(np.random.get_state()[1], states[2])  # noqa: NPY002
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), grads, strict=True))
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_a_failing_metric_leaves_modes_as_they_were_and_no_file(model, tmp_path):
    def fails():
        model.eval()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        record(model, tmp_path).step(0, loss=fails)
    assert model.training
    assert list(tmp_path.iterdir()) == []


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
        self.head.weight = self.embed.weight
        whole = torch.arange(6.0)
        self.register_buffer("first", whole[:3])
        self.register_buffer("second", whole[2:])
        self.register_buffer("turned", whole.reshape(2, 3).T)
        self.register_buffer("nothing", torch.empty(0))


def test_tensors_that_share_memory_are_written_once_and_come_back(tmp_path):
    model = Tied()
    path = record(model, tmp_path).step(1)
    assert "head.weight" not in load_file(path)
    loaded = Snapshots.discover(tmp_path)[0].load()
    assert loaded.keys() == model.state_dict().keys()
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


def test_wrappers_leave_no_prefix(model, tmp_path):
    record(nn.DataParallel(torch.compile(model)), tmp_path).step(0)
    assert Snapshots.discover(tmp_path)[0].load().keys() == model.state_dict().keys()


def test_the_block_ends_with_the_last_step(model, tmp_path):
    with record(model, tmp_path, every=4) as recorder:
        for step in range(7):
            recorder.step(step, loss=step)
    assert steps_in(tmp_path) == [0, 4, 6]
    assert Snapshots.discover(tmp_path)[-1].metrics == {"loss": 6.0}
    assert recorder.close() == recorder.path / "step-000006.safetensors"


def test_a_block_that_fails_records_no_more(model, tmp_path):
    def train():
        with record(model, tmp_path, every=4) as recorder:
            for step in range(7):
                recorder.step(step)
                if step == 5:
                    raise KeyError

    with pytest.raises(KeyError):
        train()
    assert steps_in(tmp_path) == [0, 4]


@pytest.mark.filterwarnings("ignore:.*earlier run")
def test_two_recordings_in_one_folder_are_noted(model, tmp_path):
    for step in (1, 2):
        record(model, tmp_path).step(step)
        with torch.no_grad():
            model[0].bias.add_(1)
    assert "2 recordings are mixed" in Snapshots.discover(tmp_path).notes[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"every": 0}, {"every": 1.5}, {"every": True}, {"every": 3, "schedule": "log"}, {"schedule": "linear"},
        {"schedule": []}, {"schedule": 7}, {"schedule": [1.5]}, {"schedule": [-1]},
    ],
)  # fmt: skip
def test_a_schedule_that_makes_no_sense_is_refused(settings, model, tmp_path):
    with pytest.raises(SettingError):
        record(model, tmp_path, **settings)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"step": -1}, "step must be"),
        ({"step": 1.5}, "step must be"),
        ({"step": True}, "step must be"),
        ({"step": 0, "epoch": "one"}, "epoch must be"),
        ({"step": 0, "epoch": float("nan")}, "epoch must be"),
        ({"step": 0, "loss": torch.ones(2)}, "Metric 'loss' must be one number"),
        ({"step": 0, "loss": lambda: "low"}, "Metric 'loss' must be one number"),
    ],
)
def test_values_that_make_no_sense_are_refused(arguments, said, model, tmp_path):
    with pytest.raises(SettingError, match=said):
        record(model, tmp_path, every=1).step(**arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("odd", [5, None, {"w": torch.ones(1)}, nn.Linear])
def test_what_is_no_model_is_refused(odd, tmp_path):
    with pytest.raises(ModelError, match=r"Expected a torch\.nn\.Module"):
        record(odd, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("path", [5, None, "", "  ", b"run", "a\0b"])
def test_what_is_no_path_is_refused(path, model):
    with pytest.raises(SettingError, match="Expected the folder to record into, got"):
        record(model, path)


def test_a_folder_that_cannot_be_one_is_told_before_training(model, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SnapshotError, match="cannot be written"):
        record(model, tmp_path / "file" / "run")


@pytest.mark.parametrize("odd", [nn.Identity(), nn.Linear(2, 2, device="meta")], ids=["no tensors", "meta"])
def test_a_model_that_cannot_be_recorded_is_told_before_training(odd, tmp_path):
    with pytest.raises(UnsupportedError, match="nothing to record"):
        record(odd, tmp_path)


@pytest.mark.parametrize("fault", ["replace", "save", "safetensors"])
def test_a_full_disk_warns_and_training_goes_on(fault, model, tmp_path, monkeypatch):
    recorder = record(model, tmp_path, every=1)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail(*_, **__):
        raise full if fault != "safetensors" else RuntimeError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        if fault == "replace":
            patch.setattr(type(tmp_path), "replace", fail)
        else:
            patch.setattr(recorder_module, "save_file", fail)
        with pytest.warns(RuntimeWarning, match="Step 1 could not be recorded"):
            assert recorder.step(1) is None
    assert list(tmp_path.iterdir()) == []
    assert recorder.step(2) is not None
    assert steps_in(tmp_path) == [2]


def test_only_the_first_process_of_a_distributed_run_writes(model, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    with record(model, tmp_path / "run", every=1) as recorder:
        assert recorder.step(0, loss=lambda: 1 / 0) is None
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    assert record(model, tmp_path / "run", every=1).step(0) is not None


def test_leftovers_of_dead_writers_are_cleared_after_a_day(model, tmp_path):
    old, new = tmp_path / ".tmp-1-a", tmp_path / ".tmp-2-b"
    for path in (old, new):
        path.touch()
    os.utime(old, (time.time() - 2 * 86_400,) * 2)
    record(model, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [new.name]


@pytest.mark.filterwarnings("ignore:.*earlier run")
def test_readers_see_whole_files_or_none_while_one_is_written_again_and_again(model, tmp_path):
    path = record(model, tmp_path, every=1).step(1)
    recorder = record(model, tmp_path, every=1)
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(lambda: [recorder.step(1) for _ in range(100)])
        while not writing.done():
            assert load_file(path).keys() == model.state_dict().keys()
    writing.result()


def test_a_killed_training_leaves_only_whole_snapshots(tmp_path):
    code = """
        import sys, torch
        from lhexplore.snapshots import record
        recorder = record(torch.nn.Linear(300, 300), sys.argv[1], every=1)
        print("ready", flush=True)
        for step in range(10**6):
            recorder.step(step)
    """
    run = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(run)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.3)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    snapshots = Snapshots.discover(run)
    assert all(row.status == "ok" for row in snapshots)
    assert [row.step for row in snapshots] == list(range(len(snapshots)))
    assert snapshots[-1].load()["weight"].shape == (300, 300)


def test_recording_into_the_folder_of_an_earlier_run_warns(tmp_path):
    record(nn.Linear(2, 2), tmp_path).step(0)
    with pytest.warns(UserWarning, match="holds 1 snapshots of an earlier run"):
        record(nn.Linear(2, 2), tmp_path)

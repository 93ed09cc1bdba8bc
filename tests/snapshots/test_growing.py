"""A folder that training still writes into: what is new is put among what is known, which stays as it is."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import lhexplore as lh
from lhexplore import Snapshots
from lhexplore.errors import UnknownSnapshotError

PAUSE = 0.02  # seconds, more than a file system's clock needs to tell two changes apart


def weights(value: float) -> dict[str, torch.Tensor]:
    return {"weight": torch.full((2, 3), value), "bias": torch.full((2,), value)}


def save(path: Path, value: float) -> Path:
    time.sleep(PAUSE)
    if path.suffix == ".safetensors":
        save_file(weights(value), path)
    else:
        torch.save({"model": weights(value)}, path)
    return path


def steps(folder: Path, *numbers: int, ending: str = ".pt") -> None:
    for step in numbers:
        save(folder / f"step-{step}{ending}", step)


def grown(snapshots: Snapshots) -> Snapshots:
    found = snapshots.again()
    assert found is not None
    return found[0]


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
@pytest.mark.parametrize("source", [lambda folder: folder, lambda folder: f"{folder}/*"])
def test_new_files_stand_where_their_step_belongs(
    tmp_path: Path, ending: str, source: Callable[[Path], str | Path]
) -> None:
    steps(tmp_path, 10, 30, ending=ending)
    before = Snapshots.of(source(tmp_path))
    assert before.again() is None
    steps(tmp_path, 40, 20, ending=ending)
    found = before.again()
    assert found is not None
    now, growth = found
    assert now.labels == ("step-10", "step-20", "step-30", "step-40")
    assert growth.new == ("step-20", "step-40")
    assert growth.changed == ()
    assert [now["step-10"], now["step-30"]] == [*before]  # the very same rows
    assert now.again() is None
    assert before.labels == ("step-10", "step-30")  # who holds the series of before can ask it again
    assert grown(before).labels == now.labels


def test_a_file_is_taken_once_it_is_whole(tmp_path: Path) -> None:
    steps(tmp_path, 1)
    before = Snapshots.of(tmp_path)
    whole = save(tmp_path / "aside.bin", 2).read_bytes()
    (tmp_path / "aside.bin").unlink()
    late = tmp_path / "step-2.pt"
    late.write_bytes(whole[: len(whole) // 2])
    assert before.again() is None
    (tmp_path / "tmp-step-3.pt").write_bytes(whole)  # a writer's own name
    assert before.again() is None
    late.write_bytes(whole)
    now = grown(before)
    assert now.labels == ("step-1", "step-2")
    assert float(now["step-2"].load()["bias"][0]) == 2


def test_what_stays_broken_is_a_row_with_its_reason(tmp_path: Path) -> None:
    steps(tmp_path, 1)
    before = Snapshots.of(tmp_path)
    late = save(tmp_path / "step-2.pt", 2)
    late.write_bytes(late.read_bytes()[:300])
    assert before.again() is None
    os.utime(late, (time.time() - 100, time.time() - 100))  # nobody has written for long
    now = grown(before)
    assert now["step-2"].status == "partial"
    assert any("'step-2' cannot be used" in note for note in now.notes)
    assert now.again() is None  # said once


def test_a_replaced_file_is_new_weights_under_its_label(tmp_path: Path) -> None:
    steps(tmp_path, 1, 2)
    before = Snapshots.of(tmp_path)
    first = before["step-1"].digest
    save(tmp_path / "step-1.pt", 7)
    found = before.again()
    assert found is not None
    now, growth = found
    assert (growth.new, growth.changed) == ((), ("step-1",))
    assert now["step-1"].digest != first
    os.utime(tmp_path / "step-2.pt")  # touched: the weights are the same
    assert now.again() is None
    assert now["step-2"].status == "ok"


def test_a_deleted_file_keeps_its_row_and_may_come_back(tmp_path: Path) -> None:
    steps(tmp_path, 1, 2)
    before = Snapshots.of(tmp_path)
    (tmp_path / "step-1.pt").rename(tmp_path.parent / "kept.pt")
    now = grown(before)
    assert now.labels == ("step-1", "step-2")
    assert now["step-1"].status == "gone"
    with pytest.raises(lh.LhexploreError, match="was deleted"):
        now["step-1"].load()
    (tmp_path.parent / "kept.pt").rename(tmp_path / "step-1.pt")
    assert grown(now)["step-1"].status == "ok"


def test_a_deleted_folder_is_an_empty_one(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    steps(folder, 1)
    before = Snapshots.of(folder)
    shutil.rmtree(folder)
    now = grown(before)
    assert [row.status for row in now] == ["gone"]
    assert now.again() is None
    folder.mkdir()
    steps(folder, 1, 2)
    assert [row.status for row in grown(now)] == ["ok", "ok"]


def test_last_follows_the_newest(tmp_path: Path) -> None:
    steps(tmp_path, 1)
    shutil.copy(tmp_path / "step-1.pt", tmp_path / "last.pt")
    first = Snapshots.of(tmp_path)
    assert first.index("last") == 0
    assert len(first) == 1
    save(tmp_path / "last.pt", 2)  # before its twin is written
    second = grown(first)
    assert second.labels == ("step-1", "last")
    shutil.copy(tmp_path / "last.pt", tmp_path / "step-2.pt")
    third = grown(second)
    assert third.labels == ("step-1", "step-2")
    assert third.index("last") == 1


def test_two_runs_in_one_folder_are_told_and_do_not_stop_it(tmp_path: Path) -> None:
    steps(tmp_path, 1, 2)
    before = Snapshots.of(tmp_path)
    save(tmp_path / "other-step-2.pt", 9)
    save(tmp_path / "same-step-1.pt", 1)
    now = grown(before)
    assert now.labels == ("step-1", "step-2")
    assert now.index("same-step-1") == 0  # the same weights: another name
    assert any("claims to be step 2" in note for note in now.notes)
    assert now.again() is None
    steps(tmp_path, 3)
    assert grown(now).labels == ("step-1", "step-2", "step-3")


def test_what_was_written_just_now_can_wait(tmp_path: Path) -> None:
    steps(tmp_path, 1)
    before = Snapshots.of(tmp_path)
    steps(tmp_path, 2)
    assert before.again(quiet=60) is None
    assert before.again(quiet=60) is not None  # unchanged since the look before


def test_a_folder_may_be_awaited(tmp_path: Path) -> None:
    with pytest.raises(lh.LhexploreError, match=r"Snapshots\.awaited"):
        Snapshots.of(tmp_path / "run")
    before = Snapshots.awaited(tmp_path / "run")
    assert len(before) == 0
    assert repr(before).startswith("Snapshots(none in")
    with pytest.raises(UnknownSnapshotError, match=r"no snapshot in .* yet"):
        before[-1]
    (tmp_path / "run").mkdir()
    assert before.again() is None
    steps(tmp_path / "run", 5)
    assert grown(before).labels == ("step-5",)


def test_a_recorder_is_a_source(tmp_path: Path) -> None:
    model = torch.nn.Linear(3, 2)
    recorder = lh.record(model, tmp_path / "run", every=1)
    before = Snapshots.of(recorder)
    recorder.step(0, loss=2.0)
    now = grown(before)
    assert now.labels == ("step-000000",)
    assert now[0].metrics == {"loss": 2.0}


def test_folders_of_a_trainer_grow_too(tmp_path: Path) -> None:
    def checkpoint(step: int) -> None:
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save(folder / "model.safetensors", step)
        (folder / "trainer_state.json").write_text(f'{{"global_step": {step}, "epoch": 1.0}}')

    checkpoint(5)
    before = Snapshots.of(tmp_path)
    (tmp_path / "metrics.json").write_text("{}")
    assert before.again() is None
    checkpoint(10)
    assert [row.step for row in grown(before)] == [5, 10]


def test_weights_in_memory_do_not_grow() -> None:
    assert Snapshots.of([weights(1)]).again() is None
    assert not Snapshots.of([weights(1)]).grows


def test_a_look_at_a_thousand_files_takes_milliseconds(tmp_path: Path) -> None:
    for step in range(1000):
        save_file({"w": torch.zeros(1) + step}, tmp_path / f"step-{step}.safetensors")
    before = Snapshots.of(tmp_path)
    took = []
    for _ in range(9):
        start = time.perf_counter()
        assert before.again() is None
        took.append(time.perf_counter() - start)
    assert min(took) < 0.005  # the shortest: what others do on this machine is not ours

"""Folders as the Hugging Face Trainer, accelerate, PEFT and distributed training leave them."""

import json

import pytest
import torch
from safetensors.torch import save_file

from lhexplore.errors import FormatError, IncompleteFileError, UnsafeFileError
from lhexplore.snapshots import Snapshots


def trainer_folder(folder, state, step, *, shards=1):
    """Write a checkpoint as the Trainer does, dangerous companions included."""
    folder.mkdir(parents=True)
    names = list(state)
    if shards == 1:
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    else:
        files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
        for i, file in enumerate(files):
            save_file({name: state[name] for name in names[i::shards]}, folder / file)
        index = {"weight_map": {name: files[i % shards] for i, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step, "epoch": step / 8}))
    (folder / "training_args.bin").write_bytes(b"\x80\x02cposix\nsystem\n")
    torch.save({}, folder / "optimizer.pt")
    return folder


@pytest.mark.parametrize("shards", [1, 3])
def test_checkpoints_of_a_trainer_are_listed_in_order(shards, state, tmp_path):
    for step in (50, 1000, 500):
        trainer_folder(tmp_path / f"checkpoint-{step}", {n: t + step for n, t in state.items()}, step, shards=shards)
    (tmp_path / "tmp-checkpoint-1500").mkdir()
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("checkpoint-50", "checkpoint-500", "checkpoint-1000")
    assert [(row.step, row.epoch) for row in snapshots] == [(50, 6.25), (500, 62.5), (1000, 125)]
    loaded = snapshots["checkpoint-500"].load()
    assert loaded.keys() == state.keys()
    assert all(torch.equal(loaded[name], state[name] + 500) for name in state)


@pytest.mark.parametrize("shards", [1, 2])
def test_one_checkpoint_folder_is_one_snapshot(shards, state, tmp_path):
    folder = trainer_folder(tmp_path / "checkpoint-7", state, 7, shards=shards)
    assert [(row.label, row.step) for row in Snapshots.of(folder)] == [("checkpoint-7", 7)]


def test_shards_in_a_plain_folder_are_one_snapshot(state, tmp_path):
    folder = trainer_folder(tmp_path / "m", state, 7, shards=2)
    (folder / "trainer_state.json").unlink()
    snapshots = Snapshots.discover(folder)
    assert len(snapshots) == 1
    assert snapshots[0].load().keys() == state.keys()


def test_a_missing_shard_makes_an_incomplete_row(state, tmp_path):
    trainer_folder(tmp_path / "checkpoint-1", state, 1, shards=2)
    broken = trainer_folder(tmp_path / "checkpoint-2", state, 2, shards=2)
    (broken / "model-00002-of-00002.safetensors").unlink()
    snapshots = Snapshots.discover(tmp_path)
    assert [row.status for row in snapshots] == ["ok", "partial"]
    with pytest.raises(IncompleteFileError, match=r"names 'model-00002-of-00002\.safetensors', which is missing"):
        snapshots[1].load()
    assert snapshots[0].load().keys() == state.keys()


@pytest.mark.parametrize("target", ["../../secret.safetensors", "/etc/passwd", "..", "a/b.safetensors", "a\\b", "link"])
def test_an_index_cannot_point_out_of_its_folder(target, state, tmp_path):
    save_file(state, tmp_path / "secret.safetensors")
    folder = trainer_folder(tmp_path / "runs" / "checkpoint-1", state, 1, shards=2)
    (folder / "link").symlink_to(tmp_path / "secret.safetensors")
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": dict.fromkeys(state, target)}))
    snapshot = Snapshots.discover(tmp_path / "runs")[0]
    assert snapshot.status == "format"
    with pytest.raises(FormatError, match="not a file inside its own folder"):
        snapshot.load()


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"weight_map": {}}', '{"weight_map": [1]}'])
def test_a_broken_index_is_a_row(text, state, tmp_path):
    folder = trainer_folder(tmp_path / "checkpoint-1", state, 1, shards=2)
    (folder / "model.safetensors.index.json").write_text(text)
    assert Snapshots.discover(tmp_path)[0].status in ("partial", "format", "writing")
    with pytest.raises((FormatError, IncompleteFileError)):
        Snapshots.discover(tmp_path)[0].load()


def test_a_broken_trainer_state_leaves_the_weights_usable(state, tmp_path):
    folder = trainer_folder(tmp_path / "checkpoint-3", state, 3)
    (folder / "trainer_state.json").write_text("{")
    snapshot = Snapshots.discover(tmp_path)[0]
    assert (snapshot.status, snapshot.step) == ("ok", None)
    assert snapshot.load().keys() == state.keys()


def test_pytorch_bin_and_its_shards_are_read(state, tmp_path):
    (tmp_path / "checkpoint_0").mkdir()
    torch.save(state, tmp_path / "checkpoint_0" / "pytorch_model.bin")
    (tmp_path / "checkpoint_0" / "random_states_0.pkl").write_bytes(b"never opened")
    folder = tmp_path / "checkpoint_1"
    folder.mkdir()
    torch.save(state, folder / "pytorch_model-00001-of-00001.bin")
    index = {"weight_map": dict.fromkeys(state, "pytorch_model-00001-of-00001.bin")}
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps(index))
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("checkpoint_0", "checkpoint_1")
    assert snapshots[0].digest == snapshots[1].digest


def test_adapters_and_distributed_checkpoints_are_rows_that_say_what_to_do(state, tmp_path):
    (tmp_path / "adapter").mkdir()
    save_file({"lora_A": torch.ones(2)}, tmp_path / "adapter" / "adapter_model.safetensors")
    (tmp_path / "dcp").mkdir()
    (tmp_path / "dcp" / ".metadata").write_bytes(b"\x80\x04never opened")
    snapshots = Snapshots.discover(tmp_path)
    assert [(row.label, row.status) for row in snapshots] == [("adapter", "format"), ("dcp", "unsafe")]
    with pytest.raises(FormatError, match="hand over"):
        snapshots[0].load()
    with pytest.raises(UnsafeFileError, match="dcp_to_torch_save"):
        snapshots[1].load()

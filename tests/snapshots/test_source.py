"""A series of snapshots from whatever a person has: order, labels, steps, aliases, and rows for what cannot be used."""

import os
import socket
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from safetensors.torch import save_file
from torch import nn

from lhexplore.digests import digest_tensors
from lhexplore.errors import (
    EmptyFolderError,
    FormatError,
    IncompleteFileError,
    MismatchError,
    NotFiniteError,
    SettingError,
    SnapshotError,
    UnknownSnapshotError,
    UnsupportedError,
)
from lhexplore.snapshots import Snapshot, Snapshots, listing, record, torch_file
from lhexplore.snapshots import snapshot as snapshot_module

LISTING = 20.0  # seconds for 10,000 files: ten times what it takes alone, since test machines are busy


def shifted(state, by):
    return {name: tensor + by for name, tensor in state.items()}


def assert_same(loaded, state):
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


# --- weights in memory ---------------------------------------------------------------------------------------------


def test_live_weights_are_copied_when_asked(model, state):
    snapshots = Snapshots.of(None, model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    assert snapshots.labels == ("now",)
    assert_same(snapshots[0].load(), state)
    assert snapshots[0].digest == digest_tensors(state.items())


def test_live_weights_lose_their_wrapper(model, state):
    compiled = torch.compile(model)
    assert_same(Snapshots.of(None, nn.DataParallel(compiled))[0].load(), state)
    assert_same(Snapshots.of(model)[0].load(), state)


def test_live_weights_need_a_model():
    with pytest.raises(SettingError, match="need the model"):
        Snapshots.of(None)


def test_a_list_of_states_is_copied_in_its_order(state):
    given = [shifted(state, 1), {"epoch": 4, "model": shifted(state, 2), "val_loss": 0.5}]
    snapshots = Snapshots.of(given)
    given[0]["0.weight"].zero_()
    assert snapshots.labels == ("0", "1")
    assert_same(snapshots[0].load(), shifted(state, 1))
    assert_same(snapshots["1"].load(), shifted(state, 2))
    assert (snapshots[1].epoch, snapshots[1].metrics) == (4.0, {"val_loss": 0.5})


def test_a_dictionary_gives_the_labels_and_keeps_its_order(state, model):
    snapshots = Snapshots.of({"step-9": state, "start": model, 7: shifted(state, 1)})
    assert snapshots.labels == ("step-9", "start", "7")
    assert [row.step for row in snapshots] == [9, None, 7]
    assert_same(snapshots["start"].load(), state)


def test_one_bare_state_is_one_snapshot(state):
    assert_same(Snapshots.of(state)[0].load(), state)


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        ([], SettingError, "empty"),
        ({}, SettingError, "empty"),
        ([3], FormatError, "got int"),
        (3, SettingError, "got int"),
        ({"a": {"b": 1}}, FormatError, "no entry that holds weights"),
        ([{"x": torch.zeros(2, device="meta")}], UnsupportedError, "meta tensors"),
    ],
)
def test_what_is_no_weights_is_refused(given, error, said):
    with pytest.raises(error, match=said):
        Snapshots.of(given)


def test_ready_snapshots_pass_through(state):
    snapshots = Snapshots.of([state])
    assert Snapshots.of(snapshots) is snapshots


def test_keys_that_read_alike_are_refused(state):
    with pytest.raises(SettingError, match=r"The keys 1 and '1' would both be the label '1'"):
        Snapshots.of({1: state, "1": shifted(state, 1)})


@pytest.mark.parametrize("late", [None, "x.pt", 5, [1]])
def test_an_entry_without_weights_is_named_and_does_not_vanish(late, state, model):
    for early in (state, model, {"state_dict": state}):
        with pytest.raises(FormatError, match=r"Snapshot 'late' should be a state_dict .*got"):
            Snapshots.of({"early": early, "late": late})


def test_fields_beside_the_weights_still_make_one_checkpoint(state):
    one = Snapshots.of({"generator": state, "epoch": 3, "val_loss": 0.5})
    assert (len(one), one[0].epoch, one[0].metrics) == (1, 3.0, {"val_loss": 0.5})
    assert len(Snapshots.of({"model": state, "scheduler": None, "note": "x"})) == 1


# --- asking --------------------------------------------------------------------------------------------------------


@pytest.fixture
def series(state, tmp_path):
    for step in (1, 2, 4, 8, 50, 1000):
        save_file(shifted(state, step), tmp_path / f"step-{step}.safetensors")
    return Snapshots.discover(tmp_path)


def test_snapshots_are_asked_for_by_place_label_or_slice(series):
    assert series.labels == ("step-1", "step-2", "step-4", "step-8", "step-50", "step-1000")
    assert series[-1] is series[5] is series["step-1000"] is series[series[5]]
    assert [row.step for row in series[::2]] == [1, 4, 50]
    assert isinstance(series[::2], Snapshots)
    assert series.index("step-4") == series.index(-4) == series.index(series[2]) == 2
    assert "step-4" in series
    assert series[2] in series
    assert "step-5" not in series
    assert next(reversed(series)) is series[5]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("step-9", "Did you mean"),
        ("step 50", "Did you mean 'step-50'"),
        (1000, "Step 1000 has the label 'step-1000'"),
        (6, "from 0 to 5"),
        (-7, "from 0 to 5"),
        (1.5, "by position or label"),
        (None, "by position or label"),
    ],
)
def test_an_unknown_snapshot_is_explained(series, asked, said):
    with pytest.raises(UnknownSnapshotError, match=said):
        series[asked]


def test_every_row_keeps_a_label_of_its_own_when_series_are_joined(state):
    a = Snapshots.of({"step-1": state, "step-2": shifted(state, 1)})
    b = Snapshots.of({"step-1": shifted(state, 2), "step-1 (2)": shifted(state, 3)})
    joined = Snapshots([*a, *b])
    assert joined.labels == ("step-1", "step-2", "step-1 (3)", "step-1 (2)")
    assert "2 snapshots have the label 'step-1': one is 'step-1 (3)' here" in joined.notes
    for i, label in enumerate(joined.labels):
        assert joined.index(i) == joined.index(label) == joined.index(joined[i]) == i
        assert_same(joined[label].load(), shifted(state, i))
    assert [joined.index(row) for row in (*a, *b)] == [0, 1, 2, 3]
    assert b.labels == ("step-1", "step-1 (2)")  # the series themselves are left alone
    assert joined[2:].labels == ("step-1 (3)", "step-1 (2)")


def test_one_snapshot_twice_is_two_rows(state):
    (row,) = Snapshots.of([state])
    twice = Snapshots([row, row])
    assert twice.labels == ("0", "0 (2)")
    assert [twice.index(one) for one in twice] == [0, 1]


def test_aliases_that_meet_are_told_apart_and_never_hide_a_label(state, tmp_path):
    for run in ("a", "b"):
        (tmp_path / run).mkdir()
        torch.save(state, tmp_path / run / "step-1.pt")
        os.link(tmp_path / run / "step-1.pt", tmp_path / run / "last.pt")
    a, b = (Snapshots.discover(tmp_path / run) for run in ("a", "b"))
    joined = Snapshots([*a, *b, *Snapshots.of({"last": shifted(state, 1)})])
    assert joined.labels == ("step-1", "step-1 (2)", "last")
    assert [row.aliases for row in joined] == [("last (2)",), ("last (3)",), ()]
    assert joined.index("last") == 2
    assert str(tmp_path / "b" / "step-1.pt") in joined.notes[0]


def test_numbers_are_positions_and_texts_are_labels(state):
    snapshots = Snapshots.of({"-1": state, "1": shifted(state, 1), "0": shifted(state, 2)})
    assert [snapshots.index(i) for i in (-1, 0, 1)] == [2, 0, 1]
    assert [snapshots.index(label) for label in ("-1", "0", "1")] == [0, 2, 1]


def test_a_snapshot_of_elsewhere_is_not_taken_for_one_of_here(state, series, tmp_path):
    with pytest.raises(UnknownSnapshotError, match="not among the snapshots"):
        series[Snapshots.of({"step-1": state})[0]]
    again = Snapshots.discover(tmp_path)
    assert series[again["step-8"]] is series["step-8"]


@pytest.mark.parametrize("given", ["runs/a", 5, None, [1], [{"w": torch.ones(1)}]])
def test_only_ready_snapshots_are_put_in_a_row(given):
    with pytest.raises(SettingError, match=r"Snapshots\.discover"):
        Snapshots(given)


# --- listing -------------------------------------------------------------------------------------------------------


def test_order_counts_and_does_not_spell(state, tmp_path):
    for number in (50, 1000, 500):
        torch.save(shifted(state, number), tmp_path / f"checkpoint-{number}.pth")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("checkpoint-50", "checkpoint-500", "checkpoint-1000")
    assert [row.step for row in snapshots] == [None, None, None]  # of which kind the numbers are, nobody said


def test_fields_inside_count_more_than_names(state, tmp_path):
    for name, epoch in (("a_epoch_1", 3), ("b_epoch_2", 1)):
        torch.save(
            {"model_state_dict": shifted(state, epoch), "epoch": epoch, "loss": epoch / 4}, tmp_path / f"{name}.pt"
        )
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("b_epoch_2", "a_epoch_1")
    assert [row.metrics["loss"] for row in snapshots] == [0.25, 0.75]


def test_folder_names_tell_where_file_names_do_not(state, tmp_path):
    for epoch in (2, 10):
        (tmp_path / f"epoch_{epoch}").mkdir()
        torch.save(shifted(state, epoch), tmp_path / f"epoch_{epoch}" / "weights.pt")
    snapshots = Snapshots.of(str(tmp_path / "*" / "*.pt"))
    assert snapshots.labels == ("epoch_2/weights", "epoch_10/weights")
    assert [row.epoch for row in snapshots] == [2, 10]


def test_a_pattern_reads_step_and_epoch(state, tmp_path):
    for epoch, step in ((1, 20), (0, 3)):
        torch.save(shifted(state, step), tmp_path / f"run7-{epoch}x{step}.pt")
    found = Snapshots.from_files(tmp_path / "*.pt", pattern=r"-(?P<epoch>\d+)x(?P<step>\d+)")
    assert [(row.epoch, row.step) for row in found] == [(0, 3), (1, 20)]


def test_files_in_a_list_keep_their_order(state, tmp_path):
    paths = [tmp_path / "step-9.pt", tmp_path / "step-1.pt"]
    for path in paths:
        torch.save(state, path)
    assert Snapshots.of(paths).labels == ("step-9", "step-1")


def test_equal_names_are_told_apart(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    torch.save(shifted(state, 1), tmp_path / "a.pt")
    assert Snapshots.discover(tmp_path).labels == ("a.pt", "a.safetensors")


def test_brackets_in_a_real_name_are_no_glob(state, tmp_path):
    folder = tmp_path / "run[1]"
    folder.mkdir()
    torch.save(state, folder / "a.pt")
    assert Snapshots.of(folder).labels == ("a",)


def test_links_and_copies_become_aliases(state, tmp_path):
    for step in (1, 2):
        torch.save(
            {"state_dict": shifted(state, step), "global_step": step}, tmp_path / f"epoch={step}-step={step}.ckpt"
        )
    torch.save({"state_dict": shifted(state, 2), "global_step": 2, "more": 1}, tmp_path / "last.ckpt")
    os.link(tmp_path / "epoch=1-step=1.ckpt", tmp_path / "best.ckpt")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("epoch=1-step=1", "epoch=2-step=2")
    assert [row.aliases for row in snapshots] == [("best",), ("last",)]
    assert snapshots["last"] is snapshots[1]


def test_a_tag_with_weights_of_its_own_stays_a_row(state, tmp_path):
    torch.save(shifted(state, 1), tmp_path / "model_epoch_1.pt")
    torch.save(shifted(state, 2), tmp_path / "best.pt")
    assert Snapshots.discover(tmp_path).labels == ("model_epoch_1", "best")


def test_two_files_for_one_step_merge_if_they_agree(state, tmp_path):
    save_file(state, tmp_path / "step-3.safetensors")
    torch.save(state, tmp_path / "step_3.pt")
    assert [(row.label, row.aliases) for row in Snapshots.discover(tmp_path)] == [("step-3", ("step_3",))]


def test_two_different_files_for_one_step_are_an_error_that_names_both(state, tmp_path):
    save_file(state, tmp_path / "step-3.safetensors")
    torch.save(shifted(state, 1), tmp_path / "step_3.pt")
    with pytest.raises(SnapshotError, match=r"step 3: '.*step-3\.safetensors' and '.*step_3\.pt'"):
        Snapshots.discover(tmp_path)


def test_a_broken_twin_does_not_stand_in_the_way(state, tmp_path):
    save_file(state, tmp_path / "step-3.safetensors")
    (tmp_path / "step_3.pt").write_bytes(b"PK\x03\x04broken, and not even recently")
    snapshots = Snapshots.discover(tmp_path)
    assert [row.status == "ok" for row in snapshots] == [True, False]


@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_identical_weights_are_reported_by_name(ending, model, state, tmp_path):
    if ending == "pt":
        for step, by in ((1, 0), (2, 0), (3, 1)):
            torch.save(shifted(state, by), tmp_path / f"step-{step}.pt")
        labels = ("step-1", "step-2")
    else:
        recorder = record(model, tmp_path, every=1)
        recorder.step(1)
        recorder.step(2)
        labels = ("step-000001", "step-000002")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.identical == (labels,)
    assert f"identical weights: {labels[0]!r}, {labels[1]!r}" in snapshots.notes[0]
    snapshots[1].load()
    assert snapshots.identical == (labels,)
    assert snapshots[0].digest == snapshots[1].digest  # so that results are computed once


@pytest.mark.parametrize(
    "other",
    [
        {"a": torch.arange(6.0).reshape(3, 2)},
        {"b": torch.arange(6.0).reshape(2, 3)},
        {"a": torch.arange(6.0).reshape(3, 2).T},
        {"a": torch.arange(6.0).view(torch.int32).reshape(2, 3)},
        {"a": torch.arange(6.0).reshape(2, 3), "b": torch.arange(6.0)[:0]},
    ],
)
@pytest.mark.parametrize("fields", [{}, {"epoch": 1}])
@pytest.mark.parametrize("copied", [True, False])
def test_equal_bytes_under_other_names_or_shapes_are_other_weights(other, fields, copied, tmp_path):
    def checkpoint(state):
        return {"state_dict": state, **fields} if fields else state

    first = {"a": torch.arange(6.0).reshape(2, 3)}
    torch.save(checkpoint(first), tmp_path / "epoch-1.pt")
    torch.save(checkpoint(other), tmp_path / "epoch-2.pt")
    if copied:
        torch.save(checkpoint(other), tmp_path / "last.pt")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("epoch-1", "epoch-2")
    assert [row.aliases for row in snapshots] == [(), ("last",) if copied else ()]
    assert snapshots.identical == ()
    assert snapshots[0].digest != snapshots[1].digest


def test_swapped_names_are_other_weights_and_other_fields_are_not(tmp_path):
    a, b, c = (torch.full((2,), float(i)) for i in range(3))
    moments = {"state": {0: {"exp_avg": c}}}
    for epoch, state in enumerate(({"a": a, "b": b}, {"a": b, "b": a}, {"a": a, "b": b})):
        saved = {"model": state, "epoch": epoch, "loss": epoch / 4, "optimizer": moments}
        torch.save(saved, tmp_path / f"epoch-{epoch}.pt")
    assert Snapshots.discover(tmp_path).identical == (("epoch-0", "epoch-2"),)


def test_weights_in_a_list_are_not_taken_for_equal_unread(tmp_path):
    for epoch, parts in enumerate(([torch.ones(2, 3)], [torch.ones(3, 2)])):
        torch.save({"model": {"w": torch.ones(1)}, "epoch": epoch, "more": parts}, tmp_path / f"e{epoch}.pt")
    assert Snapshots.discover(tmp_path).identical == ()


NINE = {
    "int": 9,
    "tensor": torch.tensor(9),
    "short tensor": torch.tensor(9, dtype=torch.int16),
    "float tensor": torch.tensor(9.0),
    "item of a tensor": torch.arange(20)[9],
    "numpy integer": np.int64(9),
    "unsigned": np.uint16(9),
    "numpy float": np.float32(9),
    "big-endian": np.array([9], ">i8")[0],
}


@pytest.mark.parametrize("kind", NINE)
def test_a_step_that_numpy_or_torch_wraps_is_known_before_reading(kind, state, tmp_path):
    saved = {"model": state, "global_step": NINE[kind], "val_loss": np.float64(0.5), "epoch": torch.tensor(2.5)}
    torch.save(saved, tmp_path / "b.pt")
    torch.save({"model": shifted(state, 1), "global_step": 10}, tmp_path / "a.pt")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("b", "a")
    row = snapshots[0]
    assert (row.step, row.epoch, row.metrics) == (9, 2.5, {"val_loss": 0.5})
    assert_same(row.load(), state)
    assert (row.step, row.status) == (9, "ok")


def test_a_counter_between_the_tensors_is_a_step_but_a_parameter_is_none(state, tmp_path):
    torch.save({**state, "global_step": torch.tensor(9), "loss_scale": torch.tensor(0.5)}, tmp_path / "a.pt")
    for snapshot in (Snapshots.discover(tmp_path)[0], Snapshots.of([torch.load(tmp_path / "a.pt")])[0]):
        assert (snapshot.step, snapshot.metrics) == (9, {})
        assert snapshot.load().keys() == {*state, "global_step", "loss_scale"}
        assert (snapshot.step, snapshot.metrics) == (9, {})


def test_fractions_of_epochs_are_in_order(state, tmp_path):
    for epoch in ("12.5", "2.5", "12", "100"):
        torch.save(shifted(state, float(epoch)), tmp_path / f"epoch={epoch}.pt")
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("epoch=2.5", "epoch=12", "epoch=12.5", "epoch=100")
    assert [row.epoch for row in snapshots] == [2.5, 12, 12.5, 100]
    (tmp_path / "epoch=7.5").write_bytes((tmp_path / "epoch=12.pt").read_bytes())
    assert [(row.label, row.epoch) for row in Snapshots.of(tmp_path / "epoch=7.5")] == [("epoch=7.5", 7.5)]


def test_a_large_step_that_reads_like_a_date_is_a_step(state, tmp_path):
    for step in (20_000_000, 500):
        torch.save(shifted(state, step / 1e7), tmp_path / f"step_{step}.pt")
    assert [row.step for row in Snapshots.discover(tmp_path)] == [500, 20_000_000]


def test_unusable_files_are_rows_and_passed_over_files_are_told(state, tmp_path):
    torch.save(state, tmp_path / "step-1.pt")
    (tmp_path / "step-2.pt").write_bytes(b"")
    (tmp_path / "step-3.pt").write_bytes(b"<html></html>")
    for name in ("training_args.bin", "tmp_4.pt", ".hidden.pt", "optimizer.pt"):
        (tmp_path / name).write_bytes(b"never opened")
    snapshots = Snapshots.discover(tmp_path)
    assert [(row.label, row.status) for row in snapshots] == [
        ("step-1", "ok"), ("step-2", "writing"), ("step-3", "format"),
    ]  # fmt: skip
    assert all(row.reason for row in snapshots[1:])
    assert {name for name, _ in snapshots.passed_over} == {
        "training_args.bin",
        "tmp_4.pt",
        ".hidden.pt",
        "optimizer.pt",
    }
    assert [row.label for row in snapshots.usable] == ["step-1"]
    assert "2 not usable" in repr(snapshots)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: None, "is empty"),
        (lambda folder: (folder / "notes.txt").touch(), r"looked for .*\.safetensors.*'notes.txt'"),
        (lambda folder: (folder / "training_args.bin").touch(), "Passed over: training_args.bin"),
        (lambda folder: (folder / "deep").mkdir(), "glob such as"),
    ],
)
def test_a_folder_without_checkpoints_says_what_was_looked_for_and_what_is_there(prepare, said, tmp_path):
    prepare(tmp_path)
    with pytest.raises(EmptyFolderError, match=said):
        Snapshots.of(tmp_path)


@pytest.mark.parametrize("wanted", ["nowhere", "nowhere/*.pt", "a.pt"])
def test_a_path_to_nothing_says_what_is_there_instead(wanted, tmp_path):
    (tmp_path / "b.pt").touch()
    with pytest.raises(EmptyFolderError, match=r"b\.pt|does not exist"):
        Snapshots.of(str(tmp_path / wanted))
    with pytest.raises(EmptyFolderError, match=r"nothing at|No file matches"):
        Snapshots.of([tmp_path / wanted] if "*" not in wanted else str(tmp_path / wanted))


@pytest.mark.parametrize("read", [Snapshots.of, Snapshots.discover, Snapshots.from_files])
@pytest.mark.parametrize("path", ["", "  ", "a\0b", b"x", "~no-such-user-here/x"])
def test_what_cannot_be_a_path_is_refused(read, path):
    with pytest.raises(SettingError, match=r"Expected a path|snapshots must be"):
        read(path)
    if isinstance(path, str):
        with pytest.raises(SettingError, match="Expected a path"):
            Snapshots.of([path, path])


def test_paths_of_other_libraries_and_names_too_long(state, tmp_path):
    class Named(os.PathLike):
        def __fspath__(self):
            return str(tmp_path)

    torch.save(state, tmp_path / "a.pt")
    assert Snapshots.of(Named()).labels == Snapshots.discover(Named()).labels == ("a",)
    with pytest.raises(EmptyFolderError, match="nothing at"):
        Snapshots.discover("x" * 5000)


@pytest.mark.parametrize("settings", [{"pattern": 5}, {"pattern": b"(?P<step>x)"}, {"which": 5}, {"which": ["ema"]}])
def test_senseless_settings_of_a_listing_are_refused(settings, state, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    for read, path in ((Snapshots.discover, tmp_path), (Snapshots.from_files, tmp_path / "*.pt")):
        with pytest.raises(SettingError, match=r"pattern|which"):
            read(path, **settings)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
@pytest.mark.timeout(20)
def test_pipes_sockets_and_devices_are_never_opened(state, tmp_path):
    """Opening a named pipe would wait for a writer, for ever."""
    torch.save(state, tmp_path / "step-1.pt")
    os.mkfifo(tmp_path / "step-2.pt")
    (tmp_path / "step-3.pt").symlink_to("/dev/zero")
    (tmp_path / "step-4.pt").symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as server:
        here = Path.cwd()
        os.chdir(tmp_path)  # the address of a socket has to be short
        try:
            server.bind("step-5.pt")
        finally:
            os.chdir(here)
        snapshots = Snapshots.discover(tmp_path)
    assert [(row.label, row.status) for row in snapshots] == [("step-1", "ok"), ("step-4", "unreadable")]
    assert dict(snapshots.passed_over) == {
        "step-2.pt": "a named pipe, not a file; never opened",
        "step-3.pt": "a device, not a file; never opened",
        "step-5.pt": "a socket, not a file; never opened",
    }
    for named in (Snapshots.of(tmp_path / "step-2.pt"), Snapshots.from_files(tmp_path / "step-[2]*")):
        assert [row.status for row in named] == ["format"]
        with pytest.raises(FormatError, match=r"'step-2\.pt' is a named pipe"):
            named[0].load()


@pytest.mark.alone
def test_listing_is_cheap(state, tmp_path, monkeypatch):
    """Ten thousand recorded files are listed from their headers: no tensor is read, no weights are hashed."""
    count = 10_000
    first = tmp_path / "step-0.safetensors"
    save_file(state, first, metadata={"step": "000000", "lhexplore_digest": "000000"})
    data = first.read_bytes()
    for step in range(1, count):
        (tmp_path / f"step-{step}.safetensors").write_bytes(data.replace(b'"000000"', b'"%06d"' % step))
    monkeypatch.setattr(safetensors.torch, "load", None)
    monkeypatch.setattr(snapshot_module, "digest_tensors", None)
    monkeypatch.setattr(Path, "read_bytes", None)
    start = time.perf_counter()
    snapshots = Snapshots.discover(tmp_path)
    seconds = time.perf_counter() - start
    assert [row.step for row in snapshots] == list(range(count))
    assert snapshots[77].digest == "000077"
    assert seconds < LISTING


def test_many_pickled_files_are_listed_by_their_names(state, tmp_path, monkeypatch):
    monkeypatch.setattr(listing, "FIELDS_LIMIT", 2)
    for step in range(4):
        torch.save({"state_dict": shifted(state, step), "epoch": 1}, tmp_path / f"step-{step}.pt")
    monkeypatch.setattr(torch_file, "tell", None)
    snapshots = Snapshots.discover(tmp_path)
    assert [(row.step, row.epoch) for row in snapshots] == [(step, None) for step in range(4)]
    assert "names" in snapshots.notes[0]
    snapshots[2].load()
    assert snapshots[2].epoch == 1.0


# --- loading -------------------------------------------------------------------------------------------------------


def test_the_recorded_digest_is_known_at_once_and_verified(model, tmp_path):
    path = record(model, tmp_path, every=1).step(1)
    snapshot = Snapshots.discover(tmp_path)[0]
    assert snapshot.known_digest == digest_tensors(model.state_dict().items())
    data = bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(data)
    assert torch.is_tensor(safetensors.torch.load_file(path)["0.weight"])  # safetensors itself does not see it
    with pytest.raises(IncompleteFileError, match="digest"):
        snapshot.load()
    assert snapshot.status == "partial"


def test_a_file_that_changed_since_first_sight_is_not_mixed_in(state, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    snapshot = Snapshots.discover(tmp_path)[0]
    assert snapshot.digest == digest_tensors(state.items())
    torch.save(shifted(state, 1), tmp_path / "a.pt")
    with pytest.raises(SnapshotError, match="changed since it was first seen"):
        snapshot.load()
    assert snapshot.status == "changed"
    assert Snapshots.discover(tmp_path)[0].digest != snapshot.known_digest


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value, state, tmp_path):
    state["2.bias"][1] = value
    torch.save(state, tmp_path / "a.pt")
    snapshot = Snapshots.discover(tmp_path)[0]
    with pytest.raises(NotFiniteError, match=r"'2\.bias'"):
        snapshot.load()
    assert snapshot.status == "non-finite"


def test_an_attention_mask_of_minus_infinity_is_fine(tmp_path):
    mask = torch.triu(torch.full((3, 3), float("-inf")), 1)
    torch.save({"mask": mask, "w": torch.ones(2)}, tmp_path / "a.pt")
    assert_same(Snapshots.discover(tmp_path)[0].load(), {"mask": mask, "w": torch.ones(2)})


def quantised():
    return torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)


ODD = {
    "sparse": lambda: torch.eye(2).to_sparse(),
    "8-bit float": lambda: torch.ones(2).to(torch.float8_e4m3fn),
    "quantised": quantised,
    "meta": lambda: torch.ones(2, device="meta"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.filterwarnings("ignore:.*quantize.*:UserWarning", "ignore:.*quantize.*:DeprecationWarning")
def test_tensors_without_usable_derivatives_are_named(kind, tmp_path):
    torch.save({"fine": torch.ones(2), "odd": ODD[kind]()}, tmp_path / "a.pt")
    snapshot = Snapshots.discover(tmp_path)[0]
    with pytest.raises(UnsupportedError, match=kind):
        snapshot.load()
    assert snapshot.status == "unsupported"


def test_complex_and_integer_tensors_are_constants_and_fine(tmp_path):
    constants = {"freqs": torch.ones(2, dtype=torch.complex64), "count": torch.tensor(3), "w": torch.ones(1)}
    torch.save(constants, tmp_path / "a.pt")
    assert_same(Snapshots.discover(tmp_path)[0].load(), constants)


def test_fitted_weights_carry_notes_and_a_mismatch_marks_the_row(model, state, tmp_path):
    torch.save({f"module.{name}": tensor for name, tensor in state.items()}, tmp_path / "good.pt")
    torch.save({"other": torch.ones(2)}, tmp_path / "bad.pt")
    snapshots = Snapshots.discover(tmp_path)
    fitted, notes = snapshots["good"].fitted(model)
    assert_same(fitted, state)
    assert "'module.'" in notes[0]
    with pytest.raises(MismatchError, match="Snapshot 'bad'"):
        snapshots["bad"].fitted(model)
    assert snapshots["bad"].status == "mismatch"


def test_raw_or_averaged_weights_are_chosen(state, tmp_path):
    torch.save({"state_dict": state, "state_dict_ema": shifted(state, 1), "epoch": 2}, tmp_path / "a.pth.tar")
    assert Snapshots.discover(tmp_path).labels == ("a",)
    assert_same(Snapshots.discover(tmp_path)[0].load(), state)
    assert_same(Snapshots.discover(tmp_path, which="state_dict_ema")[0].load(), shifted(state, 1))
    with pytest.raises(FormatError, match="no weights under 'swa'"):
        Snapshots.discover(tmp_path, which="swa")[0].load()


def test_reading_from_threads_at_once_is_one_snapshot_each(state, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    for step in range(4):
        torch.save({"state_dict": shifted(state, step)}, tmp_path / f"step-{step}.pt")
    snapshots = Snapshots.discover(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        loaded = list(pool.map(lambda i: snapshots[i % 4].load(), range(64)))
    for i, found in enumerate(loaded):
        assert_same(found, shifted(state, i % 4))


def test_reprs_are_short_and_do_not_read(series):
    assert repr(series[0]) == "Snapshot('step-1', step 1)"
    assert repr(series).endswith(": 'step-1' … 'step-1000')")
    assert all(row.known_digest is None for row in series)


def test_a_snapshot_is_exported():
    assert isinstance(Snapshots.of([{"w": torch.ones(1)}])[0], Snapshot)


def test_time_is_not_order(state, tmp_path):
    for step in (2, 1):
        torch.save(shifted(state, step), tmp_path / f"step-{step}.pt")
        os.utime(tmp_path / f"step-{step}.pt", (time.time() - step, time.time() - step))
    assert [row.step for row in Snapshots.discover(tmp_path)] == [1, 2]


def test_leading_zeros_of_a_label_may_be_left_out():
    rows = Snapshots.of({"step-000012": {"w": torch.ones(1)}, "step-000128": {"w": torch.zeros(1)}})
    assert rows["step-128"].label == "step-000128"
    assert rows["step-12"].label == "step-000012"
    with pytest.raises(UnknownSnapshotError):
        rows["step-1"]

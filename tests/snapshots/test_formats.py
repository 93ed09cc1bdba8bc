"""What each kind of file leads to: weights, or one error class that says what it is; and nothing in it ever runs."""

import argparse
import io
import json
import pickle
import struct
import subprocess
import sys
import textwrap
import warnings
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lhexplore.errors import FormatError, IncompleteFileError, SnapshotError, UnsafeFileError
from lhexplore.snapshots import Snapshots, formats, torch_file
from lhexplore.snapshots.torch_file import TRUST


def saved(value, **how):
    buffer = io.BytesIO()
    torch.save(value, buffer, **how)
    return buffer.getvalue()


def load(path):
    return Snapshots.discover(path)[0].load()


def assert_same(loaded, state):
    assert loaded.keys() == state.keys()
    for name, tensor in state.items():
        torch.testing.assert_close(loaded[name], tensor, rtol=0, atol=0)


WAYS = {
    "zip": lambda state, path: torch.save(state, path),
    "legacy": lambda state, path: torch.save(state, path, _use_new_zipfile_serialization=False),
    "safetensors": lambda state, path: save_file(state, path),
    "numpy values": lambda state, path: torch.save({k: v.numpy() for k, v in state.items()}, path),
}


@pytest.mark.parametrize("way", WAYS)
def test_weights_come_back_whatever_the_ending(way, state, tmp_path):
    path = tmp_path / "weights.ckpt"
    WAYS[way](state, path)
    snapshot = Snapshots.discover(path)[0]
    assert snapshot.status == "ok"
    assert_same(snapshot.load(), state)


def test_a_file_without_checksums_is_read(state, tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(state, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    snapshot = Snapshots.discover(tmp_path)[0]
    assert (snapshot.status, snapshot.evidence) == ("ok", ())
    assert_same(snapshot.load(), state)


def test_loaded_weights_are_private(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    snapshot = Snapshots.discover(tmp_path)[0]
    for tensor in snapshot.load().values():
        tensor.zero_()
    assert_same(snapshot.load(), load_file(tmp_path / "a.safetensors"))


def test_plain_values_beside_the_weights_need_no_trust(state, tmp_path):
    beside = {
        "epoch": np.int64(3),
        "loss": np.float64(0.25),
        "curve": np.arange(3.0),
        "args": argparse.Namespace(lr=0.1),
        "flag": np.bool_(True),
    }
    torch.save({"state_dict": state, **beside}, tmp_path / "a.pt")
    snapshot = Snapshots.discover(tmp_path)[0]
    assert_same(snapshot.load(), state)
    assert (snapshot.epoch, snapshot.metrics) == (3.0, {"loss": 0.25})


LEGACY = {"zip": {}, "legacy": {"_use_new_zipfile_serialization": False}, "protocol 4": {"pickle_protocol": 4}}


@pytest.mark.parametrize("how", LEGACY)
def test_code_in_a_pickle_never_runs(how, trap, state, tmp_path):
    path = tmp_path / "evil.pt"
    torch.save({"state_dict": state, "extra": trap}, path, **LEGACY[how])
    snapshot = Snapshots.discover(path)[0]
    with pytest.raises(UnsafeFileError, match=r"posix\.system") as caught:
        snapshot.load()
    assert snapshot.status == "unsafe"
    assert str(caught.value) == snapshot.reason
    assert "weights_only" not in snapshot.reason


def test_a_newer_pickle_protocol_is_named(state, tmp_path):
    torch.save(state, tmp_path / "a.pt", pickle_protocol=4)
    with pytest.raises(FormatError, match="pickle protocol 4"):
        load(tmp_path)


def test_code_is_seen_while_listing(trap, tmp_path):
    torch.save({"x": trap}, tmp_path / "evil.pt")
    assert Snapshots.discover(tmp_path)[0].status == "unsafe"


def test_a_renamed_pickle_is_not_taken_for_safetensors(trap, tmp_path):
    torch.save({"x": trap}, tmp_path / "evil.safetensors")
    with pytest.raises(FormatError, match="is a zip/pickle file"):
        load(tmp_path / "evil.safetensors")


def test_a_bare_pickle_is_refused(trap, tmp_path):
    for protocol in (2, 4, 5):
        (tmp_path / "bare.pt").write_bytes(pickle.dumps(trap, protocol))
        with pytest.raises(FormatError, match="bare pickle"):
            load(tmp_path / "bare.pt")


def test_a_whole_module_is_named_as_such(model, tmp_path):
    for how in LEGACY.values():
        torch.save(model, tmp_path / "module.pt", **how)
        with pytest.raises(FormatError, match=r"whole pickled module \(torch.nn.modules.container.Sequential\)"):
            load(tmp_path / "module.pt")


def test_a_module_among_hyper_parameters_lists_what_is_foreign(state, tmp_path):
    torch.save({"state_dict": state, "hyper_parameters": {"loss": nn.CrossEntropyLoss()}}, tmp_path / "a.ckpt")
    with pytest.raises(UnsafeFileError, match=r"torch\.nn\.modules\.loss\.CrossEntropyLoss") as caught:
        load(tmp_path / "a.ckpt")
    assert TRUST in str(caught.value)


def torchscript(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "script.pt")
    return (tmp_path / "script.pt").read_bytes()


def npz(_):
    buffer = io.BytesIO()
    np.savez(buffer, w=np.zeros(3))
    return buffer.getvalue()


def zip_of(name, text="x", how=zipfile.ZIP_STORED):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        archive.writestr(name, text)
    return buffer.getvalue()


FOREIGN = {
    "TorchScript archive": torchscript,
    "Git LFS pointer": lambda _: b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
    "HTML page": lambda _: b"\n<!DOCTYPE html><html><body>404</body></html>",
    "HDF5": lambda _: b"\x89HDF\r\n\x1a\n" + bytes(100),
    "ONNX": lambda _: b"\x08\x07\x12\x07pytorch\x1a\x052.1.0" + bytes(100),
    "gzip": lambda _: b"\x1f\x8b\x08" + bytes(100),
    "numpy .npz": npz,
    "numpy array": lambda _: b"\x93NUMPY\x01\x00" + bytes(100),
    "GGUF": lambda _: b"GGUF" + bytes(20),
    "no data.pkl": lambda _: zip_of("readme.txt"),
    "compressed zip": lambda _: zip_of("a/data.pkl", "x" * 10_000, zipfile.ZIP_DEFLATED),
    "torch.export": lambda _: zip_of("a/archive_format", "pt2"),
    "tar archive": lambda _: b"x" * 257 + b"ustar" + bytes(250),
    "neither a torch.save nor a safetensors": lambda _: b'epoch,loss\n1,"2"\n',
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_file_of_another_kind_is_named(what, tmp_path):
    path = write(tmp_path / "foreign.pt", FOREIGN[what](tmp_path))
    snapshot = Snapshots.discover(path)[0]
    assert (snapshot.status, what in snapshot.reason) == ("format", True), snapshot.reason
    with pytest.raises(FormatError, match=what):
        snapshot.load()


def write(path, data):
    path.write_bytes(data)
    return path


CUTS = {"nothing": 0.0, "8 bytes": 8, "200 bytes": 200, "a half": 0.5, "99.9 %": 0.999, "all but a byte": -1}


@pytest.mark.parametrize("way", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("cut", CUTS)
def test_a_truncated_file_is_incomplete_and_the_others_stand(way, cut, state, tmp_path):
    WAYS[way](state, tmp_path / "step-1.pt")
    whole = (tmp_path / "step-1.pt").read_bytes()
    keep = CUTS[cut] if isinstance(CUTS[cut], int) else int(len(whole) * CUTS[cut])
    write(tmp_path / "step-2.pt", whole[:keep])
    snapshots = Snapshots.discover(tmp_path)
    assert snapshots.labels == ("step-1", "step-2")
    with pytest.raises(IncompleteFileError, match=r"incomplete|damaged|empty|zero"):
        snapshots[1].load()
    assert snapshots[1].status == "partial"
    assert_same(snapshots[0].load(), state)


def test_the_size_and_the_expected_size_are_told(state, tmp_path):
    save_file(state, tmp_path / "a.safetensors")
    whole = (tmp_path / "a.safetensors").read_bytes()
    write(tmp_path / "a.safetensors", whole[:-10])
    with pytest.raises(
        IncompleteFileError, match=f"has {len(whole) - 10:,} bytes, its header announces {len(whole):,}"
    ):
        load(tmp_path)


def test_an_incomplete_file_that_was_just_touched_may_be_in_writing(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "a.pt")
    write(tmp_path / "a.pt", (tmp_path / "a.pt").read_bytes()[:-5])
    assert Snapshots.discover(tmp_path)[0].status == "writing"
    later = (tmp_path / "a.pt").stat().st_mtime + 2 * formats.RECENT
    monkeypatch.setattr(formats.time, "time", lambda: later)
    assert Snapshots.discover(tmp_path)[0].status == "partial"


def test_a_row_recovers_when_the_file_is_finished(state, tmp_path):
    torch.save(state, tmp_path / "a.pt")
    whole = (tmp_path / "a.pt").read_bytes()
    write(tmp_path / "a.pt", whole[:-5])
    snapshot = Snapshots.discover(tmp_path)[0]
    write(tmp_path / "a.pt", whole)
    assert_same(snapshot.load(), state)
    assert (snapshot.status, snapshot.reason) == ("ok", "")


def spoilt_safetensors(kind, state):
    """Damage of the header itself."""
    header = json.loads(json.dumps({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}))
    body = bytes(8)
    if kind == "overlapping":
        header["b"] = {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}
        body = bytes(12)
    elif kind == "hole":
        header["a"]["data_offsets"] = [4, 12]
        body = bytes(12)
    elif kind == "negative":
        header["a"]["data_offsets"] = [-8, 0]
    elif kind == "shape too large":
        header["a"]["shape"] = [2**40]
    elif kind == "unknown type":
        header["a"]["dtype"] = "F13"
    elif kind == "no offsets":
        del header["a"]["data_offsets"]
    elif kind == "extended":
        body += b"junk"
    raw = json.dumps(header).encode()
    if kind == "deep":
        raw = b'{"a":' + b"[" * 100_000
    length = {"giant header": 2**60, "giant but possible": 90_000_000, "tiny": 1}.get(kind, len(raw))
    return struct.pack("<Q", length) + raw + body


SPOILT = [
    "overlapping", "hole", "negative", "shape too large", "unknown type", "no offsets", "extended", "deep",
    "giant header", "giant but possible", "tiny",
]  # fmt: skip


@pytest.mark.parametrize("kind", SPOILT)
def test_damaged_safetensors_are_damaged(kind, state, tmp_path):
    path = write(tmp_path / "a.safetensors", spoilt_safetensors(kind, state))
    with pytest.raises(IncompleteFileError, match=r"damaged|incomplete"):
        load(path)


def test_one_flipped_bit_in_a_zip_is_seen(state, tmp_path):
    data = bytearray(saved(state))
    data[data.index(state["0.weight"].numpy().tobytes()) + 2] ^= 1
    assert torch.load(io.BytesIO(bytes(data)), weights_only=True)  # torch itself does not see it
    with pytest.raises(IncompleteFileError, match="checksum"):
        load(write(tmp_path / "a.pt", bytes(data)))


def test_bytes_after_the_end_of_a_zip_are_seen(state, tmp_path):
    with pytest.raises(IncompleteFileError, match="zip archive"):
        load(write(tmp_path / "a.pt", saved(state) + b"junk"))


def test_a_file_that_changes_while_it_is_read_is_not_used(state, tmp_path, monkeypatch):
    path = write(tmp_path / "a.pt", saved(state))
    read = torch_file.read

    def slow(where, **how):
        contents = read(where, **how)
        write(where, b"x")
        return contents

    monkeypatch.setattr(torch_file, "read", slow)
    with pytest.raises(IncompleteFileError, match="changed while it was read"):
        formats.read(path)


def test_an_old_torch_reads_no_pickles_but_safetensors(state, tmp_path, monkeypatch):
    torch.save(state, tmp_path / "a.pt")
    save_file(state, tmp_path / "b.safetensors")
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    with pytest.raises(UnsafeFileError, match=r"torch 2\.10 or newer"):
        load(tmp_path / "a.pt")
    assert_same(load(tmp_path / "b.safetensors"), state)


def test_safe_globals_do_not_leak_into_the_process(state, tmp_path):
    before = set(torch.serialization.get_safe_globals())
    torch.save({"state_dict": state, "args": argparse.Namespace()}, tmp_path / "a.pt")
    load(tmp_path)
    assert set(torch.serialization.get_safe_globals()) == before


def test_an_unreadable_path_is_a_row(tmp_path):
    (tmp_path / "a.pt").symlink_to(tmp_path / "nowhere")
    snapshot = Snapshots.discover(tmp_path)[0]
    assert snapshot.status == "unreadable"
    with pytest.raises(SnapshotError, match="cannot be read"):
        snapshot.load()


def test_truncation_after_reading_sends_no_signal(state, tmp_path):
    """A memory-mapped file would end the process here; one in private memory does not notice."""
    for name, way in (("a.safetensors", "safetensors"), ("b.pt", "zip")):
        WAYS[way](
            {key: value.repeat(*[400] * value.ndim) for key, value in state.items() if value.ndim}, tmp_path / name
        )
    code = """
        import sys
        from lhexplore.snapshots import Snapshots
        states = [row.load() for row in Snapshots.discover(sys.argv[1])]
        for row in Snapshots.discover(sys.argv[1]):
            row.path.write_bytes(b"")
        print(sum(float(tensor.double().sum()) for state in states for tensor in state.values()))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_hostile_files_end_in_an_error_never_in_a_signal(state, tmp_path):
    """Cut and bit-flipped files of each format, in a process with limited memory."""
    for way in ("zip", "legacy", "safetensors"):
        WAYS[way]({"state_dict": state} if way != "safetensors" else state, tmp_path / f"{way}.pt")
    code = """
        import random, resource, sys, warnings
        from pathlib import Path
        import torch
        from lhexplore.errors import LhexploreError
        from lhexplore.snapshots import Snapshots
        resource.setrlimit(resource.RLIMIT_AS, (8 * 2**30, 8 * 2**30))
        warnings.simplefilter("error")
        torch.set_num_threads(1)
        chance, errors, fine = random.Random(0), 0, 0
        for source in sorted(Path(sys.argv[1]).glob("*.pt")):
            whole = source.read_bytes()
            for round in range(150):
                data = bytearray(whole[: chance.randrange(len(whole))] if round % 3 == 0 else whole)
                for _ in range(chance.choice([0, 1, 8])):
                    if data:
                        place = chance.randrange(min(len(data), chance.choice([64, 2000, len(data)])))
                        data[place] = chance.choice([data[place] ^ (1 << chance.randrange(8)), 0, 255, 0x80])
                target = Path(sys.argv[1]) / "fuzz" / "a.pt"
                target.parent.mkdir(exist_ok=True)
                target.write_bytes(data)
                try:
                    Snapshots.discover(target)[0].load()
                    fine += 1
                except LhexploreError:
                    errors += 1
        print(errors, fine)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    errors, fine = map(int, done.stdout.split())
    assert errors + fine == 450
    assert errors > 250

"""What every store must do, and what a folder must survive."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from lhexplore.errors import SettingError, StoreError
from lhexplore.store import DirectoryStore, MemoryStore, NoStore, Store, key, open_store
from lhexplore.store import directory as directory_module
from lhexplore.store.codec import encode
from lhexplore.store.store import size_of

DAY = 86_400


class StoreContract:
    """Subclass it for each store; ``store`` is an empty one."""

    @pytest.fixture
    def store(self, tmp_path) -> Store:
        raise NotImplementedError

    def test_what_was_never_put_is_none(self, store):
        assert store.get(key({"a": 1})) is None

    def test_what_was_put_comes_back(self, store, make, assert_equal):
        for i in range(3):
            store.put(key({"i": i}), make(seed=i))
        for i in range(3):
            assert_equal(store.get(key({"i": i})), make(seed=i))

    def test_the_last_put_counts(self, store, make, assert_equal):
        for seed in (1, 2):
            store.put("k", make(seed=seed))
        assert_equal(store.get("k"), make(seed=2))

    def test_a_partial_value_never_replaces_a_complete_one(self, store, make, assert_equal):
        store.put("k", make(seed=1, complete=False))
        store.put("k", make(seed=2, complete=False))
        assert_equal(store.get("k"), make(seed=2, complete=False))
        store.put("k", make(seed=3))
        store.put("k", make(seed=4, complete=False))
        assert_equal(store.get("k"), make(seed=3))

    def test_the_stamp_moves_with_every_put_and_with_nothing_else(self, store, make):
        stamps = [store.stamp]
        for i in range(3):
            store.put(f"k{i}", make(seed=i))
            stamps.append(store.stamp)
        assert len(set(stamps)) == len(stamps)
        store.get("k0"), store.get("k1"), store.get("absent"), store.state("k2")
        assert store.stamp == stamps[-1]

    def test_a_plain_text_is_a_key_too(self, store, spectrum, assert_equal):
        store.put("abc_DEF-123", spectrum)
        assert_equal(store.get("abc_DEF-123"), spectrum)

    def test_threads_may_share_it(self, store, make, assert_equal):
        def work(worker):
            for i in range(20):
                store.put(f"k{i}", make(seed=i))
                assert_equal(store.get(f"k{(i + worker) % (i + 1)}"), make(seed=(i + worker) % (i + 1)))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(8)))
        assert store.notices == []


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return MemoryStore()

    def test_what_was_used_longest_ago_goes_first(self, make):
        store = MemoryStore(max_bytes=3 * size_of(make()))
        for i in range(3):
            store.put(f"k{i}", make(seed=i))
        store.get("k0")
        store.put("k3", make(seed=3))
        assert [store.get(f"k{i}") is None for i in range(4)] == [False, True, False, False]

    def test_one_value_larger_than_the_limit_is_kept(self, make):
        store = MemoryStore(max_bytes=1)
        store.put("a", make())
        store.put("b", make())
        assert store.get("a") is None
        assert store.get("b") is not None


class TestDirectoryStore(StoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return DirectoryStore(tmp_path / "cache")


class TestDirectoryWithoutMemory(StoreContract):
    """Every value is read from disk: as after a restart."""

    @pytest.fixture
    def store(self, tmp_path):
        return DirectoryStore(tmp_path / "cache", memory_bytes=0)


class TestReadOnlyDirectory(StoreContract):
    """A folder that can be read but no longer written serves from memory, with one notice."""

    @pytest.fixture
    def store(self, tmp_path, make, monkeypatch):
        DirectoryStore(tmp_path).put("old", make(seed=99))
        refuse_writing(monkeypatch, errno.EROFS)
        store = DirectoryStore(tmp_path)
        assert "can be read but not written" in store.notices.pop()
        store._tell = lambda _: None  # told once above; the contract looks for others
        return store


def refuse_writing(monkeypatch, code):
    """Make the operating system refuse new files, as a full or read-only disk does (root is refused nothing else)."""
    real_open, fault = Path.open, OSError(code, os.strerror(code))

    def refused(self, mode="r", *args, **kwargs):
        if set(mode) & set("wax+"):
            raise fault
        return real_open(self, mode, *args, **kwargs)

    def touch(self, *_, **__):
        raise fault

    monkeypatch.setattr(Path, "open", refused)
    monkeypatch.setattr(Path, "touch", touch)


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def store(folder):
    return DirectoryStore(folder)


def file_of(store, name="k"):
    return store.path / f"{name}.safetensors"


def test_no_store_keeps_nothing(spectrum):
    store = NoStore()
    store.put("k", spectrum)
    assert store.get("k") is None


def test_another_process_finds_what_was_put(store, folder, spectrum, assert_equal):
    store.put(key({"a": 1}), spectrum)
    assert_equal(DirectoryStore(folder).get(key({"a": 1})), spectrum)
    assert list(DirectoryStore(folder).keys()) == [key({"a": 1})]


def test_the_folder_is_for_its_owner_alone(store):
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o700


def test_one_file_for_each_key_and_nothing_else(store, make):
    for i in range(4):
        store.put(f"k{i % 2}", make(seed=i))
    assert sorted(path.name for path in store.path.iterdir()) == ["k0.safetensors", "k1.safetensors"]


DAMAGE = {
    "garbage": lambda data: b"garbage" * 50,
    "nothing": lambda data: b"",
    "zeros": lambda data: bytes(len(data)),
    "cut": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"\0",
    "flipped bit": lambda data: data[:-9] + bytes([data[-9] ^ 1]) + data[-8:],
    "pickle": lambda data: b"\x80\x04cposix\nsystem\n(X\x04\x00\x00\x00true\x85R.",
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_entry_is_set_aside_and_told_once(kind, folder, make, assert_equal):
    DirectoryStore(folder).put("a", make(seed=1))
    for name in ("k", "l"):
        DirectoryStore(folder).put(name, make())
        file_of(DirectoryStore(folder), name).write_bytes(DAMAGE[kind](encode(name, make())))
    store = DirectoryStore(folder)
    assert [store.get("k"), store.get("l"), store.get("k")] == [None, None, None]
    assert store.damaged == 2
    assert len(store.notices) == 1
    assert "set aside" in store.notices[0]
    assert (folder / "k.bad").exists()
    assert not file_of(store).exists()
    store.put("k", make())
    assert_equal(DirectoryStore(folder).get("k"), make())
    assert_equal(store.get("a"), make(seed=1))  # no good entry is lost


def test_a_good_entry_that_arrives_meanwhile_is_not_set_aside(folder, make, assert_equal, monkeypatch):
    """Another process replaces the damaged file between our reading and our renaming."""
    writer, reader = DirectoryStore(folder), DirectoryStore(folder)
    file_of(reader).write_bytes(b"garbage")
    decode = directory_module.codec.decode

    def slow(key_, data):
        writer.put("k", make())
        return decode(key_, data)

    with monkeypatch.context() as patch:
        patch.setattr(directory_module.codec, "decode", slow)
        assert reader.get("k") is None
    assert_equal(reader.get("k"), make())


@pytest.mark.parametrize("schema", [0, 2])
def test_another_version_is_left_alone(schema, folder, make, monkeypatch):
    from lhexplore.store import codec

    with monkeypatch.context() as patch:
        patch.setattr(codec, "SCHEMA", schema)
        DirectoryStore(folder).put("k", make())
    store = DirectoryStore(folder)
    before = file_of(store).read_bytes()
    assert store.get("k") is None
    store.put("k", make())
    assert store.get("k") is not None
    assert file_of(store).read_bytes() == before
    assert len(store.notices) == 1
    assert "another version" in store.notices[0]
    assert store.damaged == 0


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENAMETOOLONG, errno.EIO])
def test_a_disk_that_refuses_leaves_results_in_memory_with_one_notice(code, store, make, assert_equal, monkeypatch):
    refuse_writing(monkeypatch, code)
    for i in range(3):
        store.put(f"k{i}", make(seed=i))
    for i in range(3):
        assert_equal(store.get(f"k{i}"), make(seed=i))
    assert len(store.notices) == 1
    assert os.strerror(code) in store.notices[0]
    monkeypatch.undo()
    assert list(store.path.iterdir()) == []
    store.put("later", make())
    assert file_of(store, "later").exists()  # space was made


def test_a_disk_that_fills_up_during_a_write_leaves_no_half_file(store, make, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.put("k", make(seed=1))
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        store.put("l", make(seed=2))
    assert [path.name for path in store.path.iterdir()] == ["k.safetensors"]
    assert "No space" in store.notices[0]


def test_a_folder_that_vanishes_is_survived(store, folder, make, assert_equal):
    folder.rmdir()
    store.put("k", make())
    assert_equal(store.get("k"), make())
    assert store.get("other") is None
    assert len(store.notices) == 1


def test_a_file_that_cannot_be_read_is_told_and_computed_again(store, folder):
    file_of(store).mkdir()  # a folder in the file's place: reading it fails, also for root
    assert store.get("k") is None
    assert "cannot be read" in store.notices[0]


@pytest.mark.parametrize("bad", ["", "../x", "a/b", "a.b", "x" * 129, "a\0b", "ä"])
def test_a_key_that_is_no_file_name_is_refused(bad, store, spectrum):
    for use in (lambda: store.get(bad), lambda: store.put(bad, spectrum)):
        with pytest.raises(SettingError, match="A key is made of"):
            use()


def test_leftovers_of_dead_writers_go_after_a_day_and_a_clock_that_jumped_harms_nothing(store, folder, make):
    ages = {"old": 2 * DAY, "new": 0, "future": -10 * DAY}
    for name, age in ages.items():
        (folder / f".tmp-{name}").touch()
        os.utime(folder / f".tmp-{name}", (time.time() - age,) * 2)
    store.put("k", make())
    os.utime(file_of(store), (time.time() + 10 * DAY,) * 2)
    again = DirectoryStore(folder)
    assert sorted(path.name for path in folder.iterdir()) == [".tmp-future", ".tmp-new", "k.safetensors"]
    assert again.get("k") is not None


def test_beyond_the_limit_the_files_used_longest_ago_go(folder, make):
    store = DirectoryStore(folder)
    for i in range(10):
        store.put(f"k{i}", make(seed=i))
        os.utime(file_of(store, f"k{i}"), (1000 + i, 1000 + i))
    full = sum(path.stat().st_size for path in folder.iterdir())
    fresh = DirectoryStore(folder, max_bytes=full, memory_bytes=0)
    assert fresh.get("k0") is not None  # reading counts as use
    fresh.put("new", make())
    left = set(fresh.keys())
    assert {"k0", "k9", "new"} <= left
    assert "k1" not in left
    assert sum(path.stat().st_size for path in folder.iterdir()) <= full


WRITER = """
    import sys
    import numpy as np
    from lhexplore.spectrum import Spectrum
    from lhexplore.store import DirectoryStore, key
    store = DirectoryStore(sys.argv[1], memory_bytes=0)
    print("ready", flush=True)
    sys.stdin.readline()
    for round in range(int(sys.argv[2])):
        for i in range(100):
            nodes = np.random.default_rng(i).normal(size=2000)
            spectrum = Spectrum("l", "s", 2000, nodes, np.full(2000, 1 / 2000), "dense", seconds=float(i))
            store.put(key({"i": i}), spectrum)
            found = store.get(key({"i": (7 * i + round) % 100}))
            assert found is None or found.seconds == (7 * i + round) % 100
    print(store.damaged, len(store.notices))
"""


def start_writer(folder, rounds):
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WRITER), str(folder), str(rounds)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    return process


def check_all(folder):
    """Every entry in the folder is whole and under its own key; returns how many there are."""
    store = DirectoryStore(folder)
    found = {i: store.get(key({"i": i})) for i in range(100)}
    assert all(spectrum is None or spectrum.seconds == i for i, spectrum in found.items())
    assert (store.damaged, store.notices) == (0, [])
    return sum(spectrum is not None for spectrum in found.values())


def test_two_processes_write_the_same_hundred_keys(folder):
    processes = [start_writer(folder, 2) for _ in range(2)]
    said = [process.communicate("go\n", timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert said == [["0", "0"], ["0", "0"]]
    assert check_all(folder) == 100
    assert len(list(folder.iterdir())) == 100  # no temporary file is left


def test_a_writer_killed_at_any_moment_spoils_nothing(folder):
    for pause in (0.02, 0.05, 0.11):
        process = start_writer(folder, 1000)
        process.stdin.write("go\n")
        process.stdin.flush()
        time.sleep(pause)
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
        assert check_all(folder) > 0


# --- opening ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty home, and no variable of the machine's owner."""
    monkeypatch.delenv("LHEXPLORE_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / ".cache"))
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path / "home"))
    return tmp_path / "home"


def test_true_is_the_users_cache_folder(home):
    store = open_store(True)
    assert isinstance(store, DirectoryStore)
    assert home in store.path.parents
    assert store.notices == []


def test_the_variable_overrules_it(home, tmp_path, monkeypatch):
    monkeypatch.setenv("LHEXPLORE_CACHE", str(tmp_path / "mine"))
    assert open_store(True).path == tmp_path / "mine"
    assert not home.exists()


@pytest.mark.parametrize("blank", ["", "  ", "\t"])
def test_a_blank_variable_is_an_unset_one(blank, home, tmp_path, monkeypatch):
    monkeypatch.setenv("LHEXPLORE_CACHE", blank)
    monkeypatch.chdir(tmp_path)
    assert home in open_store(True).path.parents
    assert [entry.name for entry in tmp_path.iterdir()] == ["home"]


def test_a_path_is_a_folder_and_home_is_understood(home, tmp_path):
    assert open_store(str(tmp_path / "a" / "b")).path.is_dir()
    assert open_store("~/c").path == home / "c"


def test_false_writes_nothing(home, spectrum):
    store = open_store(False)
    store.put("k", spectrum)
    assert store.get("k") is spectrum
    assert not home.exists()


def test_a_store_is_taken_as_it_is():
    store = NoStore()
    assert open_store(store) is store


@pytest.mark.parametrize("cache", [3, "", None, ["x"]])
def test_anything_else_is_refused(cache):
    with pytest.raises(SettingError, match="cache must"):
        open_store(cache)


def test_a_named_folder_that_cannot_be_one_is_an_error(tmp_path, home, monkeypatch):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "deep", tmp_path / ("x" * 300)):
        with pytest.raises(StoreError, match=r"should be a folder that can be written.*cache=False"):
            open_store(path)
        monkeypatch.setenv("LHEXPLORE_CACHE", str(path))
        with pytest.raises(StoreError, match="should be a folder"):
            open_store(True)


def test_a_named_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch):
    refuse_writing(monkeypatch, errno.EACCES)
    with pytest.raises(StoreError, match="Permission denied"):
        open_store(tmp_path)


def test_a_warm_folder_that_can_only_be_read_is_used(folder, make, assert_equal, monkeypatch):
    DirectoryStore(folder).put("k", make())
    refuse_writing(monkeypatch, errno.EROFS)
    store = open_store(folder)
    assert_equal(store.get("k"), make())
    assert "can be read but not written" in store.notices[0]


def test_a_users_cache_folder_that_cannot_be_one_falls_back_to_memory(home, spectrum, assert_equal):
    home.write_text("a file where the home should be")
    store = open_store(True)
    assert isinstance(store, MemoryStore)
    assert "kept in memory" in store.notices[0]
    store.put("k", spectrum)
    assert_equal(store.get("k"), spectrum)


def test_a_folder_that_others_can_write_to_is_refused_unless_it_is_meant(tmp_path, spectrum):
    tmp_path.chmod(0o777)
    with pytest.raises(StoreError, match="could plant results"):
        DirectoryStore(tmp_path)
    store = DirectoryStore(tmp_path, shared=True)
    store.put("k", spectrum)
    assert store.get("k") is not None


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(StoreError, match="belongs to another user"):
        DirectoryStore(tmp_path)


def test_a_reader_that_holds_the_file_is_waited_for(store, make, monkeypatch):
    """On Windows a rename fails while somebody reads; it is tried again, then the other copy is accepted."""
    real, refusals = Path.replace, [2]

    def replace(self, target):
        if refusals[0]:
            refusals[0] -= 1
            raise PermissionError(errno.EACCES, "in use")
        return real(self, target)

    monkeypatch.setattr(directory_module, "_WINDOWS", True)
    monkeypatch.setattr(Path, "replace", replace)
    store.put("k", make())
    assert file_of(store).exists()
    refusals[0] = 99
    store.put("l", make())
    assert store.notices == []
    assert store.get("l") is not None
    monkeypatch.undo()
    assert [path.name for path in store.path.iterdir()] == ["k.safetensors"]

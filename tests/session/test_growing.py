"""A session on a growing folder: new snapshots can be asked for, and nothing that was known is lost or mixed up."""

import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from weakref import ref

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore import Session
from lhexplore.errors import SettingError, SnapshotError, UnknownSnapshotError

PATIENCE = 20.0


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def save(folder: Path, step: int, factor: float | None = None, **more: Any) -> None:
    folder.mkdir(exist_ok=True)
    state = {name: (factor or 1 + step) * value for name, value in network().state_dict().items()}
    torch.save({"model": state, "step": step, **more}, folder / f"step-{step}.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (1, 3):
        save(tmp_path / "run", step)
    return tmp_path / "run"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., Session]]:
    made: list[Session] = []

    def session(snapshots: Any, **more: Any) -> Session:
        torch.manual_seed(1)
        data = (torch.randn(20, 3), torch.randint(2, (20,)))
        more = {"cache": tmp_path / "cache", **more}
        made.append(Session(network(), [data], nn.CrossEntropyLoss(), snapshots=snapshots, **more))
        return made[-1]

    yield session
    for each in made:
        each.close()


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lhexplore-growing"]


def test_new_snapshots_can_be_asked_for_and_the_cache_is_the_same(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    session.compute(progress=False)
    known = session.spectrum("0", "step-3")
    assert session.refresh() == ()
    save(folder, 2)
    save(folder, 4)
    assert session.refresh() == ("step-2", "step-4")
    assert session.snapshots.labels == ("step-1", "step-2", "step-3", "step-4")
    assert session.cached("0", "step-3") is known
    assert session.cached("0", "step-2") is None
    session.compute(progress=False)
    assert session.course().snapshots == session.snapshots.labels
    assert len(session.summary()) == 8
    afresh = make(folder)  # the same keys: nothing is computed again
    assert all(afresh.cached(layer, label) for layer in ("0", "2") for label in afresh.snapshots.labels)
    np.testing.assert_array_equal(afresh.cached("0", 1).nodes, session.cached("0", "step-2").nodes)


def test_replaced_weights_answer_for_themselves(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    session.compute(progress=False)
    before = session.spectrum("2", "step-1").largest
    course, reached = session.course(), session.evaluate("step-1")
    time.sleep(0.02)
    save(folder, 1, factor=0.1)
    assert session.refresh() == ()
    assert session.cached("2", "step-1") is None
    assert set(session.course().spectra) == set(course.spectra) - {("0", "step-1"), ("2", "step-1")}
    now = session.spectrum("2", "step-1").largest
    assert now != before
    assert session.evaluate("step-1") != reached
    alone = make({1: torch.load(folder / "step-1.pt")["model"]}, cache=False)
    assert alone.spectrum("2", 0).largest == now


def test_what_was_computed_of_a_deleted_file_stays(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    known = session.spectrum("0", "step-1")
    (folder / "step-1.pt").unlink()
    (folder / "step-3.pt").unlink()
    session.refresh()
    assert session.cached("0", "step-1") is known
    assert ("0", "step-1") in session.course().spectra
    with pytest.raises(SnapshotError, match="was deleted"):
        session.spectrum("0", "step-3")


def test_what_does_not_fit_is_said_and_the_rest_goes_on(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    torch.save({"model": nn.Linear(7, 7).state_dict(), "step": 5}, folder / "step-5.pt")
    (folder / "step-6.pt").write_text("not weights")
    save(folder, 7)
    assert session.refresh() == ("step-5", "step-6", "step-7")
    assert any("'step-6' cannot be used" in notice for notice in session.notices)
    session.compute(progress=False)
    statuses = [row.status for row in session.snapshots]
    assert statuses == ["ok", "ok", "mismatch", "format", "ok"]
    assert session.cached("0", "step-7") is not None


def test_a_session_may_begin_before_its_first_snapshot(tmp_path: Path, make: Callable[..., Session]) -> None:
    session = make(lh.Snapshots.awaited(tmp_path / "run"))
    assert repr(session).startswith("Session(2 layers × 0 snapshots")
    with pytest.raises(UnknownSnapshotError, match="yet"):
        session.spectrum("0")
    with pytest.raises(UnknownSnapshotError, match="yet"):
        session.check()
    save(tmp_path / "run", 1)
    assert session.refresh() == ("step-1",)
    assert session.spectrum("0").snapshot == "step-1"


def test_following_tells_what_lands_and_ends_with_its_last_listener(folder: Path, make: Callable[..., Session]) -> None:
    session, heard = make(folder), list[tuple[str, ...]]()
    assert threads() == []
    ends = [session.follow(heard.append, every=0.02), session.follow(lambda _: None, every=0.02)]
    assert len(threads()) == 1
    save(folder, 4)
    wait_until(lambda: heard == [("step-4",)])
    for end in ends:
        end()
        end()  # harmless
    wait_until(lambda: threads() == [])
    save(folder, 5)
    assert session.refresh() == ("step-5",)
    assert heard == [("step-4",)]


def test_closing_ends_it(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    session.follow(lambda _: None, every=0.02)
    session.close()
    wait_until(lambda: threads() == [])
    save(folder, 4)
    assert session.refresh() == ()


def test_a_forgotten_session_is_not_kept_alive(folder: Path) -> None:
    data = (torch.randn(20, 3), torch.randint(2, (20,)))
    session = Session(network(), [data], nn.CrossEntropyLoss(), snapshots=folder, cache=False)
    session.follow(lambda _: None, every=0.02)
    weak = ref(session)
    del session
    wait_until(lambda: gc.collect() >= 0 and weak() is None)
    wait_until(lambda: threads() == [])


def test_weights_in_memory_cannot_be_followed(make: Callable[..., Session]) -> None:
    with pytest.raises(SettingError, match="Only the snapshots of a folder"):
        make(None).follow(print)
    assert make(None).refresh() == ()


def test_a_recording_grows_while_it_trains(tmp_path: Path, make: Callable[..., Session]) -> None:
    model = network()
    recorder = lh.record(model, tmp_path / "run", every=1)
    session, heard = make(recorder), list[str]()
    end = session.follow(heard.extend, every=0.02)

    def train() -> None:
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(6):
            recorder.step(step, loss=2.0 - 0.1 * step)
            model(torch.ones(1, 3)).sum().backward()
            optimiser.step()

    thread = threading.Thread(target=train)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread.start()
        thread.join()
        wait_until(lambda: len(heard) == 6)
    end()
    assert [row.step for row in session.snapshots] == [*range(6)]
    assert session.losses("step-000005") == {"loss": 1.5}
    assert session.losses(0) == {"loss": 2.0}


def test_what_was_under_way_is_not_kept_for_other_weights(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    steps = session.steps("0", "step-1", method="lanczos", steps=6, probes=2)
    next(steps)
    save(folder, 1, factor=0.1)
    session.refresh()
    *_, last = steps  # goes on with the weights it began with
    assert session.cached("0", "step-1", method="lanczos", steps=6, probes=2) is None
    now = session.spectrum("0", "step-1", method="lanczos", steps=6, probes=2)
    alone = make({1: torch.load(folder / "step-1.pt")["model"]}, cache=False)
    assert alone.spectrum("0", 0, method="lanczos", steps=6, probes=2).largest == now.largest != last.spectrum.largest
    row = session.snapshots["step-1"]
    save(folder, 1, factor=0.2)
    session.refresh()
    kept: list[int] = []
    session._answers.keep(row, lambda: kept.append(1))
    session._answers.keep(session.snapshots["step-1"], lambda: kept.append(2))
    save(folder, 0)
    first = session.snapshots[0]
    session.refresh()
    session._answers.keep(session.snapshots["step-3"], lambda: kept.append(3), first=first)
    assert kept == [2]

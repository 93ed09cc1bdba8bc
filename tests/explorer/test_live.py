"""An explorer on a folder that training still writes into: what lands is added, and the place one looks at stays."""

import gc
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ipywidgets
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore import Session
from lhexplore.explorer import Explorer, views
from lhexplore.explorer.state import Cell

PATIENCE = 60
WIDGETS = ipywidgets.widgets.widget._instances
ALL = [getattr(views, name) for name in views.__all__]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def save(folder: Path, step: int, *, loss: float | None = None, factor: float = 0.0) -> None:
    folder.mkdir(exist_ok=True)
    state = {name: (factor or 1 + step) * value for name, value in network().state_dict().items()}
    more = {} if loss is None else {"loss": loss}
    time.sleep(0.02)
    torch.save({"model": state, "step": step, **more}, folder / f"step-{step}.pt")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for step in (1, 3, 5):
        save(tmp_path / "run", step, loss=2.0 / step)
    return tmp_path / "run"


@pytest.fixture
def make() -> Iterator[Callable[..., Session]]:
    made: list[Session] = []

    def session(snapshots: Any) -> Session:
        torch.set_num_threads(1)
        torch.manual_seed(1)
        data = (torch.randn(20, 3), torch.randint(2, (20,)))
        made.append(Session(network(), [data], nn.CrossEntropyLoss(), snapshots=snapshots, cache=False))
        return made[-1]

    yield session
    for each in made:
        each.close()


def grown(explorer: Any) -> None:
    explorer.hub.session.refresh()
    explorer.settled(PATIENCE)


def news(explorer: Explorer) -> str:
    text: str = explorer.views[0].news.first
    return text


def following() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "lhexplore-growing"]


def test_what_is_appended_is_added_and_computed_and_the_place_stays(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot=1)
    explorer.settled(PATIENCE)
    known = explorer.spectrum
    computing = explorer.hub.computing
    save(folder, 7, loss=0.1)
    save(folder, 9, loss=0.05)
    grown(explorer)
    assert (explorer.snapshot, explorer.spectrum) == (1, known)
    assert explorer.hub.clock.max == 4
    assert explorer.hub.computing is computing  # what was under way went on
    assert explorer.status.startswith("10/10 spectra")
    scrubber, layers, spectrum, heat, *_ = explorer.views
    assert [json.loads(pane.spec)["count"] for pane in (scrubber.pane, spectrum.pane, heat.pane)] == [5, 5, 5]
    assert json.loads(scrubber.player.places)[-1] == "step 9"
    assert layers.list.count == 5
    assert news(explorer).startswith("2 new snapshots, the last: step 9.")
    explorer.snapshot = 3
    explorer.settled(PATIENCE)
    assert news(explorer) == "1 new snapshot: step 9."
    explorer.snapshot = -1
    explorer.settled(PATIENCE)
    assert news(explorer) == ""
    assert explorer.spectrum.snapshot == "step-9"
    explorer.close()


def test_axes_that_reach_further_for_what_came_are_said(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot="step-3")
    explorer.settled(PATIENCE)
    pane = explorer.views[2].pane
    before = pane._plot.root.x_range.end
    save(folder, 4)  # between two that are there
    grown(explorer)
    assert news(explorer) == "1 new snapshot: step 4."
    assert pane._plot.root.x_range.end == before  # the axes hold still
    save(folder, 500, factor=1e-4)  # untrained weights bend the loss most
    grown(explorer)
    assert "The axes of the spectrum reach further now, to hold step 500." in news(explorer)
    explorer.snapshot = 0
    explorer.settled(PATIENCE)
    assert "axes" not in news(explorer)
    explorer.close()


def test_what_comes_between_moves_the_place_and_what_is_known_of_it(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot="step-3")
    explorer.settled(PATIENCE)
    before = explorer.hub.computing.known.spectrum(Cell("2", 2))
    save(folder, 2)
    save(folder, 4)
    grown(explorer)
    assert explorer.hub.offer.labels == ("step-1", "step-2", "step-3", "step-4", "step-5")
    assert explorer.snapshot == 2
    assert repr(explorer).startswith("Explorer(2 layers × 5 snapshots; '0' at 'step-3'")
    computing = explorer.hub.computing
    for cell in explorer.hub.look().wanted():
        found = computing.known.spectrum(cell)
        assert found is not None
        assert found.snapshot == explorer.hub.offer.labels[cell.snapshot]  # nothing is mixed up
    assert computing.known.spectrum(Cell("2", 4)) is before
    explorer.close()


def test_numbers_are_of_their_snapshot_while_the_session_is_ahead(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot="step-3")
    session = explorer.hub.session
    save(folder, 2)
    with explorer.hub.drawing:  # the hub cannot take it in yet
        thread = threading.Thread(target=session.refresh)
        thread.start()
        while len(session.snapshots) < 4:
            time.sleep(0.01)
        explorer.hub.computing.wait(PATIENCE)
        for cell in explorer.hub.look().wanted():
            found = explorer.hub.computing.known.spectrum(cell)
            assert found is not None
            assert found.snapshot == ("step-1", "step-3", "step-5")[cell.snapshot]
    thread.join()
    explorer.close()


def test_replaced_weights_are_drawn_anew(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot="step-3")
    explorer.settled(PATIENCE)
    before = explorer.spectrum.largest
    save(folder, 3, factor=0.01)
    grown(explorer)
    assert explorer.snapshot == 1
    assert explorer.spectrum.largest != before
    explorer.close()


def test_deleted_files_keep_what_is_on_screen(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), snapshot="step-3")
    explorer.settled(PATIENCE)
    known = explorer.spectrum
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    grown(explorer)
    assert explorer.spectrum is known
    assert explorer.problem == ""
    folder.mkdir()
    save(folder, 8)
    grown(explorer)
    assert len(explorer.hub.offer.labels) == 4
    assert explorer.spectrum is known
    explorer.close()


def test_following_goes_along_only_from_the_last(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder), follow=True)
    explorer.settled(PATIENCE)
    save(folder, 7)
    grown(explorer)
    assert explorer.snapshot == 3
    explorer.snapshot = 0
    save(folder, 9)
    grown(explorer)
    assert explorer.snapshot == 0
    explorer.follow = False
    explorer.follow = True  # somebody ticks it: go there
    assert explorer.snapshot == 4
    (folder / "step-11.pt").write_text("not weights")
    grown(explorer)
    assert explorer.snapshot == 4  # nothing to see there
    assert "step-11 cannot be used" in news(explorer)
    explorer.close()


def test_without_following_nothing_moves(folder: Path, make: Callable[..., Session]) -> None:
    explorer = Explorer(make(folder))
    assert explorer.snapshot == 2
    save(folder, 7)
    grown(explorer)
    assert explorer.snapshot == 2
    explorer.close()


def test_it_opens_before_the_first_snapshot(tmp_path: Path, make: Callable[..., Session]) -> None:
    session = make(lh.Snapshots.awaited(tmp_path / "run"))
    explorer = Explorer(session)
    explorer.settled(PATIENCE)
    assert explorer.status.startswith("Waiting for the first snapshot in ")
    assert news(explorer) == explorer.status
    assert explorer.problem == ""
    assert "waiting for the first snapshot" in repr(explorer)
    with pytest.raises(lh.LhexploreError, match="no snapshot yet"):
        str(explorer.request)
    comparison = lh.explore(session, session)
    assert repr(comparison) == "Comparison(waiting for the first snapshot beside waiting for the first snapshot)"
    comparison.close()
    save(tmp_path / "run", 1, loss=1.0)
    grown(explorer)
    assert explorer.snapshot == 0
    assert explorer.spectrum.complete
    assert news(explorer) == ""
    assert explorer.status == "2/2 spectra · all known"
    save(tmp_path / "run", 2)
    grown(explorer)
    assert explorer.hub.clock.max == 1
    assert not explorer.hub.clock.disabled
    explorer.close()


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_every_view_copes_with_a_change_of_the_number_of_snapshots(
    kind: Any, tmp_path: Path, make: Callable[..., Session]
) -> None:
    folder = tmp_path / "run"
    view = kind(make(lh.Snapshots.awaited(folder)))
    view.settled(PATIENCE)
    assert view.note.startswith("Waiting for the first snapshot")
    for step in (4, 8, 2, 6):  # the first, one behind it, one before it, one between
        save(folder, step, loss=1.0 / step)
        grown(view)
        assert view.note == ""
    assert view.hub.offer.labels == ("step-2", "step-4", "step-6", "step-8")
    assert view.hub.labels[view.snapshot] == "step-4"
    (folder / "step-2.pt").unlink()
    grown(view)
    assert view.note == ""
    view.close()


def test_open_views_look_and_closed_ones_do_not(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    assert following() == []
    first, second = views.HeatMap(session), views.SpectrumPlot(session)
    assert len(following()) == 1
    first.close()
    assert len(following()) == 1
    second.close()
    end = time.monotonic() + PATIENCE
    while following():
        assert time.monotonic() < end
        time.sleep(0.02)
    explorer = Explorer(session)
    session.close()
    save(folder, 9)
    grown(explorer)
    assert len(explorer.hub.offer.labels) == 3
    explorer.close()


def test_a_cell_run_ten_times_leaves_nothing_behind(folder: Path, make: Callable[..., Session]) -> None:
    session = make(folder)
    before = len(WIDGETS)
    for _ in range(10):
        Explorer(session).close()
    gc.collect()
    assert len(WIDGETS) == before
    assert session._growing._heard == {}


def test_a_session_that_cannot_grow_shows_no_switch(make: Callable[..., Session]) -> None:
    explorer = Explorer(make([network().state_dict()]))
    assert not hasattr(explorer.views[0], "news")
    explorer.close()


def test_it_follows_a_training_in_the_same_kernel(tmp_path: Path, make: Callable[..., Session]) -> None:
    model = network()
    recorder = lh.record(model, tmp_path / "run", every=1)
    explorer = Explorer(make(recorder), follow=True)

    def train() -> None:
        optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
        for step in range(8):
            recorder.step(step, loss=2.0 - 0.1 * step)
            optimiser.zero_grad()
            model(torch.ones(1, 3)).square().sum().backward()
            optimiser.step()
            time.sleep(0.05)

    thread = threading.Thread(target=train)
    thread.start()
    thread.join()
    end = time.monotonic() + PATIENCE
    while len(explorer.hub.labels) < 8:  # by itself: nobody asks for it
        assert time.monotonic() < end
        time.sleep(0.05)
    explorer.settled(PATIENCE)
    assert explorer.snapshot == 7
    assert explorer.status == "16/16 spectra · all known"
    assert "training loss 1.3" in json.loads(explorer.views[0].pane.sentences)[-1]
    explorer.close()


def test_two_runs_stay_at_equal_steps(folder: Path, tmp_path: Path, make: Callable[..., Session]) -> None:
    for step in (1, 3, 5):
        save(tmp_path / "other", step)
    comparison = lh.explore(make(folder), make(tmp_path / "other"), snapshot="step-3")
    assert comparison._link is not None
    one, two = comparison.hubs
    for where, step in ((folder, 2), (tmp_path / "other", 0), (folder, 7)):
        save(where, step)
        for hub in (one, two):
            hub.session.refresh()
        assert [hub.offer.labels[hub.snapshot] for hub in (one, two)] == ["step-3", "step-3"]
    comparison.settled(PATIENCE)
    assert comparison._link is None  # positions no longer belong together
    one.snapshot = "step-5"
    assert two.offer.labels[two.snapshot] == "step-5"
    comparison.close()


def test_two_layers_stay_at_one_snapshot(folder: Path, make: Callable[..., Session]) -> None:
    plot = views.ComparePlot(make(folder), "0", "2", snapshot="step-3")
    for step in (2, 7):
        save(folder, step)
        grown(plot)
        assert [hub.offer.labels[hub.snapshot] for hub in plot.pair.hubs] == ["step-3", "step-3"]
    assert plot.note == ""
    plot.close()

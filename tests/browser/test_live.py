"""A training runs in another process while its run is looked at: what it writes is added, and the place stays."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import training
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

LAST = 140
CELL = """
import sys
sys.path.insert(0, {here!r})
from torch import nn
import training
import lhexplore as lh

session = lh.Session(training.network(), [training.digits()], nn.CrossEntropyLoss(), cache=False,
                     snapshots=lh.Snapshots.awaited({folder!r}))
explorer = lh.explore(session)
explorer
"""
SPECTRUM, LOSS, NEWS, FOLLOW = (
    ".lhx-pane-spectrum",
    ".lhx-pane-loss",
    ".lhx-part-news .lhx-words > span",
    ".lhx-follow input",
)
HANDLE = ".lhx-slider [role=slider]"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the run."""
    return tmp_path_factory.mktemp("run")


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium, run: Path) -> Iterator[LabPage]:
    """An explorer on the folder before anything is in it."""
    cell = CELL.format(here=str(Path(__file__).parent), folder=str(run))
    with opened(LabPage(server, chromium), "live", cell, height=1300) as page:
        yield page


@pytest.fixture(scope="module")
def process(lab: LabPage, run: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The training, started once the explorer is open; it ends with the module at the latest."""
    with subprocess.Popen([sys.executable, training.__file__, str(run), str(LAST)]) as started:
        yield started
        started.kill()


def said(lab: LabPage, selector: str) -> str:
    return lab.find(selector).first.inner_text()


def last_place(lab: LabPage) -> int:
    return int(float(lab.find(HANDLE).first.get_attribute("aria-valuemax") or "0"))


def photograph(lab: LabPage, pictures: Path, name: str) -> None:
    for theme in ("light", "dark"):
        lab.theme(theme)
        for width in (1280, 800):
            ex.photograph(lab, pictures / f"{name}-{theme}-{width}.png", width=width)
    lab.theme("light")
    lab.resize(1280, 1300)


def test_it_says_what_it_waits_for(lab: LabPage, pictures: Path) -> None:
    lab.wait_until(f"() => __probe.all('{NEWS}')[0]?.textContent.startsWith('Waiting for the first snapshot')")
    filled = lab.page.evaluate("() => __probe.all('.lhx-layer-fill').map((bar) => bar.offsetWidth)")
    assert set(filled) == {0}
    lab.find(ex.EXPLORER).first.screenshot(path=pictures / "live-waiting.png")


def test_the_first_snapshots_are_shown_as_they_come(lab: LabPage, process: subprocess.Popen[bytes]) -> None:
    lab.wait_until(f"() => __probe.all('{HANDLE}')[0]?.getAttribute('aria-valuemax')?.startsWith('3')", seconds=60)
    assert process.poll() is None  # training goes on
    assert lab.value("explorer.hub.labels") == ["step-0", "step-20", "step-40", "step-60"]
    assert lab.value("explorer.snapshot") == 0
    lab.kernel("explorer.settled()")
    lab.wait_until(f"() => __probe.all('{SPECTRUM} .lhx-figure')[0].ariaLabel.includes('step 0')")
    assert lab.colours(SPECTRUM) > 3


def test_what_lands_does_not_move_the_place(
    lab: LabPage, process: subprocess.Popen[bytes], run: Path, pictures: Path
) -> None:
    ex.drag(lab, 1.0)
    lab.wait_until(f"() => __probe.all('{NEWS}')[0].textContent === ''")  # who sees the last one has seen all
    ex.drag(lab, 2 / 3)
    lab.wait_until("() => __probe.all('.lhx-place')[0].textContent.includes('step 40')")
    losses = lab.wait_until_still(LOSS)
    (run / "go").touch()
    assert process.wait(60) == 0
    lab.wait_until(f"() => __probe.all('{HANDLE}')[0].getAttribute('aria-valuemax').startsWith('7')")
    lab.kernel("explorer.settled()")
    lab.wait_for_change(LOSS, losses)  # the curve goes on
    assert "step 40" in said(lab, ".lhx-place")
    assert "3/8" in said(lab, ".lhx-place")
    assert said(lab, NEWS).startswith("4 new snapshots, the last: step 140 · epoch 7.")
    assert lab.value("[explorer.snapshot, explorer.hub.labels[explorer.snapshot]]") == [2, "step-40"]
    assert lab.value("explorer.status") == "16/16 spectra · all known"
    assert "step 40" in (lab.find(f"{SPECTRUM} .lhx-figure").first.get_attribute("aria-label") or "")
    photograph(lab, pictures, "live")


def test_the_new_ones_are_drawn_when_one_drags_there(lab: LabPage) -> None:
    before = lab.wait_until_still(SPECTRUM)
    ex.drag(lab, 1.0)
    lab.wait_for_change(SPECTRUM, before)
    lab.wait_until(f"() => __probe.all('{SPECTRUM} .lhx-figure')[0].ariaLabel.includes('step 140')")
    assert last_place(lab) == 7
    lab.wait_until(f"() => __probe.all('{NEWS}')[0].textContent === ''")  # all are seen


def test_a_tick_goes_along_with_the_newest(lab: LabPage, run: Path) -> None:
    lab.find(FOLLOW).first.check()
    command = [sys.executable, training.__file__, str(run), str(LAST + 2 * training.EVERY)]
    assert subprocess.run(command, check=False, timeout=60).returncode == 0
    lab.wait_until("() => __probe.all('.lhx-place')[0].textContent.includes('step 180')")
    lab.kernel("explorer.settled()")
    assert lab.value("explorer.hub.labels[explorer.snapshot]") == "step-180"
    lab.wait_until(f"() => __probe.all('{SPECTRUM} .lhx-figure')[0].ariaLabel.includes('step 180')")
    lab.find(FOLLOW).first.uncheck()


def test_play_goes_on_to_what_came(lab: LabPage) -> None:
    lab.find(HANDLE).first.focus()
    lab.page.keyboard.press("Home")
    lab.find(".lhx-play").first.click()
    lab.wait_until("() => __probe.all('.lhx-place')[0].textContent.includes('step 180')")


def test_a_closed_session_stops_looking(lab: LabPage) -> None:
    lab.kernel("session.close()")
    threads = "sorted(t.name for t in __import__('threading').enumerate() if t.name == 'lhexplore-growing')"
    lab.kernel("import time; time.sleep(0.2)")
    assert lab.value(threads) == []

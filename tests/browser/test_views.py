"""Views in cells of their own, in a real JupyterLab: linked through their session, explained by keyboard."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from labdriver import Chromium, LabPage, LabServer
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

CELLS = (
    """
import sys
sys.path.insert(0, {folder!r})
from canned import CannedSession
from lhexplore.explorer import views

session = CannedSession(missing=set())
plot = views.SpectrumPlot(session, snapshot=5)
plot.settled()
plot
""",
    "views.HeatMap(session)",
    "views.HesdBadge(session)",
    "views.Scrubber(session)",
)
HELP = ".lhx-kit-heat-map > .lhx-help"


@pytest.fixture(scope="module")
def cells(server: LabServer, chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """Four cells with a view each."""
    sources = [cell.strip().format(folder=str(Path(__file__).parents[1])) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("views") / "views.ipynb"
    nbformat.write(notebook, path)
    lab = LabPage(server, chromium)
    lab.open(server.add(path))
    lab.run_all()
    assert lab.error_outputs() == []
    lab.resize(1280, 2400)  # every cell on screen: what is far off, Lab takes away
    for pane in (ex.SPECTRUM, ex.HEAT, ex.LOSS):
        lab.wait_until_still(pane)
    yield lab
    lab.resize(1280, 900)
    lab.close()


def test_a_hand_on_one_view_moves_the_others(cells: LabPage) -> None:
    before = cells.fingerprint(ex.SPECTRUM)
    ex.click_heat(cells, 3, 9)
    cells.wait_for_change(ex.SPECTRUM, before)
    cells.wait_until("() => __probe.all('.lhx-current .lhx-card-title')[0].textContent.startsWith('head · step 256')")
    assert cells.value("[plot.layer, plot.snapshot]") == ["head", 9]
    before = cells.fingerprint(ex.SPECTRUM)
    ex.drag(cells, 0.0)
    cells.wait_for_change(ex.SPECTRUM, before)
    cells.wait_until("() => __probe.all('.lhx-current .lhx-card-title')[0].textContent.startsWith('head · step 0')")
    cells.wait_until("() => __probe.pending() === 0")
    assert cells.value("plot.snapshot") == 0


def test_help_opens_and_closes_by_keyboard(cells: LabPage) -> None:
    button = cells.find(f"{HELP} summary").first
    assert button.get_attribute("aria-label") == "What this shows: Layers over training"
    opened = f"() => __probe.all('{HELP} details')[0].open"
    shut = f"() => !__probe.all('{HELP} details')[0].open"
    button.focus()
    for key, state in (("Enter", opened), ("Escape", shut), ("Space", opened), ("Space", shut)):
        cells.page.keyboard.press(key)
        cells.wait_until(state)
        if state is opened:
            assert "Click a cell to look at that layer" in cells.find(f"{HELP} p").first.inner_text()


def test_nothing_sticks_out_of_a_view(cells: LabPage) -> None:
    for name in ("spectrum-plot", "heat-map", "hesd-badge", "scrubber"):
        assert cells.page.evaluate("(s) => __probe.outside(s)", f".lhx-kit-{name}") == []

"""Spectra and metrics over training: a real click on a snapshot leads there, in pixels and in values."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from labdriver import Chromium, LabPage, LabServer

pytestmark = pytest.mark.browser

EVOLUTION, METRIC = ".lhx-pane-evolution", ".lhx-pane-metric"
CELLS = [
    """
import sys
sys.path.insert(0, {folder!r})
from canned import CannedSession
import lhexplore.explorer.views as views

session = CannedSession(missing=set())
evolution = views.Evolution(session, layer="head", snapshot=2)
evolution.settled()
evolution
""",
    """
metric = views.MetricPlot(session, metric="trace")
metric.settled()
metric
""",
]


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """Both views of one session, in cells of their own."""
    folder = str(Path(__file__).parents[1])
    cells = [nbformat.v4.new_code_cell(cell.strip().replace("{folder!r}", repr(folder))) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("evolution") / "evolution.ipynb"
    nbformat.write(notebook, path)
    opened = LabPage(server, chromium)
    opened.open(server.add(path))
    opened.run_all()
    assert opened.error_outputs() == []
    opened.resize(1280, 1800)
    for pane in (EVOLUTION, METRIC):
        opened.scroll_to(pane)
        opened.wait_until_still(pane)
    yield opened
    opened.close()


def click(lab: LabPage, pane: str, x: float, y: float) -> None:
    lab.find(pane).first.scroll_into_view_if_needed()
    lab.page.mouse.click(*lab.page.evaluate("([s, x, y]) => __probe.place(s, x, y)", [pane, x, y]))


def test_a_click_on_a_ridge_goes_there_and_every_view_follows(lab: LabPage) -> None:
    before = {pane: lab.wait_until_still(pane) for pane in (EVOLUTION, METRIC)}
    click(lab, EVOLUTION, 1.0, 7 - 0.4)
    for pane, picture in before.items():
        lab.wait_for_change(pane, picture)
    assert lab.value("evolution.hub.snapshot") == 7
    assert "step 64" in lab.find(f"{EVOLUTION} .lhx-figure").first.get_attribute("aria-label")


def test_a_click_beside_a_curve_goes_there(lab: LabPage) -> None:
    before = {pane: lab.wait_until_still(pane) for pane in (EVOLUTION, METRIC)}
    click(lab, METRIC, 3.2, 10.0)
    for pane, picture in before.items():
        lab.wait_for_change(pane, picture)
    assert lab.value("metric.snapshot") == 3
    assert "trace at step 4" in lab.find(f"{METRIC} .lhx-figure").first.get_attribute("aria-label")


def test_ribbons_are_clicked_by_column(lab: LabPage) -> None:
    before = lab.wait_until_still(EVOLUTION)
    lab.find(".lhx-shape select").first.select_option("quantiles")
    lab.wait_for_change(EVOLUTION, before)
    picture = lab.wait_until_still(EVOLUTION)
    click(lab, EVOLUTION, 9.0, -0.2)
    lab.wait_for_change(EVOLUTION, picture)
    assert lab.value("[evolution.shape, evolution.snapshot]") == ["quantiles", 9]

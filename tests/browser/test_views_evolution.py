"""Spectra and metrics over training: a real click on a snapshot leads there, in pixels and in values."""

from collections.abc import Iterator

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

EVOLUTION, METRIC = ".lhx-pane-evolution", ".lhx-pane-metric"
CELLS = [
    """
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
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """Both views of one session, in cells of their own."""
    with opened(LabPage(server, chromium), "evolution", *CELLS, panes=(EVOLUTION, METRIC), height=1800) as page:
        yield page


def test_a_click_on_a_ridge_goes_there_and_every_view_follows(lab: LabPage) -> None:
    before = {pane: lab.wait_until_still(pane) for pane in (EVOLUTION, METRIC)}
    ex.click_at(lab, EVOLUTION, 1.0, 7 - 0.4)
    for pane, picture in before.items():
        lab.wait_for_change(pane, picture)
    assert lab.value("evolution.hub.snapshot") == 7
    assert "step 64" in lab.find(f"{EVOLUTION} .lhx-figure").first.get_attribute("aria-label")


def test_a_click_beside_a_curve_goes_there(lab: LabPage) -> None:
    before = {pane: lab.wait_until_still(pane) for pane in (EVOLUTION, METRIC)}
    ex.click_at(lab, METRIC, 3.2, 10.0)
    for pane, picture in before.items():
        lab.wait_for_change(pane, picture)
    assert lab.value("metric.snapshot") == 3
    assert "trace at step 4" in lab.find(f"{METRIC} .lhx-figure").first.get_attribute("aria-label")


def test_ribbons_are_clicked_by_column(lab: LabPage) -> None:
    before = lab.wait_until_still(EVOLUTION)
    lab.find(".lhx-shape select").first.select_option("quantiles")
    lab.wait_for_change(EVOLUTION, before)
    picture = lab.wait_until_still(EVOLUTION)
    ex.click_at(lab, EVOLUTION, 9.0, -0.2)
    lab.wait_for_change(EVOLUTION, picture)
    assert lab.value("[evolution.shape, evolution.snapshot]") == ["quantiles", 9]

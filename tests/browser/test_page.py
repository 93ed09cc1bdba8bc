"""The page as a whole: every tab opened by hand shows its figure and follows the slider; a closed one is left alone."""

from collections.abc import Iterator

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

CELL = """
from canned import CannedSession
import lhexplore as lh

session = CannedSession(missing=set())
page = lh.explore(session, layer="conv1", snapshot=5)
page
"""
TAB = ".lhx-shelf .lm-TabBar-tab"
PANES = {
    "Evolution": ".lhx-pane-evolution",
    "Metrics": ".lhx-pane-metric",
    "HESD path": ".lhx-pane-hesd",
    "Weights": ".lhx-pane-weights",
    "Eigenvectors": ".lhx-pane-vectors",
}
WATCH = """
evolution, drawn, sent = page.tabs.views[0], [], []
paint, send = evolution.paint, evolution.pane.send
evolution.paint = lambda *what: (drawn.append(1), paint(*what))
evolution.pane.send = lambda *what, **how: (sent.append(1), send(*what, **how))
evolution.pane.observe(lambda change: sent.append(change["name"]), ["frames", "spec", "sentences"])
"""


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """The full page, in a window that holds all of it."""
    with opened(LabPage(server, chromium), "page", CELL, panes=(ex.SPECTRUM,), height=2600) as page:
        page.kernel("page.settled()")
        yield page


def open_tab(lab: LabPage, title: str) -> str:
    tab = lab.find(TAB).filter(has_text=title).first
    tab.scroll_into_view_if_needed()
    tab.click()
    lab.find(f"{PANES[title]} .lhx-figure").first.wait_for(state="visible")
    lab.kernel("page.settled()")
    return lab.wait_until_still(PANES[title])


def label(lab: LabPage, pane: str) -> str:
    return lab.find(f"{pane} .lhx-figure").first.get_attribute("aria-label") or ""


@pytest.mark.parametrize("title", PANES)
def test_every_tab_shows_its_figure_and_follows_the_slider(lab: LabPage, title: str) -> None:
    pane = PANES[title]
    lab.kernel("page.snapshot = 5")
    before = open_tab(lab, title)
    if title == "Eigenvectors":  # computed when somebody asks for them
        assert "not computed yet" in label(lab, pane)
        return
    assert lab.colours(pane) > 3
    said = label(lab, pane)
    lab.find(ex.HANDLE).first.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.wait_for_change(pane, before)
    lab.wait_until(f"() => __probe.all('{pane} .lhx-figure')[0].getAttribute('aria-label') !== {said!r}")
    assert lab.value("page.snapshot") == 6


def test_a_closed_tab_sends_nothing_and_is_up_to_date_when_it_opens(lab: LabPage) -> None:
    open_tab(lab, "Evolution")
    lab.kernel(WATCH)
    open_tab(lab, "HESD path")
    lab.kernel('drawn.clear(); sent.clear(); page.layer = "head"; page.settled()')
    before = lab.wait_until_still(ex.SPECTRUM)
    lab.find(ex.HANDLE).first.focus()
    lab.page.keyboard.press("ArrowLeft")
    lab.wait_for_change(ex.SPECTRUM, before)
    assert lab.value("[len(drawn), len(sent)]") == [0, 0]
    open_tab(lab, "Evolution")
    assert "head" in label(lab, PANES["Evolution"])
    assert lab.value("len(drawn)") == 1


def test_tabs_are_walked_with_the_keys(lab: LabPage) -> None:
    open_tab(lab, "Evolution")
    lab.find(f"{TAB}[aria-selected=true]").first.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.page.keyboard.press("Enter")
    lab.find(f"{PANES['Metrics']} .lhx-figure").first.wait_for(state="visible")
    assert lab.value("page.tabs.selected_index") == 1

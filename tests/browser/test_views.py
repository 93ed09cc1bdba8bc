"""Views in cells of their own, in a real JupyterLab: linked through their session, explained by keyboard."""

from collections.abc import Iterator

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

CELLS = (
    """
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
def cells(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """Four cells with a view each; a window that holds them all, for Lab takes away what is far off."""
    with opened(LabPage(server, chromium), "views", *CELLS, panes=ex.PANES, height=2400) as page:
        yield page


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
            assert "to look at that layer at that snapshot" in cells.find(f"{HELP} p").first.inner_text()


def test_nothing_sticks_out_of_a_view(cells: LabPage) -> None:
    for name in ("spectrum-plot", "heat-map", "hesd-badge", "scrubber"):
        assert cells.page.evaluate("(s) => __probe.outside(s)", f".lhx-kit-{name}") == []

"""Names come from files and models that others made: on the page they are words, whatever they contain."""

from collections.abc import Iterator

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

NOTEBOOK = """
from canned import HOSTILE, CannedSession
from lhexplore.explorer import Explorer

session = CannedSession()
explorer = Explorer(session, layer=HOSTILE)
explorer.settled()
explorer
"""


@pytest.fixture(scope="module")
def hostile(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """An explorer of closed-form spectra; one layer's name is an attack."""
    with opened(LabPage(server, chromium), "hostile", NOTEBOOK, panes=ex.PANES) as page:
        yield page


def test_a_layer_named_like_an_attack_is_shown_as_its_name(hostile: LabPage) -> None:
    name = hostile.value("HOSTILE")
    assert name.startswith("<img")
    assert hostile.find(ex.CHOSEN).first.text_content() == name
    hostile.find(ex.HEAT).first.hover()  # tooltips show names, too
    x, y = hostile.page.evaluate("([s, x, y]) => __probe.place(s, x, y)", [ex.HEAT, 5, 2])
    hostile.page.mouse.move(x, y)
    hostile.page.wait_for_timeout(500)
    assert hostile.page.evaluate("() => window.hacked") is None
    assert hostile.page.evaluate("(s) => __probe.all('img', __probe.root(s)).length", ex.EXPLORER) == 0


def test_a_skipped_layer_keeps_its_row_and_says_why(hostile: LabPage) -> None:
    row = hostile.find(f"{ex.LAYER}[aria-disabled=true]").first
    assert "old" in (row.text_content() or "")
    assert "integer parameters" in (row.get_attribute("title") or "")
    chosen = hostile.value("explorer.layer")
    row.click(force=True)
    hostile.wait_until("() => __probe.pending() === 0")
    assert hostile.value("explorer.layer") == chosen


def test_a_restarted_kernel_is_said_once_and_what_was_known_stays(hostile: LabPage) -> None:
    hostile.page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )  # last: nothing answers any more
    hostile.wait_until(f"() => __probe.root('{ex.EXPLORER}').matches('.jupyter-widgets-disconnected')", seconds=30)
    said = hostile.page.evaluate(
        """() => __probe.all('.lhx-kit, .lhx-kit .jupyter-widgets-disconnected')
             .map((e) => getComputedStyle(e, '::before').content).filter((text) => text !== 'none')"""
    )
    assert sorted(said) == [
        '"Layers"',
        '"The kernel that drew this is gone: run the cell again to go on. What was known stays on show."',
    ]
    assert hostile.find(ex.CHOSEN).first.is_visible()

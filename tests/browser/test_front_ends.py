"""The kit in Notebook 7 and as a Voilà app: what a hand does, the state that follows, and the pixels."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from labdriver import Chromium, LabServer, NotebookPage, VoilaPage, VoilaServer, opened
from labdriver import explorer as ex

from lhexplore.explorer import views

pytestmark = pytest.mark.browser

SETUP = """
import threading

from canned import CannedSession
from lhexplore.explorer import Explorer, views

session, other = CannedSession(missing=set()), CannedSession(missing=set())
explorer = Explorer(session, layer="conv1", snapshot=5)
explorer.settled()
heard = []
explorer.observe(lambda change: heard.append(threading.current_thread().name), "snapshot")
explorer
"""
SLOW = """
missing = {("head", k) for k in range(len(session.snapshots))}
busy = Explorer(CannedSession(missing=missing, pause=0.02)).add_class("busy")
busy.stop()
busy
"""
APP = Path(__file__).parents[2] / "notebooks" / "app.ipynb"
WORDS_ONLY = {"Findings", "HesdBadge", "LayerPicker", "Progress", "Provenance"}
MINIMUM = 10  # colours of a picture that is not blank
FRONT_ENDS = {"notebook": NotebookPage, "voila": VoilaPage}
KEYS = (("ArrowRight", 6), ("ArrowUp", 7), ("ArrowLeft", 6), ("ArrowDown", 5), ("End", 11), ("Home", 0))

Front = NotebookPage | VoilaPage


def cell(name: str) -> str:
    return f'views.{name}(explorer{", other" if name == "ComparePlot" else ""}).add_class("alone")'


@pytest.fixture(scope="module", params=FRONT_ENDS)
def page(request: pytest.FixtureRequest, server: LabServer, chromium: Chromium) -> Iterator[Front]:
    """The explorer, every view in a cell of its own, and an explorer at work."""
    kind = FRONT_ENDS[request.param]
    cells = (SETUP, *map(cell, views.__all__), SLOW)
    with opened(kind(server, chromium), f"front-{request.param}", *cells, panes=ex.PANES, height=1600) as shown:
        yield shown


@pytest.fixture
def front(page: Front) -> Front:
    """At a known place, at rest."""
    page.kernel('explorer.layer, explorer.snapshot = "conv1", 5; explorer.settled()')
    page.find(ex.HANDLE).first.scroll_into_view_if_needed()
    at(page, 5)
    page.wait_until_still(ex.SPECTRUM, still=0.1)
    return page


def at(page: Front, snapshot: int) -> None:
    """The first slider and the kernel agree on the snapshot."""
    page.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '{snapshot}.0'")
    page.wait_until("() => __probe.pending() === 0")
    assert page.value("explorer.snapshot") == snapshot


@pytest.mark.parametrize("kind", views.__all__)
def test_every_view_is_there_with_its_pictures(page: Front, kind: str) -> None:
    box = ".alone.lhx-kit" + re.sub("([A-Z])", r"-\1", kind).lower()
    page.scroll_to(box)
    page.wait_until(f"() => __probe.all('{box}')[0].innerText.trim()")  # words, in every view
    panes = page.page.evaluate(
        "(s) => __probe.all(s).map((e) => [...e.classList].find((c) => c.startsWith('lhx-pane-')))",
        f"{box} [class*=lhx-pane-]",
    )
    assert panes or kind in WORDS_ONLY
    for pane in panes:
        page.find(f"{box} .{pane}").scroll_into_view_if_needed()
        page.wait_until_still(f"{box} .{pane}", still=0.1)
        assert page.colours(f"{box} .{pane}") > MINIMUM, f"{pane} is blank"


def test_the_slider_follows_the_mouse(front: Front) -> None:
    """A slider's callbacks run in a subshell or in the main thread; Voilà asks for no subshells."""
    front.kernel("heard.clear()")
    before = front.fingerprint(ex.SPECTRUM)
    ex.drag(front, 1.0)
    moved = front.wait_for_change(ex.SPECTRUM, before)
    at(front, 11)
    ex.drag(front, 0.0)
    front.wait_for_change(ex.SPECTRUM, moved)
    at(front, 0)
    heard = set(front.value("heard"))
    assert heard == {"MainThread"} if isinstance(front, VoilaPage) else heard


def test_the_slider_follows_keys_and_buttons(front: Front) -> None:
    front.find(ex.HANDLE).first.focus()
    for key, snapshot in KEYS:
        before = front.wait_until_still(ex.SPECTRUM, still=0.1)
        front.page.keyboard.press(key)
        front.wait_for_change(ex.SPECTRUM, before)
        at(front, snapshot)
    for button, snapshot in ((".lhx-next", 1), (".lhx-prev", 0)):
        before = front.wait_until_still(ex.SPECTRUM, still=0.1)
        front.find(button).first.click()
        front.wait_for_change(ex.SPECTRUM, before)
        at(front, snapshot)


def test_a_click_on_the_map_leads_there(front: Front) -> None:
    before = front.fingerprint(ex.SPECTRUM)
    ex.click_heat(front, 3, 9)
    front.wait_for_change(ex.SPECTRUM, before)
    front.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === 'head'")
    at(front, 9)
    assert front.value("explorer.layer") == "head"


def test_a_click_on_a_finding_leads_there(front: Front) -> None:
    before = front.fingerprint(ex.SPECTRUM)
    front.find(".lhx-run .lhx-go").filter(has_text="D1 speaks").first.click()
    front.wait_for_change(ex.SPECTRUM, before)
    at(front, 7)
    assert front.value("explorer.layer") == "conv2"


def test_a_layer_is_picked_by_mouse_and_by_keys(front: Front) -> None:
    before = front.fingerprint(ex.SPECTRUM)
    ex.pick_layer(front, "head")
    moved = front.wait_for_change(ex.SPECTRUM, before)
    front.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === 'head'")
    assert front.value("explorer.layer") == "head"
    ex.pick_layer(front, "conv1")
    front.wait_for_change(ex.SPECTRUM, moved)
    front.page.keyboard.press("ArrowDown")
    front.page.keyboard.press("Enter")
    front.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === 'conv2'")
    front.wait_until("() => __probe.pending() === 0")
    assert front.value("explorer.layer") == "conv2"


def test_stop_stops_and_compute_goes_on(page: Front) -> None:
    asked, wanted = "len(busy.hub.session.asked)", page.value("len(missing)")
    page.scroll_to(f".busy {ex.COMPUTE}")
    page.find(f".busy {ex.COMPUTE}").click()
    page.find(f".busy {ex.STOP}").click()
    page.wait_until(f"() => /stopped/i.test(__probe.all('.busy {ex.STATUS}')[0].textContent)")
    done = page.value(asked)
    page.page.wait_for_timeout(500)
    assert page.value(asked) == done < wanted
    page.find(f".busy {ex.COMPUTE}").click()
    page.kernel("busy.settled(60)", seconds=70)
    assert page.value("busy.hub.session.missing == set() and busy.spectrum.complete")
    page.wait_until(f"() => __probe.all('.busy {ex.COMPUTE}')[0].disabled")


def test_nothing_sticks_out_at_any_width(front: Front) -> None:
    try:
        for width in (800, 1280):
            front.resize(width, 1600)
            front.wait_until_still(ex.SPECTRUM)
            assert front.page.evaluate("(s) => __probe.outside(s)", ex.EXPLORER) == []
    finally:
        front.resize(1280, 1600)


def test_an_app_shows_no_code_and_no_bar_to_scroll_sideways(front: Front) -> None:
    wide = front.page.evaluate("() => document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    code = front.page.evaluate("() => document.body.innerText.includes('CannedSession')")
    assert code == isinstance(front, NotebookPage)


def test_a_saved_and_reopened_notebook_shows_the_twin_and_no_error(server: LabServer, chromium: Chromium) -> None:
    source = "from canned import CannedSession\nfrom lhexplore.explorer import views\n\nviews.HeatMap(CannedSession())"
    with opened(NotebookPage(server, chromium), "saved", source, panes=(ex.HEAT,)) as page:
        page.page.wait_for_selector(".lhx-stand-in", state="attached")
        assert not page.find(".lhx-stand-in").first.is_visible()
        name = page.save().name
    chromium.tolerate("Error: widget model not found")  # the widget manager says so to the console, and there only
    page = NotebookPage(server, chromium)
    page.open(name)
    page.page.wait_for_selector(".lhx-stand-in", state="visible")
    page.page.wait_for_timeout(1000)
    assert "Error displaying widget" not in page.page.evaluate("() => document.body.innerText")
    page.close()


def test_voila_serves_the_app(needs_chromium: None, chromium: Chromium, pictures: Path) -> None:
    """As its notebook says: one command, and a page. Its server answers nothing but widgets, so the page is asked."""
    with VoilaServer(APP) as server:
        app = VoilaPage(server, chromium)
        app.run()
        app.resize(1280, 1700)
        app.wait_until(f"() => __probe.all('{ex.STATUS}')[0].textContent.includes('all known')", seconds=120)
        before = app.wait_until_still(ex.SPECTRUM)
        ex.drag(app, 0.4)
        moved = app.wait_for_change(ex.SPECTRUM, before)
        ex.pick_layer(app, "fc1")
        app.wait_for_change(ex.SPECTRUM, moved)
        app.wait_until(f"() => __probe.all('{ex.CODE}')[0].textContent.startsWith(\"session.spectrum('fc1'\")")
        assert app.find(ex.PROBLEM).first.inner_text() == ""
        assert "import lhexplore" not in app.page.evaluate("() => document.body.innerText")
        app.photograph(pictures / "app.png")
        app.close()

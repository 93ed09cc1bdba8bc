"""What docs/front_ends.md offers where no widgets show up: its own lines, without a kernel and in JupyterLab."""

import base64
import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex
from playwright.sync_api import Frame, Page

pytestmark = pytest.mark.browser

DOCUMENT = Path(__file__).parents[2] / "docs" / "front_ends.md"
CELLS = re.findall(r"^```python\n(.*?)^```", DOCUMENT.read_text("utf-8"), re.MULTILINE | re.DOTALL)
SETUP, TWIN, REPORT, FIGURE = CELLS
# nbconvert's own page wants MathJax and a widget manager from there; the guard keeps both away
NOT_OURS = (
    "https://cdnjs.cloudflare.com/",
    "https://cdn.jsdelivr.net/",
    "https://unpkg.com/",
    "Failed to load resource",
)
LOSSY = """
from canned import CannedSession
from lhexplore.explorer import Explorer
from lhexplore.explorer.pane import BokehPane

whole, losses = BokehPane.get_state, 0


def without_rows(pane, key=None, drop_defaults=False):
    global losses
    losses += key is None and len(pane.frames) > 0
    return {**whole(pane, key, drop_defaults), **({"frames": b""} if key is None else {})}


BokehPane.get_state = without_rows
explorer = Explorer(CannedSession(missing=set()))
explorer.settled()
explorer
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A notebook of these lines, and of a live view, run and turned into a page as anybody does it."""
    folder = tmp_path_factory.mktemp("without")
    cells = [SETUP, "lh.views.HeatMap(session)", TWIN, REPORT, FIGURE]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbformat.write(notebook, folder / "lines.ipynb")
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "html", "lines.ipynb"]
    own = {"LHEXPLORE_CACHE": str(folder / "cache"), "HOME": str(folder)}
    subprocess.run(command, cwd=folder, check=True, env=os.environ | own, capture_output=True, timeout=200)
    return folder / "lines.html"


@pytest.fixture(scope="module")
def page(converted: Path, chromium: Chromium) -> Page:
    chromium.tolerate(*NOT_OURS)
    opened_page = chromium.new_page()
    opened_page.goto(converted.as_uri(), wait_until="load")
    return opened_page


def the_report_works(frame: Frame) -> None:
    """Its figure is drawn and follows its slider."""
    frame.wait_for_function("() => window.__probe?.colours('#spectrum') > 10", timeout=30_000)
    before = frame.evaluate("() => __probe.print('#spectrum')")
    frame.locator("#slider").focus()
    frame.locator("#slider").press("Home")
    frame.wait_for_function("(b) => __probe.print('#spectrum') !== b", arg=before, timeout=10_000)


def test_a_view_leaves_its_twin_and_no_error(page: Page) -> None:
    text = page.evaluate("() => document.body.innerText")
    assert "Error displaying widget" not in text
    assert "λmax" in page.locator(".lhx-stand-in").first.inner_text()
    for number in range(2):  # that of the live view, and the one that was asked for
        picture = page.locator(".jp-OutputArea-child img").nth(number)
        picture.scroll_into_view_if_needed()
        assert picture.evaluate("(e) => e.complete && e.naturalWidth > 200")
    assert "102 eigenvalues" in text


def test_a_report_within_the_page_works(page: Page) -> None:
    page.locator("iframe").scroll_into_view_if_needed()
    the_report_works(page.frames[1])


def test_a_figure_for_papers_is_there(page: Page) -> None:
    last = page.locator(".jp-OutputArea-child").last
    last.scroll_into_view_if_needed()
    source = last.locator("img").get_attribute("src") or ""
    assert "conv1" in base64.b64decode(source.removeprefix("data:image/svg+xml;base64,")).decode()


def test_a_report_within_a_cell_of_lab_works(server: LabServer, chromium: Chromium, converted: Path) -> None:
    made = (
        f"from pathlib import Path\n\nclass session:\n    report = lambda name: Path({str(converted.parent)!r}) / name"
    )
    with opened(LabPage(server, chromium), "without", made, REPORT) as lab:
        lab.scroll_to("iframe")
        lab.page.wait_for_timeout(500)
        (frame,) = [each for each in lab.page.frames if each.url == "about:srcdoc"]
        the_report_works(frame)


def test_rows_that_got_lost_on_the_way_are_asked_for(server: LabServer, chromium: Chromium) -> None:
    """As where the binary part of a widget's first state does not arrive: the figure still follows the slider."""
    with opened(LabPage(server, chromium), "lossy", LOSSY, panes=(ex.SPECTRUM,)) as lab:
        lab.save()
        lab.reload()
        lab.scroll_to(ex.EXPLORER)
        before = lab.wait_until_still(ex.SPECTRUM)
        assert lab.value("losses") > 0
        ex.drag(lab, 0.0)
        lab.wait_for_change(ex.SPECTRUM, before)

"""A notebook in JupyterLab that was saved and opened again: with its kernel, without, and with a saved state."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex
from nbclient import NotebookClient

pytestmark = pytest.mark.browser

CELLS = (
    "from canned import CannedSession\nfrom lhexplore.explorer import Explorer, views\n"
    "page = Explorer(CannedSession(), layer='conv1')",
    "print('before')\npage",
    "views.LayerPicker(page)",
)
WORDS = ".lhx-stand-in"
NOT_FOUND = "Error: widget model not found"  # ipywidgets says so to the console, and there only
NAME = "reopened"


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """A page and a list, live, in a window that holds everything."""
    with opened(LabPage(server, chromium), NAME, *CELLS, panes=ex.PANES, height=4000) as page:
        yield page


def outputs(page: LabPage) -> list[tuple[str, str]]:
    """What is seen of the outputs: the words of each that takes room, and what it is."""
    found: list[list[str]] = page.page.evaluate(
        """() => [...document.querySelectorAll(".jp-OutputArea-child")]
          .filter((child) => child.getBoundingClientRect().height > 4)
          .map((child) => [child.querySelector(".lhx-kit") ? "live" : child.querySelector(".lhx-stand-in") ? "words"
            : child.querySelector("img") ? "picture" : "other", child.innerText])"""
    )
    return [(kind, text) for kind, text in found]


def kinds(page: LabPage) -> list[str]:
    return [kind for kind, _ in outputs(page)]


def settle(page: LabPage, expected: list[str]) -> str:
    """Wait until just these outputs are seen, and return all words of the notebook."""
    for _ in range(100):
        if kinds(page) == expected:
            break
        page.page.wait_for_timeout(200)
    assert kinds(page) == expected, outputs(page)
    return str(page.page.evaluate("() => document.querySelector('.jp-Notebook').innerText"))


def data_of(file: Path) -> list[dict[str, Any]]:
    return [o.get("data", {}) for cell in json.loads(file.read_text())["cells"] for o in cell["outputs"]]


def test_the_live_view_alone_is_seen_and_its_twin_is_saved_once_all_is_quiet(lab: LabPage) -> None:
    settle(lab, ["other", "live", "live"])
    for _ in range(100):
        if any("image/png" in data for data in data_of(lab.save())):
            break
        lab.page.wait_for_timeout(200)
    _, picture, words, live, _, _, listed = data_of(lab.save())
    assert base64.b64decode(picture["image/png"]).startswith(b"\x89PNG")
    assert "conv1 at step 1,024: 80 eigenvalues" in "".join(words["text/html"])
    assert '<div class="lhx-stand-in lhx-pictured">' in "".join(words["text/html"])
    assert set(live) == set(listed) == {"application/vnd.jupyter.widget-view+json", "text/plain"}


def test_the_twin_follows_what_is_looked_at(lab: LabPage) -> None:
    lab.kernel("page.layer = 'head'")
    for _ in range(100):
        if "head at step 1,024: 650 eigenvalues" in str(data_of(lab.save())):
            break
        lab.page.wait_for_timeout(200)
    assert "head at step 1,024: 650 eigenvalues" in str(data_of(lab.save())[2])


def test_loaded_again_it_is_live(lab: LabPage) -> None:
    lab.reload()
    lab.resize(1280, 4000)
    lab.wait_until_still(ex.SPECTRUM)
    words = settle(lab, ["other", "live", "live"])
    assert "Error" not in words


def test_after_a_new_kernel_the_twin_is_seen_and_no_error(lab: LabPage, chromium: Chromium, pictures: Path) -> None:
    chromium.tolerate(NOT_FOUND)
    lab.page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()")
    lab.page.wait_for_timeout(1000)
    assert "Error displaying" not in settle(lab, ["other", "live", "live"])  # what was drawn stays
    lab.save()
    lab.reload()
    lab.resize(1280, 4000)
    words = settle(lab, ["other", "picture", "words", "words"])
    assert "Error displaying" not in words
    assert "Loading widget" not in words
    assert "before" in words  # other outputs of the cell are left alone
    assert "head at step 1,024: 650 eigenvalues" in words
    for theme in ("light", "dark"):
        lab.theme(theme)
        for width in (1280, 800):
            lab.resize(width, 3000)
            lab.page.screenshot(path=pictures / f"reopened-{theme}-{width}.png")


@pytest.fixture(scope="module")
def executed(server: LabServer) -> str:
    """The same notebook, run by a program, with the state of its widgets."""
    name = server.write("executed", *CELLS)
    notebook = nbformat.read(server.root / name, as_version=4)
    NotebookClient(notebook, timeout=120).execute()
    assert notebook.metadata.widgets
    nbformat.write(notebook, server.root / name)
    return name


def test_a_state_without_a_kernel_gives_way_to_the_twin(
    executed: str, server: LabServer, chromium: Chromium, pictures: Path
) -> None:
    chromium.tolerate(NOT_FOUND)
    page = LabPage(server, chromium)
    page.open(executed)
    page.resize(1280, 4000)
    untrusted = settle(page, ["other", "picture", "words", "other", "words", "other"])
    assert "Explorer(4 layers" in untrusted
    page.page.evaluate(
        "() => { for (const cell of window.jupyterapp.shell.currentWidget.content.model.cells) cell.trusted = true; }"
    )
    trusted = settle(page, ["other", "picture", "words", "words"])
    page.page.screenshot(path=pictures / "reopened-with-state.png")
    assert "Error displaying" not in untrusted + trusted
    assert page.find(WORDS).first.is_visible()
    page.close()

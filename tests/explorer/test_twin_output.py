"""What notebooks keep of a view: with nbclient as it runs them, and with a front end that is played by the test."""

import asyncio
import base64
import re
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from canned import CannedSession
from nbclient import NotebookClient
from nbconvert import HTMLExporter, MarkdownExporter
from nbformat.v4 import new_code_cell, new_notebook

from lhexplore.explorer import Explorer, twin_output, views

PATIENCE = 20  # seconds; only a hang takes longer
TESTS = Path(__file__).parents[1]
WIDGET = "application/vnd.jupyter.widget-view+json"
PNG = b"\x89PNG\r\n\x1a\n"
LARGEST = 400_000  # bytes of everything that is kept of a page
BEGIN = f"""
import sys; sys.path.insert(0, {str(TESTS)!r})
from canned import LAYERS, CannedSession
from lhexplore.explorer import Explorer, views
session = CannedSession(missing={{(row.name, k) for row in LAYERS for k in range(12)}}, pause=0.02)
"""
CELLS = (
    BEGIN,
    "page = Explorer(session, layer='conv1')\npage",  # nothing is computed yet
    "page.settled(120)",
    "views.LayerPicker(page)",
    "page.layer = 'head'",  # changes nothing above
)


@pytest.fixture(scope="module")
def executed():
    """A notebook as nbclient leaves it: run by nobody who looks on."""
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS], metadata=kernel)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    nbformat.validate(notebook)
    return notebook


def data_of(notebook, cell):
    return [output.data for output in notebook.cells[cell].outputs]


def test_an_executed_notebook_shows_the_final_state(executed):
    picture, words, live = data_of(executed, 1)
    assert base64.b64decode(picture["image/png"]).startswith(PNG)
    assert "were known" not in words["text/html"]
    assert "conv1 at step 1,024: 80 eigenvalues" in words["text/html"]
    assert words["text/plain"].startswith("One run: spectra over training.")
    assert WIDGET in live
    assert live["text/plain"].startswith("Explorer(")
    assert data_of(executed, 2) == []
    assert len(str(picture) + str(words)) < LARGEST


def test_the_picture_has_its_words_beside_it(executed):
    about = executed.cells[1].outputs[0].metadata["image/png"]
    assert about["width"] == 828
    assert "eigenvalues of conv1" in about["alt"]


def test_what_has_no_picture_has_no_empty_place_for_it(executed):
    words, live = data_of(executed, 3)
    assert '<th scope="row">conv2</th>' in words["text/html"]
    assert WIDGET in live


@pytest.mark.parametrize("state", [True, False])
def test_pages_made_of_it_show_picture_sentence_and_table(executed, state):
    notebook = nbformat.from_dict(executed)
    if not state:
        notebook = nbformat.from_dict({**executed, "metadata": {"kernelspec": executed.metadata["kernelspec"]}})
    for exporter in (HTMLExporter(), HTMLExporter(template_name="classic"), MarkdownExporter()):
        page, resources = exporter.from_notebook_node(notebook)
        assert "Error displaying" not in page
        assert "conv1 at step 1,024: 80 eigenvalues" in page
        assert "<caption>Layers at step 1,024.</caption>" in page
        assert "data:image/png;base64," in page or [name for name in resources["outputs"] if name.endswith(".png")]
        assert state or "<img src=x" not in page  # a saved state is JSON, which nobody reads as markup


# ---- with somebody before the page


@pytest.fixture
def notebook(monkeypatch):
    """A kernel with one event loop; returns what was published as (what it shows, its display id, whether anew)."""
    published = []

    def publish(data, metadata=None, *, transient, update=False):
        published.append((data, transient["display_id"].split("-")[1], update))

    monkeypatch.setattr("IPython.display.publish_display_data", publish)
    monkeypatch.setattr("lhexplore.explorer.shown.in_a_notebook", lambda: True)
    monkeypatch.setattr(twin_output, "somebody_looks_on", lambda: True)
    monkeypatch.setattr(twin_output, "QUIET", 0.05)
    return published


def show(view, seconds=0.0, then=lambda: None):
    """Display a view in a cell of a running kernel, which then idles for some seconds."""

    async def cell():
        view._repr_mimebundle_()
        then()
        await asyncio.sleep(seconds)

    asyncio.run(cell())


def test_the_words_come_at_once_and_the_picture_when_all_is_quiet(notebook):
    view = views.SpectrumPlot(CannedSession())
    view.settled(PATIENCE)
    show(view)
    assert [(list(data), part, anew) for data, part, anew in notebook] == [
        (["text/html"], "picture", False),
        (["text/html", "text/markdown", "text/plain"], "words", False),
    ]
    assert "conv1 at step 1,024" in notebook[1][0]["text/html"]
    notebook.clear()
    show(view, 1.0)
    assert [(part, anew) for _, part, anew in notebook[2:]] == [("picture", True), ("words", True)] * 2  # both places
    assert "image/png" in notebook[2][0]
    view.close()


def test_it_follows_what_is_looked_at_and_nothing_is_sent_twice(notebook):
    view = views.SpectrumPlot(CannedSession())
    view.settled(PATIENCE)
    show(view, 1.2, lambda: setattr(view, "snapshot", 1))
    assert "step 1:" in notebook[-1][0]["text/html"]
    count = len(notebook)
    twin = view._stand_in
    twin.redraw()
    assert len(notebook) == count
    view.close()
    twin.redraw()
    twin.paint()
    assert len(notebook) == count


def test_a_view_that_was_shown_ends_like_any_other(notebook):
    session = CannedSession()
    one, other = views.SpectrumPlot(session), views.HeatMap(session)
    hub = one.hub
    for view in (one, other):
        view.settled(PATIENCE)
        show(view)
    one.close()
    assert not hub.ended
    assert other.hub.audience.views
    other.close()
    assert hub.ended


def test_being_shown_makes_a_view_want_nothing_more(notebook):
    view = views.Provenance(CannedSession())
    show(view)
    assert not view.hub.audience.want("findings")
    assert view.hub.audience.reach == {"none"}
    view.close()


def test_a_twin_that_fails_leaves_the_live_view_alone(notebook, monkeypatch):
    view = Explorer(CannedSession())
    monkeypatch.setattr(Explorer, "twin", lambda *_, **__: 1 / 0)
    show(view)
    assert "division by zero" in notebook[-1][0]["text/html"]
    view.close()


def test_only_kernels_keep_outputs_and_not_those_of_apps(monkeypatch):
    assert not twin_output.in_a_notebook()  # this is no kernel
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert twin_output.in_a_notebook()
    monkeypatch.setenv("SERVER_SOFTWARE", "voila/0.5")
    assert not twin_output.in_a_notebook()


def test_the_style_has_balanced_braces_and_no_nested_has():
    style = twin_output.STYLE
    assert style.count("{") == style.count("}")
    assert style.count("(") == style.count(")")
    for inner in re.findall(r":has\(([^()]*(?:\([^()]*\))?[^()]*)\)", style):
        assert ":has(" not in inner  # a browser would drop the whole rule

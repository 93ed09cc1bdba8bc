"""What lies in notebooks/: executed, small, and with a picture for readers who have no kernel. Needs no browser."""

import base64
from pathlib import Path

import nbformat
import pytest

from lhexplore import views

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
GALLERY = Path(__file__).parents[2] / "notebooks" / "02_gallery.ipynb"
WORDS_ONLY = {"LayerPicker", "HesdBadge", "Findings", "Eigenvectors", "Progress", "Provenance"}  # words and numbers
LARGEST = 300_000
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.name)
def path(request: pytest.FixtureRequest) -> Path:
    chosen: Path = request.param
    return chosen


def test_it_is_executed_from_top_to_bottom_without_errors(path: Path) -> None:
    document = nbformat.read(path, as_version=4)
    nbformat.validate(document)
    cells = [cell for cell in document.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [o for cell in cells for o in cell.outputs if o.output_type == "error"]


def test_it_is_small_and_keeps_nothing_that_needs_a_kernel(path: Path) -> None:
    assert path.stat().st_size < LARGEST
    document = nbformat.read(path, as_version=4)
    assert "widgets" not in document.metadata
    outputs = [o for cell in document.cells for o in cell.get("outputs", [])]
    assert not [o for o in outputs if "application/vnd.jupyter.widget-view+json" in o.get("data", {})]


def test_the_explorer_has_a_picture(path: Path) -> None:
    document = nbformat.read(path, as_version=4)
    shown = [
        output.data
        for cell in document.cells
        for output in cell.get("outputs", [])
        if output.get("data", {}).get("text/plain", "").startswith("Explorer(")
    ]
    assert shown or path == GALLERY
    for data in shown:
        assert base64.b64decode(data["image/png"]).startswith(PNG)


@pytest.mark.parametrize("name", views.__all__)
def test_the_gallery_shows_every_view_without_a_kernel(name: str) -> None:
    document = nbformat.read(GALLERY, as_version=4)
    (cell,) = [
        cell for cell in document.cells if cell.cell_type == "code" and f".{name}(session" in cell.source.split("\n")[0]
    ]
    kept = {kind: value for output in cell.outputs for kind, value in output.get("data", {}).items()}
    assert len(kept["text/html"]) > 300
    assert name in WORDS_ONLY or base64.b64decode(kept["image/png"]).startswith(PNG)

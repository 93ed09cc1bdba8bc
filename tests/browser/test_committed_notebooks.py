"""What lies in notebooks/: executed, small, and with a picture for readers who have no kernel. Needs no browser."""

import base64
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
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
    assert shown
    for data in shown:
        assert base64.b64decode(data["image/png"]).startswith(PNG)

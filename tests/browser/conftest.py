"""A real Jupyter server and a real Chromium for the tests of this folder; both gone afterwards."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # the driver is no part of the package; benchmarks use it too

from labdriver import Chromium, LabPage, LabServer, find_chromium

QUICKSTART = Path(__file__).parents[2] / "notebooks" / "00_quickstart.ipynb"


@pytest.fixture(scope="session")
def needs_chromium() -> None:
    """Skip where there is no browser, unless the caller insists on one."""
    if find_chromium() is None:
        reason = "No Chromium found (looked for chromium, chromium-browser and google-chrome on PATH)."
        if os.environ.get("LHEXPLORE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason} LHEXPLORE_REQUIRE_BROWSER=1 asks for it: install one, or unset the variable.")
        pytest.skip(f"{reason} Install one to run the browser tests.")


@pytest.fixture(scope="session")
def server(needs_chromium: None) -> Iterator[LabServer]:
    """A JupyterLab that serves a copy of the quickstart."""
    with LabServer(QUICKSTART) as running:
        yield running


@pytest.fixture(scope="module")  # not longer: its event loop would be in the way of asyncio tests elsewhere
def chromium(needs_chromium: None) -> Iterator[Chromium]:
    """A browser of this module."""
    with Chromium() as running:
        yield running


@pytest.fixture(autouse=True)
def quiet(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test also fails on console errors and on any request that leaves the machine."""
    yield
    if "chromium" in request.fixturenames:
        browser: Chromium = request.getfixturevalue("chromium")
        errors, outside = list(browser.errors), list(browser.outside)
        browser.errors.clear()
        browser.outside.clear()
        assert not errors, f"The browser's console shows errors: {errors}"
        assert not outside, f"The page asked for addresses off this machine: {outside}"


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots go: LHEXPLORE_SCREENSHOTS, or a temporary folder."""
    folder = Path(os.environ.get("LHEXPLORE_SCREENSHOTS") or tmp_path_factory.mktemp("screenshots"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def quickstart(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """The quickstart, opened and run from the first cell to the last."""
    lab = LabPage(server, chromium)
    lab.run(QUICKSTART.name)
    yield lab
    lab.close()

"""A report of the canned session, and a browser that opens files only."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned import CannedSession

from lhexplore.report import write

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(CannedSession(), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skipped where there is none, unless LHEXPLORE_REQUIRE_BROWSER=1 insists."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"No browser found (looked for {', '.join(NAMES)} on PATH)."
        if os.environ.get("LHEXPLORE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason} LHEXPLORE_REQUIRE_BROWSER=1 asks for one.")
        pytest.skip(f"{reason} Install Chromium to run this test.")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield running
        running.close()

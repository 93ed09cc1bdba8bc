"""A report of the canned session, and a browser that opens files only."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from canned import CannedSession
from opened_report import NAMES, chromium, find_chromium

from lhexplore.report import write


@pytest.fixture(scope="session")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(CannedSession(), tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium; skipped where there is none, unless LHEXPLORE_REQUIRE_BROWSER=1 insists."""
    if find_chromium() is None:
        reason = f"No browser found (looked for {', '.join(NAMES)} on PATH)."
        if os.environ.get("LHEXPLORE_REQUIRE_BROWSER") == "1":
            pytest.fail(f"{reason} LHEXPLORE_REQUIRE_BROWSER=1 asks for one.")
        pytest.skip(f"{reason} Install Chromium to run this test.")
    with chromium() as running:
        yield running

"""The driver itself: the network guard sees and stops requests, and nothing survives a server."""

from pathlib import Path

import nbformat
import psutil
import pytest
from labdriver import Chromium, KernelError, LabPage, LabServer

pytestmark = pytest.mark.browser

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(max=9).add_class("under-test")
slider
"""


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(SLIDER)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("scratch") / "scratch.ipynb"
    nbformat.write(notebook, path)
    return path


def test_requests_off_the_machine_fail_and_are_told(needs_chromium: None) -> None:
    with Chromium() as chromium:
        page = chromium.new_page()
        page.goto("about:blank")
        for address in ("http://example.com/a.js", "http://192.0.2.1/b.js"):  # a name and a bare address
            refused = page.evaluate("(u) => fetch(u).then(() => false, () => true)", address)
            assert refused, f"{address} was reachable"
        assert chromium.outside == ["http://example.com/a.js", "http://192.0.2.1/b.js"]


def test_a_plain_slider_talks_to_the_kernel_and_nothing_is_left_running(scratch: Path, needs_chromium: None) -> None:
    with LabServer(scratch) as server, Chromium() as chromium:
        lab = LabPage(server, chromium)
        lab.open(scratch.name)
        lab.run_all()
        assert lab.error_outputs() == []
        lab.find(".under-test .noUi-handle").focus()
        lab.page.keyboard.press("End")
        lab.wait_until("() => __probe.all('.under-test .widget-readout')[0].textContent === '9'")
        assert lab.value("slider.value") == 9
        with pytest.raises(KernelError, match="ZeroDivisionError"):
            lab.kernel("1 / 0")
        assert chromium.errors == []
        assert chromium.outside == []
        family = server.processes()
        assert len(family) >= 2  # the server and a kernel
    assert [process for process in family if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []

"""The driver itself: the network guard sees and stops requests, and nothing survives a server."""

import psutil
import pytest
from labdriver import Chromium, KernelError, LabPage, LabServer

pytestmark = pytest.mark.browser

SLIDER = """
import ipywidgets
slider = ipywidgets.IntSlider(max=9).add_class("under-test")
slider
"""


def test_requests_off_the_machine_fail_and_are_told(needs_chromium: None) -> None:
    with Chromium() as chromium:
        page = chromium.new_page()
        page.goto("about:blank")
        for address in ("http://example.com/a.js", "http://192.0.2.1/b.js"):  # a name and a bare address
            refused = page.evaluate("(u) => fetch(u).then(() => false, () => true)", address)
            assert refused, f"{address} was reachable"
        assert chromium.outside == ["http://example.com/a.js", "http://192.0.2.1/b.js"]


def test_a_plain_slider_talks_to_the_kernel_and_nothing_is_left_running(needs_chromium: None) -> None:
    with LabServer() as server, Chromium() as chromium:
        lab = LabPage(server, chromium)
        lab.run(server.write("scratch", SLIDER))
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

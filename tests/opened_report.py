"""A report in headless Chromium, opened as a file: every request, console message and refused act is written down.

Times are those of the browser's own clock. Pixels are read back on every animation frame, so a time is good to about
one frame (17 ms at 60 Hz).
"""

import shutil
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
NAMES = ("chromium", "chromium-browser", "google-chrome")

# Bokeh draws into canvases inside shadow roots; a checksum of all pixels tells whether a figure changed.
PROBE = """
window.lhxProbe = (() => {
  const refused = [];
  document.addEventListener("securitypolicyviolation", (event) => refused.push(event.effectiveDirective));
  const canvases = (root) => [...root.querySelectorAll("*")].flatMap(
    (e) => [...(e.tagName === "CANVAS" ? [e] : []), ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
  function pixels(id) {
    let sum = 2166136261, painted = 0;
    for (const canvas of canvases(document.getElementById(id) ?? document.createElement("div"))) {
      if (!canvas.width || !canvas.height) continue;
      const copy = document.createElement("canvas");
      [copy.width, copy.height] = [canvas.width, canvas.height];
      const pen = copy.getContext("2d", {willReadFrequently: true});
      pen.drawImage(canvas, 0, 0);
      const drawn = new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer);
      for (const p of drawn) { sum = Math.imul(sum ^ p, 16777619); if (p) painted++; }
    }
    return [sum >>> 0, painted];
  }
  const probe = { refused, pixels, opened: null };
  const watch = () => {
    if (pixels("spectrum")[1] < 5000) return requestAnimationFrame(watch);
    return requestAnimationFrame(() => { probe.opened = performance.now(); }); // it is on the screen now
  };
  requestAnimationFrame(watch);
  const frame = () => new Promise((done) => requestAnimationFrame(() => setTimeout(done))); // after all that it painted
  probe.slide = async (value, id) => { // milliseconds from the input event to changed pixels
    const slider = document.getElementById("slider");
    const before = pixels(id)[0];
    await frame();
    const start = performance.now();
    slider.value = value;
    slider.dispatchEvent(new Event("input", {bubbles: true}));
    while (performance.now() < start + 1000) {
      await frame();
      if (pixels(id)[0] !== before) return performance.now() - start;
    }
    return NaN;
  };
  return probe;
})();
"""


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=find_chromium(), headless=True, args=[*FLAGS])
        try:
            yield browser
        finally:
            browser.close()


class Opened:
    """A report on the screen, after its first pictures."""

    def __init__(self, browser: Browser, report: Path, *, width: int = 1280, hash: str = "", **look: Any) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": 900}, **look)
        self.context.add_init_script(PROBE)
        self.page = self.context.new_page()
        self.trouble: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.trouble.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("dialog", lambda dialog: self.trouble.append(f"dialog {dialog.message}"))
        self.context.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri() + hash)
        self.page.wait_for_selector("body[data-ready]")
        self.settle()

    def settle(self) -> None:
        """Two painted frames: what was asked for is then on the screen."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_timeout(150)

    def pixels(self, place: str = "spectrum") -> int:
        """A checksum of what a figure shows."""
        self.page.locator(f"#{place}").scroll_into_view_if_needed()
        self.settle()
        checksum, painted = self.page.evaluate("(id) => lhxProbe.pixels(id)", place)
        assert painted > 1000, f"{place} is empty"
        return int(checksum)

    def slide(self, frame: int) -> None:
        """Move the slider as a hand does."""
        self.page.locator("#slider").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", str(frame)
        )
        self.settle()

    def text(self, place: str) -> str:
        """What is written there."""
        return self.page.locator(f"#{place}").inner_text()

    @property
    def opening(self) -> float:
        """Milliseconds from the start of the navigation to the first painted spectrum."""
        self.page.wait_for_function("() => lhxProbe.opened !== null")
        return float(self.page.evaluate("() => lhxProbe.opened"))

    def latencies(self, frames: Sequence[int], place: str = "spectrum") -> list[float]:
        """Milliseconds from input events on the slider to changed pixels, one by one."""
        times = []
        for frame in frames:
            times.append(float(self.page.evaluate("([v, id]) => lhxProbe.slide(v, id)", [frame, place])))
            self.page.wait_for_timeout(120)
        return times

    def close(self) -> None:
        """Leave the page."""
        self.context.close()


def middle_and_tail(times: Sequence[float]) -> tuple[float, float]:
    """Median and 95th percentile."""
    ordered = sorted(times)
    return statistics.median(ordered), ordered[int(0.95 * (len(ordered) - 1))]

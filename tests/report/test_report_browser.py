"""The report in a real browser: opened as a file, with every request and every console message recorded."""

import os
from pathlib import Path

import pytest
from canned import HOSTILE

pytestmark = pytest.mark.browser

# Bokeh draws into canvases inside shadow roots; a checksum of all pixels tells whether a figure changed.
CHECKSUM = """(id) => {
  const canvases = (root) => [...root.querySelectorAll("*")].flatMap(
    (e) => [...(e.tagName === "CANVAS" ? [e] : []), ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
  let sum = 2166136261, painted = 0;
  for (const canvas of canvases(document.getElementById(id))) {
    if (!canvas.width || !canvas.height) continue;
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const pen = copy.getContext("2d", {willReadFrequently: true});
    pen.drawImage(canvas, 0, 0);
    const pixels = new Uint32Array(pen.getImageData(0, 0, copy.width, copy.height).data.buffer);
    for (const p of pixels) { sum = Math.imul(sum ^ p, 16777619); if (p) painted++; }
  }
  return [sum >>> 0, painted];
}"""


class Opened:
    def __init__(self, browser, report, **look):
        self.context = browser.new_context(viewport={"width": 1280, "height": 900}, **look)
        self.page = self.context.new_page()
        self.trouble, self.requests = [], []
        self.page.on("console", lambda m: self.trouble.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.trouble.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())
        self.page.wait_for_selector("body[data-ready]")
        self.settle()

    def settle(self):
        """Two painted frames: what was asked for is then on the screen."""
        self.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.page.wait_for_timeout(150)

    def pixels(self, place="spectrum"):
        checksum, painted = self.page.evaluate(CHECKSUM, place)
        assert painted > 1000, f"{place} is empty"
        return checksum

    def slide(self, frame):
        self.page.locator("#slider").evaluate(
            "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", str(frame)
        )
        self.settle()

    def text(self, place):
        return self.page.locator(f"#{place}").inner_text()


@pytest.fixture
def opened(browser, report):
    run = Opened(browser, report, color_scheme="light")
    yield run
    assert run.trouble == []
    assert run.requests == [report.as_uri()]
    run.context.close()


def test_the_slider_changes_pixels_and_words(opened):
    opened.slide(5)
    before = {place: opened.pixels(place) for place in ("spectrum", "loss", "map")}
    words = opened.text("sentence")
    opened.slide(6)
    after = {place: opened.pixels(place) for place in ("spectrum", "loss", "map")}
    assert all(before[place] != after[place] for place in before)
    assert "step 32" in opened.text("sentence") != words
    opened.slide(5)
    assert opened.text("sentence") == words
    assert opened.pixels() == before["spectrum"]


def test_missing_snapshots_say_so(opened):
    opened.slide(2)
    assert "not computed" in opened.text("sentence")
    assert "Not computed when this was written." in opened.text("card")
    assert "not computed" in opened.page.locator("#rows tr").first.inner_text()


def test_keys_and_buttons_step(opened):
    opened.slide(4)
    opened.page.locator("#slider").focus()
    opened.page.keyboard.press("ArrowRight")
    assert opened.text("place").startswith("6 of 12")
    opened.page.get_by_role("button", name="Prev").click()
    assert opened.text("place").startswith("5 of 12")
    opened.page.get_by_role("button", name="Next").press("Enter")
    assert opened.text("place").startswith("6 of 12")
    opened.slide(0)
    assert opened.page.get_by_role("button", name="Prev").is_disabled()


def test_play_runs_to_the_end_and_stops(opened):
    opened.slide(8)
    opened.page.get_by_role("button", name="Play").click()
    assert opened.page.locator("#play").inner_text() == "Pause"
    opened.page.wait_for_function("() => document.getElementById('slider').value === '11'")
    opened.page.wait_for_function("() => document.getElementById('play').textContent === 'Play'")


def test_another_layer_has_another_figure(opened):
    before = opened.pixels()
    opened.page.locator("#layer").select_option("conv2")
    opened.settle()
    assert opened.pixels() != before
    assert "conv2 at step 1,024" in opened.text("sentence")
    assert "Ends not converged" in opened.text("card")
    opened.page.get_by_role("button", name="head", exact=True).click()  # the table chooses layers too
    assert "PSD by structure" in opened.text("card")


def test_a_click_on_a_finding_goes_there(opened):
    opened.page.get_by_role("button", name="D1 speaks").click()
    opened.settle()
    assert "conv2 at step 64" in opened.text("sentence")
    opened.page.get_by_role("button", name="D2 speaks").click()
    opened.settle()
    assert "conv1 at step 8" in opened.text("sentence")
    assert "Flagged: D2, D7, D6." in opened.text("sentence")
    assert "right in 9 of 10 cases" in opened.text("card")
    silent = opened.page.locator("#silent")
    assert silent.locator("p").is_hidden()
    silent.locator("summary").click()
    assert silent.inner_text().endswith("D8: The step size is not known.")


def test_a_click_on_the_map_goes_there(opened):
    opened.slide(11)
    opened.page.locator("#map").scroll_into_view_if_needed()
    place = opened.page.evaluate("""() => {
      const views = (root) => [...root.querySelectorAll("*")].flatMap(
        (e) => [...(e.tagName === "CANVAS" ? [e] : []), ...(e.shadowRoot ? views(e.shadowRoot) : [])]);
      const box = views(document.getElementById("map"))[0].getBoundingClientRect();
      const doc = Bokeh.documents.find((d) => d.get_model_by_name("heat-cells"));
      const view = Bokeh.index[doc.roots()[0].id] ?? Bokeh.index.get_one(doc.roots()[0]);
      const frame = view.frame ?? view.plot_view.frame;
      return [frame.x_scale.compute(4) + box.left, frame.y_scale.compute(1) + box.top];
    }""")
    opened.page.mouse.click(*place)
    opened.settle()
    assert opened.text("place").startswith("5 of 12")
    assert opened.page.locator("#layer").input_value() == "1"
    assert opened.text("sentence").startswith("conv2 at step 8")
    opened.page.mouse.click(*place)  # the same cell again, after moving away
    opened.slide(0)
    opened.page.mouse.click(*place)
    opened.settle()
    assert opened.text("place").startswith("5 of 12")


def test_another_metric_has_another_map(opened):
    before = opened.pixels("map")
    opened.page.locator("#metric").select_option("trace")
    opened.settle()
    assert opened.pixels("map") != before
    assert "trace at" in opened.text("map-sentence")


def test_a_hostile_name_is_only_a_name(opened):
    opened.page.locator("#layer").select_option(HOSTILE)
    opened.settle()
    assert opened.page.evaluate("() => window.hacked") is None
    assert opened.page.locator("img").count() == 0
    assert opened.page.locator("#card .current h2").inner_text() == HOSTILE
    opened.page.locator("#map").scroll_into_view_if_needed()
    box = opened.page.locator("#map").bounding_box()
    shown = []
    for share in (0.3, 0.5, 0.7):  # tooltips with names in them
        opened.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.42 * box["height"])
        opened.page.wait_for_timeout(100)
        shown += opened.page.locator(".bk-tooltip-row-value").all_inner_texts()
    assert any("<img src=x onerror=window.hacked=1>" in text for text in shown)
    assert opened.page.evaluate("() => window.hacked") is None
    assert opened.page.locator("img").count() == 0


def test_old_figures_are_let_go(opened):
    for name in ("conv2", "head", "conv1", "conv2"):
        opened.page.locator("#layer").select_option(name)
        opened.settle()
    assert opened.page.evaluate("() => Bokeh.documents.length") == 3


@pytest.mark.parametrize("width", [1280, 800, 420])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_and_theme(browser, report, tmp_path, scheme, width):
    run = Opened(browser, report, color_scheme=scheme)
    run.page.set_viewport_size({"width": width, "height": 900})
    run.settle()
    assert run.page.evaluate("() => document.documentElement.scrollWidth") <= width
    background = run.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 17, 17)"}[scheme]
    light = run.pixels()
    run.page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    run.settle()
    assert run.pixels() != light  # the figure changes with the page
    run.page.emulate_media(color_scheme=scheme)
    run.settle()
    assert run.trouble == []
    folder = Path(os.environ.get("LHEXPLORE_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    run.page.screenshot(path=folder / f"report-{scheme}-{width}.png", full_page=True)
    run.context.close()

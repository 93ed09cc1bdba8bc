"""The report in a real browser: opened as a file, with every request and every console message recorded."""

import os
from pathlib import Path

import pytest
from canned import HOSTILE, LAYERS, CannedSession, snapshots
from opened_report import Opened

from lhexplore.report import metrics, write

pytestmark = pytest.mark.browser


FIGURES = ("spectrum", "loss", "evolution", "hesd", "map", "curves")


@pytest.fixture
def opened(browser, report):
    run = Opened(browser, report, color_scheme="light")
    yield run
    assert run.trouble == []
    assert run.requests == [report.as_uri()]
    assert run.page.evaluate("() => lhxProbe.refused") == []
    run.close()


def test_the_slider_changes_pixels_and_words(opened):
    opened.slide(5)
    before = {place: opened.pixels(place) for place in FIGURES}
    words = {place: opened.text(f"{place}-sentence") for place in FIGURES}
    opened.slide(6)
    after = {place: opened.pixels(place) for place in FIGURES}
    assert all(before[place] != after[place] for place in before)
    for place in FIGURES:
        assert "step 32" in opened.text(f"{place}-sentence") != words[place]
    opened.slide(5)
    assert opened.text("spectrum-sentence") == words["spectrum"]
    assert opened.pixels() == before["spectrum"]


def test_missing_snapshots_say_so(opened):
    opened.slide(2)
    assert "not computed" in opened.text("spectrum-sentence")
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
    opened.slide(10)
    opened.page.get_by_role("button", name="Play").click()
    assert opened.page.locator("#play").inner_text() == "Pause"
    opened.page.wait_for_function("() => document.getElementById('slider').value === '11'")
    opened.page.wait_for_function("() => document.getElementById('play').textContent === 'Play'")


def test_another_layer_has_another_figure(opened):
    before = opened.pixels()
    opened.page.locator("#layer").select_option("conv2")
    opened.settle()
    assert opened.pixels() != before
    assert "conv2 at step 1,024" in opened.text("spectrum-sentence")
    assert "Ends not converged" in opened.text("card")
    opened.page.get_by_role("button", name="head", exact=True).click()  # the table chooses layers too
    opened.settle()
    assert "PSD by structure" in opened.text("card")


def test_a_click_on_a_finding_goes_there(opened):
    opened.page.get_by_role("button", name="D1 speaks").click()
    opened.settle()
    assert opened.page.locator("#spectrum").is_visible()
    assert "conv2 at step 64" in opened.text("spectrum-sentence")
    opened.page.get_by_role("button", name="D2 speaks").click()
    opened.settle()
    assert "conv1 at step 8" in opened.text("spectrum-sentence")
    assert "Flagged: D2, D7, D6." in opened.text("spectrum-sentence")
    assert "right in 9 of 10 cases" in opened.text("card")
    silent = opened.page.locator("#silent")
    assert silent.locator("p").is_hidden()
    silent.locator("summary").click()
    assert silent.inner_text().endswith("D8: The step size is not known.")


def place_of(opened, figure, source, x, y):
    """Where a point of a figure's axes is on the screen."""
    opened.page.locator(f"#{figure}").scroll_into_view_if_needed()
    opened.settle()
    return opened.page.evaluate(
        """([figure, source, x, y]) => {
      const canvases = (root) => [...root.querySelectorAll("*")].flatMap(
        (e) => [...(e.tagName === "CANVAS" ? [e] : []), ...(e.shadowRoot ? canvases(e.shadowRoot) : [])]);
      const box = canvases(document.getElementById(figure))[0].getBoundingClientRect();
      const doc = Bokeh.documents.find((d) => d.get_model_by_name(source));
      const { frame } = Bokeh.index.get_one(doc.roots()[0]);
      return [frame.x_scale.compute(x) + box.left,
              (y === null ? frame.bbox.vcenter : frame.y_scale.compute(y)) + box.top];
    }""",
        [figure, source, x, y],
    )


def test_a_click_on_the_map_goes_there(opened):
    opened.slide(11)
    place = place_of(opened, "map", "heat-cells", 4, 1)
    opened.page.mouse.click(*place)
    opened.settle()
    assert opened.text("place").startswith("5 of 12")
    assert opened.page.locator("#layer").input_value() == "1"
    opened.pixels("spectrum")
    assert opened.text("spectrum-sentence").startswith("conv2 at step 8")
    place = place_of(opened, "map", "heat-cells", 4, 1)
    opened.slide(0)
    opened.page.mouse.click(*place)  # the same cell again, after moving away
    opened.settle()
    assert opened.text("place").startswith("5 of 12")


def test_a_click_on_the_curves_and_on_the_ribbons_goes_there(opened):
    for figure, source, frame in (("evolution", "evolution-cells", 6), ("curves", "metric-cells", 8)):
        opened.page.mouse.click(*place_of(opened, figure, source, frame, None))
        opened.settle()
        assert opened.text("place").startswith(f"{frame + 1} of 12")


def test_rows_of_the_map_in_another_order(opened):
    before = opened.pixels("map")
    opened.page.locator("#order").select_option("name")
    opened.settle()
    assert opened.pixels("map") != before
    opened.page.mouse.click(*place_of(opened, "map", "heat-cells", 3, 0))  # the attack's name begins with a sign
    opened.settle()
    assert opened.page.locator("#layer").input_value() == "2"
    opened.page.locator("#map").press("ArrowDown")
    assert opened.page.locator("#layer").input_value() == "0"  # conv1 is the next by name
    opened.page.locator("#order").select_option("network")
    opened.slide(11)
    assert opened.pixels("map") == before


def test_other_layers_are_drawn_as_curves(opened):
    opened.page.locator("#chosen summary").click()
    before = opened.pixels("curves")
    for name in ("conv2", "head"):
        opened.page.locator("#chosen").get_by_label(name).uncheck()
    opened.settle()
    assert opened.pixels("curves") != before
    assert "head" not in opened.text("curves-sentence")
    assert opened.text("curves-legend").count("conv") == 1
    opened.page.locator("#layer").select_option("head")
    opened.settle()
    opened.pixels("curves")
    assert "head 21.5" in opened.text("curves-sentence")  # the one on show always is
    assert "head (on show)" in opened.text("curves-legend")
    opened.page.locator("#curves-twin summary").click()
    opened.page.locator("#curves-twin caption").wait_for()
    heads = opened.page.locator("#curves-twin thead th").all_inner_texts()
    assert heads[:2] == ["Snapshot", "conv1"]
    assert "head" in heads


def test_another_metric_has_another_map(opened):
    before = opened.pixels("map")
    opened.page.locator("#metric").select_option("trace")
    opened.settle()
    assert opened.pixels("map") != before
    assert "trace at" in opened.text("map-sentence")
    assert opened.text("curves-sentence").startswith("trace, in loss / parameter² at")


def test_every_figure_has_a_table_that_follows(opened):
    opened.slide(4)
    for figure in FIGURES:
        twin = opened.page.locator(f"#{figure}-twin")
        twin.locator("summary").click()
        twin.locator("caption").wait_for()
        assert twin.locator("tbody tr").count() == 12
        assert twin.locator("tr[aria-current] th").inner_text() == "step 8, epoch 0.125"
    opened.slide(5)
    assert opened.page.locator("#spectrum-twin tr[aria-current] th").inner_text() == "step 16, epoch 0.25"


def test_keys_work_on_figures_and_slider(opened):
    opened.slide(4)
    for place in ("#slider", "#spectrum", "#map"):
        opened.page.locator(place).focus()
        for key, expected in (("ArrowRight", 6), ("ArrowLeft", 5), ("End", 12), ("Home", 1)):
            opened.page.keyboard.press(key)
            assert opened.text("place").startswith(f"{expected} of 12")
        opened.slide(4)
    opened.page.locator("#spectrum").press("ArrowDown")
    assert opened.page.locator("#layer").input_value() == "1"
    opened.page.locator("#slider").press(" ")
    assert opened.page.locator("#play").inner_text() == "Pause"
    opened.page.locator("#slider").press(" ")
    assert opened.page.locator("#play").inner_text() == "Play"


def test_the_address_leads_back(opened, browser, report):
    opened.slide(6)
    opened.page.locator("#layer").select_option("conv2")
    opened.page.wait_for_function("() => location.hash.includes('conv2')")
    again = Opened(browser, report, hash=opened.page.evaluate("() => location.hash"))
    assert again.text("place").startswith("7 of 12")
    assert "conv2 at step 32" in again.text("spectrum-sentence")
    again.close()
    elsewhere = Opened(browser, report, hash="#layer=nothing&snapshot=%3Cb%3E")
    assert elsewhere.text("place").startswith("12 of 12")
    assert elsewhere.trouble == []
    elsewhere.close()


def test_the_theme_can_be_chosen(opened):
    light = opened.pixels()
    opened.page.get_by_role("button", name="Dark page").click()
    opened.settle()
    assert opened.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(17, 17, 17)"
    assert opened.pixels() != light
    opened.page.get_by_role("button", name="Light page").click()
    opened.settle()
    assert opened.pixels() == light


def test_on_paper_it_is_light_and_all_tables_are_there(browser, report):
    run = Opened(browser, report, color_scheme="dark")
    dark = run.pixels()
    run.page.emulate_media(media="print", color_scheme="dark")
    run.page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")
    assert run.page.evaluate("() => lhxProbe.pixels('spectrum')[0]") != dark  # at once: paper does not wait
    assert run.page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert run.page.locator(".twin table").count() == 6
    assert not run.page.locator("#play").is_visible()
    run.page.emulate_media(media="screen", color_scheme="dark")
    run.page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    run.settle()
    assert run.page.locator(".twin[open]").count() == 0
    assert run.pixels() == dark
    assert run.trouble == []
    run.close()


def test_without_scripts_pictures_and_tables_are_there(browser, report):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    requests = []
    context.on("request", lambda request: requests.append(request.url))
    page.goto(report.as_uri())
    for picture in page.locator("img").all():
        assert picture.is_visible()
        assert picture.bounding_box()["width"] > 300
    assert page.locator("img").count() == 2
    assert not page.locator("#slider").is_visible()
    assert page.locator("#rows tr").count() == 5
    assert page.locator("li strong", has_text="D1 speaks").is_visible()
    assert {url for url in requests if not url.startswith("data:")} == {report.as_uri()}
    context.close()


def test_a_hostile_name_is_only_a_name(opened):
    opened.page.locator("#layer").select_option(HOSTILE)
    opened.settle()
    assert opened.page.evaluate("() => window.hacked") is None
    assert opened.page.locator("img").count() == 0  # that of the page without scripts is no element here
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
    assert opened.page.locator("img").count() == 0  # that of the page without scripts is no element here


def test_old_figures_are_let_go(opened):
    for name in ("conv2", "head", "conv1", "conv2"):
        opened.page.locator("#layer").select_option(name)
        opened.settle()
    assert opened.page.evaluate("() => Bokeh.documents.length") == len(FIGURES)


@pytest.mark.parametrize("width", [1280, 800, 400])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_every_screen_and_theme(browser, report, tmp_path, scheme, width):
    run = Opened(browser, report, width=width, color_scheme=scheme)
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
    run.close()


@pytest.mark.parametrize("count", [0, 1])
def test_few_snapshots_open(browser, tmp_path, monkeypatch, count):
    monkeypatch.setattr(metrics, "SHOWN", ("lambda_max",))
    file = write(CannedSession(layers=LAYERS[:1], snapshots=snapshots(count), run=None), tmp_path / "report.html")
    run = Opened(browser, file)
    assert run.page.locator("#spectrum").is_visible() == (count == 1)
    if count:
        run.page.locator("#spectrum").press(" ")
        assert run.text("place") == "1 of 1: step 0, epoch 0"
        for figure in FIGURES:
            run.pixels(figure)
    assert run.trouble == []
    run.close()

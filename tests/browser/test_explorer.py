"""The quickstart in a real JupyterLab: what a person does with it, checked on the pixels and in the kernel."""

from pathlib import Path

import pytest
from labdriver import LabPage, meter
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

LAST = "len(session.snapshots) - 1"
READABLE = 4.5  # contrast from which words can be told from their background (WCAG 2.2, 1.4.3); symbols are words here
# Generous: test machines are slow and shared. The benchmark reports the real figures.
SLOWEST_REPAINT_MS = 250
SETTLED_MS = 300
LARGEST_NOTEBOOK = 700_000  # most of it is the scripts of some forty parts, which ipywidgets keeps once for each
MOST_MEMORY = 1.2e9


@pytest.fixture
def lab(quickstart: LabPage) -> LabPage:
    """The explorer on screen, at rest, in a known state."""
    quickstart.kernel('explorer.view, explorer.scale = "histogram", "symlog"')
    quickstart.kernel('explorer.layer, explorer.snapshot = "conv1", 3; explorer.settled()', seconds=120)
    ex.bring_up(quickstart)
    quickstart.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '3.0'")
    quickstart.wait_until_still(ex.SPECTRUM)
    return quickstart


def test_every_cell_runs_and_every_figure_is_drawn(lab: LabPage, pictures: Path) -> None:
    assert lab.error_outputs() == []
    for pane in (ex.SPECTRUM, ex.LOSS, ex.HEAT):
        assert lab.colours(pane) > 10, f"{pane} is blank"
    assert lab.find(ex.PROBLEM).first.inner_text() == ""
    lab.page.screenshot(path=pictures / "explorer.png")


def test_dragging_the_slider_moves_the_spectrum_and_the_kernel_follows(lab: LabPage) -> None:
    last = lab.value(LAST)
    seen = {lab.fingerprint(ex.SPECTRUM)}
    code = {lab.find(ex.CODE).first.inner_text()}
    for share, wanted in ((1.0, last), (0.0, 0), (0.5, None)):
        ex.drag(lab, share)
        seen.add(lab.wait_until_still(ex.SPECTRUM))
        code.add(lab.find(ex.CODE).first.inner_text())
        here = ex.position(lab)
        assert wanted in (None, here)
        lab.wait_until("() => __probe.pending() === 0")
        assert lab.value("explorer.snapshot") == here
        assert lab.find(ex.CODE).first.inner_text() == lab.value("str(explorer.request)")
    assert len(seen) == 4, "some positions of the slider show the same picture"
    assert len(code) == 4


@pytest.mark.alone
def test_a_dragged_slider_and_a_quiet_one_show_the_same(lab: LabPage) -> None:
    """The last frame of a fast drag is the frame of the last value, soon, and no message is left over."""
    lab.kernel("explorer.snapshot = 7; explorer.settled()")
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '7.0'")
    quiet = lab.wait_until_still(ex.SPECTRUM)
    swept = meter.sweep(lab, ex.SLIDER, ex.SPECTRUM, last=lab.value(LAST), seconds=2, end=7)
    lab.wait_until("() => __probe.pending() === 0", seconds=2)
    print(f"{swept.rate:.1f} repaints/s, settled {swept.settle:.0f} ms after the last move")
    assert swept.repaints > 5
    assert swept.settle < SETTLED_MS
    assert lab.fingerprint(ex.SPECTRUM) == quiet
    assert lab.value("explorer.snapshot") == ex.position(lab) == 7


@pytest.mark.alone
def test_a_key_press_repaints_soon(lab: LabPage) -> None:
    keys = meter.latency(lab, ex.HANDLE, ex.SPECTRUM, steps=12)
    print(f"key press to changed pixel: median {keys.median:.0f} ms, 95 % {keys.p95:.0f} ms")
    assert keys.painted >= 10
    assert keys.median < SLOWEST_REPAINT_MS


def test_buttons_step_through_the_snapshots(lab: LabPage) -> None:
    lab.find(".lhx-next").first.click()
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '4.0'")
    lab.find(".lhx-prev").first.click()
    lab.find(".lhx-prev").first.click()
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '2.0'")
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("explorer.snapshot") == 2
    lab.find(".lhx-play").first.click()
    last = lab.value(LAST)
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '{last}.0'", seconds=20)
    lab.wait_until("() => __probe.all('.lhx-play')[0].textContent === 'Play'")
    assert lab.value("explorer.snapshot") == last


def test_picking_a_layer_changes_trait_and_picture(lab: LabPage) -> None:
    before, card = lab.fingerprint(ex.SPECTRUM), lab.find(ex.CARD).first.inner_text()
    ex.pick_layer(lab, "fc2")
    lab.wait_for_change(ex.SPECTRUM, before)
    assert lab.value("explorer.layer") == "fc2"
    assert lab.find(ex.CHOSEN).first.inner_text() == "fc2"
    assert lab.find(ex.CARD).first.inner_text() != card
    assert "'fc2'" in lab.find(ex.CODE).first.inner_text()


def test_arrow_keys_walk_the_layer_list(lab: LabPage) -> None:
    lab.find(".lhx-layers").first.focus()
    lab.page.keyboard.press("ArrowDown")
    lab.page.keyboard.press("Enter")
    lab.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === 'conv2'")
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("explorer.layer") == "conv2"


def test_a_click_on_the_map_jumps(lab: LabPage) -> None:
    before = lab.fingerprint(ex.SPECTRUM)
    rows = lab.value("[layer.name for layer in session.layers]")
    ex.click_heat(lab, rows.index("fc1"), 9)
    lab.wait_for_change(ex.SPECTRUM, before)
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '9.0'")
    assert lab.value("[explorer.layer, explorer.snapshot]") == ["fc1", 9]
    lab.wait_until_still(ex.HEAT)
    ex.click_heat(lab, rows.index("conv2"), 9)  # and again, from there
    lab.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === 'conv2'")
    assert lab.value("[explorer.layer, explorer.snapshot]") == ["conv2", 9]


def test_quick_and_slow_clicks_on_the_map_count_too(lab: LabPage) -> None:
    def cell(row: int, column: int) -> list[float]:
        place: list[float] = lab.page.evaluate("([s, x, y]) => __probe.place(s, x, y)", [ex.HEAT, column, row])
        return place

    lab.find(ex.HEAT).first.scroll_into_view_if_needed()
    names = lab.value("[layer.name for layer in session.layers]")
    for row, column in ((0, 2), (1, 5), (2, 8)):  # faster than a double click
        lab.page.mouse.click(*cell(row, column))
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '8.0'")
    lab.wait_until(f"() => __probe.all('{ex.CHOSEN}')[0].textContent === '{names[2]}'")
    lab.wait_until_still(ex.HEAT)
    lab.page.mouse.click(*cell(1, 4), delay=800)  # longer than what Bokeh takes for a tap
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '4.0'")
    assert lab.value("[explorer.layer, explorer.snapshot]") == [names[1], 4]


@pytest.mark.parametrize(
    "setting",
    ['layer = "fc2"', "snapshot = 11", 'view = "density"', 'scale = "linear"'],
)
def test_a_setting_in_code_moves_the_screen(lab: LabPage, setting: str) -> None:
    before = lab.fingerprint(ex.SPECTRUM)
    lab.kernel(f"explorer.{setting}; explorer.settled()")
    after = lab.wait_for_change(ex.SPECTRUM, before)
    assert after != before
    assert lab.find(ex.CODE).first.inner_text() == lab.value("str(explorer.request)")


def test_the_whole_network_comes_when_it_is_chosen(lab: LabPage) -> None:
    """It is no row of the map, so it is computed only now; what was chosen comes first."""
    before = lab.fingerprint(ex.SPECTRUM)
    lab.kernel("explorer.layer = None")
    lab.wait_for_change(ex.SPECTRUM, before)
    assert lab.find(ex.CHOSEN).first.inner_text() == "whole network"
    lab.wait_until(
        f"""() => __probe.all('{ex.CARD}')[0].dataset.state === 'known'
          && __probe.all('.lhx-current .lhx-card-title')[0].textContent.startsWith('whole network')""",
        seconds=60,
    )
    assert lab.value("explorer.spectrum.size") == lab.value("sum(layer.size for layer in session.layers)")
    assert lab.find(ex.CODE).first.inner_text() == lab.value("str(explorer.request)")


def test_what_the_card_says_is_what_the_session_says(lab: LabPage) -> None:
    for layer, snapshot in (("conv1", 3), ("fc2", 12)):
        lab.kernel(f'explorer.layer, explorer.snapshot = "{layer}", {snapshot}; explorer.settled()')
        word = lab.value(f'session.diagnose("{layer}", {snapshot}).hesd.word')
        lab.wait_until(f"() => __probe.all('.lhx-current .lhx-badge-word')[0].textContent === {word!r}")
        assert lab.value("explorer.badge").endswith(word)


def test_themes_change_colours_and_keep_text_readable(lab: LabPage, pictures: Path) -> None:
    light = lab.fingerprint(ex.SPECTRUM)
    try:
        for theme in ("dark", "light"):
            lab.theme(theme)
            now = lab.wait_until_still(ex.SPECTRUM)
            assert (now == light) == (theme == "light")
            words = lab.page.evaluate("(s) => __probe.contrasts(s)", ex.EXPLORER)
            assert len(words) > 20  # it did look at the words
            assert [row for row in words if row["contrast"] < READABLE] == [], theme
            for pane in (ex.SPECTRUM, ex.LOSS, ex.HEAT):
                drawn = lab.page.evaluate("(s) => __probe.drawnContrasts(s)", pane)
                assert len(drawn) > 2
                assert [row for row in drawn if row["contrast"] < READABLE] == [], (theme, pane)
            for width in (1280, 800):
                lab.resize(width, 1200)
                lab.scroll_to(ex.EXPLORER)
                lab.wait_until_still(ex.SPECTRUM)
                lab.find(ex.EXPLORER).first.screenshot(path=pictures / f"explorer-{theme}-{width}.png")
                lab.page.screenshot(path=pictures / f"page-{theme}-{width}.png")
            lab.resize(1280, 900)
    finally:
        lab.resize(1280, 900)
        lab.theme("light")


@pytest.mark.parametrize("width", [1280, 800])
def test_nothing_sticks_out(lab: LabPage, width: int) -> None:
    """Figures and words stay inside the notebook: no sideways scrolling."""
    try:
        lab.resize(width, 900)
        lab.wait_until_still(ex.SPECTRUM)
        assert lab.page.evaluate("(s) => __probe.outside(s)", ex.EXPLORER) == []
    finally:
        lab.resize(1280, 900)


def test_list_plot_and_card_stand_side_by_side_beside_the_file_browser(lab: LabPage) -> None:
    assert lab.page.evaluate("(s) => __probe.root(s).getBoundingClientRect().width", ex.EXPLORER) < 900
    tops, lefts = lab.page.evaluate(
        """(all) => { const boxes = all.map((s) => __probe.root(s).getBoundingClientRect());
          return [boxes.map((b) => b.top), boxes.map((b) => b.left)]; }""",
        [".lhx-left", ".lhx-middle", ".lhx-right"],
    )
    assert max(tops) - min(tops) < 2
    assert lefts == sorted(lefts)


@pytest.mark.parametrize("width", [1280, 800])
def test_heights_do_not_jump_while_scrubbing(lab: LabPage, width: int) -> None:
    """Neither the card, whose findings differ from snapshot to snapshot, nor what stands below it."""
    heights = "([a, b]) => [a, b].map((s) => Math.round(__probe.root(s).getBoundingClientRect().height))"
    try:
        lab.resize(width, 900)
        lab.wait_until_still(ex.SPECTRUM)
        words, seen = set(), set()
        for k in range(lab.value(LAST) + 1):
            lab.kernel(f"explorer.snapshot = {k}")
            lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '{k}.0'")
            lab.page.wait_for_timeout(60)
            words.add(
                lab.find(".lhx-current .lhx-findings").first.inner_text()
                if lab.page.evaluate("() => __probe.all('.lhx-current .lhx-findings').length")
                else ""
            )
            seen.add(tuple(lab.page.evaluate(heights, [ex.CARD, ex.EXPLORER])))
        assert len(words) > 2  # the cards do differ
        assert len(seen) == 1, seen
        hidden = "(s) => { const card = __probe.root(s); return card.scrollHeight - card.clientHeight; }"
        assert lab.page.evaluate(hidden, ex.CARD) <= 1  # nothing is hidden in it
    finally:
        lab.resize(1280, 900)


def test_a_snapshot_chosen_while_a_figure_is_built_is_shown(lab: LabPage) -> None:
    """Bokeh does not listen while it builds its views: what the slider says meanwhile must not be lost."""
    lab.page.evaluate(
        """([slider]) => {
          const standalone = Bokeh.require('embed/standalone'), build = standalone.add_document_standalone;
          window.__restore = () => { standalone.add_document_standalone = build; };
          standalone.add_document_standalone = (...given) => {
            const views = build(...given);
            let turns = 0; // of the queue of promises, through which the views are built
            const later = () => {
              if (turns++ < window.__turns) Promise.resolve().then(later);
              else __probe.root(slider).noUiSlider.set(9);
            };
            later();
            return views;
          };
        }""",
        [ex.SLIDER],
    )
    try:
        for turns, view in ((100, "density"), (200, "histogram"), (300, "density"), (500, "histogram")):
            lab.kernel("explorer.snapshot = 3; explorer.settled()")
            lab.wait_until_still(ex.SPECTRUM)
            lab.page.evaluate("(turns) => { window.__turns = turns; }", turns)
            lab.kernel(f"explorer.view = {view!r}; explorer.settled()")
            lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '9.0'")
            moved = lab.wait_until_still(ex.SPECTRUM)
            lab.find(ex.HANDLE).first.focus()
            lab.page.keyboard.press("ArrowRight")
            there = lab.wait_for_change(ex.SPECTRUM, moved)
            lab.page.keyboard.press("ArrowLeft")
            lab.wait_for_change(ex.SPECTRUM, there)
            assert lab.wait_until_still(ex.SPECTRUM) == moved, f"lost after {turns} turns"
    finally:
        lab.page.evaluate("() => window.__restore()")


def test_a_second_view_is_current_and_both_follow(lab: LabPage) -> None:
    lab.kernel("explorer.snapshot = 5; explorer.settled()")
    cells = len(lab.cells())
    lab.run_cell("explorer")
    try:
        lab.wait_until(f"() => __probe.all('{ex.EXPLORER}').length === 2")
        lab.find(ex.EXPLORER).last.scroll_into_view_if_needed()
        second = f".jp-Cell:nth-child({cells + 1}) {ex.SPECTRUM}"
        lab.wait_until_still(second)
        assert lab.find(ex.HANDLE).last.get_attribute("aria-valuenow") == "5.0"
        assert lab.colours(second) > 10
        before = lab.fingerprint(second)
        lab.kernel("explorer.snapshot = 9; explorer.settled()")
        lab.wait_for_change(second, before)
        assert lab.find(ex.HANDLE).first.get_attribute("aria-valuenow") == "9.0"
    finally:
        lab.command("notebook:delete-cell")


def test_a_reloaded_page_shows_the_present_state(lab: LabPage) -> None:
    lab.kernel('explorer.layer, explorer.snapshot = "fc1", 8; explorer.settled()')
    before = lab.wait_until_still(ex.SPECTRUM)
    lab.save()
    lab.reload()
    ex.bring_up(lab)
    assert ex.position(lab) == 8
    assert lab.find(ex.CHOSEN).first.inner_text() == "fc1"
    assert lab.wait_until_still(ex.SPECTRUM) == before
    lab.find(ex.HANDLE).first.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.wait_for_change(ex.SPECTRUM, before)
    lab.wait_until("() => __probe.pending() === 0")
    assert lab.value("explorer.snapshot") == 9  # still live


def test_the_saved_notebook_stays_small(lab: LabPage) -> None:
    lab.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")
    saved = lab.save()
    try:
        assert "application/vnd.jupyter.widget-state+json" in saved.read_text()
        print(f"saved with the state of all widgets: {saved.stat().st_size / 1000:.0f} kB")
        assert saved.stat().st_size < LARGEST_NOTEBOOK
    finally:
        lab.command("@jupyter-widgets/jupyterlab-manager:saveWidgetState")


def test_the_kernel_needs_little_memory(lab: LabPage) -> None:
    peak = 1024 * lab.value("__import__('resource').getrusage(__import__('resource').RUSAGE_SELF).ru_maxrss")
    print(f"peak of the kernel: {peak / 1e6:.0f} MB")
    assert peak < MOST_MEMORY

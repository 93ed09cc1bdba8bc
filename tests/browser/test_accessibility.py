"""Everything on screen for people who use a keyboard, a screen reader, a dark page or a small one.

axe-core looks at what can be read off the page; what happens under the hand is tried.
"""

from collections.abc import Iterator, Sequence
from importlib.resources import files
from typing import Any

import pytest
from canned import CannedSession
from labdriver import Chromium, LabPage, LabServer, meter, opened
from labdriver import explorer as ex

import lhexplore.explorer.views
from lhexplore.report import write

pytestmark = pytest.mark.browser

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
START = """
from canned import CannedRun, CannedSession
from lhexplore.explorer import Explorer, explore, views

session = CannedSession(missing=set(), has_held_out=True)
explorer = Explorer(session, layer="conv1", snapshot=5)
explorer.settled()
explorer
"""
ON_THE_PAGE = {"Scrubber", "LayerPicker", "SpectrumPlot", "HeatMap", "HesdBadge", "Progress", "Provenance", "Findings"}
ALONE = sorted(set(lhexplore.explorer.views.__all__) - ON_THE_PAGE)  # new views are looked at, too
SCOPES = [f".jp-Cell:nth-child({i + 2}) .lhx-kit" for i in range(len(ALONE) + 2)]  # below the notebook's header
PANES = (*ex.PANES, *(f".lhx-pane-{name}" for name in ("evolution", "metric", "hesd", "weights", "gradient")))
FIGURES = [f"{pane} .lhx-figure" for pane in PANES]
SPECTRUM = f"{ex.SPECTRUM} .lhx-figure"
LAST = 11
READABLE = 4.5  # contrast from which words can be told from their background (WCAG 2.2, 1.4.3)
FOCUSED = "() => document.activeElement"


@pytest.fixture(scope="module")
def page(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """The explorer, every view that is not on it, and a comparison; on a screen that shows them all."""
    cells = [START, *(f"views.{name}(explorer)" for name in ALONE), "explore(session, CannedSession(missing=set()))"]
    with opened(LabPage(server, chromium), "accessible", *cells, height=9000) as lab:
        for scope in (*PANES, SCOPES[-1]):
            lab.wait_until(f"() => __probe.canvases('{scope}').length", seconds=60)
        yield lab


@pytest.fixture(autouse=True)
def as_before(request: pytest.FixtureRequest) -> Iterator[None]:
    """Every test starts at conv1, snapshot 5, on a light page."""
    if "page" in request.fixturenames:
        lab: LabPage = request.getfixturevalue("page")
        put(lab, 5)
        yield
        lab.page.emulate_media(reduced_motion="no-preference", forced_colors="none")
        if lab.page.evaluate("() => document.body.dataset.jpThemeLight") == "false":
            lab.theme("light")
    else:
        yield


def put(lab: LabPage, snapshot: int, layer: str = "conv1") -> None:
    lab.kernel(f"explorer.layer, explorer.snapshot = {layer!r}, {snapshot}; explorer.settled()")
    stands(lab, snapshot)


def stands(lab: LabPage, snapshot: int) -> None:
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '{snapshot}.0'", seconds=5)


def press(lab: LabPage, *keys: str) -> None:
    for key in keys:
        lab.page.keyboard.press(key)


def found(page: Any, scope: str) -> list[str]:
    """What axe-core calls serious or critical below ``scope``, readable."""
    # the body of JupyterLab has no height: axe would take all that stands in it as cut off
    page.evaluate("() => { document.body.style.minHeight = '100vh'; }")
    if not page.evaluate("() => Boolean(window.axe)"):
        page.evaluate(AXE)
    result = page.evaluate("(scope) => axe.run({include: [scope]}, {resultTypes: ['violations', 'passes']})", scope)
    looked = {row["id"]: len(row["nodes"]) for row in result["passes"]}
    assert looked.get("color-contrast", 0) > 1, f"axe saw no words in {scope}"
    return [
        f"{scope} · {row['impact']} · {row['id']}: {row['help']} · {node['html'][:200]} · {node['failureSummary']}"
        for row in result["violations"]
        if row["impact"] in ("serious", "critical")
        for node in row["nodes"]
    ]


def test_axe_sees_what_is_wrong(page: LabPage) -> None:
    spoilt = "(s) => { __probe.all(s + ' .lhx-view select')[0].labels.forEach((e) => e.remove()); }"
    keep = "() => { window.__kept = __probe.all('.lhx-view label').map((e) => [e, e.parentElement]); }"
    back = "() => { for (const [label, row] of window.__kept) row.prepend(label); }"
    page.page.evaluate(keep)
    try:
        page.page.evaluate(spoilt, ex.EXPLORER)
        assert any("select-name" in row for row in found(page.page, ex.EXPLORER))
    finally:
        page.page.evaluate(back)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_serious_in_any_view(page: LabPage, theme: str) -> None:
    page.theme(theme)
    page.page.evaluate("() => { for (const each of __probe.all('.lhx-kit details')) each.open = true; }")
    try:
        page.page.wait_for_timeout(300)
        assert [row for scope in SCOPES for row in found(page.page, scope)] == []
        for scope in SCOPES:  # axe leaves out what stands on a picture, as words in lists do
            words = page.page.evaluate("(s) => __probe.contrasts(s)", scope)
            assert [row for row in words if row["contrast"] < READABLE] == [], scope
    finally:
        page.page.evaluate("() => { for (const each of __probe.all('.lhx-kit details')) each.open = false; }")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_in_a_report(chromium: Chromium, scheme: Any, tmp_path: Any) -> None:
    path = write(CannedSession(missing=set(), has_held_out=True), tmp_path / "report.html")
    tab = chromium.new_page()
    tab.emulate_media(color_scheme=scheme)
    tab.goto(path.as_uri())
    tab.wait_for_selector("body[data-ready]")
    tab.evaluate("() => { for (const each of document.querySelectorAll('details')) each.open = true; }")
    assert found(tab, "body") == []
    tab.close()


@pytest.mark.parametrize("colours", ["none", "active"])
def test_tab_reaches_every_control_in_reading_order_and_shows_where_it_is(page: LabPage, colours: Any) -> None:
    page.page.emulate_media(forced_colors=colours)
    controls = """() => __probe.all('.lhx-explorer *').filter((e) => e.tabIndex >= 0 && !e.disabled
        && e.checkVisibility({visibilityProperty: true, opacityProperty: true}) && e.getClientRects().length)"""
    count = page.page.evaluate(f"() => {{ window.__controls = ({controls})(); return window.__controls.length; }}")
    assert count > 20
    page.page.evaluate("() => window.__controls[0].focus()")
    seen = []
    for _ in range(count):
        seen.append(
            page.page.evaluate(
                """() => { const at = document.activeElement, {outlineStyle, outlineWidth} = getComputedStyle(at);
                  return [window.__controls.indexOf(at), outlineStyle !== 'none' && parseFloat(outlineWidth) >= 2]; }"""
            )
        )
        press(page, "Tab")
    assert [place for place, _ in seen] == list(range(count))
    assert [place for place, visible in seen if not visible] == []


WALK = {"ArrowRight": 6, "ArrowLeft": 5, "PageUp": 10, "PageDown": 5, "End": LAST, "Home": 0}


@pytest.mark.parametrize("place", [ex.HANDLE, ".lhx-next", *FIGURES])
def test_keys_walk_through_the_snapshots(page: LabPage, place: str) -> None:
    page.find(place).first.focus()
    for key, there in WALK.items():
        press(page, key)
        stands(page, there)
    assert page.page.evaluate(f"(s) => __probe.all(s)[0] === ({FOCUSED})()", place)
    page.wait_until("() => __probe.pending() === 0")
    assert page.value("explorer.snapshot") == 0


@pytest.mark.parametrize("place", [ex.HANDLE, ".lhx-play", FIGURES[0]])
def test_space_starts_and_stops_play(page: LabPage, place: str) -> None:
    press(page, "Home")
    page.find(place).first.focus()
    press(page, "Space")
    page.wait_until("() => __probe.all('.lhx-play')[0].getAttribute('aria-pressed') === 'true'")
    page.wait_until(f"() => Number(__probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow')) > 6")
    press(page, "Space")
    page.wait_until("() => __probe.all('.lhx-play')[0].textContent === 'Play'")
    here = ex.position(page)
    page.page.wait_for_timeout(600)
    assert ex.position(page) == here


def test_play_is_slow_for_who_wants_little_motion(page: LabPage) -> None:
    page.page.emulate_media(reduced_motion="reduce")
    page.find(".lhx-play").first.focus()
    press(page, "Space")
    page.page.wait_for_timeout(1000)
    assert ex.position(page) == 5  # of usual motion it would be 8 or 9
    stands(page, 6)
    press(page, "Space")


def test_arrows_walk_over_the_map(page: LabPage) -> None:
    figure = page.find(f"{ex.HEAT} .lhx-figure").first
    figure.focus()
    press(page, "ArrowDown")
    page.wait_until("() => __probe.all('.lhx-current .lhx-card-title')[0].textContent.startsWith('conv2')")
    page.wait_until(f"() => __probe.all('{ex.HEAT} .lhx-figure')[0].ariaValueText.startsWith('conv2, step 16')")
    press(page, "ArrowUp", "ArrowUp")  # and no further than the first row
    page.wait_until(f"() => __probe.all('{ex.HEAT} .lhx-figure')[0].ariaValueText.startsWith('conv1, step 16')")
    page.wait_until("() => __probe.pending() === 0")
    assert page.value("[explorer.layer, explorer.snapshot]") == ["conv1", 5]


def test_a_figure_is_zoomed_by_keys(page: LabPage) -> None:
    before = page.wait_until_still(ex.SPECTRUM)
    page.find(f"{ex.SPECTRUM} .lhx-figure").first.focus()
    press(page, "+")
    page.wait_for_change(ex.SPECTRUM, before)
    press(page, "0")
    assert page.wait_until_still(ex.SPECTRUM) == before


def test_a_key_on_a_finding_goes_there(page: LabPage) -> None:
    page.find(".lhx-explorer .lhx-go").nth(2).focus()  # of several layers: the snapshot is what counts
    press(page, "Enter")
    stands(page, 7)


FOCUS_STAYS = {
    "a button with nothing left to do": (".lhx-next", f"explorer.snapshot = {LAST}"),
    "a figure that is built anew": (SPECTRUM, "explorer.view = 'density'"),
    "the unfolded part of a card at another snapshot": (".lhx-card .lhx-current summary", "explorer.snapshot = 4"),
    "the card of another layer": (".lhx-card .lhx-current summary", "explorer.layer = 'head'"),
    "findings of which some went": (
        ".lhx-go >> nth=1",
        "session.run = CannedRun(CannedRun().findings[1:]); explorer.hub.changed('findings')",
    ),
    "a list": (".lhx-view select", "explorer.snapshot = 2"),
}


@pytest.mark.parametrize("case", FOCUS_STAYS)
def test_the_focus_is_never_lost(page: LabPage, case: str) -> None:
    place, change = FOCUS_STAYS[case]
    page.find(f"{ex.EXPLORER} {place}").first.focus()
    words = page.page.evaluate("() => document.activeElement.textContent")
    try:
        page.kernel(f"{change}; explorer.settled()")
        page.page.wait_for_timeout(400)
        at = "() => { const e = document.activeElement; return [e.tagName, e.textContent, !!e.closest('.lhx-kit')]; }"
        tag, now, inside = page.page.evaluate(at)
        assert inside, f"the focus is on {tag}"
        if "card" not in case and "figure" not in case:
            assert now == words
    finally:
        page.kernel("explorer.view = 'histogram'; session.run = CannedRun(); explorer.hub.changed('findings')")
        page.kernel("explorer.settled()")


def test_a_button_that_is_switched_off_hands_the_focus_to_its_row(page: LabPage) -> None:
    page.kernel("(doing,) = (v for v in explorer.views if isinstance(v, views.Progress)); doing.stop.disabled = False")
    page.wait_until("() => !__probe.all('.lhx-stop')[0].disabled")
    page.find(ex.STOP).first.focus()
    page.kernel("doing.stop.disabled = True")
    page.wait_until("() => document.activeElement.matches('.lhx-doing')")


def test_figures_say_what_they_show_now(page: LabPage) -> None:
    figure = page.find(f"{ex.SPECTRUM} .lhx-figure").first
    assert "conv1 at step 16: 80 eigenvalues from" in (figure.get_attribute("aria-label") or "")
    figure.focus()
    press(page, "ArrowRight")
    page.wait_until(f"() => __probe.all('{SPECTRUM}')[0].ariaLabel.includes('conv1 at step 32: 80 eigenvalues')")
    assert page.page.evaluate("(s) => __probe.all(s)[0].ariaValueText", SPECTRUM) == "conv1 · step 32 · exact"


def test_changes_are_said_once_things_rest_and_not_while_they_move(page: LabPage) -> None:
    page.page.evaluate("""() => { window.__said = [];
      for (const region of __probe.all('.lhx-explorer .lhx-said')) {
        const heard = () => { if (region.textContent) window.__said.push(region.textContent); };
        new MutationObserver(heard).observe(region, {childList: true});
      } }""")
    meter.sweep(page, ex.SLIDER, ex.SPECTRUM, last=LAST, seconds=2, end=3)  # waits a while after the last move
    said = page.page.evaluate("() => window.__said")
    assert len(said) == 1
    assert said[0].startswith("conv1 at step 4: 80 eigenvalues")
    regions = page.page.evaluate("() => __probe.all('.lhx-said').map((e) => [e.getAttribute('role'), e.ariaLive])")
    assert {role for role, _ in regions} == {"status"}  # polite by itself


def test_all_figures_follow_the_theme_without_the_kernel(page: LabPage) -> None:
    light = {pane: page.wait_until_still(pane) for pane in PANES}
    page.theme("dark")
    dark = {pane: page.wait_until_still(pane) for pane in PANES}
    assert [pane for pane in PANES if dark[pane] == light[pane]] == []
    for pane in PANES:
        drawn = page.page.evaluate("(s) => __probe.drawnContrasts(s)", pane)
        assert [row for row in drawn if row["contrast"] < READABLE] == [], pane
    page.theme("light")
    assert {pane: page.wait_until_still(pane) for pane in PANES} == light


def corners(lab: LabPage, panes: Sequence[str]) -> list[list[int]]:
    """Where two points of every figure lie on the page: moves with its ranges and with its frame."""
    script = "(all) => all.map((s) => [...__probe.place(s, 1, 1), ...__probe.place(s, 2, 2)].map(Math.round))"
    places: list[list[int]] = lab.page.evaluate(script, list(panes))
    return places


@pytest.mark.parametrize("scale", ["symlog", "linear", "loglog"])
@pytest.mark.parametrize("kind", ["histogram", "density", "cumulative", "rug"])
def test_axes_hold_still_while_scrubbing(page: LabPage, kind: str, scale: str) -> None:
    try:
        page.kernel(f"explorer.view, explorer.scale = {kind!r}, {scale!r}; explorer.settled()")
        page.wait_until_still(ex.SPECTRUM)
        page.find(ex.HANDLE).first.focus()
        press(page, "Home")
        seen, pictures = set(), set()
        for _ in range(LAST + 1):
            page.page.wait_for_timeout(90)
            seen.add(str(corners(page, PANES)))
            pictures.add(page.fingerprint(ex.SPECTRUM))
            press(page, "ArrowRight")
        assert len(seen) == 1
        assert len(pictures) > LAST - 1  # it did move
    finally:
        page.kernel("explorer.view, explorer.scale = 'histogram', 'symlog'; explorer.settled()")


@pytest.mark.parametrize("width", [800, 400])
def test_narrow_screens_stack_and_nothing_sticks_out(page: LabPage, width: int) -> None:
    try:
        page.command("application:toggle-left-area")
        page.resize(width, 14000)
        page.page.wait_for_timeout(800)
        for scope in SCOPES:
            assert page.page.evaluate("(s) => __probe.outside(s)", scope) == [], scope
        wide = """() => __probe.all('.jp-OutputArea-output').filter((e) => e.scrollWidth > e.clientWidth + 1)
          .map((e) => [e.scrollWidth, e.clientWidth, e.firstElementChild?.className])"""
        assert page.page.evaluate(wide) == []
    finally:
        page.command("application:toggle-left-area")
        page.resize(1280, 9000)

"""Where the parts of the explorer are on the page, and what a hand does with them."""

from pathlib import Path

from .screen import Screen

EXPLORER = ".lhx-explorer"
SPECTRUM = ".lhx-pane-spectrum"
LOSS = ".lhx-pane-loss"
HEAT = ".lhx-pane-heat"
PANES = (LOSS, HEAT, SPECTRUM)
SLIDER = ".lhx-slider .noUi-target"
HANDLE = ".lhx-slider .noUi-handle"
PLACE = ".lhx-place"
LAYER = ".lhx-layer"
CHOSEN = ".lhx-layer[aria-selected=true] .lhx-layer-name"
CARD = ".lhx-card"
BADGE = ".lhx-badge"
CODE = "code.lhx-code"
STATUS = ".lhx-status"
PROBLEM = ".lhx-problem"
STOP = ".lhx-stop"
COMPUTE = ".lhx-compute"


def bring_up(lab: Screen, *, seconds: float = 60) -> None:
    """Scroll to the explorer and wait until all its figures are drawn."""
    lab.scroll_to(EXPLORER, seconds=seconds)
    for pane in PANES:
        lab.find(pane).first.scroll_into_view_if_needed()
        lab.wait_until_still(pane, seconds=seconds)


def position(lab: Screen) -> int:
    """Where the slider's handle stands."""
    return int(float(lab.find(HANDLE).first.get_attribute("aria-valuenow") or "nan"))


def drag(lab: Screen, share: float, *, steps: int = 12, within: str = "") -> None:
    """Drag the slider's handle with the mouse to ``share`` of its track; of the page's first slider, or ``within``."""
    handle, track = lab.find(f"{within} {HANDLE}").first, lab.find(f"{within} {SLIDER} .noUi-base").first
    handle.scroll_into_view_if_needed()
    at, base = handle.bounding_box(), track.bounding_box()
    assert at is not None
    assert base is not None
    height = at["y"] + at["height"] / 2
    lab.page.mouse.move(at["x"] + at["width"] / 2, height)
    lab.page.mouse.down()
    lab.page.mouse.move(base["x"] + share * base["width"], height, steps=steps)
    lab.page.mouse.up()


def pick_layer(lab: Screen, name: str) -> None:
    """Click a row of the layer list."""
    row = lab.find(LAYER).filter(has=lab.page.get_by_text(name, exact=True)).first
    row.scroll_into_view_if_needed()
    row.click()


def click_heat(lab: Screen, row: int, column: int) -> None:
    """Click a cell of the map: row 0 is the top layer."""
    click_at(lab, HEAT, column, row)


def click_at(lab: Screen, pane: str, x: float, y: float) -> None:
    """Click the data point (x, y) of the figure in ``pane``."""
    lab.find(pane).first.scroll_into_view_if_needed()
    lab.page.mouse.click(*lab.page.evaluate("([s, x, y]) => __probe.place(s, x, y)", [pane, x, y]))


def photograph(lab: Screen, path: Path, *, width: int) -> None:
    """Take a picture of the whole explorer in a window of ``width`` pixels, high enough to show all of it."""
    lab.resize(width, 2400)
    for pane in PANES:
        lab.wait_until_still(pane)
    # Lab's own bars take some 130 pixels; a window that is too low would show them across the picture
    tall = lab.page.evaluate("(s) => __probe.root(s).getBoundingClientRect().height", EXPLORER)
    lab.resize(width, int(tall) + 400)
    lab.find(EXPLORER).first.evaluate("(e) => e.scrollIntoView({block: 'center'})")
    for pane in PANES:
        lab.wait_until_still(pane)
    lab.find(EXPLORER).first.screenshot(path=path)

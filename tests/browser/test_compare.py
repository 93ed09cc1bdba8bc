"""Two runs and two layers side by side: a real mouse on real pixels, and what the kernel made of it."""

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from labdriver import Chromium, LabPage, LabServer
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

CELLS = (
    """
import sys
sys.path.insert(0, {folder!r})
from dataclasses import replace
from canned import STEPS, CannedSession, CannedSnapshots, held_out, snapshots, spectrum
import lhexplore as lh

class Larger(CannedSession):
    def _spectrum(self, layer, k, split, curvature):
        row = self.snapshots[k]
        return replace(held_out(spectrum(layer, STEPS.index(row.step), row.label)), split=split)

a = CannedSession(missing=set())
b = Larger(missing=set(), snapshots=CannedSnapshots(row for row in snapshots() if row.step != 2))
two = lh.views.ComparePlot(CannedSession(missing=set()), "conv1", "head", snapshot=4)
two
""",
    'page = lh.explore(a, b, layer="conv1", snapshot=4)\npage',
)
TWO, PAGE = ".jp-Cell .lhx-kit-compare-plot:not(.lhx-comparison *)", ".lhx-comparison"
BOTH = f"{PAGE} .lhx-pane-compare"
ALONE = f"{TWO} .lhx-pane-compare"
READABLE = 4.5  # contrast from which words can be told from their background (WCAG 2.2, 1.4.3)


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabPage]:
    """A view of two layers and a page of two runs, each in a cell of its own."""
    folder = str(Path(__file__).parents[1])
    cells = [nbformat.v4.new_code_cell(cell.strip().replace("{folder!r}", repr(folder))) for cell in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = tmp_path_factory.mktemp("compare") / "compare.ipynb"
    nbformat.write(notebook, path)
    opened = LabPage(server, chromium)
    opened.open(server.add(path))
    opened.run_all()
    assert opened.error_outputs() == []
    opened.command("application:toggle-left-area")
    opened.resize(1280, 2600)
    for pane in (ALONE, BOTH):
        opened.scroll_to(pane)
        opened.wait_until_still(pane)
    yield opened
    opened.close()


def of_page(lab: LabPage, says: str) -> object:
    """What an expression says of the document ``d`` of the page's two figures."""
    script = f"""() => {{
      const root = __probe.all('{BOTH} .lhx-figure-root')[0];
      const found = Bokeh.documents.filter((d) => d.get_model_by_name('a-x-axis'));
      const d = found.find((each) => each.get_model_by_name('b-frame-title').text.startsWith('B · ' + 'conv')
        || each.get_model_by_name('b-frame-title').text.includes('no snapshot'));
      const [left, right] = d.get_model_by_name('compare').children;
      return {says};
    }}"""
    return lab.page.evaluate(script)


def titles(lab: LabPage) -> list[str]:
    return of_page(lab, "['a', 'b'].map((x) => d.get_model_by_name(`${x}-frame-title`).text)")  # type: ignore[return-value]


def move(lab: LabPage, snapshot: int) -> None:
    """Walk with the keys of the slider, as a person without a mouse does."""
    handle = lab.find(f"{PAGE} .lhx-slider .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    here = int(float(handle.get_attribute("aria-valuenow") or "nan"))
    for _ in range(abs(snapshot - here)):
        lab.page.keyboard.press("ArrowRight" if snapshot > here else "ArrowLeft")


def test_the_slider_moves_both_pictures_and_says_where_the_other_run_has_nothing(lab: LabPage) -> None:
    lab.kernel('page.layer, page.snapshot = "conv1", 4; page.settled()')
    before = lab.wait_until_still(BOTH)
    ex.drag(lab, 1.0, within=PAGE)
    lab.wait_for_change(BOTH, before)
    assert titles(lab) == ["A · conv1 · step 1,024 · exact", "B · conv1 · step 1,024 · exact"]
    lab.wait_until(f"() => __probe.all('{BOTH} .lhx-figure')[0].getAttribute('aria-label').includes('step 1,024')")
    words = f"__probe.all('{PAGE} .lhx-part-compare_words')[0].innerText"
    lab.wait_until(f"() => {words}.includes('λmax ratio 1.3')")
    move(lab, 2)
    lab.wait_until(f"() => {words}.includes('B: no snapshot at step 2')")
    assert titles(lab)[1] == "B · conv1 · no snapshot at step 2"
    lab.kernel("page.settled()")
    assert lab.value("page.snapshot") == 2
    move(lab, 4)
    lab.wait_until(f"() => {words}.includes('λmax ratio 1.3')")
    lab.kernel("page.settled()")
    assert lab.value("[hub.snapshot for hub in page.hubs]") == [4, 3]


def test_zooming_one_picture_moves_the_axes_of_the_other_without_the_kernel(lab: LabPage) -> None:
    lab.kernel('page.layer, page.snapshot = "conv1", 4; page.settled()')
    lab.find(BOTH).first.scroll_into_view_if_needed()
    before = lab.wait_until_still(BOTH)
    ends = "[left.x_range.start, left.x_range.end, right.x_range.start, right.x_range.end]"
    first = of_page(lab, ends)
    right = lab.page.evaluate(
        "(s) => { const b = __probe.all(s)[0].getBoundingClientRect(); return [b.x, b.y, b.width]; }",
        f"{BOTH} .lhx-figure",
    )
    x, y, width = right
    lab.page.mouse.move(x + 0.75 * width, y + 150)
    lab.page.mouse.down()
    lab.page.mouse.move(x + 0.88 * width, y + 150, steps=8)
    lab.page.mouse.up()
    lab.wait_for_change(BOTH, before)
    start, end, other_start, other_end = of_page(lab, ends)  # type: ignore[misc]
    assert [start, end] == [other_start, other_end]
    assert (end - start) < 0.6 * (first[1] - first[0])  # type: ignore[index]
    assert lab.pending() == 0
    of_page(lab, "(left.x_range.reset(), 0)")
    assert lab.wait_until_still(BOTH) == before


def test_a_click_on_a_layer_and_a_list_of_layers_change_both(lab: LabPage) -> None:
    before = lab.wait_until_still(BOTH)
    row = lab.find(f"{PAGE} .lhx-layer").filter(has=lab.page.get_by_text("conv2", exact=True)).first
    row.scroll_into_view_if_needed()
    row.click()
    lab.wait_for_change(BOTH, before)
    lab.kernel("page.settled()")
    assert lab.value("[hub.layer for hub in page.hubs]") == ["conv2", "conv2"]
    assert [title[:9] for title in titles(lab)] == ["A · conv2", "B · conv2"]
    before = lab.wait_until_still(BOTH)
    lab.find(f"{PAGE} .lhx-layer-both select").first.select_option(label="conv1")
    lab.wait_for_change(BOTH, before)
    assert lab.value("[hub.layer for hub in page.hubs]") == ["conv1", "conv1"]


def test_the_lists_of_two_layers_change_one_side_each(lab: LabPage) -> None:
    before = lab.wait_until_still(ALONE)
    lab.find(f"{TWO} .lhx-layer-b select").first.select_option(label="conv2")
    lab.wait_for_change(ALONE, before)
    lab.kernel("two.settled()")
    assert lab.value("[two.layer, two.pair.hubs[1].layer]") == ["conv1", "conv2"]
    words = f"__probe.all('{TWO} .lhx-part-compare_words')[0].innerText"
    lab.wait_until(f"() => {words}.startsWith('Not compared in numbers: the method is exact in A and lanczos in B')")
    lab.find(f"{TWO} .lhx-layer-b select").first.select_option(label="head")
    lab.find(f"{TWO} .lhx-layer-a select").first.select_option(label="head")
    lab.wait_until(f"() => {words}.startsWith('A and B are the same spectrum')")
    for kind in ("rug", "cumulative", "density", "histogram"):
        before = lab.wait_until_still(ALONE)
        lab.find(f"{TWO} .lhx-view select").first.select_option(label=kind)
        lab.wait_for_change(ALONE, before)
    lab.find(f"{TWO} .lhx-layer-a select").first.select_option(label="conv1")
    lab.kernel("two.settled()")


def test_autoscale_fits_both_and_gives_them_back(lab: LabPage) -> None:
    lab.kernel('page.layer, page.snapshot = "conv1", 0; page.settled()')
    before = lab.wait_until_still(BOTH)
    button = lab.find(f"{PAGE} .lhx-autoscale").first
    button.focus()
    lab.page.keyboard.press("Enter")
    lab.wait_for_change(BOTH, before)
    assert of_page(lab, "left.x_range === right.x_range && left.y_range === right.y_range") is True
    button.click()
    lab.kernel("page.settled()")
    assert lab.wait_until_still(BOTH) == before


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 800])
def test_figures_stand_side_by_side_or_stack_and_all_words_are_readable(
    lab: LabPage, theme: str, width: int, pictures: Path
) -> None:
    lab.kernel("page.snapshot = 5; page.settled()")
    try:
        lab.theme(theme)
        lab.resize(width, 2600)
        for scope, pane in ((TWO, ALONE), (PAGE, BOTH)):
            lab.scroll_to(scope)
            lab.find(pane).first.scroll_into_view_if_needed()
            lab.wait_until_still(pane)
            drawn = lab.page.evaluate("(s) => __probe.drawnContrasts(s)", pane)
            assert [row for row in drawn if row["contrast"] < READABLE] == []
            name = "compare-plot" if scope == TWO else "comparison"
            lab.find(scope).first.screenshot(path=pictures / f"{name}-{theme}-{width}.png")
            tall = lab.page.evaluate("(s) => __probe.all(s)[0].getBoundingClientRect().height", f"{pane} .lhx-figure")
            assert (tall > 500) == (width == 800)  # two figures of 290 pixels
            wide, inner = lab.page.evaluate(
                "(s) => { const e = __probe.all(s)[0]; return [e.scrollWidth, e.clientWidth]; }", scope
            )
            assert wide <= inner + 1
    finally:
        lab.theme("light")
        lab.resize(1280, 2600)

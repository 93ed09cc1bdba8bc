"""The map of types, the weights and the eigenvectors: a real mouse on real pixels, and what the kernel made of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

CELLS = (
    """
from canned import CannedSession
import lhexplore.explorer.views as views

session = CannedSession(missing=set())
hesd = views.HesdMap(session, layer="conv2", snapshot=0)
hesd
""",
    "parameters = views.ParameterPlot(session)\nparameters",
    "vectors = views.Eigenvectors(session)\nvectors",
)
HESD, WEIGHTS, VECTORS = ".lhx-pane-hesd", ".lhx-pane-weights", ".lhx-pane-vectors"
READABLE = 4.5  # contrast from which words can be told from their background (WCAG 2.2, 1.4.3)


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """Three views of one session, each in a cell of its own."""
    with opened(LabPage(server, chromium), "kit", *CELLS, panes=(HESD, WEIGHTS, VECTORS), height=2600) as page:
        yield page


def test_a_click_on_a_point_of_the_map_leads_every_view_there(lab: LabPage) -> None:
    at = "() => { const s = Bokeh.documents.map((d) => d.get_model_by_name('hesd-points')).find((m) => m);"
    x, y = lab.page.evaluate(f"{at} return [s.data.x[3], s.data.y[3]]; }}")
    before = {pane: lab.wait_until_still(pane) for pane in (HESD, WEIGHTS)}
    ex.click_at(lab, HESD, x, y)
    for pane, picture in before.items():
        lab.wait_for_change(pane, picture)
    assert lab.value("[hesd.snapshot, parameters.snapshot, vectors.snapshot]") == [3, 3, 3]
    lab.wait_until(f"() => __probe.all('{HESD} .lhx-figure')[0].getAttribute('aria-label').includes('step 4')")


def test_a_click_on_a_snapshot_of_the_weights_goes_there(lab: LabPage) -> None:
    before = lab.wait_until_still(WEIGHTS)
    ex.click_at(lab, WEIGHTS, 8, 0.0)
    lab.wait_for_change(WEIGHTS, before)
    assert lab.value("hesd.snapshot") == 8


def test_compute_draws_the_eigenvectors_and_says_their_numbers(lab: LabPage) -> None:
    lab.kernel('vectors.layer, vectors.snapshot = "head", 3; vectors.settled()')
    before = lab.wait_until_still(VECTORS)
    button = lab.find("button.lhx-vectors").first
    button.scroll_into_view_if_needed()
    button.click()
    lab.wait_for_change(VECTORS, before)
    lab.wait_until_still(VECTORS)
    assert lab.colours(VECTORS) > 20  # a map in shades of two colours
    label = lab.find(f"{VECTORS} .lhx-figure").first.get_attribute("aria-label")
    assert label is not None
    assert "λ₁ = 12 ± 10⁻⁶" in label
    assert lab.value("[float(x) for x in list(vectors._known.values())[0].values]") == [12.0, -8.0, 4.0]
    before = lab.wait_until_still(VECTORS)
    lab.kernel("vectors.snapshot = 5")  # what is shown is never that of another snapshot
    lab.wait_for_change(VECTORS, before)
    assert "not computed yet" in (lab.find(f"{VECTORS} .lhx-figure").first.get_attribute("aria-label") or "")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_words_are_readable(lab: LabPage, theme: str, pictures: Path) -> None:
    try:
        lab.theme(theme)
        for pane in (HESD, WEIGHTS, VECTORS):
            lab.find(pane).first.scroll_into_view_if_needed()
            lab.wait_until_still(pane)
            drawn = lab.page.evaluate("(s) => __probe.drawnContrasts(s)", pane)
            assert [row for row in drawn if row["contrast"] < READABLE] == []
        for kind in ("hesd-map", "parameter-plot", "eigenvectors"):
            lab.find(f".lhx-kit-{kind}").first.screenshot(path=pictures / f"{kind}-{theme}.png")
    finally:
        lab.theme("light")

"""What a person does with the figure of a spectrum in a real JupyterLab."""

import pytest
from labdriver import LabPage
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

LEGEND = f"{ex.EXPLORER} {ex.SPECTRUM} .lhx-legend"


@pytest.fixture
def lab(quickstart: LabPage) -> LabPage:
    """The explorer on screen, at rest, in a known state."""
    quickstart.kernel('explorer.view, explorer.scale, explorer.overlay = "histogram", "symlog", ()')
    quickstart.kernel('explorer.layer, explorer.snapshot = "conv1", 0; explorer.settled()', seconds=120)
    ex.bring_up(quickstart)
    quickstart.wait_until_still(ex.SPECTRUM)
    yield quickstart
    quickstart.kernel('explorer.view, explorer.scale, explorer.overlay = "histogram", "symlog", (); explorer.settled()')


def test_autoscale_fits_the_picture_and_gives_it_back(lab: LabPage) -> None:
    before = lab.wait_until_still(ex.SPECTRUM)
    lab.find(".lhx-autoscale").first.click()
    lab.wait_until("() => __probe.all('.lhx-autoscale')[0].innerText === 'All snapshots'")
    lab.kernel("explorer.settled()")
    assert lab.wait_until_still(ex.SPECTRUM) != before
    lab.find(".lhx-autoscale").first.click()
    lab.wait_until("() => __probe.all('.lhx-autoscale')[0].innerText === 'Autoscale'")
    lab.kernel("explorer.settled()")
    assert lab.wait_until_still(ex.SPECTRUM) == before


def test_a_layer_is_laid_over_and_the_legend_names_it(lab: LabPage) -> None:
    before = lab.wait_until_still(ex.SPECTRUM)
    name = lab.value("next(x for x in explorer.layers if x not in (explorer.layer, 'whole network'))")
    lab.find(".lhx-overlay select").first.select_option(label=name)
    lab.wait_until(f"() => __probe.all('{LEGEND}')[0].innerText.includes('{name}')", seconds=60)
    assert lab.value("explorer.overlay[0]") == name
    assert lab.wait_until_still(ex.SPECTRUM) != before
    lab.find(".lhx-overlay select").first.select_option(label="take all away")
    lab.wait_until(f"() => !__probe.all('{LEGEND}')[0].innerText.includes('{name}')")


@pytest.mark.parametrize("kind", ["cumulative", "rug"])
def test_every_kind_follows_the_slider(lab: LabPage, kind: str) -> None:
    lab.find(".lhx-view select").first.select_option(label=kind)
    lab.kernel("explorer.settled()")
    first = lab.wait_until_still(ex.SPECTRUM)
    ex.drag(lab, 1.0)
    assert lab.wait_until_still(ex.SPECTRUM) != first


def test_the_last_label_stays_where_not_all_fit(lab: LabPage) -> None:
    kept = lab.page.evaluate(
        """() => {
          const models = Bokeh.documents.flatMap((doc) => [...doc._all_models.values()]);
          const policy = models.find((model) => model.type === "NoOverlap");
          return [[0, 10, 20, 30, 36], [0, 5]].map((middles) => {
            const places = new Set(middles.keys());
            places.unset = (place) => places.delete(place);
            return [...policy.filter(places, [], (i, j) => middles[j] - middles[i] - 12 + policy.min_distance)];
          });
        }"""
    )
    assert kept == [[0, 2, 4], [0]]

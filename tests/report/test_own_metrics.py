"""A metric of one's own reaches the report's maps and the explorer's list; one that fails disturbs neither."""

import pytest
from canned import CannedSession

from lhexplore.diagnosis import METRICS, register_metric
from lhexplore.explorer import Explorer
from lhexplore.report.contents import contents


@pytest.fixture(autouse=True)
def own():
    before = dict(METRICS)

    @register_metric
    def middle_of_the_ends(spectrum):
        "Half-way between the two ends."
        return (spectrum.largest + spectrum.smallest) / 2

    @register_metric
    def broken(spectrum):
        raise KeyError(spectrum.layer)

    yield
    METRICS.clear()
    METRICS.update(before)


def names(made):
    return [entry["name"] for entry in made[0]["metrics"]]


def test_the_report_maps_it():
    maps = names(contents(CannedSession()))
    assert maps[-1] == "middle of the ends"
    assert not any("broken" in name for name in maps)  # known nowhere
    METRICS.pop("middle_of_the_ends")
    assert names(contents(CannedSession())) == maps[:-1]


def test_the_explorer_lists_and_draws_it():
    for metric in ("middle_of_the_ends", "broken"):
        explorer = Explorer(CannedSession(), metric=metric)
        try:
            explorer.metric = "trace"
            explorer.metric = metric
            assert explorer.metric == metric
        finally:
            explorer.close()

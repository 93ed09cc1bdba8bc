import ipywidgets as w
import pytest
from canned import CannedSession

import lhexplore as lh
from lhexplore.errors import SettingError
from lhexplore.explorer import Explorer
from lhexplore.explorer.layouts import LAYOUTS, TABS
from lhexplore.explorer.views import __all__ as every_view

PATIENCE = 30.0
PLACED = {"ComparePlot"}  # shows two runs, on a page of their own


def names(page):
    return [type(view).__name__ for view in page.views]


def under(widget):
    return [widget, *(one for child in getattr(widget, "children", ()) for one in under(child))]


@pytest.fixture(scope="module")
def shared():
    made = Explorer(CannedSession(missing=set()))
    yield made
    made.close()


@pytest.fixture
def page(shared):
    """The full page as it is at first, but for tabs that were opened before."""
    shared.tabs.selected_index, shared.layer, shared.scale = 0, "conv1", "symlog"
    shared.settled(PATIENCE)
    return shared


def painted(view):
    """Count from now on how often a view is drawn."""
    calls, paint = [], view.paint

    def counted(looking, stale):
        calls.append(stale)
        paint(looking, stale)

    view.paint = counted
    return calls


def test_the_full_page_has_a_place_for_every_view():
    kinds = {kind.__name__ for kind in (*LAYOUTS["full"], *TABS.values())}
    assert kinds == set(every_view) - PLACED


def test_a_tab_makes_its_view_when_it_is_opened_and_follows_the_page(page):
    for k, (title, kind) in enumerate(TABS.items()):
        page.tabs.selected_index = k
        page.settled(PATIENCE)
        (view,) = page.tabs.children[k].children
        assert (type(view), view.hub) == (kind, page.hub), title
        assert view in page.views
        assert view.note == ""
    page.layer = "head"
    assert {view.layer for view in page.views} == {"head"}


def test_a_closed_tab_is_neither_drawn_nor_sent_and_is_up_to_date_when_it_opens(page):
    evolution = page.tabs.views[0]
    calls = painted(evolution)
    page.tabs.selected_index = 1
    page.settled(PATIENCE)
    frames = evolution.pane.frames
    page.layer, page.scale = "head", "linear"
    page.settled(PATIENCE)
    assert calls == []
    assert evolution.pane.frames == frames
    assert "conv1" in evolution.sentence.first
    page.tabs.selected_index = 0
    page.settled(PATIENCE)
    assert len(calls) == 1
    assert "head" in evolution.sentence.first


def test_a_closed_tab_asks_for_nothing_to_be_computed(page):
    page.tabs.selected_index = 3  # weights and gradients
    page.settled(PATIENCE)
    kinds = {type(view).__name__ for view in page.hub.audience.views}
    assert "ParameterPlot" in kinds
    page.tabs.selected_index = 0
    assert "ParameterPlot" not in {type(view).__name__ for view in page.hub.audience.views}


def test_no_tab_may_be_open(page):
    page.tabs.selected_index = None
    page.settled(PATIENCE)
    assert "Evolution" not in {type(view).__name__ for view in page.hub.audience.views}


def test_one_tab_is_open_and_the_others_are_not_even_made_and_all_end_with_the_page():
    page = Explorer(CannedSession(missing=set()))
    assert page.tabs.titles == tuple(TABS)
    assert names(page)[-1] == "Evolution"
    assert [len(box.children) for box in page.tabs.children] == [1, 0, 0, 0, 0]
    page.settled(PATIENCE)
    assert page.views[-1].pane._plot is not None
    page.tabs.selected_index = 4
    opened = page.tabs.views
    page.close()
    assert [repr(view) for view in opened] == ["Evolution(closed)", "Eigenvectors(closed)"]
    assert page.hub.ended
    page.tabs.selected_index = 2  # a click that was under way
    assert page.tabs.views == opened


@pytest.mark.parametrize(
    ("layout", "kinds"),
    [
        ("compact", ["Scrubber", "LayerPicker", "SpectrumPlot", "HesdBadge", "Progress"]),
        ("spectrum", ["Scrubber", "SpectrumPlot", "Progress"]),
    ],
)
def test_smaller_pages_have_fewer_views_and_no_tabs(layout, kinds):
    made = lh.explore(CannedSession(missing=set()), layout=layout, layer="head")
    made.settled(PATIENCE)
    assert names(made) == kinds
    assert made.tabs is None
    assert [view.note for view in made.views] == [""] * len(kinds)
    assert all(view in under(made) for view in made.views)
    made.close()


@pytest.mark.parametrize("layout", ["compakt", w.Layout(width="50%"), None, 3, ["full"]])
def test_a_layout_that_does_not_exist_is_refused_with_near_names(layout):
    with pytest.raises(SettingError, match=r"layout cannot be .*(Did you mean|compact)"):
        lh.explore(CannedSession(), layout=layout)


def test_views_in_boxes_of_ones_own_are_linked():
    session = CannedSession(missing=set())
    slider, plot = lh.views.Scrubber(session, layer="conv1", snapshot=0), lh.views.SpectrumPlot(session)
    curves = lh.views.Evolution(plot)
    box = w.VBox([slider, w.HBox([plot, w.Tab([curves], titles=["Evolution"])])])
    plot.settled(PATIENCE)
    slider.hub.clock.value = 7
    plot.layer = "head"
    curves.settled(PATIENCE)
    assert {(view.layer, view.snapshot) for view in (slider, plot, curves)} == {("head", 7)}
    assert all("head" in view.sentence.first for view in (plot, curves))
    box.close()
    for view in (slider, plot, curves):
        view.close()
    assert slider.hub.ended

"""What nobody means to do, done to real sessions: every view says so in words and goes on."""

import asyncio
import json

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore import Session, views
from lhexplore.errors import SettingError
from lhexplore.explorer import state
from lhexplore.explorer.escape import plain
from lhexplore.explorer.state import shown

PATIENCE = 60
COUNT = 3


@pytest.fixture
def made():
    """Makes sessions of a small network and closes them."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    alive = []

    def make(**how):
        model = how.pop("model", None) or nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
        states = [{name: (1 + k) * value for name, value in model.state_dict().items()} for k in range(COUNT)]
        how = {"snapshots": states, "cache": False, **how}
        alive.append(Session(model, batch(), nn.CrossEntropyLoss(), **how))
        return alive[-1]

    yield make
    for session in alive:
        session.close()


def batch(seed=0):
    draw = torch.Generator().manual_seed(seed)
    return [(torch.randn(20, 3, generator=draw), torch.randint(2, (20,), generator=draw))]


def test_held_out_data_that_is_the_training_data_again_is_said_and_not_judged(made):
    session = made(held_out=batch())
    explorer = session.explore(split="both")
    explorer.settled(PATIENCE)
    assert explorer.held_out.largest == explorer.spectrum.largest
    assert explorer.problem == ""
    assert session.findings().course.held_out == {}
    assert any("training data again" in notice for notice in session.notices)
    assert not any("training data again" in notice for notice in made(held_out=batch(1)).notices)
    explorer.close()


def test_a_cached_whole_network_is_in_the_list_and_on_the_map_before_anybody_looks_at_it(made):
    session = made()
    session.compute(["*", None], progress=False)
    picker, heat = views.LayerPicker(session), views.HeatMap(session)
    picker.settled(PATIENCE)
    looking = picker.hub.look()
    rows = {entry.name: row for entry, row in zip(looking.shown, picker.hub.facts.table(looking), strict=True)}
    known = [session.cached(None, k).largest for k in range(COUNT)]
    assert rows["whole network"].tolist() == known
    assert [entry.key for entry in heat.rows][-1] is None
    picker.close()
    heat.close()


def test_a_tab_that_is_opened_after_the_session_was_closed_says_so(made):
    session = made()
    explorer = session.explore()
    explorer.settled(PATIENCE)
    session.close()
    opened = explorer.tabs.selected_index
    for tab in (1, opened, 1):
        explorer.tabs.selected_index = tab
    (said,) = explorer.tabs.children[1].children
    assert "session was closed" in said.first
    explorer.settled(PATIENCE)
    assert "closed" in explorer.status
    explorer.close()
    assert said.comm is None


def test_a_map_of_many_layers_asks_a_few_times_which_are_shown(made, monkeypatch):
    asked = []

    def counted(entries, layers):
        asked.append(len(entries))
        return shown(entries, layers)

    heat = views.HeatMap(made(model=nn.Sequential(*(nn.Linear(3, 3) for _ in range(30)), nn.Linear(3, 2))))
    heat.hub.stop()
    heat.settled(PATIENCE)
    monkeypatch.setattr(state, "shown", counted)
    heat.order = "now"
    heat.paint(heat.hub.look(), heat.wants)
    assert 0 < len(asked) < 15  # with as many as there are layers, 500 layers take seconds
    heat.close()


@pytest.mark.parametrize("name", [*views.__all__, "Explorer"])
def test_what_is_displayed_before_the_first_snapshot_waits_for_it(made, monkeypatch, tmp_path, name):
    monkeypatch.setattr("IPython.display.publish_display_data", lambda *_, **__: None)
    monkeypatch.setattr("lhexplore.explorer.shown.in_a_notebook", lambda: True)
    monkeypatch.setattr("lhexplore.explorer.twin_output.somebody_looks_on", lambda: True)
    model = nn.Sequential(nn.Linear(3, 2))
    with lh.record(model, tmp_path) as recorder:
        session = made(model=model, snapshots=recorder)
        view = lh.explore(session) if name == "Explorer" else getattr(views, name)(session)

        async def cell():
            view._repr_mimebundle_()

        asyncio.run(cell())
        another = views.Scrubber(view)  # draws all that joined
        assert "Waiting for the first snapshot" in another.note
        view.settled(PATIENCE)
        assert "Waiting for the first snapshot" in (view.status if name == "Explorer" else view.note)
        if name == "Progress":
            assert view.compute.disabled
            assert view.stop.disabled
        if name == "HeatMap":
            assert (view.again.layout.display, view.parts.layout.display) == ("none", "none")
        view.close()
        another.close()


@pytest.mark.filterwarnings("error")
def test_a_run_that_diverged_from_the_start_is_told_without_warnings(made):
    nan = {name: value * float("nan") for name, value in nn.Linear(3, 2).state_dict().items()}
    page = made(model=nn.Linear(3, 2), snapshots=[nan, nan], held_out=batch(1)).explore(layout="compact")
    metric = views.MetricPlot(page)
    metric.settled(PATIENCE)
    assert "not finite" in page.problem
    for shown_one in (page, metric):
        assert "NaN" not in shown_one.twin().words_html().replace("(NaN)", "")  # but for the cause that is told
    metric.close()
    page.close()


def test_a_name_from_right_to_left_leaves_the_numbers_behind_it_in_place(made):
    hebrew = "\u05e9\u05dc\u05d5\u05dd"
    states = dict.fromkeys((hebrew, "b"), nn.Linear(3, 2).state_dict())
    view = views.SpectrumPlot(made(model=nn.Linear(3, 2), snapshots=states), snapshot=hebrew)
    view.settled(PATIENCE)
    assert f"at \u2068{hebrew}\u2069: 8 eigenvalues" in view.sentence.first
    assert plain("\u202e" + hebrew) == f"\u2068{hebrew}\u2069"
    assert plain("λ ± 日本") == "λ ± 日本"
    view.close()


@pytest.mark.filterwarnings("error")
def test_a_finding_at_zero_has_a_place_on_an_axis_without_zero(made):
    view = views.SpectrumPlot(made(model=nn.Linear(3, 2)), scale="loglog")
    view.settled(PATIENCE)
    picture = view.twin().picture
    assert "D9" in picture.svg  # positive semi-definite by structure, so the smallest eigenvalue is zero
    view.close()


UNUSABLE = {
    "not finite": (
        lambda: {name: value * float("nan") for name, value in network().state_dict().items()},
        "not finite",
    ),
    "another shape": (lambda: network(5).state_dict(), "does not fit the model"),
}


def network(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))


@pytest.mark.parametrize("unusable", UNUSABLE)
def test_what_failed_is_not_said_to_be_not_computed_yet(made, unusable):
    spoilt, why = UNUSABLE[unusable]
    session = made(snapshots=[network().state_dict(), spoilt()], held_out=batch(1))
    page = session.explore(layout="compact", snapshot=1, overlay="2", ggn=True)
    page.settled(PATIENCE)
    names = ("SpectrumPlot", "Evolution", "HesdMap", "HeatMap", "ComparePlot", "MetricPlot", "Eigenvectors")
    for name in names:
        view = getattr(views, name)(page)
        view.settled(PATIENCE)
        told, twin = json.loads(view.sentence.texts), view.twin(picture=False).sentence
        assert told[-1] == twin
        assert "could not be" in twin
        assert why in twin
        assert "computed yet" not in twin
        assert "Press Compute" not in twin
        if len(told) > 1:
            assert "could not be" not in told[0]
        view.close()
    one = views.SpectrumPlot(page)
    one.settled(PATIENCE)
    assert "2: could not be computed. The Gauss-Newton matrix: could not be computed." in one.sentence.texts
    page.split = "both"
    page.settled(PATIENCE)
    assert "On held-out data: could not be computed." in json.loads(one.sentence.texts)[-1]
    one.close()
    page.close()


def test_a_metric_of_gradients_that_could_not_be_had_says_why(made):
    spoilt, why = UNUSABLE["not finite"]
    view = views.MetricPlot(made(snapshots=[network().state_dict(), spoilt()]), metric="gradient_norm", snapshot=1)
    view.hub.computing.stating.wish()
    view.settled(PATIENCE)
    view.hub.computing.stating.wait(PATIENCE)
    view.settled(PATIENCE)
    first, second = json.loads(view.sentence.texts)
    assert "could not be" not in first
    assert "2 of 2 layers could not be computed" in second
    assert why in second
    view.close()


def test_eigenvectors_that_were_asked_for_in_vain_say_why(made):
    spoilt, why = UNUSABLE["not finite"]
    view = views.Eigenvectors(made(snapshots=[spoilt()]))
    view.settled(PATIENCE)
    assert "Press Compute" in view.sentence.first
    view.compute()
    view.settled(PATIENCE)
    assert "eigenvectors could not be computed: " in view.sentence.first
    assert why in view.sentence.first
    view.close()


@pytest.mark.parametrize("odd", [1.5, True, None, [0]])
def test_a_snapshot_that_is_neither_number_nor_label_is_refused_in_words(made, odd):
    session = made()
    with pytest.raises(SettingError, match="snapshot must be a whole number or a label, got"):
        lh.explore(session, snapshot=odd)
    with pytest.raises(SettingError, match="snapshot must be a whole number or a label, got"):
        views.SpectrumPlot(session, snapshot=odd)


def test_a_number_of_another_library_is_a_number(made):
    view = views.Scrubber(made(), snapshot=np.int64(1))
    assert view.snapshot == 1
    view.close()


def test_no_snapshots_at_all_are_told_as_such(made):
    for nothing in ({}, []):
        with pytest.raises(SettingError, match="snapshots is empty"):
            made(snapshots=nothing)

"""The explorer on a real session: what its view computes is waited for, cached and shown."""

import json
import re

import pytest
import torch
from torch import nn

from lhexplore import Session
from lhexplore.explorer import Explorer
from lhexplore.explorer.views import Progress

PATIENCE = 60


@pytest.fixture
def session(tmp_path):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    states = [{name: (1 + k) * value for name, value in model.state_dict().items()} for k in range(3)]
    data = (torch.randn(20, 3), torch.randint(2, (20,)))
    with Session(model, [data], nn.CrossEntropyLoss(), snapshots=states, cache=tmp_path) as made:
        yield made


def test_waiting_for_the_session_waits_for_its_views(session):
    explorer = Explorer(session, snapshot=0)
    explorer.stop()  # from here on only what is looked at is computed
    session.wait(PATIENCE)
    explorer.layer, explorer.snapshot = "2", 1
    session.wait(PATIENCE)
    known = session.cached("2", 1)
    assert known is not None
    assert explorer.spectrum.largest == known.largest
    explorer.settled(PATIENCE)
    assert json.loads(explorer.views[4].card.texts)[1]["state"] == "known"
    explorer.close()


def test_a_closed_view_is_not_waited_for(session):
    explorer = Explorer(session)
    explorer.close()
    session.wait(PATIENCE)
    assert repr(explorer) == "Explorer(closed)"


def test_the_cost_of_what_is_missing_is_said_before_it_is_computed(session):
    view = Progress(session)
    view.settled(PATIENCE)
    assert re.fullmatch(r"0/6 spectra · 6 to go, about \d\S* s, (under 1|up to \d+) MB of memory", view.state.progress)
    assert session.cached("0", 0) is None
    session.compute(["0"], [1], progress=False)  # not by the view, and found by the next one in the cache
    view.close()
    again = Progress(session)
    again.settled(PATIENCE)
    assert again.state.progress.startswith("1/6 spectra · 5 to go, about ")
    again.compute.click()
    again.settled(PATIENCE)
    assert again.state.progress == ""
    again.close()

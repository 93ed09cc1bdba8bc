"""Metrics beside the generalisation gap over the snapshots of a real, small training."""

import inspect
import math

import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.session.generalisation import generalisation_of


@pytest.fixture
def run(digits):
    """Seven snapshots of a network that learns 60 examples by heart."""
    x, y = digits
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(64, 8), nn.Tanh(), nn.Linear(8, 10))
    optimiser, states = torch.optim.Adam(model.parameters(), lr=0.02), {}
    for step in range(61):
        if step % 10 == 0:
            states[f"step-{step}"] = {name: t.clone() for name, t in model.state_dict().items()}
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[:60]), y[:60]).backward()
        optimiser.step()
    data, held_out = [(x[:60], y[:60])], [(x[60:200], y[60:200])]
    with lh.Session(model, data, nn.CrossEntropyLoss(), snapshots=states, held_out=held_out, cache=False) as session:
        yield session


def test_every_metric_has_a_row_and_an_interval(run):
    run.compute(["0"], progress=False)
    table = generalisation_of(run, ["0"])
    names = [row["metric"] for row in table]
    assert {"trace", "lambda_max"} <= set(names)
    assert len(names) == len(set(names))
    for row in table:
        if not row["why not"]:
            assert -1 <= row["low"] <= row["correlation"] <= row["high"] <= 1
            assert row["snapshots"] == 7
    assert "held_out_loss − loss" in table.caption
    assert "follow each other" in table.caption


def test_the_gap_is_that_of_the_frozen_data(run):
    run.compute(["0"], progress=False)
    (row,) = generalisation_of(run, "0", names=["trace"])
    gaps, traces = [], []
    for label in [s.label for s in run.snapshots]:
        found = run.evaluate(label)
        gaps.append(found["held_out_loss"] - found["loss"])
        traces.append(run.spectrum("0", label).trace)
    order = [sorted(side).index(value) for side in (gaps, traces) for value in side]
    spread = sum((a - b) ** 2 for a, b in zip(order[:7], order[7:], strict=True))
    assert row["correlation"] == pytest.approx(1 - 6 * spread / (7 * 48))  # no ties


def test_what_is_not_cached_is_not_computed(run):
    table = generalisation_of(run, names=["trace"])
    assert table[0]["layer"] == "whole network"
    assert math.isnan(table[0]["correlation"])
    assert table[0]["why not"]
    assert run.cached(None, 0) is None


def test_three_snapshots_say_nothing(run):
    run.compute(["0"], [0, 1, 2], progress=False)
    (row,) = generalisation_of(run, "0", names=["trace"])
    assert "4 are needed" in row["why not"]


def test_no_held_out_data(model, loader):
    with lh.Session(model, loader, nn.CrossEntropyLoss(), cache=False) as session:
        session.spectrum("0")
        (row,) = generalisation_of(session, "0", names=["trace"])
        assert "held-out" in row["why not"]


def test_estimates_and_exact_spectra_are_not_mixed(run, monkeypatch):
    exact, estimate = run.spectrum("0", 0), run.spectrum("0", 1, method="lanczos", steps=5)
    answers = {"step-0": exact, "step-10": estimate}
    monkeypatch.setattr(run, "cached", lambda layer, label, **_: answers.get(label))
    with pytest.raises(ComparisonError, match="method"):
        generalisation_of(run, "0", names=["trace"])


def test_a_name_that_nothing_has_is_refused(run):
    for computed in (False, True):  # whatever is cached
        if computed:
            run.compute(["0"], progress=False)
        with pytest.raises(SettingError, match=r"no metric 'trase'\. Did you mean 'trace'"):
            run.generalisation("0", names=["trace", "trase"])
    with pytest.raises(SettingError, match="list of names"):
        inspect.unwrap(generalisation_of)(run, "0", names="trace")  # past the shape checker of the tests
    known = ["gradient_norm", "held_out_accuracy"]
    assert {row["metric"] for row in run.generalisation("0", names=known)} == set(known)

"""The summary: what was measured keeps its column, whatever training recorded under the same name."""

import pytest
import torch
from torch import nn

import lhexplore as lh

TAKEN = {"error": 0.75, "gradient_norm": 123.0, "trace": -7.0, "layer": 5.0, "ct": 9.0, "size": 1.0, "drift": 3.0}
FREE = {"loss": 1.5, "lr": 0.25, "accuracy": 0.5, "momentum": 0.9}


@pytest.fixture
def recorded(digits, tmp_path):
    """A session of a tiny network whose training recorded names that the summary uses."""
    x, y = digits
    model = nn.Linear(64, 10)
    with lh.record(model, tmp_path / "run", every=1) as recorder:
        for step in range(2):
            recorder.step(step, **TAKEN, **FREE)
            with torch.no_grad():
                model.weight.mul_(1.5)
    with lh.Session(
        model, [(x[:40], y[:40])], nn.CrossEntropyLoss(), snapshots=tmp_path / "run", cache=False
    ) as session:
        session.compute(progress=False)
        yield session


def test_recorded_numbers_stand_beside_measured_ones(recorded):
    (layer,) = (row.name for row in recorded.layers)
    table = recorded.summary()
    table = table[table.layer == layer]
    for label, (_, row) in zip(recorded.snapshots.labels, table.iterrows(), strict=True):
        spectrum, state = recorded.spectrum(layer, label), recorded.states(label, quick=True)[layer]
        assert (row.layer, row["size"], row.trace, row.error) == (layer, 650, spectrum.trace, spectrum.error)
        assert row.gradient_norm == state.gradient_norm
        assert row.ct == recorded.diagnose(layer, label).hesd.ct
        assert row.stability_number == pytest.approx(0.25 * spectrum.largest)
        assert {name: row[f"recorded_{name}"] for name in TAKEN} == TAKEN
        assert {name: row[name] for name in FREE} == FREE
    assert list(table.drift)[1] != 3.0
    assert table.columns.is_unique

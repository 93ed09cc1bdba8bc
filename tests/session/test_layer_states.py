"""States of layers through a session: computed once for all layers, kept on disk, read back without computing."""

import math

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.errors import SettingError, UnsupportedError
from lhexplore.session.layer_states import known_states, states, stream_states

SAME = 1e-9  # float64 sums of a hundred examples in another order


def gradients(model, state, x, y):
    """Of the plain float64 loss, by name."""
    tensors = {name: t.double().requires_grad_() for name, t in state.items()}
    outputs = torch.func.functional_call(model.double(), tensors, (x.double(),))
    found = torch.autograd.grad(nn.functional.cross_entropy(outputs, y), list(tensors.values()))
    return {name: g.numpy() for name, g in zip(tensors, found, strict=True)}


def test_gradients_of_all_layers_on_both_splits(session, model, snapshots, digits):
    x, y = digits
    for split, count in (("data", 120), ("held_out", 50)):
        g = gradients(model, snapshots["step-10"], x[:count], y[:count])
        found = states(session, "step-10", split=split)
        assert list(found) == [None, "0", "2", "4"]
        for name in ("0", "2", "4"):
            want = math.hypot(np.linalg.norm(g[f"{name}.weight"]), np.linalg.norm(g[f"{name}.bias"]))
            np.testing.assert_allclose(found[name].gradient_norm, want, rtol=SAME)
            assert (found[name].snapshot, found[name].split, found[name].reason) == ("step-10", split, "")
        np.testing.assert_allclose(
            found[None].gradient_norm ** 2, sum(found[name].gradient_norm ** 2 for name in ("0", "2", "4")), rtol=SAME
        )


def test_rayleigh_and_share_agree_with_the_exact_spectrum(session):
    found = states(session, "step-40", share_of=60)["2"]  # 54 parameters: all directions there are
    spectrum = session.spectrum("2", "step-40")
    assert spectrum.smallest <= found.gradient_rayleigh <= spectrum.largest
    assert found.gradient_share == pytest.approx(1)
    one = states(session, "step-40", share_of=1)["2"]
    pairs = session.eigenvectors("2", 1, "step-40")
    assert 0 <= one.gradient_share <= 1
    assert one.share_of == 1
    assert len(pairs.values) == 1
    # gᵀHg/gᵀg = Σ λ_i share_i, and all but the first lie between the ends
    low = one.gradient_share * pairs.values[0] + (1 - one.gradient_share) * spectrum.smallest
    assert low <= found.gradient_rayleigh + 1e-9


def test_parameters_moved_from_the_first_snapshot(session, snapshots):
    assert states(session, "step-0")["0"].moved == 0
    here, start = (
        np.concatenate([snapshots[label][f"0.{part}"].double().numpy().ravel() for part in ("weight", "bias")])
        for label in ("step-40", "step-0")
    )
    found = states(session, "step-40")["0"]
    np.testing.assert_allclose(found.moved, np.linalg.norm(here - start) / np.linalg.norm(start), rtol=SAME)
    np.testing.assert_allclose(found.norm, np.linalg.norm(here), rtol=SAME)


def test_known_states_never_compute_and_outlive_the_session(session, model, loader, snapshots, tmp_path, monkeypatch):
    assert known_states(session, "step-10") == {}
    first = states(session, "step-10", share_of=2)
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=tmp_path / "cache") as again:
        monkeypatch.setattr(again._lane, "states", None)
        found = known_states(again, "step-10")
        assert list(found) == list(first)
        assert found["2"].gradient_share == first["2"].gradient_share  # what is known is more than what was asked
        assert repr(found["0"]) == repr(first["0"])
        assert list(stream_states(again, "step-10")) == []
        assert known_states(again, "step-40") == {}
        assert known_states(again, "step-10", share_of=3) == {}


def test_the_quick_part_costs_no_products_and_is_part_of_the_whole(session):
    quick = states(session, "step-10", quick=True)
    steps = list(stream_states(session, "step-10", quick=True))
    assert steps == []  # known
    whole = states(session, "step-10")
    for name, one in quick.items():
        assert one.gradient_norm == whole[name].gradient_norm
        assert (one.norm, one.moved) == (whole[name].norm, whole[name].moved)
        assert np.isnan(one.gradient_rayleigh)
        assert not len(one.singular_values)
        assert np.isfinite(whole[name].gradient_rayleigh)
    assert known_states(session, "step-10")["0"].gradient_rayleigh == whole["0"].gradient_rayleigh  # the best there is


def test_another_first_snapshot_is_another_state(session, model, loader, snapshots, tmp_path):
    moved = states(session, "step-40")["0"].moved
    rest = {label: snapshots[label] for label in ("step-10", "step-40")}
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=rest, cache=tmp_path / "cache") as other:
        assert known_states(other, "step-40") == {}
        assert states(other, "step-40")["0"].moved < moved


def test_a_first_snapshot_that_cannot_be_used(model, loader, snapshots):
    bad = {"step-0": {"0.weight": torch.zeros(1)}, "step-40": snapshots["step-40"]}
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=bad, cache=False) as session:
        found = states(session, "step-40")["0"]
        assert math.isnan(found.moved)
        assert "first snapshot" in found.reason
        assert found.gradient_norm > 0
        assert known_states(session, "step-0") == {}


def test_stopping_keeps_what_is_complete(session):
    steps = stream_states(session, "step-10")
    for step in steps:
        if step.state is not None and step.state.layer == "0":
            break
    steps.close()
    assert set(known_states(session, "step-10")) == {None, "0"}
    assert set(states(session, "step-10")) == {None, "0", "2", "4"}


def test_states_are_those_of_the_loss(model, loader, snapshots):
    with lh.Session(
        model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, functional="half_square", cache=False
    ) as local:
        with pytest.raises(UnsupportedError, match="functional='loss'"):
            states(local)
        assert known_states(local) == {}


def test_what_makes_no_sense_is_refused(session):
    with pytest.raises(SettingError, match="share_of"):
        states(session, share_of=-1)
    with pytest.raises(SettingError, match="split"):
        states(session, split="test")


def test_the_summary_has_columns_of_what_is_known(session):
    session.compute(progress=False)
    plain = session.summary()
    assert not {"gradient_rayleigh", "weight_sigma_max", "stability_number"} & set(plain.columns)
    assert (plain.gradient_norm > 0).all()  # it comes along
    assert np.isnan(plain.loc[plain.snapshot == "step-0", "drift"]).all()  # nothing before it
    later = plain[plain.snapshot == "step-40"].set_index("layer")
    for name in ("0", "2", "4"):
        a, b = (session.spectrum(name, label).eigenvalues for label in ("step-10", "step-40"))
        np.testing.assert_allclose(later.loc[name, "drift"], np.abs(a - b).mean(), rtol=SAME, atol=1e-15)
    found = states(session, "step-10", share_of=2)
    full = session.summary()
    here = full[full.snapshot == "step-10"].set_index("layer")
    for name in ("0", "2", "4"):
        assert here.loc[name, "gradient_norm"] == found[name].gradient_norm
        assert here.loc[name, "gradient_share"] == found[name].gradient_share
        assert here.loc[name, "weight_sigma_max"] == found[name].singular_values[0]
        assert here.loc[name, "status"] == "ok"
    assert np.isnan(full.loc[full.snapshot == "step-40", "gradient_share"]).all()


def test_the_summary_shows_a_state_without_a_spectrum(session):
    states(session, "step-0")
    row = session.summary().query("snapshot == 'step-0' and layer == '2'").iloc[0]
    assert row.status == "not computed"
    assert row.parameter_moved == 0


def test_a_recorded_learning_rate_gives_stability_numbers(model, loader, snapshots, tmp_path):
    recorder = lh.record(model, tmp_path / "run")
    recorder.step(0, lr=0.5)
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=tmp_path / "run", cache=False) as session:
        session.compute("2", progress=False)
        row = session.summary().query("layer == '2'").iloc[0]
        np.testing.assert_allclose(row.stability_number, 0.5 * row.lambda_max, rtol=SAME)


def test_a_metric_of_ones_own_is_a_column_even_where_it_fails(session):
    from lhexplore.diagnosis import register_metric, unregister

    @register_metric
    def odd(spectrum):
        return spectrum.size if spectrum.layer == "2" else spectrum.no_such_thing

    try:
        session.compute(snapshots="step-10", progress=False)
        table = session.summary().query("snapshot == 'step-10'").set_index("layer")
        assert table.loc["2", "odd"] == 54
        assert np.isnan(table.loc["0", "odd"])
    finally:
        unregister("odd")


def test_columns_that_are_no_metrics_are_reserved(session):
    from lhexplore.diagnosis import METRICS, PAIR_METRICS, STATE_METRICS
    from lhexplore.diagnosis.metrics.own import COLUMNS

    session.compute("2", progress=False)
    states(session)
    assert set(session.summary().columns) <= COLUMNS | METRICS.keys() | PAIR_METRICS.keys() | STATE_METRICS.keys()

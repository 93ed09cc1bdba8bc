"""The methodology through a session: what is known of a snapshot, step by step, snapshots and data side by side."""

import math

import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.errors import ComparisonError, SettingError
from lhexplore.session.hesd_reading import context_of, methodology_of, picks_of, relative_of


def test_context_names_modules_and_the_snapshot(session):
    context = context_of(session, 0)
    assert (context.dropout, context.batch_norm, context.first, context.loaded) == ((), (), True, ())
    assert math.isnan(context.recorded_loss)
    assert math.isnan(context.evaluated_loss)
    assert context.whole_data  # asked for 512 examples, there are 120
    session.evaluate(1)
    later = context_of(session, 1)
    assert later.evaluated_loss == session.losses(1)["loss"]
    assert not later.first


def test_dropout_and_batch_norm_are_found_by_kind(digits):
    x, y = digits
    model = nn.Sequential(
        nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 10), nn.AlphaDropout(0.1)
    )
    with lh.Session(model, [(x[:40], y[:40])], nn.CrossEntropyLoss(), samples=20, cache=False) as session:
        context = context_of(session)
        assert (context.dropout, context.batch_norm) == (("2", "5"), ("1",))
        assert context.whole_data is None  # the loader had more


@pytest.fixture
def negative(model):
    """Weights of half their usual size: C_t is −.75 at 120 digits."""
    return {name: t * 0.5 for name, t in model.state_dict().items()}


def test_weights_that_are_not_those_of_the_record_are_likely_not_loaded(model, loader, negative):
    saved = {"model": {f"module.{name}": t for name, t in negative.items()}, "loss": 0.01, "step": 7}
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots={"last": saved}, cache=False) as session:
        read = methodology_of(session)
        context = context_of(session)
        assert any("'module.'" in note for note in context.loaded)
        assert (context.recorded_loss, context.step) == (0.01, 7)
        assert context.evaluated_loss == pytest.approx(math.log(10), abs=0.2)  # it knows nothing
        assert (read["Gate"].verdict, read.hesd.type) == ("stop", "MN")
        likely = {cause.name for cause in read.causes if cause.verdict == "likely"}
        assert likely == {"an untrained network", "weights that were not really loaded"}


def test_an_untrained_network_is_named_as_such(model, loader, negative):
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=[negative], cache=False) as session:
        read = methodology_of(session)
        assert read.hesd.type == "MN"
        assert (read.causes[0].name, read.causes[0].verdict) == ("an untrained network", "likely")
        assert "chance is 0.1" in read.causes[0].why
        ruled_out = {cause.name for cause in read.causes if cause.verdict == "ruled out"}
        assert {"dropout", "BatchNorm in training mode", "a batch that changes between products"} <= ruled_out
        assert {"ghost eigenvalues from lost orthogonality", "round-off", "too little data"} <= ruled_out


def test_step_by_step_for_the_whole_network_and_for_a_layer(session):
    whole = methodology_of(session)
    assert (whole.layer, whole.snapshot) == (None, "step-40")
    assert "120 examples, mode eval" in whole["Data and mode"].value
    assert whole["Data and mode"].verdict == "fine"
    assert whole.held_out is None  # not cached, and not asked for
    assert session.cached(None, -1, split="held_out") is None
    layer = methodology_of(session, "0", 0)
    assert (layer.layer, layer.snapshot) == ("0", "step-0")
    assert "lhexplore's extension" in layer["Gate"].text
    assert methodology_of(session, "0", 0) == layer


def test_held_out_is_computed_when_asked_for_and_used_when_cached(session):
    asked = methodology_of(session, "0", held_out=True)
    assert asked.held_out is not None
    assert "held-out" in asked["Quasi-singular flag"].value
    assert methodology_of(session, "0").held_out == asked.held_out


def test_history_is_what_is_cached(session):
    assert methodology_of(session, "0")["Quasi-singular flag"].verdict == "not known"
    session.spectrum("0", 0)
    assert methodology_of(session, "0")["Quasi-singular flag"].verdict != "not known"


def test_picks_stand_beside_each_other(session):
    picks = picks_of(session, "0")
    assert [c.snapshot for c in picks.candidates] == ["step-0", "step-10", "step-40"]
    assert [p.criterion for p in picks.picks] == ["smallest |C_t|", "smallest λmax", "largest held_out_accuracy"]
    exact = {c.snapshot: c.largest for c in picks.candidates}
    assert picks.picks[1].snapshot == min(exact, key=exact.get)
    low, high = picks.candidates[0].held_out_interval
    assert high > low  # of a counted share


def test_two_data_sets(session):
    spectra = [session.spectrum(None, -1, split=split) for split in ("data", "held_out")]
    found = relative_of(session)
    assert found.ct.before == lh.hesd(spectra[0]).ct
    assert found.ct.after == lh.hesd(spectra[1]).ct
    assert found.accuracy.before == session.losses()["accuracy"]
    assert found.accuracy.after == session.losses()["held_out_accuracy"]


def test_the_limits_of_the_session_hold_for_two_data_sets(session):
    assert relative_of(session)
    session.thresholds = lh.Thresholds(floor=1e6)
    with pytest.raises(ComparisonError, match="floor"):
        relative_of(session)


def test_two_data_sets_of_a_negative_type_are_refused(model, loader, negative):
    with (
        lh.Session(
            model, loader, nn.CrossEntropyLoss(), snapshots=[negative], held_out=loader[:1], cache=False
        ) as session,
        pytest.raises(ComparisonError, match="mainly positive"),
    ):
        relative_of(session)


def test_without_held_out_data_it_is_said(model, loader):
    with lh.Session(model, loader, nn.CrossEntropyLoss(), cache=False) as session:
        with pytest.raises(SettingError, match="second loader"):
            relative_of(session, "0")
        with pytest.raises(SettingError, match="second loader"):
            methodology_of(session, "0", held_out=True)
        assert picks_of(session, "0").picks[2].snapshot is None
        assert methodology_of(session, "0").held_out is None


def test_a_closed_session_still_reads_what_is_cached(session):
    session.spectrum("0")
    session.close()
    assert methodology_of(session, "0").snapshot == "step-40"


def test_nothing_of_the_model_changes(session, model):
    before = {name: t.clone() for name, t in model.state_dict().items()}
    methodology_of(session)
    assert all(torch.equal(t, before[name]) for name, t in model.state_dict().items())


@pytest.fixture
def batchwise(model, loader, snapshots, tmp_path):
    """A session whose snapshots carry accuracies that training recorded of small batches: all of them perfect."""
    recorded = {"accuracy": 1.0, "held_out_accuracy": 1.0, "loss": 0.01, "held_out_loss": 0.01}
    saved = {label: {"model": state, **recorded} for label, state in snapshots.items()}
    with lh.Session(
        model, loader, nn.CrossEntropyLoss(), snapshots=saved, held_out=loader[:1], cache=tmp_path / "cache"
    ) as made:
        assert made.snapshots[0].metrics == recorded
        yield made


def test_two_data_sets_have_the_accuracies_that_their_examples_have(batchwise):
    found = relative_of(batchwise)
    measured = [batchwise._evaluated[split, "step-40"]["accuracy"] for split in ("data", "held_out")]
    assert [found.accuracy.before, found.accuracy.after] == measured
    low, high = found.accuracy.interval
    assert low < found.accuracy.difference < high


def test_what_a_batch_had_comes_without_an_interval(batchwise):
    for split in ("data", "held_out"):
        batchwise.spectrum(None, split=split)
    batchwise.close()
    found = relative_of(batchwise)
    assert (found.accuracy.before, found.accuracy.after) == (1.0, 1.0)
    assert all(map(math.isnan, found.accuracy.interval))
    assert found.accuracy.direction == "undecided"


def test_snapshots_are_picked_by_what_the_frozen_data_say(batchwise):
    picks = picks_of(batchwise, "0")
    for c in picks.candidates:
        assert c.held_out == batchwise._evaluated["held_out", c.snapshot]["accuracy"]
        assert c.held_out_interval[0] < c.held_out < c.held_out_interval[1]
    batchwise._evaluated.clear()
    batchwise.close()
    recorded = picks_of(batchwise, "0")
    assert [c.held_out for c in recorded.candidates] == [1.0] * 3
    assert all(math.isnan(end) for c in recorded.candidates for end in c.held_out_interval)
    assert "how sure that is, is not known" in recorded.picks[2].why


def test_a_perfect_batch_does_not_make_a_network_trained(model, loader, negative):
    saved = {"model": negative, "accuracy": 1.0}
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots={"last": saved}, cache=False) as session:
        (untrained,) = (cause for cause in methodology_of(session).causes if cause.name == "an untrained network")
        assert untrained.verdict == "likely"
        assert "the accuracy is 1," not in untrained.why

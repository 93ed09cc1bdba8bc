"""A session read as one run: what is cached and nothing else, each block beside its neighbours."""

from dataclasses import replace

import pytest
from torch import nn

import lhexplore as lh
from lhexplore import errors
from lhexplore.diagnosis import diagnose_cell, diagnose_run, unregister
from lhexplore.session import keys, reading
from lhexplore.session.reading import course_of, findings, read

LABELS = ("step-0", "step-10", "step-40")


def test_a_course_is_what_is_cached(session):
    assert course_of(session).spectra == {}
    first = session.spectrum("4", "step-10")
    course = course_of(session)
    assert course.snapshots == LABELS
    assert course.spectra == {("4", "step-10"): first}
    assert course.held_out == {}
    assert course.steps == {row.label: row.step for row in session.snapshots if row.step is not None}
    held_out = session.spectrum("4", "step-10", split="held_out")
    session.evaluate("step-10")
    course = course_of(session)
    assert course.held_out == {("4", "step-10"): held_out}
    assert course.losses["step-10"] == session.losses("step-10")
    assert {"loss", "held_out_loss"} <= set(course.losses["step-10"])


def test_held_out_spectra_are_a_course_of_their_own(session):
    held_out = session.spectrum("4", "step-10", split="held_out")
    course = course_of(session, split="held_out")
    assert course.spectra == {("4", "step-10"): held_out}
    assert course.held_out == {}
    session.spectrum("4", "step-10", curvature="ggn")
    assert {s.curvature for s in course_of(session, curvature="ggn").spectra.values()} == {"ggn"}
    assert course_of(session).spectra == {}


def test_states_come_along(session):
    session.spectrum("4", "step-10")
    session.states("step-10")
    course = course_of(session)
    assert list(course.states) == [("4", "step-10")]
    assert course.states["4", "step-10"].gradient_norm > 0


def test_a_cell_reads_as_in_the_run(session):
    session.compute(progress=False)
    course = course_of(session)
    whole = diagnose_run(course)
    assert set(course.layers) == {"0", "2", "4"}
    for layer in ("0", "2", "4"):
        here = read(session, session.cached(layer))
        assert here.findings == diagnose_cell(course, layer, "step-40").findings == whole.at(layer)
        assert "session.findings()" in here.silent["D1"]
    assert findings(session).findings == whole.findings


@pytest.mark.parametrize("computed", [(0, 5, -1), (1, 4, 7, 10)])
def test_one_layer_is_told_what_the_run_is_told_where_snapshots_are_missing(computed):
    with lh.demo.overtrained(cache=False) as made:
        made.compute(["*"], list(computed), progress=False)
        run = made.findings()
        told = 0
        for label in (made.snapshots[k].label for k in computed):
            for layer in run.layers:
                here = made.diagnose(layer, label).findings
                assert here == run.at(layer, label)
                told += len(here)
    assert told  # or nothing was compared


def counted(monkeypatch, module, name):
    """Let a function of a module be counted."""
    calls, function = [], getattr(module, name)
    monkeypatch.setattr(module, name, lambda *args, **kwargs: calls.append(args) or function(*args, **kwargs))
    return calls


def test_all_cells_are_read_from_one_run(session, monkeypatch):
    session.compute(progress=False)
    judged, hashed = counted(monkeypatch, reading, "diagnose_run"), counted(monkeypatch, keys, "key")
    gathered = counted(monkeypatch, reading, "loss_series")
    table = session.summary()
    assert set(table[table.status == "ok"].layer) == {"0", "2", "4"}
    for layer in ("0", "2", "4"):
        assert session.diagnose(layer).findings == session.known_diagnosis(layer).findings
    session.findings()
    assert (len(judged), len(gathered)) == (1, 1)
    # a state lies under two names per block and snapshot, a spectrum of whatever method under three at most
    assert len(hashed) <= 5 * 4 * len(LABELS)
    hashed.clear()
    session.summary()
    assert not hashed


def test_what_is_new_is_read_anew(session, model, loader, snapshots):
    first = session.spectrum("4")
    assert read(session, first).hesd.reasons
    before = course_of(session)
    assert course_of(session) is before
    second = session.spectrum("2")
    assert course_of(session).spectra == {("4", "step-40"): first, ("2", "step-40"): second}
    session.evaluate()
    assert set(course_of(session).losses["step-40"]) == set(session.losses())
    assert findings(session) is findings(session)
    session.states()
    assert {name for name, _ in course_of(session).states} == {"4", "2"}
    with lh.Session(
        model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=session._store.path
    ) as other:  # another process is another store on the same folder
        third = other.spectrum("0")
    assert course_of(session).spectra["0", "step-40"].largest == third.largest
    session.snapshots[0].metrics["loss"] = 7.0
    assert course_of(session).losses["step-0"] == {"loss": 7.0}


def test_new_thresholds_are_heard(session):
    session.compute(progress=False)
    session.diagnose("4")
    session.thresholds = replace(session.thresholds, floor=1e9)
    assert session.diagnose("4").hesd.type == "undecided"


def test_metrics_of_ones_own_come_and_go(session):
    session.diagnose("4")
    lh.register_metric(name="twice", meaning="Twice λmax.")(lambda spectrum: 2 * spectrum.largest)
    try:
        assert session.diagnose("4").metrics["twice"] == 2 * session.spectrum("4").largest
    finally:
        unregister("twice")
    assert "twice" not in session.diagnose("4").metrics


def test_another_spectrum_than_the_cached_one_is_judged_itself(session):
    session.compute(progress=False)
    estimate = session.spectrum("4", method="lanczos", steps=5, probes=2)
    assert read(session, estimate).hesd.kh_basis == "m=5"
    assert read(session, session.cached("4")).hesd.kh_basis == "exact"


def test_a_session_serves_as_reference(session, model, loader, snapshots):
    session.compute(progress=False)
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=False) as other:
        course = course_of(session, reference=other)
        assert course.reference.snapshots == LABELS
        assert course.reference.spectra == {}
    again = course_of(session, reference=course)
    assert again.reference is course


@pytest.mark.parametrize("wrong", ["runs/a", ["runs/a"], 5, {}])
def test_a_reference_of_another_kind_is_refused(session, wrong):
    for reference in (wrong, [session]):
        with pytest.raises(errors.SettingError, match="reference must be one session"):
            findings(session, reference=reference)


def test_a_reference_of_another_curvature_is_refused(session):
    session.spectrum("4", "step-10")
    session.spectrum("4", "step-10", curvature="ggn")
    with pytest.raises(errors.ComparisonError, match="reference run"):
        findings(session, reference=course_of(session, curvature="ggn"))


def test_tied_weights_are_told(loader):
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, 10)
            self.second.weight = self.first.weight

        def forward(self, x):
            return self.head(self.second(self.first(x).tanh()).tanh())

    with lh.Session(Tied(), loader, nn.CrossEntropyLoss(), cache=False) as made:
        made.spectrum("second")
        (told,) = [f for f in findings(made).at("second") if f.rule == "D9" and "built" in f.title]
        assert "first" in told.text

"""A session read as one run: what is cached and nothing else, each block beside its neighbours."""

import pytest
from torch import nn

import lhexplore as lh
from lhexplore import errors
from lhexplore.diagnosis import diagnose_cell, diagnose_run
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


def test_a_session_serves_as_reference(session, model, loader, snapshots):
    session.compute(progress=False)
    with lh.Session(model, loader, nn.CrossEntropyLoss(), snapshots=snapshots, cache=False) as other:
        course = course_of(session, reference=other)
        assert course.reference.snapshots == LABELS
        assert course.reference.spectra == {}
    again = course_of(session, reference=course)
    assert again.reference is course


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

"""What must hold for every run: no exception, no finding from missing numbers, no preference for order or scale."""

from dataclasses import replace

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lhexplore.diagnosis import Course, diagnose_run, hesd
from lhexplore.layer_state import LayerState

size = st.floats(1e-4, 1e4)
value = st.one_of(st.just(0.0), size, size.map(lambda x: -x))
number = st.one_of(st.just(float("nan")), st.floats(0, 3), st.sampled_from([0.0, 1.0, float("inf")]))
NAMES = ("loss", "val_loss", "accuracy", "lr")
LAYERS = (None, "a", "b", "c", "d")
COUNT = 5  # parameters of every layer
labels = ("0", "1", "2", "3")
cell = st.one_of(st.none(), st.lists(value, min_size=COUNT, max_size=COUNT))
rows = st.fixed_dictionaries({(layer, label): cell for layer in LAYERS for label in labels})
losses = st.fixed_dictionaries({label: st.dictionaries(st.sampled_from(NAMES), number) for label in labels})
gradients = st.dictionaries(
    st.tuples(st.sampled_from(LAYERS), st.sampled_from(labels)), st.one_of(st.just(float("nan")), st.floats(0, 3))
)


def build(exact, rows, losses, gradients, scale=1.0):
    spectra = {
        key: exact(np.array(values) * scale, layer=key[0], snapshot=key[1])
        for key, values in rows.items()
        if values is not None
    }
    states = {key: LayerState(*key, COUNT, gradient_norm=norm) for key, norm in gradients.items()}
    return Course(labels, spectra, losses=losses, states=states)


def signature(run):
    return sorted((f.rule, f.title, str(f.layer), f.snapshot, f.window) for f in run.findings)


@settings(max_examples=60, deadline=None)
@given(rows, losses, gradients)
def test_a_run_takes_whatever_comes(exact, rows, losses, gradients):
    course = build(exact, rows, losses, gradients)
    run = diagnose_run(replace(course, reference=course))
    known = {label for _, label in course.spectra}
    for f in run.findings:
        assert not np.isnan(f.value)
        assert 0 <= f.weight <= 1
        assert set(f.window) <= known
        assert f.snapshot in f.window
        assert "{" not in f.title + f.text
        assert "unknown" not in f.title + f.text, f.text  # how a NaN is written
    for layer in course.layers:
        for label in labels:
            here = run.at(layer, label)
            assert all(f.layer == layer for f in here)
            if (layer, label) not in course.spectra and layer is not None:
                assert not here


@settings(max_examples=40, deadline=None)
@given(rows, losses, gradients, st.permutations(LAYERS))
def test_the_order_of_layers_does_not_matter(exact, rows, losses, gradients, order):
    shuffled = {(layer, label): rows[layer, label] for layer in order for label in labels}
    a = diagnose_run(build(exact, rows, losses, gradients))
    b = diagnose_run(build(exact, shuffled, losses, gradients))
    assert signature(a) == signature(b)
    assert a.silent == b.silent


@settings(max_examples=40, deadline=None)
@given(rows, losses.map(lambda r: {k: {n: x for n, x in row.items() if n != "lr"} for k, row in r.items()}), gradients)
def test_the_scale_of_the_loss_does_not_matter(exact, rows, losses, gradients):
    """A power of two, so that no quotient is rounded differently; D8 alone has an absolute scale."""
    a = diagnose_run(build(exact, rows, losses, gradients))
    b = diagnose_run(build(exact, rows, losses, gradients, scale=2.0**20))
    assert signature(a) == signature(b)


@settings(max_examples=150, deadline=None)
@example([[1.0], [1000.0]], 1e-9, 0.0, 1e-3)  # rounding as large as all that one probe has seen
@given(
    st.lists(st.lists(value, min_size=1, max_size=12), min_size=1, max_size=6),
    st.sampled_from([0.0, 1e-9, 1e-4, 1e-2, 0.3]),
    st.sampled_from([0.0, 1e-3, 1.0]),
    st.sampled_from([0.0, 1e-3, 0.06]),
)
def test_the_quick_look_at_the_ends_never_hides_a_type(lanczos, probes, residual, band, defect):
    """Types of layers are read off their ends where these are clear; the criteria themselves must agree."""
    s = lanczos(
        [sorted(p) for p in probes],
        residuals=[np.full(len(p), residual * max(map(abs, p))) for p in probes],
        zero_band=band,
        symmetry_defect=defect,
    )
    found = {f.title for f in diagnose_run(Course(("now",), {("fc1", "now"): s})).findings if f.rule == "HESD"}
    judged = hesd(s)
    want = {"MN": {"Mainly negative, or not yet trained"}, "undecided": {"Type undecided"}}.get(judged.type, set())
    assert found == (set() if judged.flat else want)

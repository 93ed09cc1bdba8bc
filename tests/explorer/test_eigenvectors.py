import json
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from bokeh.models import LinearColorMapper
from canned import HOSTILE, SHAPES, CannedSession, eigenpairs

from lhexplore.errors import NotFiniteError
from lhexplore.explorer import views
from lhexplore.explorer.figures import eigenvector_plot
from lhexplore.explorer.tensors import tiles, upright

PATIENCE = 20  # seconds; only a hang takes longer


def plot_of(layer, count=2, **how):
    pairs = eigenpairs(layer, count, 3, products=4)
    return pairs, eigenvector_plot(pairs, SHAPES[layer], name=layer, label="step 4", **how)


def source(plot, name):
    return plot.root.select_one({"name": name}).data


def titles(plot):
    return [model.text for model in plot.root.references() if type(model).__name__ == "Title"]


# ---- the figure


@pytest.mark.parametrize("layer", ["conv1", "head", HOSTILE])
def test_every_vector_is_a_picture_and_stems_with_one_sign_and_one_scale(layer):
    pairs, plot = plot_of(layer)
    for i, vector in enumerate(pairs.vectors):
        assert vector[np.abs(vector).argmax()] < 0  # as they come; they are turned
        image, stems = tiles(upright(vector), SHAPES[layer])
        np.testing.assert_array_equal(source(plot, f"vector-{i}-0")["image"][0], image.dots[::-1])
        np.testing.assert_array_equal(source(plot, f"vector-{i}-1")["y"], stems.dots[0])
    (mapper,) = {m.id: m for m in plot.root.references() if isinstance(m, LinearColorMapper)}.values()
    assert mapper.high == -mapper.low == pytest.approx(max(v.max() for v in map(upright, pairs.vectors)))
    middle = mapper.palette[len(mapper.palette) // 2]
    assert middle == "#f2f2f2"  # zero is the neutral colour


def test_eigenvalues_carry_their_residuals_and_shares_are_said():
    pairs, plot = plot_of("conv1")
    assert {"λ₁ = 12 ± 10⁻⁶", "λ₂ = −8 ± 10⁻⁶"} <= set(titles(plot))
    share = 100 * float(pairs.vectors[0][:72] @ pairs.vectors[0][:72])
    assert f"{share:.0f} % in weight" in plot.sentences[0]
    assert "largest component is positive" in plot.sentences[0]


def test_of_many_tensors_the_largest_are_drawn_and_the_rest_is_said():
    shapes = [("a.weight", (3, 3)), ("a.bias", (2,)), ("b.weight", (4, 4)), ("b.bias", (3,)), ("c.weight", (2, 2))]
    size = sum(int(np.prod(shape)) for _, shape in shapes)
    pairs = SimpleNamespace(values=np.ones(1), vectors=np.eye(size)[:1], residuals=np.zeros(1))
    plot = eigenvector_plot(pairs, shapes, name="whole network", label="step 4")
    drawn = {title for title in titles(plot) if "×" in title}
    assert drawn == {"a.weight (3 × 3)", "b.weight (4 × 4)", "c.weight (2 × 2)"}
    assert "100 % in a.weight" in plot.sentences[0]
    assert plot.sentences[0].endswith("2 smaller tensors are not drawn.")


def test_nothing_computed_says_what_to_do():
    plot = eigenvector_plot(None, [], name=HOSTILE, label="step 4")
    assert "Press Compute" in plot.sentences[0]
    assert "$$" not in plot.sentences[0]


# ---- the view


@pytest.fixture
def made():
    alive = []

    def make(session, **how):
        alive.append(views.Eigenvectors(session, **how))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


def words(view):
    return json.loads(view.sentence.texts)[0], json.loads(view.cost.texts)[0]


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def test_nothing_is_computed_until_somebody_asks_and_the_cost_is_said_before(made):
    session = CannedSession()
    view = made(session, layer="conv1", snapshot=0)
    assert session.asked == []
    assert words(view)[1].startswith("Costs at most 80 products")
    view.layer = "conv2"
    view.settled(PATIENCE)
    assert words(view)[1].startswith("Costs about 90 products")
    view.count.value = 1
    view.settled(PATIENCE)
    assert words(view)[1].startswith("Costs about 30 products")


def test_compute_shows_them_and_they_are_kept(made):
    view = made(CannedSession(), layer="conv1", snapshot=3)
    view.button.click()
    view.settled(PATIENCE)
    assert "λ₃ = 4 ± 10⁻⁶" in words(view)[0]
    assert words(view)[1] == "Computed with 4 products."
    assert view.button.disabled
    view.snapshot = 4
    view.settled(PATIENCE)
    assert words(view)[0] == "conv1 at step 8: eigenvectors are not computed yet. Press Compute."
    assert not view.button.disabled
    view.compute()  # the same from code
    view.settled(PATIENCE)
    assert view.pairs.complete
    view.snapshot = 3
    view.settled(PATIENCE)
    assert "λ₃ = 4 ± 10⁻⁶" in words(view)[0]
    known = view.pairs
    view.compute()
    view.settled(PATIENCE)
    assert view.pairs is known


class Waiting(CannedSession):
    """Gives its first item and waits; says whether it was closed before the second."""

    def stream_eigenvectors(self, layer, k=3, snapshot=-1, **_):
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), threading.Event()
        try:
            yield eigenpairs(layer, 0, 0, products=1)
            self.begun.set()
            assert self.go.wait(PATIENCE)
            yield eigenpairs(layer, 0, 0, products=2)
            yield eigenpairs(layer, k, 0, products=4)
        finally:
            self.ended.set()


@pytest.mark.parametrize("how", ["layer", "snapshot", "stop"])
def test_moving_on_or_stop_gives_it_up(made, how):
    session = Waiting()
    view = made(session, layer="conv1", snapshot=3)
    view.button.click()
    until(lambda: hasattr(session, "begun"))
    assert session.begun.wait(PATIENCE)
    until(lambda: words(view)[1] == "Computing. 1 of at most 4 products.")
    assert view.button.description == "Stop"
    if how == "stop":
        view.button.click()
    else:
        setattr(view, how, {"layer": "head", "snapshot": 5}[how])
    session.go.set()
    assert session.ended.wait(PATIENCE)
    view.settled(PATIENCE)
    assert "not computed yet" in words(view)[0]
    assert view.button.description == "Compute"
    view.layer, view.snapshot = "conv1", 3
    view.settled(PATIENCE)
    assert "not computed yet" in words(view)[0]


def test_a_failure_is_told_and_can_be_tried_again(made):
    session = CannedSession()

    def failing(*_, **__):
        raise NotFiniteError("The loss is NaN at this snapshot.")

    session.stream_eigenvectors = failing
    view = made(session, layer="conv1", snapshot=3)
    view.button.click()
    view.settled(PATIENCE)
    assert words(view)[1] == "The loss is NaN at this snapshot."
    assert view.note == ""
    del session.stream_eigenvectors
    view.button.click()
    view.settled(PATIENCE)
    assert words(view)[1] == "Computed with 4 products."

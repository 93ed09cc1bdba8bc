"""A real training on digits: what stands in the figures is what the session knows."""

import numpy as np
import pytest
import torch
from drawn import bars, frame, line

import lhexplore as lh
from lhexplore import figures


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with lh.demo.digits(model="dense", steps=64, samples=32, cache=tmp_path_factory.mktemp("cache")) as session:
        session.compute(["*"], split="both", states=True, progress=False)
        session.compute([None], [0, -1], progress=False)
        yield session
    torch.set_num_threads(before)


def test_every_figure_of_a_real_run(digits, tmp_path):
    layers = [layer.name for layer in digits.layers]
    last = digits.snapshots[-1].label
    counts, edges = bars(frame(figures.spectrum(digits, layers[0])), f"{layers[0]}, {last}")
    found = digits.cached(layers[0])
    np.testing.assert_allclose(counts, found.size * found.histogram(edges).mass, rtol=1e-12)
    steps, values = line(frame(figures.metric(digits, "lambda_max", [None])), "whole network")
    assert steps.tolist() == [0, 64]
    assert values.tolist() == [digits.cached(None, k).largest for k in (0, -1)]
    assert line(frame(figures.losses(digits)), "held-out loss")[1][-1] == digits.losses()["held_out_loss"]
    norms = line(frame(figures.metric(digits, "gradient_norm", layers[:1])), layers[0])[1]
    assert norms[-1] == digits.cached_states()[layers[0]].gradient_norm
    drawn = [
        figures.spectrum(digits, layers[1], held_out=True, findings=True, kind="density"),
        figures.evolution(digits, layers[1]),
        figures.heat_map(digits, "trace", split="held_out"),
        figures.hesd_map(digits),
        figures.compare(digits, layer=(layers[0], layers[-1])),
    ]
    for k, picture in enumerate(drawn):
        for ending in ("svg", "pdf", "png"):
            assert picture.save(tmp_path / f"{k}.{ending}", dpi=50).stat().st_size > 1000


def test_a_course_gives_the_same_figures_as_its_session(digits):
    layer, course = digits.layers[0].name, digits.course()
    for draw in (figures.heat_map, figures.losses, lambda s: figures.evolution(s, layer), figures.hesd_map):
        assert draw(course)._repr_svg_() == draw(digits)._repr_svg_()

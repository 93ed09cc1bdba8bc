"""Comparisons in time and among layers agree with their definitions, written out in plain loops."""

import statistics

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lhexplore.diagnosis import Course, Thresholds
from lhexplore.diagnosis.rules.chain import Chain
from lhexplore.diagnosis.rules.grid import Grid

ROUND = 1e-14  # one addition and one halving of the median

shapes = st.tuples(st.integers(1, 7), st.integers(1, 9))
numbers = st.one_of(st.just(np.nan), st.floats(-5, 5), st.sampled_from([0.0, 1.0, 2.0, np.inf]))
tables = shapes.flatmap(lambda shape: hnp.arrays(float, shape, elements=numbers))


@given(tables, st.integers(1, 3))
def test_beside_divides_by_the_median_of_the_others(values, others):
    layers = (*(f"l{i}" for i in range(len(values) - 1)), None)
    grid = Grid(Course(tuple(map(str, range(values.shape[1]))), {}), Thresholds(others=others), {})
    grid.layers = layers
    found = grid.beside(values)
    for i, t in np.ndindex(*values.shape):
        beside = [values[k, t] for k in range(len(values) - 1) if k != i and not np.isnan(values[k, t])]
        middle = statistics.median(beside) if len(beside) >= others else np.nan
        usable = layers[i] is not None and 0 < middle < np.inf
        with np.errstate(all="ignore"):
            want = values[i, t] / middle if usable else np.nan
        np.testing.assert_allclose(found[i, t], want, rtol=ROUND)


@given(tables, st.data(), st.integers(1, 4))
def test_a_chain_links_what_was_made_alike(values, data, window):
    judged = data.draw(hnp.arrays(bool, values.shape))
    basis = data.draw(hnp.arrays(int, values.shape, elements=st.integers(0, 1)))
    condition = data.draw(hnp.arrays(bool, values.shape))
    chain = Chain(judged, basis)
    back, own = chain.back(values), chain.own(values)
    lasting, settled = chain.lasting(condition, window), chain.settled(condition, window)
    for i, t in np.ndindex(*values.shape):
        if not judged[i, t]:
            assert not lasting[i, t]
            assert not settled[i, t]
            continue
        alike = [k for k in range(values.shape[1]) if judged[i, k] and basis[i, k] == basis[i, t]]
        past = [k for k in alike if k <= t]
        np.testing.assert_equal(back[i, t], values[i, past[-2]] if len(past) > 1 else np.nan)
        highest = max((values[i, k] for k in past if not np.isnan(values[i, k])), default=np.nan)
        with np.errstate(all="ignore"):
            np.testing.assert_equal(own[i, t], values[i, t] / highest if highest > 0 else np.nan)
        assert chain.columns(i, t, window) == past[-window:]
        assert lasting[i, t] == (len(past) >= window and all(condition[i, k] for k in past[-window:]))
        least = min(window, len(alike))
        assert settled[i, t] == (len(past) >= least and all(condition[i, k] for k in past[-least:]))
    assert chain.length == max(np.sum(judged[i] & (basis[i] == b)) for i in range(len(values)) for b in (0, 1))

"""The choice of a method: sizes and settings in, a sentence and a price out."""

import re

import pytest

from lhexplore.curvature.planner import KEPT, LARGEST_CHUNK, choose, chunk_size, dense_bytes, lanczos_bytes
from lhexplore.errors import SettingError, TooLargeError


@pytest.mark.parametrize(
    ("size", "settings", "method"),
    [
        (1, {}, "dense"),
        (1024, {}, "dense"),
        (1025, {}, "lanczos"),
        (1025, {"probes": 10}, "dense"),  # 512 columns' worth against about 1,000 products
        (4096, {"probes": 40}, "dense"),
        (4097, {"probes": 100}, "lanczos"),
        (10, {"method": "lanczos"}, "lanczos"),
        (2000, {"method": "dense"}, "dense"),
        (1000, {"memory": dense_bytes(1000) - 1}, "lanczos"),
    ],
)
def test_choice(size, settings, method):
    choice = choose(size, **settings)
    assert choice.method == method
    assert choice.reason.strip()


def test_reasons_are_sentences_with_the_numbers():
    assert choose(650).reason == "every eigenvalue: 650 parameters are few enough (at most 1,024)"
    assert "100 Lanczos steps from each of 5 random start vectors" in choose(8256).reason
    assert "8,256" in choose(8256).reason


def test_products_are_counted():
    assert choose(650, checks=2).products == 652
    assert choose(8256, checks=2).products == 5 * 100 + 2
    assert choose(8256, probes=1, checks=0).products == 4 + 99  # four start vectors at least, for the symmetry
    assert choose(30, method="lanczos", steps=100, checks=0).products == 5 * 30


def test_bytes():
    assert dense_bytes(1000) == 4 * 8 * 1000**2
    assert lanczos_bytes(10_000, 100, 4) == (100 + KEPT) * 10_000 * 4
    assert lanczos_bytes(10, 100, 8) == (10 + KEPT) * 10 * 8


def test_too_large_gives_the_numbers_and_a_way_out():
    with pytest.raises(TooLargeError, match=r"20,000 parameters needs 11\.9 GiB.*2 GiB are allowed.*method='lanczos'"):
        choose(20_000, method="dense")
    with pytest.raises(TooLargeError, match=r"42\.5 GiB.*Use a smaller block"):
        choose(10**8, itemsize=4)


def test_the_number_of_steps_advised_does_fit():
    with pytest.raises(TooLargeError) as caught:
        choose(10**7, itemsize=4)
    advised = int(re.search(r"steps=(\d+)", str(caught.value))[1])
    assert choose(10**7, itemsize=4, steps=advised).method == "lanczos"
    with pytest.raises(TooLargeError):
        choose(10**7, itemsize=4, steps=advised + 1)


@pytest.mark.parametrize("settings", [{"method": "magic"}, {"steps": 0}, {"probes": -1}])
def test_settings_that_make_no_sense(settings):
    with pytest.raises(SettingError, match=next(iter(settings))):
        choose(100, **settings)


def test_chunks_are_bounded_by_size_and_by_memory():
    assert chunk_size(10, graph_bytes=1) == 10
    assert chunk_size(10_000, graph_bytes=1) == LARGEST_CHUNK
    assert chunk_size(10_000, graph_bytes=8 * 2**20) == 4
    assert chunk_size(10_000, graph_bytes=10**12) == 1

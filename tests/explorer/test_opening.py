"""A large run whose spectra are all cached is on the screen at once, and the time to read it grows with its size."""

import time

import pytest
from canned_large import large

from lhexplore.explorer.explorer import Explorer

SIDE = 40


def seconds_of(layers: int, snapshots: int) -> tuple[float, float]:
    """Until the page is there, and until all is read, judged and drawn; making up the spectra is not counted."""
    session = large(layers, snapshots)
    for row in session.layers:
        for k in range(snapshots):
            session.known_diagnosis(row.name, k)
    start = time.perf_counter()
    explorer = Explorer(session)
    opened = time.perf_counter() - start
    explorer.settled(120)
    settled = time.perf_counter() - start
    assert explorer.hub.computing.count()[0] >= layers * snapshots
    explorer.close()
    return opened, settled


@pytest.mark.alone
def test_a_large_cached_run_is_opened_at_once_and_read_in_time() -> None:
    seconds_of(4, 4)  # imports
    _, small = seconds_of(SIDE // 2, SIDE // 2)
    opened, settled = seconds_of(SIDE, SIDE)
    assert opened < 3
    assert settled < max(10, 8 * small)  # four times the cells: sixteen times as long if each looked at all others

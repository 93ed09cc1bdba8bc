import threading
import time

import pytest

from lhexplore.explorer.painter import Painter

SOON = 5.0  # seconds; only a hang takes longer


def test_many_wishes_are_painted_few_times_and_the_last_one_is_seen():
    seen, wanted = [], [0]
    painter = Painter(lambda: seen.append(wanted[0]), rate=0.05)
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        wanted[0] += 1
        painter.ask()
        time.sleep(0.001)
    painter.wait(SOON)
    assert seen[-1] == wanted[0]
    assert len(seen) <= 9  # 0.3 s at 20 a second, and the first and the last


def test_a_click_does_not_wait_for_the_next_turn():
    painted = threading.Event()
    painter = Painter(painted.set, rate=60)
    painter.ask()
    assert painted.wait(SOON)
    painted.clear()
    painter.ask(hurry=True)
    assert painted.wait(SOON)


def test_waiting_ends_the_rest_between_two_paintings():
    count = []
    painter = Painter(lambda: count.append(1), rate=60)
    painter.ask()
    painter.wait(SOON)
    painter.ask()
    painter.wait(SOON)
    assert len(count) == 2
    assert not painter.busy


def test_no_thread_lives_while_nothing_is_painted_and_a_closed_one_paints_no_more():
    count = []
    painter = Painter(lambda: count.append(1), rate=0.01)
    painter.ask()
    painter.wait(SOON)
    assert not [t for t in threading.enumerate() if t.name == "lhexplore-painter"]
    painter.close()
    painter.ask()
    assert not painter.busy
    assert len(count) == 1


def test_a_painting_that_hangs_is_reported():
    gate = threading.Event()
    painter = Painter(lambda: gate.wait(SOON) or None)
    painter.ask()
    with pytest.raises(TimeoutError):
        painter.wait(0.05)
    gate.set()
    painter.wait(SOON)

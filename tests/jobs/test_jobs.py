"""Generators driven in threads: order, cancel, failure, latest wish."""

import subprocess
import sys
import threading
import time

import pytest

from lhexplore.jobs import Job, Progress, State, Worker
from lhexplore.jobs.progress import clock


def numbers(most, *, pause=0.0, closed=None):
    try:
        for i in range(most):
            time.sleep(pause)
            yield i
    finally:
        if closed is not None:
            closed.set()


def test_a_job_pulls_everything_in_order_and_closes_the_generator():
    seen, closed = [], threading.Event()
    job = Job(numbers(5, closed=closed), initial=-1, on_item=seen.append)
    job.wait(5)
    assert seen == [0, 1, 2, 3, 4]
    assert job.done
    assert closed.is_set()
    assert job.progress == 4


def test_cancel_stops_between_two_items_and_wait_returns():
    closed = threading.Event()
    job = Job(numbers(10_000, pause=0.005, closed=closed), initial=-1)
    while job.progress < 2:
        time.sleep(0.001)
    job.cancel()
    job.cancel()
    job.wait(5)
    assert job.done
    assert job.cancelled
    assert closed.is_set()
    assert job.progress < 9_999


def test_a_failure_is_raised_where_somebody_waits():
    def broken():
        yield 1
        raise ZeroDivisionError("no")

    job = Job(broken(), initial=0)
    with pytest.raises(ZeroDivisionError, match="no"):
        job.wait(5)
    assert job.done


def test_wait_times_out_without_ending_the_job():
    job = Job(numbers(1000, pause=0.01), initial=-1)
    with pytest.raises(TimeoutError):
        job.wait(0.02)
    assert not job.done
    job.cancel()
    job.wait(5)


def worker_with_log(**kw):
    items, states = [], []
    return Worker(on_item=items.append, on_state=lambda s, e: states.append((s, e)), **kw), items, states


def test_the_latest_wish_wins_and_the_older_one_is_closed():
    worker, items, states = worker_with_log(quiet=0.0)
    closed = threading.Event()
    worker.ask(lambda: numbers(10_000, pause=0.005, closed=closed))
    while not items:
        time.sleep(0.001)
    worker.ask(lambda: iter([100, 101]))
    worker.wait(5)
    assert closed.is_set()
    assert items[-2:] == [100, 101]
    assert len(items) < 1000
    assert states[-1] == (State.IDLE, None)
    assert not worker.busy


def test_a_burst_of_wishes_runs_only_the_last():
    worker, items, _ = worker_with_log(quiet=0.05)
    for i in range(50):
        worker.ask(lambda i=i: iter([i]))
    worker.wait(5)
    assert items == [49]


def test_cancel_drops_what_was_wished_and_a_new_wish_works_afterwards():
    worker, items, states = worker_with_log(quiet=0.0)
    worker.ask(lambda: numbers(10_000, pause=0.005))
    while not items:
        time.sleep(0.001)
    worker.cancel()
    worker.wait(5)
    stopped = len(items)
    assert states[-1][0] == State.STOPPED
    worker.ask(lambda: iter([7]))
    worker.wait(5)
    assert items[stopped:] == [7]


def test_a_failing_wish_is_told_and_the_worker_lives_on():
    worker, items, states = worker_with_log(quiet=0.0)
    worker.ask(lambda: (1 // 0 for _ in range(1)))
    worker.wait(5)
    assert states[-1][0] == State.FAILED
    assert isinstance(states[-1][1], ZeroDivisionError)
    worker.ask(lambda: iter([1]))
    worker.wait(5)
    assert items == [1]


def test_no_thread_lives_while_nothing_is_wished_for():
    worker, _, _ = worker_with_log(quiet=0.0)
    worker.ask(lambda: iter([1]))
    worker.wait(5)
    assert not [t for t in threading.enumerate() if t.name == "lhexplore-worker"]


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.44, "0.4 s"), (12.2, "12 s"), (185, "3:05"), (3720, "1:02:00"), (59.9, "60 s")]
)
def test_durations_are_said_shortly(seconds, said):
    assert clock(seconds) == said


def test_progress_speaks():
    assert str(Progress(3, 10, 6.0, 14.0, "fc1 at step 4")) == "3/10 · 2.0 s each · 14 s left · fc1 at step 4"
    assert str(Progress(10, 10, 6.0)) == "10/10 in 6.0 s"
    assert Progress().share == 1.0


AT_EXIT = """
import sys, time, torch
from lhexplore.jobs import Job, Worker
def work():
    a = torch.rand(300, 300, dtype=torch.float64)
    while True:
        torch.linalg.eigvalsh(a + a.T)
        yield 1
if sys.argv[1] == "job":
    kept = Job(work(), initial=0)
else:
    kept = Worker(on_item=lambda item: None)
    kept.ask(work)
time.sleep(0.5)
if sys.argv[2] == "raise":
    raise ValueError("the script failed")
"""


@pytest.mark.parametrize("kind", ["job", "worker"])
@pytest.mark.parametrize("end", ["quietly", "raise"])
def test_python_ends_cleanly_while_work_is_under_way(kind, end):
    done = subprocess.run([sys.executable, "-c", AT_EXIT, kind, end], capture_output=True, text=True, timeout=60)
    assert done.returncode == (1 if end == "raise" else 0), done.stderr
    assert "terminate" not in done.stderr

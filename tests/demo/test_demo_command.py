"""`lhexplore demo` end to end, as typed, in an empty home: the table, the report, the second run from the cache."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from lhexplore import cli
from lhexplore.demo import STATES

SMALL = ("--model", "dense", "--steps", "2", "--samples", "32")


def environment(home):
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "LHEXPLORE_", "JUPYTER"))}
    return {**keep, "HOME": str(home), "LHEXPLORE_LAB": "0", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}


def demo(folder, *options):
    command = [sys.executable, "-m", "lhexplore", "demo", *SMALL, *options]
    return subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("an empty home")


@pytest.fixture(scope="module")
def first(home):
    return demo(home)


def test_the_first_run_shows_every_layer(first):
    assert first.returncode == 0, first.stderr
    for block in ("fc1", "fc2", "fc3", "whole network"):
        assert re.search(rf"^{block} +[\d,]+ ", first.stdout, re.MULTILINE), first.stdout
    for heading in ("λmax", "trace", "HESD", "findings"):
        assert heading in first.stdout
    assert "12/12" in first.stderr  # 3 layers and the whole network at 3 snapshots
    assert "Traceback" not in first.stderr


def test_the_report_is_one_page(first, home):
    page = home / "demo" / "report.html"
    assert str(page) in first.stdout or "demo/report.html" in first.stdout
    text = page.read_text(encoding="utf-8")
    assert "fc2" in text


def test_the_second_run_computes_nothing(first, home):
    cached = {path: path.read_bytes() for path in home.rglob("*.safetensors")}  # with the seconds each one took
    assert len(cached) >= 12 + 3  # spectra and snapshots
    second = demo(home)
    assert second.returncode == 0, second.stderr
    assert {path: path.read_bytes() for path in home.rglob("*.safetensors")} == cached
    tables = [run.stdout.split("last snapshot")[1].split("The report")[0] for run in (first, second)]
    assert tables[0] == tables[1]


def test_bad_settings_are_one_line(home):
    run = demo(home, "--steps", "0")
    assert run.returncode == 2
    assert run.stderr == "lhexplore: steps must be a whole number from 1 up; got 0.\n"


def state(home, *options):
    command = [sys.executable, "-m", "lhexplore", "demo", *options]
    return subprocess.run(command, cwd=home, env=environment(home), capture_output=True, text=True, timeout=240)


def test_a_state_is_shown_like_the_plain_demo(home):
    run = state(home, "--state", "noisy", "--steps", "2", "--samples", "32", "--report", "noisy.html")
    assert run.returncode == 0, run.stderr
    assert "Half of the training labels drawn at random" in run.stdout
    for block in ("fc1", "fc2", "fc3", "whole network"):
        assert re.search(rf"^{block} +[\d,]+ ", run.stdout, re.MULTILINE), run.stdout
    assert "almost perfectly" not in run.stdout  # said of the plain demo only
    assert (home / "noisy.html").is_file()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--state", "nosiy"), "There is no state 'nosiy'. Did you mean 'noisy'"),
        (("--state", "deep", "--model", "conv"), "The state 'deep' has a network of its own."),
    ],
)
def test_a_state_that_cannot_be_is_one_line(home, options, words):
    run = state(home, *options)
    assert run.returncode == 2
    assert run.stderr.startswith(f"lhexplore: {words}")
    assert run.stderr.count("\n") == 1
    assert run.stdout == ""


def test_the_help_names_every_state():
    assert set(cli.STATES) == set(STATES)


def heed_interrupts():
    """What a shell starts in the background inherits that interrupts are ignored, and so would our child."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_ctrl_c_keeps_what_is_done(tmp_path):
    command = [sys.executable, "-m", "lhexplore", "demo", "--model", "dense", "--steps", "64"]
    run = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_interrupts,
    )
    until = time.monotonic() + 120
    while time.monotonic() < until and len(list(tmp_path.rglob("*.safetensors"))) < 7 + 4 and run.poll() is None:
        time.sleep(0.05)  # 7 snapshots, then some spectra
    run.send_signal(signal.SIGINT)
    _, error = run.communicate(timeout=60)
    assert run.returncode == 130, error
    assert "What is done is kept" in error
    assert len(list(tmp_path.rglob("*.safetensors"))) >= 7 + 4
    assert not [p for p in tmp_path.rglob("*") if p.name.endswith(".tmp")]

"""How JupyterLab is opened: with a browser where there is a screen, else with its address printed."""

import sys
from pathlib import Path

import pytest

from lhexplore.demo import lab


@pytest.mark.parametrize(
    ("environment", "platform", "screen"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ""}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":10", "SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_CONNECTION": "1.2.3.4 5 6.7.8.9 22"}, "darwin", False),
        ({}, "win32", True),
    ],
)
def test_where_there_is_a_screen(environment, platform, screen):
    assert lab.has_screen(environment, platform=platform) == screen


@pytest.mark.parametrize("screen", [True, False])
def test_the_command_names_the_notebook_and_the_browser(screen):
    words = lab.command(Path("notebooks/a notebook.ipynb"), screen=screen)
    assert words[:3] == [sys.executable, "-m", "jupyterlab"]
    assert words[-1] == "notebooks/a notebook.ipynb"
    assert ("--no-browser" in words) is not screen


def test_a_server_that_does_not_start_is_a_failure(monkeypatch):
    monkeypatch.setattr(lab, "command", lambda notebook, *, screen: [sys.executable, "-c", "raise SystemExit(3)"])
    assert lab.open_lab(Path("x.ipynb")) == 1

"""Open JupyterLab on a notebook: in the browser where there is a screen, else with its address printed."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

START_TIMEOUT = 60.0  # a cold start of JupyterLab takes 2 to 10 s


def has_screen(environment: Mapping[str, str] = os.environ, *, platform: str = sys.platform) -> bool:
    """Whether a browser opened from here would be seen by the person at the keyboard."""
    if "SSH_CONNECTION" in environment:
        return False
    if platform in ("darwin", "win32"):
        return True
    return bool(environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY"))


def command(notebook: Path, *, screen: bool) -> list[str]:
    """Say how JupyterLab is started: quietly, and stopped by one Ctrl-C."""
    options = ["--ServerApp.answer_yes=True", "--ServerApp.log_level=ERROR", "--LabApp.log_level=ERROR"]
    if not screen:
        options.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--allow-root")  # as in containers; without it JupyterLab would only refuse
    return [sys.executable, "-m", "jupyterlab", *options, str(notebook)]


def open_lab(notebook: Path) -> int:
    """Start JupyterLab on ``notebook``, say where it is and how to stop it, and wait until it is stopped."""
    screen = has_screen()
    with tempfile.TemporaryFile("w+") as said:  # JupyterLab's own words, shown only if it fails
        server = subprocess.Popen(command(notebook, screen=screen), stderr=said)  # noqa: S603  our own words and path
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for JupyterLab, which gets it too
        try:
            address = _address(server, notebook)
            if address is not None:
                what = (
                    "JupyterLab opens in your browser:" if screen else "No screen here. Open this address in a browser:"
                )
                print(f"\n{what}", f"    {address}", "Stop it with Ctrl-C.", sep="\n", flush=True)
            code = server.wait()
        finally:
            signal.signal(signal.SIGINT, before)
            if server.poll() is None:
                server.terminate()
                server.wait()
        if address is None:
            said.seek(0)
            print(said.read(), file=sys.stderr)
    return 0 if address is not None and code in (0, -signal.SIGINT, -signal.SIGTERM) else 1


def _address(server: subprocess.Popen[bytes], notebook: Path) -> str | None:
    """Wait for the server to say where it listens; None when it ended first or says nothing in time."""
    from jupyter_server.serverapp import list_running_servers

    until = time.monotonic() + START_TIMEOUT
    while server.poll() is None and time.monotonic() < until:
        for info in list_running_servers():
            if info["pid"] == server.pid:
                return f"{info['url']}lab/tree/{notebook.name}?token={info['token']}"
        time.sleep(0.1)
    return None

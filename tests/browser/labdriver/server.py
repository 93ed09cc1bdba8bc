"""Start JupyterLab or Voilà on a free loopback port with nothing of the user's, and leave no process behind."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nbformat
import psutil

_TESTS = Path(__file__).parents[2]
_START_SECONDS = 90
_STOP_SECONDS = 10
# A killed test run cannot stop its server: these make the server and its kernels end by themselves.
_ORPHAN_SECONDS = 600
# Lab asks newcomers whether it may fetch news: answered beforehand, for the question covers part of the screen.
_NOTIFICATIONS = '{"fetchNews": "false", "checkForUpdates": false}'


class Server:
    """A server with its own home, settings, workspaces and cache, serving copies of ``notebooks``.

    The interpreter of the tests is also the interpreter of the server and of the kernels.
    """

    _alive = "/api/status"  # what answers as soon as the server is up

    def __init__(self, *notebooks: Path, environment: dict[str, str] | None = None) -> None:
        self._base = Path(tempfile.mkdtemp(prefix="lhexplore-lab-"))
        self.root = self._base / "notebooks"
        self.root.mkdir()
        for notebook in notebooks:
            self.add(notebook)
        self._log = self._base / "server.log"
        self._environment = self._own_environment() | (environment or {})
        answered = self._base / "settings" / "@jupyterlab" / "apputils-extension"
        answered.mkdir(parents=True)
        (answered / "notification.jupyterlab-settings").write_text(_NOTIFICATIONS)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def home(self) -> Path:
        """The home folder that kernels see."""
        return self._base / "home"

    def add(self, notebook: Path, *, name: str | None = None) -> str:
        """Copy a notebook into the served folder and return its name there."""
        return shutil.copy(notebook, self.root / (name or notebook.name)).name

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells into the served folder; they may import what lies in ``tests/``."""
        sources = [f"import sys\n\nsys.path.insert(0, {str(_TESTS)!r})", *(cell.strip() for cell in cells)]
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.root / f"{name}.ipynb")
        return f"{name}.ipynb"

    def _own_environment(self) -> dict[str, str]:
        folders = {
            "HOME": "home",
            "XDG_CACHE_HOME": "home/.cache",
            "XDG_CONFIG_HOME": "home/.config",
            "XDG_DATA_HOME": "home/.local/share",
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "IPYTHONDIR": "ipython",
        }
        for folder in folders.values():
            (self._base / folder).mkdir(parents=True, exist_ok=True)
        # Coverage, hash seeds and the like pass on; settings of the user's own Jupyter do not.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("JUPYTER", "IPYTHON", "XDG_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        own = {name: str(self._base / folder) for name, folder in folders.items()}
        return inherited | own | {"PATH": path, "JUPYTER_PREFER_ENV_PATH": "1"}

    def _program(self, port: int) -> tuple[list[str], dict[str, Any]]:
        """The module that is run with its arguments, and its settings."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        port = _free_port()
        program, options = self._program(port)
        command = [sys.executable, "-m", *program, *(f"--{name}={value}" for name, value in options.items())]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd=self.root,
                start_new_session=True,  # Ctrl-C in the test run reaches us first, then we end it in order
            )
        self.url = f"http://127.0.0.1:{port}"
        try:
            self._wait_until_up()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait_until_up(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                break
            try:
                with urllib.request.urlopen(f"{self.url}{self._alive}", timeout=2):
                    return
            except (urllib.error.URLError, TimeoutError, ConnectionError):
                time.sleep(0.1)
        raise RuntimeError(f"The server did not answer at {self.url}. It said:\n{self.log()[-3000:]}")

    def log(self) -> str:
        """What the server has written so far."""
        return self._log.read_text(errors="replace")

    def processes(self) -> list[psutil.Process]:
        """The server and everything it started, kernels included."""
        if self._process is None:
            return []
        try:
            server = psutil.Process(self._process.pid)
            return [server, *server.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        family = self.processes()  # kernels are in process groups of their own: remember them one by one
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)  # Jupyter ends its kernels on this one
            try:
                self._process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for process in family:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(family, timeout=_STOP_SECONDS)
        self._process = None
        shutil.rmtree(self._base, ignore_errors=True)


class LabServer(Server):
    """JupyterLab; beside it Notebook 7 and Voilà where they are installed, as parts of the same server."""

    def _program(self, port: int) -> tuple[list[str], dict[str, Any]]:
        return ["jupyterlab", "--no-browser", "--allow-root"], {
            "ServerApp.ip": "127.0.0.1",
            "ServerApp.port": port,
            "ServerApp.port_retries": 0,
            "ServerApp.root_dir": self.root,
            "ServerApp.shutdown_no_activity_timeout": _ORPHAN_SECONDS,
            "MappingKernelManager.cull_idle_timeout": _ORPHAN_SECONDS,
            "IdentityProvider.token": "",
            "PasswordIdentityProvider.hashed_password": "",
            # the three ways in which JupyterLab itself would look at the internet
            "LabApp.news_url": "None",
            "LabApp.check_for_updates_class": "jupyterlab.NeverCheckForUpdate",
            "LabApp.extension_manager": "readonly",
            "LabApp.expose_app_in_browser": True,  # window.jupyterapp: how the driver presses menu items
            "JupyterNotebookApp.expose_app_in_browser": True,
            "VoilaConfiguration.allow_theme_override": "YES",
        }


class VoilaServer(Server):
    """Voilà by itself, showing the first of its notebooks as an app, with the theme it has by default."""

    _alive = "/voila/static/voila.js"

    def __init__(self, notebook: Path) -> None:
        super().__init__(notebook)
        self._app = self.root / notebook.name

    def _program(self, port: int) -> tuple[list[str], dict[str, Any]]:
        return ["voila", str(self._app), "--no-browser"], {"Voila.ip": "127.0.0.1", "Voila.port": port}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port

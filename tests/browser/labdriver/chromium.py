"""Headless Chromium that can reach the loopback and nothing else, and that tells on whoever tried."""

import shutil
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, ConsoleMessage, Page, Playwright, ViewportSize, sync_playwright

_PROBE = (Path(__file__).parent / "probe.js").read_text()
_FLAGS = (
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    # Below every request and websocket, including those that a page handler would not see.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_LOCAL_SCHEMES = {"data", "blob", "about", "file", "chrome-extension"}


def find_chromium() -> str | None:
    """The path of an installed Chromium, or None."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Chromium:
    """One browser process with one profile; ``outside`` and ``errors`` fill up while it runs."""

    def __init__(self, *, width: int = 1280, height: int = 900, sharpness: float = 1) -> None:
        self._size = ViewportSize(width=width, height=height)
        self._sharpness = sharpness
        self._playwright: Playwright | None = None
        self._tolerated: set[str] = set()
        self.outside: list[str] = []  # addresses off the loopback that a page asked for
        self.errors: list[str] = []  # console errors and uncaught exceptions

    def __enter__(self) -> Self:
        self._playwright = sync_playwright().start()
        try:
            self._browser = self._playwright.chromium.launch(
                executable_path=find_chromium(), headless=True, args=[*_FLAGS]
            )
            self.context = self._new_context()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _new_context(self) -> BrowserContext:
        context = self._browser.new_context(viewport=self._size, device_scale_factor=self._sharpness)
        context.add_init_script(_PROBE)
        context.on("request", lambda request: self._note(request.url))
        context.on("console", self._note_console)
        context.on("weberror", lambda error: self._note_uncaught(str(error.error)))
        context.on("page", lambda page: page.on("websocket", lambda socket: self._note(socket.url)))
        return context

    def tolerate(self, *beginnings: str) -> None:
        """Do not tell of requests and errors that begin so: they are not ours. The requests fail all the same."""
        self._tolerated.update(beginnings)

    def _told(self, text: str) -> bool:
        return not text.startswith(tuple(self._tolerated))

    def _note(self, url: str) -> None:
        parts = urlsplit(url)
        if self._told(url) and parts.scheme not in _LOCAL_SCHEMES and parts.hostname not in ("127.0.0.1", "localhost"):
            self.outside.append(url)

    def _note_console(self, message: ConsoleMessage) -> None:
        source = message.location.get("url", "")
        if message.type == "error" and self._told(source) and self._told(message.text):
            self.errors.append(f"{message.text} [{source}]"[:600])

    def _note_uncaught(self, text: str) -> None:
        if self._told(text):
            self.errors.append(f"uncaught: {text}")

    def new_page(self) -> Page:
        """Open an empty tab."""
        return self.context.new_page()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._playwright is not None:
            if browser := getattr(self, "_browser", None):
                browser.close()
            self._playwright.stop()  # also ends its event loop, so that other tests may run their own
            self._playwright = None

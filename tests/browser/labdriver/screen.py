"""What every front end has in common for the driver: a kernel that answers, and pixels that can be looked at."""

import json
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as PageError
from playwright.sync_api import Locator, Page

from .chromium import Chromium
from .server import Server


class KernelError(RuntimeError):
    """The code sent to the kernel raised."""


class Screen:
    """A notebook that is open in a tab of its own, whatever shows it."""

    def __init__(self, server: Server, chromium: Chromium) -> None:
        self.server, self._chromium = server, chromium
        self.page: Page = chromium.new_page()
        self.name = ""

    # -- the kernel --------------------------------------------------------------------------------------------------

    def kernel(self, code: str, *, seconds: float = 60) -> str:
        """Run code in the notebook's kernel, past its cells, and return what it printed.

        Raises:
            KernelError: when the code raised.
        """
        answer = self.page.evaluate("([c, s]) => __probe.execute(c, s)", [code, seconds])
        if answer["error"]:
            raise KernelError(answer["error"])
        return str(answer["text"])

    def value(self, expression: str, *, seconds: float = 60) -> Any:
        """The value of a Python expression in the kernel (anything JSON can carry)."""
        return json.loads(self.kernel(f"import json; print(json.dumps({expression}))", seconds=seconds))

    def kernel_status(self) -> str:
        """What the page holds the kernel's status to be: ``idle``, ``busy``, …"""
        return str(self.page.evaluate("() => __probe.kernel().status"))

    def pending(self) -> int:
        """Widget messages that the page has sent to the kernel, or holds back, and that are not answered yet."""
        return int(self.page.evaluate("() => __probe.pending()"))

    # -- the screen --------------------------------------------------------------------------------------------------

    def find(self, selector: str) -> Locator:
        """The elements on the page; Playwright's selectors look into shadow roots."""
        return self.page.locator(selector)

    def scroll_to(self, selector: str, *, seconds: float = 30) -> None:
        """Bring the first match into view."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.find(selector)
            if found.count():
                found.first.scroll_into_view_if_needed(timeout=5000)
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{selector!r} is nowhere in the notebook.")
            self._look_further()
            self.page.wait_for_timeout(100)

    def _look_further(self) -> None:
        """Have the page render what it left out so far."""

    def fingerprint(self, scope: str, *, shrink: int = 1) -> str:
        """One string for all pixels drawn below ``scope``; empty when nothing is drawn."""
        return str(self.page.evaluate("([s, k]) => __probe.print(s, k)", [scope, shrink]))

    def colours(self, scope: str) -> int:
        """How many different colours are drawn below ``scope``."""
        return int(self.page.evaluate("(s) => __probe.colours(s)", scope))

    def wait_for_change(self, scope: str, before: str, *, seconds: float = 10) -> str:
        """Wait until the pixels below ``scope`` differ from ``before``; return the new fingerprint."""
        try:
            self.page.wait_for_function(
                "([s, b]) => { const now = __probe.print(s); return now !== '' && now !== b; }",
                arg=[scope, before],
                timeout=seconds * 1000,
            )
        except PageError as error:
            raise AssertionError(f"The picture in {scope!r} did not change within {seconds} s.") from error
        return self.fingerprint(scope)

    def wait_until_still(self, scope: str, *, still: float = 0.4, seconds: float = 30) -> str:
        """Wait until something is drawn below ``scope`` and stays the same for ``still`` seconds."""
        deadline = time.monotonic() + seconds
        last, since = self.fingerprint(scope), time.monotonic()
        while time.monotonic() < deadline:
            self.page.wait_for_timeout(50)
            now = self.fingerprint(scope)
            if now != last:
                last, since = now, time.monotonic()
            elif now and time.monotonic() - since > still:
                return now
        raise AssertionError(f"The picture in {scope!r} {'never settled' if last else 'was never drawn'}.")

    def wait_until(self, condition: str, *, seconds: float = 30) -> None:
        """Wait for a JavaScript condition on the page."""
        try:
            self.page.wait_for_function(condition, timeout=seconds * 1000)
        except PageError as error:
            raise AssertionError(f"{condition} did not come true within {seconds} s.") from error

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(500)

    def photograph(self, path: Path) -> None:
        """Take a picture of what the window shows."""
        self.page.screenshot(path=path)

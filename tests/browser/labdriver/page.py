"""One notebook in JupyterLab: press its menu items, ask its kernel, look at its pixels."""

import json
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Error as PageError
from playwright.sync_api import Locator, Page

from .chromium import Chromium
from .server import LabServer


class KernelError(RuntimeError):
    """The code sent to the kernel raised."""


class LabPage:
    """A notebook that is open in a tab of its own."""

    def __init__(self, server: LabServer, chromium: Chromium) -> None:
        self._server, self._chromium = server, chromium
        self.page: Page = chromium.new_page()
        self.name = ""

    # -- the notebook as a document ----------------------------------------------------------------------------------

    def open(self, name: str, *, seconds: float = 90) -> None:
        """Open a notebook of the served folder in a fresh workspace and wait for its kernel."""
        self.name = name
        self.page.goto(f"{self._server.url}/lab/workspaces/w{time.time_ns()}/tree/{name}")
        self._wait_for_kernel(seconds)

    def reload(self, *, seconds: float = 90) -> None:
        """Load the page again, as a person does with F5; save first or Lab asks back."""
        self.page.reload()
        self._wait_for_kernel(seconds)

    def _wait_for_kernel(self, seconds: float) -> None:
        limit = seconds * 1000
        self.page.wait_for_selector(".jp-Notebook .jp-Cell", timeout=limit)
        self.page.wait_for_function("() => __probe.kernel()?.status === 'idle'", timeout=limit)

    def command(self, command: str, arguments: dict[str, Any] | None = None) -> Any:
        """Run one of JupyterLab's own commands to its end."""
        script = "async ([c, a]) => { await window.jupyterapp.commands.execute(c, a ?? {}); }"
        return self.page.evaluate(script, [command, arguments])

    def run_all(self, *, seconds: float = 240) -> None:
        """Run every cell and wait for the last one."""
        self.page.set_default_timeout(seconds * 1000)
        try:
            self.command("notebook:run-all-cells")
        finally:
            self.page.set_default_timeout(30_000)
        self.page.wait_for_function("() => __probe.kernel()?.status === 'idle'", timeout=seconds * 1000)

    def run_cell(self, source: str, *, wait: bool = True) -> None:
        """Append a code cell with ``source``, run it and scroll to it."""
        self.page.evaluate(
            """async (source) => {
              const {content} = window.jupyterapp.shell.currentWidget;
              content.model.sharedModel.addCell({cell_type: 'code', source});
              content.activeCellIndex = content.widgets.length - 1;
              content.deselectAll();
              await content.scrollToItem(content.activeCellIndex);
            }""",
            source,
        )
        if wait:
            self.command("notebook:run-cell")
        else:
            self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell'); }")

    def save(self) -> Path:
        """Save the notebook and return the file."""
        self.command("docmanager:save")
        return self._server.root / self.name

    def cells(self) -> list[dict[str, Any]]:
        """The cells with their outputs, as Lab holds them now."""
        cells: list[dict[str, Any]] = self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.content.model.toJSON().cells"
        )
        return cells

    def error_outputs(self) -> list[str]:
        """The errors that cells show."""
        return [
            f"{output['ename']}: {output['evalue']}"
            for cell in self.cells()
            for output in cell.get("outputs", [])
            if output["output_type"] == "error"
        ]

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
        """What Lab shows as the kernel's status: ``idle``, ``busy``, …"""
        return str(self.page.evaluate("() => __probe.kernel().status"))

    def pending(self) -> int:
        """Widget messages that the page has sent to the kernel, or holds back, and that are not answered yet."""
        return int(self.page.evaluate("() => __probe.pending()"))

    # -- the screen --------------------------------------------------------------------------------------------------

    def find(self, selector: str) -> Locator:
        """The elements on the page; Playwright's selectors look into shadow roots."""
        return self.page.locator(selector)

    def scroll_to(self, selector: str, *, seconds: float = 30) -> None:
        """Bring the first match into view, rendering cells on the way: Lab draws only what is near the screen."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.find(selector)
            if found.count():
                found.first.scroll_into_view_if_needed(timeout=5000)
                return
            if time.monotonic() > deadline:
                raise AssertionError(f"{selector!r} is nowhere in the notebook.")
            self.page.evaluate(
                """() => { const n = window.jupyterapp.shell.currentWidget.content;
                  n.__at = ((n.__at ?? -1) + 1) % n.widgets.length; return n.scrollToItem(n.__at); }"""
            )
            self.page.wait_for_timeout(100)

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

    def theme(self, name: str) -> None:
        """Switch JupyterLab to its ``light`` or ``dark`` theme."""
        self.command("apputils:change-theme", {"theme": f"JupyterLab {name.capitalize()}"})
        self.wait_until(f"() => document.body.dataset.jpThemeLight === '{str(name == 'light').lower()}'")
        self.page.wait_for_timeout(300)  # the style sheet swaps after the attribute

    def resize(self, width: int, height: int) -> None:
        """Change the size of the window."""
        self.page.set_viewport_size({"width": width, "height": height})
        self.page.wait_for_timeout(500)

    def close(self) -> None:
        """End the kernel and close the tab."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self.page.close()

"""One notebook in JupyterLab or in Notebook 7: press its menu items, read its cells, ask its kernel, see its pixels."""

import time
from pathlib import Path
from typing import Any

from .screen import Screen


class LabPage(Screen):
    """A notebook that is open in JupyterLab."""

    def open(self, name: str, *, seconds: float = 90) -> None:
        """Open a notebook of the served folder in a fresh workspace and wait for its kernel."""
        self.name = name
        self.page.goto(f"{self.server.url}{self._address(name)}")
        self._wait_for_kernel(seconds)

    def _address(self, name: str) -> str:
        return f"/lab/workspaces/w{time.time_ns()}/tree/{name}"

    def run(self, name: str) -> None:
        """Open a notebook and run it; every cell must end well."""
        self.open(name)
        self.run_all()
        failed = self.error_outputs()
        assert not failed, f"{name or 'The app'}: {failed[0][-1500:]}"

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
        return self.server.root / self.name

    def cells(self) -> list[dict[str, Any]]:
        """The cells with their outputs, as the page holds them now."""
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

    def _look_further(self) -> None:
        # only what is near the screen is rendered
        self.page.evaluate(
            """() => { const n = window.jupyterapp.shell.currentWidget.content;
              n.__at = ((n.__at ?? -1) + 1) % n.widgets.length; return n.scrollToItem(n.__at); }"""
        )

    def theme(self, name: str) -> None:
        """Switch JupyterLab to its ``light`` or ``dark`` theme."""
        self.command("apputils:change-theme", {"theme": f"JupyterLab {name.capitalize()}"})
        self.wait_until(f"() => document.body.dataset.jpThemeLight === '{str(name == 'light').lower()}'")
        self.page.wait_for_timeout(300)  # the style sheet swaps after the attribute

    def close(self) -> None:
        """End the kernel and close the tab."""
        self.page.evaluate("() => window.jupyterapp.shell.currentWidget?.sessionContext.shutdown()")
        self.page.close()


class NotebookPage(LabPage):
    """A notebook that is open in Notebook 7, which is made of JupyterLab's parts: one document to a page."""

    def open(self, name: str, *, seconds: float = 90) -> None:
        """Open a notebook of the served folder and wait for its kernel."""
        self._chromium.tolerate("Cannot read properties of undefined (reading 'schema')")  # its own, at every start
        super().open(name, seconds=seconds)

    def _address(self, name: str) -> str:
        return f"/notebooks/{name}"

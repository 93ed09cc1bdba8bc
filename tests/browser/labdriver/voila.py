"""One notebook as a Voilà app: it runs when it is opened, and shows what cells give, not what they are."""

from urllib.parse import quote

from .screen import Screen

# Voilà's own page links these; nothing of ours needs them, and the guard keeps them away. It also says so when an
# extension that was made for Notebook cannot be loaded.
NOT_OURS = (
    "https://cdn.jsdelivr.net/npm/@fortawesome/",
    "https://cdnjs.cloudflare.com/ajax/libs/mathjax/",
    "Error: The getter for the shared module is not a function.",
)
_ERRORS = "[data-mime-type='application/vnd.jupyter.error'], [data-mime-type='application/vnd.jupyter.stderr']"


class VoilaPage(Screen):
    """A notebook that Voilà shows."""

    def run(self, name: str = "", *, theme: str = "light", seconds: float = 120) -> None:
        """Open a notebook of the served folder, or the one app of a server; every cell must end well."""
        self.name = name
        self._chromium.tolerate(*NOT_OURS)
        place = f"/voila/render/{quote(name)}" if name else "/"
        self.page.goto(f"{self.server.url}{place}?theme={theme}", timeout=seconds * 1000)
        self.page.wait_for_selector("#rendered_cells", state="visible", timeout=seconds * 1000)
        self.page.wait_for_function("() => __probe.kernel()?.status === 'idle'", timeout=seconds * 1000)
        failed = self.error_outputs()
        assert not failed, f"{name or 'The app'}: {failed[0][-1500:]}"

    def error_outputs(self) -> list[str]:
        """The errors that cells show."""
        return self.find(_ERRORS).all_inner_texts()

    def close(self) -> None:
        """Close the tab as a person does; Voilà then ends the kernel."""
        self.page.close(run_before_unload=True)

"""Open a notebook made of a few cells in any front end, and wait until its pictures are there."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from .page import LabPage
from .voila import VoilaPage

P = TypeVar("P", bound=LabPage | VoilaPage)


@contextmanager
def opened(page: P, name: str, *cells: str, panes: Sequence[str] = (), height: int = 900) -> Iterator[P]:
    """Show a notebook of ``cells`` on ``page`` with all ``panes`` drawn; its kernel ends with the ``with``.

    Cells may import what lies in ``tests/``. A window of ``height`` pixels that holds all panes keeps Lab from taking
    away those that are far off the screen.
    """
    page.run(page.server.write(name, *cells))
    page.resize(1280, height)
    for pane in panes:
        page.scroll_to(pane)
        page.wait_until_still(pane)
    try:
        yield page
    finally:
        page.close()

"""The ``?`` beside a view: what one sees, in three sentences and a small example picture."""

from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

_HERE = Path(__file__).parent


class Help(AnyWidget):
    """A button that folds an explanation open and shut; the browser's own element, so keys and readers know it."""

    _esm = t.Unicode((_HERE / "help.js").read_text("utf-8")).tag(sync=True)
    title = t.Unicode("", help="What is explained.").tag(sync=True)
    text = t.Unicode("", help="The explanation.").tag(sync=True)
    picture = t.Unicode("", help="An example, as SVG of our own; empty where there is none.").tag(sync=True)


def example(view: str) -> str:
    """The example picture of a view, as SVG; empty for a view that has none."""
    file = _HERE / "help_pictures" / f"{view}.svg"
    return file.read_text("utf-8") if file.exists() else ""

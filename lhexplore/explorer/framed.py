"""What all views of the explorer have in common: a frame, moved in the browser by one clock."""

from pathlib import Path
from typing import Any

import traitlets as t
from anywidget import AnyWidget
from ipywidgets import Widget, widget_serialization

_HERE = Path(__file__).parent


def script(*names: str) -> Any:
    """The trait that carries a view's JavaScript: the shared files first, as one module."""
    parts = [(_HERE / name).read_text("utf-8") for name in ("clock.js", *names)]
    return t.Unicode("\n".join(parts)).tag(sync=True)


class Framed(AnyWidget):
    """A view that shows one of several frames.

    With a ``clock`` (a slider) the view follows its ``value`` inside the browser; nothing but the slider's own value
    travels to the kernel. Without one, ``frame`` says what is shown and can be linked to anything.
    """

    clock = t.Instance(Widget, allow_none=True, help="The slider to follow.").tag(sync=True, **widget_serialization)
    frame = t.Int(0, help="What to show without a clock.").tag(sync=True)

"""The end of a widget: ipywidgets remembers every one until it is closed."""

from typing import Any

import ipywidgets as w


def close_widget(widget: w.Widget) -> None:
    """Close a widget and the models that only it uses."""
    for name in ("layout", "style"):
        model: Any = getattr(widget, name, None)
        if isinstance(model, w.Widget):
            model.close()
    widget.close()

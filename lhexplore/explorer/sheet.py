"""How the kit looks, and which keys are its own: one style sheet, shared by every view of a hub and sent once."""

from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

_HERE = Path(__file__).parent
_SHEETS = ("explorer.css", "layer_list.css")


class Sheet(AnyWidget):
    """Shows nothing; brings the style sheet to wherever a view is shown."""

    _esm = t.Unicode((_HERE / "keys.js").read_text("utf-8")).tag(sync=True)
    _css = t.Unicode("\n".join((_HERE / name).read_text("utf-8") for name in _SHEETS)).tag(sync=True)

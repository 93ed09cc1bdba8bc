"""How the kit looks, and what its keys and focus do: one style sheet and script, shared by every view of a hub."""

from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

_HERE = Path(__file__).parent
_SCRIPTS = ("held.js", "keys.js")
_SHEETS = ("layer_list.css", "help.css", "explorer.css", "cut_off.css")


class Sheet(AnyWidget):
    """Shows nothing; brings the style sheet and the script to wherever a view is shown."""

    _esm = t.Unicode("\n".join((_HERE / name).read_text("utf-8") for name in _SCRIPTS)).tag(sync=True)
    _css = t.Unicode("\n".join((_HERE / name).read_text("utf-8") for name in _SHEETS)).tag(sync=True)

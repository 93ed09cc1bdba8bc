"""Puts a report together as one page that asks nobody for anything.

BokehJS is copied in from the installed bokeh. The page forbids itself every request, and every script but its own
two, by a content security policy: a hostile layer name can then do nothing even if it got past the escaping.
"""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import bokeh

from ..explorer.escape import markup, script_json
from ..explorer.findings_list import FINDINGS
from ..explorer.frames import SCRIPT
from ..explorer.spectrum_figure import LEGEND
from .blocks import Reading
from .parts import Json
from .static import Drawn, still

_HERE = Path(__file__).parent
_BOKEHJS = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"
_OWN = (
    "parts.js",
    "table.js",
    "colours.js",
    "stage.js",
    "card.js",
    "map.js",
    "curves.js",
    "report.js",
)  # each needs those before it


def page(data: Json, parts: Mapping[str, str], drawn: Sequence[Drawn], reading: Reading) -> str:
    """Make the page.

    Args:
        data: what it needs at once, as JSON.
        parts: by name, what it opens when it is looked at.
        drawn: pictures for browsers without scripts.
        reading: what is shown.
    """
    library = _script(_BOKEHJS)
    own = "\n".join(_script(file) for file in (SCRIPT, FINDINGS, *(_HERE / name for name in _OWN)))
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_digest(library)} {_digest(own)}",
            "style-src 'unsafe-inline'",  # Bokeh writes its styles into the page
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    made = f"lhexplore {version('lhexplore')}, bokeh {bokeh.__version__}, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    left_out = f'<p class="notice">{markup(data["leftOut"])}</p>' if data["leftOut"] else ""
    return (_HERE / "page.html").read_text("utf-8").format(
        policy=markup(policy),
        title=markup(data["title"]),
        description=markup(data["description"]),
        extent=markup(data["extent"]),
        left_out=left_out,
        made=markup(made),
        style=(_HERE / "report.css").read_text("utf-8"),
        still=still(data, drawn, reading),
        data=script_json(data),
        table=_table(data),
        parts="".join(f'<script type="text/plain" id="part-{name}">{text}</script>\n' for name, text in parts.items()),
        bokeh=library,
        script=own,
        spectrum=_figure("spectrum", "Eigenvalues", notes=LEGEND, live=True),
        loss=_figure("loss", "Loss"),
        evolution=_figure("evolution", "Spectrum over training", notes="Click a snapshot to go there."),
        hesd=_figure("hesd", "C_t and K_H over training", notes="Click a point to go there."),
        map=_figure("map", "Layers over training", notes="Click a cell to go there."),
        curves=_figure("curves", "Metric over training", notes="Click a snapshot to go there."),
    )  # fmt: skip


def _figure(name: str, title: str, *, notes: str = "", live: bool = False) -> str:
    """The places of a figure: its legend, itself, its sentence, and the same as a table."""
    said = ' role="status"' if live else ""
    return (
        f'<h2 id="{name}-title">{title}</h2>\n'
        f'<ul id="{name}-legend" class="legend" aria-label="Legend: {title}"></ul>\n'
        f'<div id="{name}" class="figure" role="group" tabindex="0" aria-labelledby="{name}-title" '
        f'aria-describedby="{name}-sentence"></div>\n'
        + (f'<p class="muted">{markup(notes)}</p>\n' if notes else "")
        + f'<p id="{name}-sentence" class="sentence"{said}></p>\n'
        f'<details class="twin" id="{name}-twin"><summary>{title} as a table</summary>'
        f'<div class="scroll" tabindex="0" role="group" aria-label="{title} as a table"></div></details>\n'
    )


def _script(file: Path) -> str:
    """A script's text as the browser will read it back from the page, so that its digest fits."""
    return file.read_text("utf-8").replace("\r\n", "\n").replace("</script", "<\\/script")


def _digest(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _table(data: Json) -> str:
    """Rows of the table at the first snapshot shown: there even where scripts are off."""
    rows = []
    for layer in data["layers"]:
        cells = layer["cells"][data["frame"]] if layer["cells"] else None
        largest, trace, kind, found = cells or ("not computed", "", ("", "", ""), "")
        words = [f"{layer['size']:,}", largest, trace, kind[0], found]
        name = f'<th scope="row">{markup(layer["name"])}</th>'
        rows.append(f"<tr>{name}{''.join(f'<td>{markup(text)}</td>' for text in words)}</tr>")
    return "".join(rows)

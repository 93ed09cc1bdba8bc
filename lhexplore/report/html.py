"""Puts a report together as one HTML file that asks nobody for anything.

BokehJS is copied in from the installed bokeh. The page forbids itself every request, and every script but its own
two, by a content security policy: a hostile layer name can then do nothing even if it got past the escaping.
"""

import base64
import hashlib
import os
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import bokeh

from ..errors import SettingError
from ..explorer.escape import markup, script_json
from ..explorer.findings_list import FINDINGS
from ..explorer.frames import SCRIPT
from ..explorer.spectrum_figure import LEGEND
from .contents import Json, Session, contents

_HERE = Path(__file__).parent
_BOKEHJS = Path(bokeh.__file__).parent / "server" / "static" / "js" / "bokeh.min.js"


def write(session: Session, path: str | Path) -> Path:
    """Write what ``session`` has computed so far to ``path`` and return it; computes nothing.

    The file is complete or not there: a failure leaves an older report as it was.

    Raises:
        SettingError: the file cannot be written there.
    """
    target = Path(path).expanduser()
    text = page(contents(session))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, text.encode())
    except OSError as error:
        raise SettingError(
            f"The report cannot be written to {str(target)!r}: {error.strerror or error}. Choose a file you may write."
        ) from error
    return target


def page(data: Json) -> str:
    """Make the page; ``data`` is what :func:`contents` gathers."""
    library = _script(_BOKEHJS)
    own = "\n".join(_script(file) for file in (SCRIPT, FINDINGS, _HERE / "report.js"))
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
    return _PAGE.format(
        policy=markup(policy),
        title=markup(data["title"]),
        description=markup(data["description"]),
        extent=markup(data["extent"]),
        made=markup(made),
        legend=markup(LEGEND),
        style=(_HERE / "report.css").read_text("utf-8"),
        data=script_json(data),
        table=_table(data),
        bokeh=library,
        script=own,
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
        reading: Json = layer["readings"][data["frame"]] if layer["readings"] else {}
        largest, trace, found = reading.get("cells", ["not computed", "", ""])
        word = reading["badge"]["word"] if reading.get("badge") else ""
        cells = [layer["name"], f"{layer['size']:,}", largest, trace, word, found]
        rows.append("<tr>" + "".join(f"<td>{markup(cell)}</td>" for cell in cells) + "</tr>")
    return "".join(rows)


def _replace(target: Path, text: bytes) -> None:
    """Write beside the target, then rename."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)  # as any other new file; a temporary one is private
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="muted">{description}</p>
<p class="muted">{extent}</p>
<noscript><p class="notice">The pictures and the slider need JavaScript; the table below works without.</p></noscript>
</header>
<main>
<section class="controls" aria-label="What is shown">
<label>Layer <select id="layer"></select></label>
<div class="buttons">
<button id="previous" type="button">Prev</button>
<button id="play" type="button" aria-pressed="false">Play</button>
<button id="next" type="button">Next</button>
</div>
<input id="slider" type="range" min="0" step="1" aria-label="Snapshot">
<output id="place" for="slider"></output>
</section>
<section class="pair">
<div class="panel">
<h2>Eigenvalues</h2>
<div id="spectrum" class="figure" role="img"></div>
<ul id="spectrum-legend" class="legend" aria-label="Legend of the spectrum"></ul>
<p class="muted">{legend}</p>
<p id="sentence" role="status" aria-live="polite"></p>
</div>
<div class="panel">
<h2>Loss</h2>
<ul id="loss-legend" class="legend" aria-label="Legend of the losses"></ul>
<div id="loss" class="figure" role="img"></div>
<p id="loss-sentence" class="muted"></p>
</div>
<div class="panel card" id="card" role="region" aria-label="What the spectrum says"></div>
</section>
<section class="panel">
<div class="row"><h2>Layers over training</h2><label>Metric <select id="metric"></select></label></div>
<div id="map" class="figure" role="img"></div>
<ul id="map-legend" class="legend" aria-label="Legend of the map"></ul>
<p id="map-sentence" class="muted"></p>
<p class="muted">Click a cell to go there.</p>
</section>
<section class="panel">
<h2>Findings of the run</h2>
<p id="findings-words" class="muted"></p>
<ul id="findings" class="findings run"></ul>
<div id="silent"></div>
</section>
<section class="panel">
<h2 id="table-title">All layers</h2>
<div class="scroll">
<table aria-labelledby="table-title">
<thead><tr><th scope="col">Layer</th><th scope="col">Parameters</th><th scope="col">λmax</th><th scope="col">Trace</th>
<th scope="col">HESD type</th><th scope="col">Findings</th></tr></thead>
<tbody id="rows">{table}</tbody>
</table>
</div>
</section>
<section class="panel">
<details>
<summary>How these numbers came about</summary>
<dl id="provenance" class="numbers"></dl>
<p class="muted">{made}</p>
</details>
</section>
</main>
<script type="application/json" id="data">{data}</script>
<script>{bokeh}</script>
<script>{script}</script>
</body>
</html>
"""

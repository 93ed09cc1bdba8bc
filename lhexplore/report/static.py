"""What a report shows where scripts are off: pictures with their captions, findings and losses as text."""

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..diagnosis import Course
from ..errors import UnsupportedError
from ..explorer.escape import markup
from ..explorer.places import snapshot_words
from .blocks import Reading
from .parts import Json
from .tables import Table, losses_table

if TYPE_CHECKING:
    from ..figures import Picture


SMALL = 40_000  # bytes of vectors that stay vectors


class Drawn(NamedTuple):
    """A picture as a data URI, and what it shows."""

    source: str
    caption: str


def pictures(reading: Reading, layer: int, frame: int) -> list[Drawn]:
    """The spectrum on show at first and the map of λmax; none without matplotlib, or where nothing is known."""
    if not any(block.known for block in reading.blocks):
        return []
    from .. import figures  # matplotlib is loaded only now

    course = Course(
        tuple(row.label for row in reading.shots),
        {
            (block.key, row.label): spectrum
            for block in reading.blocks
            for row, spectrum in zip(reading.shots, block.spectra, strict=True)
            if spectrum is not None
        },
        steps={row.label: row.step for row in reading.shots if row.step is not None},
    )
    try:
        drawn = [
            figures.spectrum(course, reading.blocks[layer].key, frame, width="page"),
            figures.heat_map(course, findings=False, width="page"),
        ]
    except UnsupportedError:
        return []
    return [Drawn(_uri(picture), picture.caption) for picture in drawn]


def _uri(picture: "Picture") -> str:
    """As vectors, unless they are many and dots are smaller."""
    kind, data = "svg+xml", picture._repr_svg_().encode()
    if len(data) > SMALL and len(dots := picture._repr_png_()) < len(data):
        kind, data = "png", dots
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def still(data: Json, drawn: Sequence[Drawn], reading: Reading) -> str:
    """All of it as HTML."""
    parts = [
        f'<figure class="panel"><img src="{markup(uri)}" alt="{markup(caption)}">'
        f"<figcaption>{markup(caption)}</figcaption></figure>"
        for uri, caption in drawn
    ]
    found = [
        f"<li><strong>{markup(row['level'])} {markup(row['rule'])}: {markup(row['title'])}</strong> "
        f"({markup(row['place'])}). {markup(row['text'])}</li>"
        for row in data["findings"]["rows"]
    ]
    if found:
        parts.append(f'<section class="panel"><h2>What was found</h2><ul>{"".join(found)}</ul></section>')
    if reading.shots:
        words = [snapshot_words(row) for row in reading.shots]
        parts.append(f'<section class="panel"><h2>Losses</h2>{as_html(losses_table(reading.losses, words))}</section>')
    return "".join(parts)


def as_html(table: Table) -> str:
    """A table for those who cannot see the figure."""
    head = "".join(f'<th scope="col">{markup(text)}</th>' for text in table["head"])
    rows = "".join(
        f'<tr><th scope="row">{markup(row[0])}</th>{"".join(f"<td>{markup(cell)}</td>" for cell in row[1:])}</tr>'
        for row in table["rows"]
    )
    return (
        f'<div class="scroll" tabindex="0"><table><caption>{markup(table["caption"])}</caption><thead><tr>{head}</tr>'
        f"</thead><tbody>{rows}</tbody></table></div>"
    )

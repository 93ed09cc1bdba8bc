"""The numbers behind a figure as a table: for screen readers, for pages without a kernel, and to be copied."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..figures.shapes import quantile
from ..spectrum import Spectrum
from .escape import markup, plain

MOST_ROWS, MOST_COLUMNS = 40, 14
ROOM = ' style="margin-bottom:1em"'  # before what comes next
LONGEST = 200  # characters of one cell
OPEN = 8  # rows up to which a table stands open
SHARES = {
    "smallest": 0.0,
    "5 % are below": 0.05,
    "25 %": 0.25,
    "median": 0.5,
    "75 %": 0.75,
    "95 %": 0.95,
    "largest": 1.0,
}


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of words under a caption; the first cell of a row is its heading.

    What is longer or wider than a page can hold is thinned evenly, first and last included; the caption says so.

    Attributes:
        caption: what the numbers are.
        columns: headings.
        rows: as many cells as there are columns; unknown is "–".
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    @classmethod
    def of(cls, caption: str, columns: Sequence[object], rows: Sequence[Sequence[object]]) -> "Table":
        """Make a table that fits on a page."""
        lines = thinned(len(rows), MOST_ROWS)
        across = (0, *(k + 1 for k in thinned(len(columns) - 1, MOST_COLUMNS)))
        left_out = len(lines) < len(rows) or len(across) < len(columns)
        return cls(
            plain(caption, longest=LONGEST) + (" Some rows or columns are left out." if left_out else ""),
            tuple(_cell(columns[k]) for k in across),
            tuple(tuple(_cell(rows[r][k]) for k in across) for r in lines),
        )

    def html(self, *, folded: bool = False) -> str:
        """A table element with a caption and scoped headings, in a box that folds; long ones are folded at first."""
        head = "".join(f'<th scope="col">{text_html(words)}</th>' for words in self.columns)
        body = "".join(
            f'<tr><th scope="row">{text_html(row[0])}</th>{"".join(f"<td>{text_html(c)}</td>" for c in row[1:])}</tr>'
            for row in self.rows
        )
        caption = f"<caption>{text_html(self.caption)}</caption>"
        table = f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        opened = "" if folded or len(self.rows) > OPEN else " open"
        scrolled = f'<div style="overflow-x:auto">{table}</div>'
        return f"<details{opened}{ROOM}><summary>Numbers as a table</summary>{scrolled}</details>"

    def markdown(self) -> str:
        """A pipe table under its caption."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join([markdown(self.caption), "", *(f"| {' | '.join(map(_pipe, row))} |" for row in lines)])


def quantiles(spectrum: Spectrum) -> list[float]:
    """The eigenvalues that belong to ``SHARES``; what is in the zero band is rounding error, and 0."""
    found = quantile(spectrum, np.array(list(SHARES.values())))
    return [float(value) if abs(value) > spectrum.zero_band else 0.0 for value in found]


def thinned(count: int, most: int) -> tuple[int, ...]:
    """Evenly spread indices, at most so many, first and last included."""
    if count <= most:
        return tuple(range(count))
    return tuple(dict.fromkeys(round(i * (count - 1) / (most - 1)) for i in range(most)))


def text_html(text: str) -> str:
    """Escape ``text`` for HTML that a notebook shows: what could begin a formula stands alone, so that none is read."""
    return "".join(f"<span>{c}</span>" if c in "$\\" else c for c in markup(text))


def markdown(text: str) -> str:
    """Escape ``text`` for Markdown, which may hold HTML."""
    return "".join(f"\\{c}" if c in "\\`*_[]#$|" else c for c in markup(text))


def _pipe(cell: str) -> str:
    return cell if cell == "---" else markdown(cell)


def _cell(value: object) -> str:
    return plain(value, longest=LONGEST) or "–"

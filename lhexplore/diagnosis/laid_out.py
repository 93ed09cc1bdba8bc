"""Rows of words as they are read in a terminal and in a notebook; everything is escaped, nothing is cut off."""

from collections.abc import Sequence
from html import escape
from textwrap import wrap

WIDTH = 60  # of the last column in a terminal, where the sentences are

Rows = Sequence[Sequence[str]]


def as_text(title: str, columns: Sequence[str], rows: Rows, notes: Sequence[str] = ()) -> str:
    """Put rows under each other, the last column wrapped; then the notes, a line each."""
    if not rows:
        return "\n".join([title, *notes])
    widths = [max(len(column), *(len(row[i]) for row in rows)) for i, column in enumerate(columns[:-1])]
    lines = [title, _line([*columns], widths)]
    for row in rows:
        first, *rest = wrap(row[-1], WIDTH) or [""]
        lines.append(_line([*row[:-1], first], widths))
        lines += [_line([*[""] * len(widths), more], widths) for more in rest]
    return "\n".join([*lines, *notes])


def as_html(title: str, columns: Sequence[str], rows: Rows, notes: Sequence[str] = ()) -> str:
    """The same as a table with its title above and the notes below it."""
    head = "".join(f"<th style='text-align:left'>{escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td style='text-align:left'>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    below = "".join(f"<p>{escape(note)}</p>" for note in notes)
    return f"<p>{escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join([*(cell.ljust(width) for cell, width in zip(cells, widths, strict=False)), cells[-1]]).rstrip()

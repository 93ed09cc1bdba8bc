"""A small table that reads well in a terminal and in a notebook, with nothing cut off."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


class Table(Sequence[Mapping[str, Any]]):
    """Rows with the same columns. ``.frame()`` gives them to pandas; ``.caption`` says what the whole amounts to."""

    def __init__(self, rows: Sequence[Mapping[str, Any]], *, caption: str = "") -> None:
        self._rows, self.caption = tuple(rows), caption

    def __getitem__(self, index: Any) -> Any:
        return self._rows[index]

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(self._rows[0]) if self._rows else ()

    def frame(self) -> "pd.DataFrame":
        """The same rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(list(self._rows), columns=list(self.columns))

    def __repr__(self) -> str:
        cells = [[_plain(row[column]) for column in self.columns] for row in self._rows]
        widths = [
            min(max(len(column), *(len(row[i]) for row in cells)), 60) if cells else len(column)
            for i, column in enumerate(self.columns)
        ]
        lines = [_line(list(self.columns), widths), _line(["─" * w for w in widths], widths)]
        for row in cells:
            parts = [wrap(cell, width) or [""] for cell, width in zip(row, widths, strict=True)]
            for i in range(max(map(len, parts))):
                lines.append(_line([part[i] if i < len(part) else "" for part in parts], widths))
        if not cells:
            lines = ["(no rows)"]
        return "\n".join([*lines, *([self.caption] if self.caption else [])])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{escape(column)}</th>" for column in self.columns)
        body = "".join(
            "<tr>" + "".join(f"<td style='text-align:left'>{escape(_plain(v))}</td>" for v in row.values()) + "</tr>"
            for row in self._rows
        )
        caption = f"<p>{escape(self.caption)}</p>" if self.caption else ""
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{caption}"


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return "–" if value != value else f"{value:.4g}"
    return str(value)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()

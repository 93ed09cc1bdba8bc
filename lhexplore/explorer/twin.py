"""What a view is without a kernel: a picture, a sentence and a table."""

from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

from .escape import markup
from .twin_table import Table, markdown, text_html


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """A picture in two formats. The same results give the same bytes.

    Attributes:
        svg: text stays text.
        png: two dots per point of the screen, ``width`` points wide; its colours are few, which keeps it small.
        width: in points of the screen.
        words: what it shows, for those who cannot see it.
    """

    svg: str
    png: bytes = field(repr=False)
    width: int
    words: str


@dataclass(frozen=True, slots=True, eq=False)
class Twin:
    """A view as it stood at one moment, for everyone who has no kernel: shown by notebooks, pages and plain files.

    Attributes:
        title: what is shown.
        sentence: what it shows, in words; a line of code where ``code`` says so.
        table: the numbers; None where the sentence says all.
        picture: None where there is none, and ``missing`` says why if there could be one.
        parts: the twins of the views of a page, in reading order.
    """

    title: str
    sentence: str
    table: Table | None = None
    picture: Still | None = None
    missing: str = ""
    parts: tuple["Twin", ...] = ()
    code: bool = False

    def words_html(self) -> str:
        """Title, sentence and table, of the parts too; everything that came from outside is escaped."""
        return self._html("")

    def _html(self, image: str, *, part: bool = False) -> str:
        said = text_html(self.sentence)
        lines = [f"<strong>{text_html(self.title)}</strong>", image, f"<code>{said}</code>" if self.code else said]
        lines.append(f"<em>{text_html(self.missing)}</em>" if self.missing else "")
        words = "".join(f"<p>{line}</p>" for line in lines if line)
        if self.parts:
            return words + "".join(each._html("", part=True) for each in self.parts)
        return words + ("" if self.table is None else self.table.html(folded=part))

    def _repr_html_(self) -> str:
        if self.picture is None:
            return self.words_html()
        data = b64encode(self.picture.png).decode()
        words, width = markup(self.picture.words), self.picture.width
        return self._html(f'<img src="data:image/png;base64,{data}" alt="{words}" width="{width}">')

    def _repr_markdown_(self) -> str:
        lines = [f"**{markdown(self.title)}**", markdown(self.sentence), markdown(self.missing)]
        if self.table is not None and not self.parts:
            lines.append(self.table.markdown())
        return "\n\n".join(filter(None, [*lines, *(part._repr_markdown_() for part in self.parts)]))

    def _repr_svg_(self) -> str | None:
        return None if self.picture is None else self.picture.svg

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]] | None:
        return None if self.picture is None else (self.picture.png, picture_metadata(self.picture))

    def __repr__(self) -> str:
        return f"{self.title}. {self.sentence}"


def picture_metadata(picture: Still) -> dict[str, Any]:
    """What a notebook is told of a picture beside its bytes."""
    return {"width": picture.width, "alt": picture.words}

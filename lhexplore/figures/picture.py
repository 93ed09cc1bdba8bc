"""A finished figure with the sentence that says what it shows: saved, or shown in a notebook without a kernel."""

from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError
from .style import styled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".svg", ".pdf", ".png")
SCREEN = 200  # dots per inch of the bitmap in a notebook


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A matplotlib figure and its caption. The same results give the same file, byte for byte.

    Attributes:
        figure: to be changed with matplotlib's own means before saving; no pyplot holds it.
        caption: what it shows, how sure it is, and what is missing, in plain sentences.
    """

    figure: "Figure"
    caption: str

    def save(self, path: str | Path, *, dpi: float = 300) -> Path:
        """Write a file of the size of the figure; text in .svg and .pdf stays text. The caption goes with it.

        Args:
            path: ends in .svg, .pdf or .png.
            dpi: dots per inch of a bitmap, and of those parts of others that would be too heavy as vectors.

        Raises:
            SettingError: another ending.
        """
        path = Path(path)
        if path.suffix.lower() not in FORMATS:
            raise SettingError(f"A figure is saved as {', '.join(FORMATS)}; got {path.name!r:.60}.")
        path.write_bytes(self._bytes(path.suffix.lower(), dpi))
        return path

    def _bytes(self, suffix: str, dpi: float) -> bytes:
        metadata: Mapping[str, Any] = {  # no dates, no versions
            ".svg": {"Date": None, "Creator": None, "Description": self.caption},
            ".pdf": {"CreationDate": None, "Creator": None, "Producer": None, "Subject": self.caption},
            ".png": {"Software": None, "Description": self.caption},
        }[suffix]
        file = BytesIO()
        with styled():
            self.figure.savefig(file, format=suffix[1:], dpi=dpi, metadata=metadata)
        return file.getvalue()

    def _repr_svg_(self) -> str:
        return self._bytes(".svg", SCREEN).decode()

    def _repr_png_(self) -> bytes:
        return self._bytes(".png", SCREEN)

    def __repr__(self) -> str:
        wide, tall = self.figure.get_size_inches()
        return f"Picture({wide:.3g} × {tall:.3g} in: {self.caption})"

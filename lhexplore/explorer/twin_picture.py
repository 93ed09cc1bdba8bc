"""Pictures for twins: those of figures for papers, drawn small; several of a page one below the other."""

import re
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any

from ..errors import UnsupportedError
from ..figures.picture import Picture
from .known import words
from .twin import Still

DPI, SCREEN = 200, 120  # dots per inch of the bitmap, and of a screen that shows it in its own size
COLOURS = 256  # of the bitmap: a third of the bytes, and no eye tells
GAP = 24  # dots between pictures of a page
NO_MATPLOTLIB = (
    "There is no picture: it is drawn by matplotlib, which is not installed: pip install 'lhexplore[plots]'."
)
_PATH = re.compile(r' d="[^"]*"')
_LONG_NUMBER = re.compile(r"(\d\.\d)\d+")  # of its coordinates; a tenth of a point is finer than a screen


def drawn(draw: Callable[[], Picture]) -> tuple[Still | None, str]:
    """A picture, or why there is none: a twin without one is still a twin."""
    try:
        picture = draw()
        png, size = _small(picture._repr_png_())
        svg = _PATH.sub(_shorter, picture._repr_svg_())
    except UnsupportedError:
        return None, NO_MATPLOTLIB
    except Exception as failure:  # noqa: BLE001  belongs into the words; the sentence and the table are there
        return None, f"The picture could not be drawn. {words(failure)}"
    return Still(svg, png, _width(size[0]), picture.caption), ""


def stacked(stills: Sequence[Still]) -> Still | None:
    """Pictures one below the other as one; None if there are none."""
    if len(stills) < 2:
        return stills[0] if stills else None
    from PIL import Image

    images = [Image.open(BytesIO(still.png)).convert("RGB") for still in stills]
    wide, tall = max(i.width for i in images), sum(i.height for i in images) + GAP * (len(images) - 1)
    page = Image.new("RGB", (wide, tall), "white")
    top, inner = 0, []
    for image, still in zip(images, stills, strict=True):
        page.paste(image, (0, top))
        scale = 72 / DPI  # points of an SVG by dots
        inner.append(f'<svg y="{top * scale:g}" {_attributes(still.svg)}')
        top += image.height + GAP
    size = f'width="{wide * scale:g}pt" height="{tall * scale:g}pt" viewBox="0 0 {wide * scale:g} {tall * scale:g}"'
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(inner)}</svg>'
    return Still(svg, _png(page), _width(wide), " ".join(still.words for still in stills))


def _shorter(path: re.Match[str]) -> str:
    return _LONG_NUMBER.sub(r"\1", path[0]).replace(" \nL ", "L")


def _small(png: bytes) -> tuple[bytes, tuple[int, int]]:
    from PIL import Image

    image = Image.open(BytesIO(png)).convert("RGB")
    return _png(image), image.size


def _png(image: Any) -> bytes:
    from PIL import Image

    file = BytesIO()
    image.quantize(COLOURS, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
    return file.getvalue()


def _width(dots: int) -> int:
    return round(dots * SCREEN / DPI)


def _attributes(svg: str) -> str:
    """An SVG file from its first attribute on: without the head of a file, which cannot stand inside another."""
    return svg[svg.index("<svg ") + len("<svg ") :]

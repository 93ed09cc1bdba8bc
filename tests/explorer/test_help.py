"""The example picture beside each view's explanation."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

import lhexplore.explorer.sheet as sheet
from lhexplore.explorer.help import Help, example
from lhexplore.explorer.view_texts import VIEW_TEXTS
from lhexplore.explorer.views import __all__ as views

FOLDER = Path(sheet.__file__).parent
SVG = "{http://www.w3.org/2000/svg}"
WIDEST = 0.56  # of a letter, in font sizes, on average: DejaVu and Arial stay below it
SMALL, STRONG = 10.5, 12.0  # font sizes of help.css


@pytest.fixture(params=views)
def picture(request):
    return ElementTree.fromstring(example(request.param))


def test_every_view_has_one_and_others_have_none():
    assert {path.stem for path in (FOLDER / "help_pictures").glob("*.svg")} == set(views)
    assert example("Nothing") == ""
    assert set(views) <= set(VIEW_TEXTS)


def test_it_says_in_words_what_it_shows_and_takes_its_colours_from_the_page(picture):
    assert picture.get("role") == "img"
    assert len(picture[0].text.split()) > 3
    assert picture[0].tag == f"{SVG}title"
    css = (FOLDER / "help.css").read_text("utf-8")
    for part in picture.iter():
        assert part.tag in {f"{SVG}{name}" for name in ("svg", "title", "text", "path", "rect", "circle")}
        assert not {"fill", "stroke", "style", "onload", "href"} & set(part.keys())
        for name in part.get("class", "words").split():
            assert name == "words" or re.search(rf"\.{name}\b", css), name


def test_nothing_sticks_out(picture):
    width, height = map(float, picture.get("viewBox").split()[2:])
    for part in picture.iter(f"{SVG}text"):
        size = STRONG if "strong" in part.get("class") else SMALL
        length = WIDEST * size * len(part.text)
        start = float(part.get("x")) - {None: 0, "middle": length / 2, "end": length}[part.get("text-anchor")]
        assert start > 0, part.text
        assert start + length < width, part.text
        assert size * 0.7 < float(part.get("y")) < height, part.text


def test_it_travels_with_the_explanation():
    made = Help(title="Spectrum", text="What one sees.", picture=example("SpectrumPlot"))
    try:
        assert "curves up" in made.picture
    finally:
        made.close()
    assert "help.css" in sheet._SHEETS

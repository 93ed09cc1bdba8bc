"""Colours are told apart by everybody, and stand out from light and dark pages; measured, not believed."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import lhexplore.explorer
import lhexplore.report
from lhexplore.explorer.theme import THEMES

# Machado, Oliveira and Fernandes 2009, "A physiologically-based model for simulation of color vision deficiency",
# severity 1, on linear RGB.
VISIONS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
APART = 14.0  # CIELAB (1976) distance; two that lie side by side are told apart from about 2.3 on
STANDS_OUT = 3.0  # contrast of a mark with the page (WCAG 2.2, 1.4.11)
READABLE = 4.5  # of words (1.4.3)
PAGES = {"light": ["#ffffff"], "dark": ["#111111"]}
RAISED = {"light": ["#ffffff", "#eeeeee"], "dark": ["#111111", "#424242"]}  # JupyterLab's, below badges
MARKS = (
    *("bar", "whisker", "ghost", "band", "ends", "train", "held_out", "third", "fourth", "sixth"),
    *("finding", "marker", "unknown", "axis"),
)
LINES = ("train", "held_out", "third", "fourth", "sixth", "ghost", "marker")  # of one figure
KINDS = ("positive", "negative", "structure", "undecided")
SHEETS = {
    "explorer": (Path(lhexplore.explorer.__file__).with_name("explorer.css"), "--lhx-"),
    "report": (Path(lhexplore.report.__file__).with_name("report.css"), "--"),
}


def linear(colour: str) -> np.ndarray:
    parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    low, high = sorted(float(TO_XYZ[1] @ linear(each)) for each in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(light: np.ndarray) -> np.ndarray:
    ratio = TO_XYZ @ np.clip(light, 0, 1) / TO_XYZ.sum(axis=1)
    x, y, z = np.where(ratio > (6 / 29) ** 3, np.cbrt(ratio), ratio / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def nearest(colours: dict[str, str], vision: str) -> tuple[float, str, str]:
    seen = {name: lab(np.array(VISIONS[vision]) @ linear(colour)) for name, colour in colours.items()}
    return min((float(np.linalg.norm(seen[a] - seen[b])), a, b) for a, b in itertools.combinations(seen, 2))


def kinds(sheet: str, theme: str) -> dict[str, str]:
    """The colours of the badges: every name has two in a style sheet, one for light pages and one for dark ones."""
    file, prefix = SHEETS[sheet]
    text = file.read_text("utf-8")
    given = {name: " ".join(re.findall(rf"{prefix}{name}: ([^;]*)", text)) for name in KINDS}
    found = {name: re.findall("#[0-9a-f]{6}", colours) for name, colours in given.items()}
    return {name: colours[theme == "dark"] for name, colours in found.items()}


def test_the_measure_knows_what_is_easy_and_what_is_not() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert nearest({"red": "#ff0000", "green": "#00ff00"}, "usual")[0] > 150
    assert nearest({"vermillion": "#d55e00", "olive": "#857400"}, "protanopia")[0] < 1


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", THEMES)
def test_lines_of_one_figure_differ_for_everybody(theme: str, vision: str) -> None:
    apart, *pair = nearest({role: str(THEMES[theme][role]) for role in LINES}, vision)
    assert apart > APART, pair


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("role", MARKS)
def test_marks_stand_out_from_the_page(theme: str, role: str) -> None:
    assert min(contrast(str(THEMES[theme][role]), page) for page in PAGES[theme]) >= STANDS_OUT


@pytest.mark.parametrize("theme", THEMES)
def test_words_in_figures_are_readable(theme: str) -> None:
    assert min(contrast(str(THEMES[theme]["text"]), page) for page in PAGES[theme]) >= READABLE


@pytest.mark.parametrize("sheet", SHEETS)
@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("theme", THEMES)
def test_types_differ_for_everybody(theme: str, vision: str, sheet: str) -> None:
    apart, *pair = nearest(kinds(sheet, theme), vision)
    assert apart > APART, pair


@pytest.mark.parametrize("theme", THEMES)
def test_symbols_of_types_are_readable(theme: str) -> None:
    worst = min(contrast(colour, page) for colour in kinds("explorer", theme).values() for page in RAISED[theme])
    assert worst >= READABLE


@pytest.mark.parametrize("vision", VISIONS)
def test_numbers_on_the_map_order_by_lightness_for_everybody(vision: str) -> None:
    """What is larger is lighter: nobody needs the hue."""
    lightness = [lab(np.array(VISIONS[vision]) @ linear(each))[0] for each in THEMES["light"]["sequential"]]
    assert all(a < b + 0.5 for a, b in itertools.pairwise(lightness))
    assert lightness[-1] - lightness[0] > 60

"""The colours of all figures, for light and for dark pages: after Okabe and Ito's palette, told apart by everybody.

Hues are theirs. Some are darkened or lightened until every pair that meets in a figure differs for all kinds of colour
vision, and every mark stands out from the page (the tests measure both).

A model says in a tag which of its properties plays which role; whoever switches the theme, Python or the browser,
only walks over those tags.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from bokeh.model import Model
from bokeh.models import Plot as BokehPlot
from bokeh.palettes import Viridis256

Colours = Mapping[str, str | Sequence[str]]
M = TypeVar("M", bound=Model)

TAG = "theme"
CLEAR = "rgba(0, 0, 0, 0)"

_BLUE, _SKY, _VERMILLION, _ORANGE = "#0072b2", "#56b4e9", "#d55e00", "#e69f00"
_PURPLE = "#cc79a7"
_STEPS = 32  # colours on either side of a diverging palette


def _blend(start: str, end: str, share: float) -> str:
    pairs = ((int(start[i : i + 2], 16), int(end[i : i + 2], 16)) for i in (1, 3, 5))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in pairs)


def _diverging(negative: str, neutral: str, positive: str) -> tuple[str, ...]:
    left = [_blend(negative, neutral, i / _STEPS) for i in range(_STEPS)]
    right = [_blend(neutral, positive, i / _STEPS) for i in range(1, _STEPS + 1)]
    return (*left, neutral, *right)


SEQUENTIAL = tuple(Viridis256[::4])

LIGHT: Colours = {
    "text": "#4a4a4a",  # 8.9 : 1 on white
    "axis": "#8a8a8a",
    "grid": "#e4e4e4",
    "bar": _BLUE,
    "whisker": "#222222",
    "ghost": "#949494",
    "band": "#8a8a8a",
    "ends": _VERMILLION,
    "train": _BLUE,
    "held_out": _VERMILLION,
    "third": "#009c50",
    "fourth": "#a64d85",  # the palette's purple, darkened for white pages
    "sixth": "#4d4600",  # the palette's yellow, darkened until it is no vermillion to protanopes
    "wash": "#cfe3f0",  # what is filled in front of something else: the blue, mixed with the page
    "finding": "#a64d85",
    "marker": "#111111",
    "halo": "#ffffff",
    "unknown": "#8f8f8f",
    "sequential": SEQUENTIAL,
    "diverging": _diverging(_BLUE, "#f2f2f2", _VERMILLION),
}
DARK: Colours = {
    "text": "#c4c4c4",  # 10.8 : 1 on #111111
    "axis": "#8a8a8a",
    "grid": "#333333",
    "bar": _SKY,
    "whisker": "#f0f0f0",
    "ghost": "#787878",
    "band": "#9a9a9a",
    "ends": _ORANGE,
    "train": _SKY,
    "held_out": _ORANGE,
    "third": "#20a050",
    "fourth": _PURPLE,
    "sixth": "#f0e442",
    "wash": "#1f3a4b",
    "finding": _PURPLE,
    "marker": "#ffffff",
    "halo": "#000000",
    "unknown": "#777777",
    "sequential": SEQUENTIAL,
    "diverging": _diverging(_SKY, "#3a3a3a", _ORANGE),
}
THEMES: Mapping[str, Colours] = {"light": LIGHT, "dark": DARK}


def themed(model: M, **roles: str) -> M:
    """Colour properties of ``model`` by role and remember the roles in a tag."""
    before = _roles(model)
    model.tags = [tag for tag in model.tags if not _is_theme(tag)] + [{TAG: {**before, **roles}}]
    _colour(model, LIGHT)
    return model


def apply_theme(root: Model, dark: bool) -> None:
    """Switch all colours below ``root`` to those for dark or for light pages."""
    for model in root.references():
        _colour(model, DARK if dark else LIGHT)


def clear_background(plot: BokehPlot) -> None:
    """Let the page shine through: the figure then fits light and dark pages."""
    plot.background_fill_color = None
    plot.border_fill_color = None


def _colour(model: Model, colours: Colours) -> None:
    for name, role in _roles(model).items():
        setattr(model, name, colours[role])


def _roles(model: Model) -> dict[str, str]:
    return next((dict(tag[TAG]) for tag in model.tags if _is_theme(tag)), {})


def _is_theme(tag: object) -> bool:
    return isinstance(tag, dict) and TAG in tag

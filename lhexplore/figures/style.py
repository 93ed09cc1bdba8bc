"""How all figures look: sizes of papers, colours that everybody tells apart, text that stays text.

Nothing of matplotlib's global state is left changed: there is no pyplot here, and settings hold only while drawing.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..diagnosis.arguments import is_number
from ..errors import SettingError, UnsupportedError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

Width = str | float
WIDTHS = {"column": 3.3, "page": 6.9}  # inches: one and two columns of the usual two-column paper
MARGIN = 0.65  # inches beside a frame, for its ticks and label
RANGE = (1.0, 40.0)  # inches that make sense

# Okabe and Ito's palette as the explorer has it: darkened or moved where white paper or weak colour sight ask for it.
BLUE, VERMILLION, GREEN, PURPLE = "#0072b2", "#d55e00", "#009c50", "#a64d85"
SKY, BLACK, GREY, PALE, INK = "#56b4e9", "#222222", "#8a8a8a", "#e4e4e4", "#4a4a4a"
WASH = "#b8d6e8"  # the blue under bars and curves, light enough for whiskers over it
FINDING = PURPLE
MARKS = {"warning": "^", "note": "o", "info": "D"}  # of findings, told apart without colour


class Stroke(NamedTuple):
    """How one of several curves is drawn: colour, dash and marker each tell it from the others."""

    colour: str
    dash: Any
    marker: str


STROKES = (
    Stroke(BLUE, "-", "o"),
    Stroke(VERMILLION, (0, (4, 1.5)), "s"),
    Stroke(GREEN, (0, (1, 1)), "D"),
    Stroke(PURPLE, (0, (5, 1.5, 1, 1.5)), "^"),
    Stroke(BLACK, (0, (7, 2)), "v"),
    Stroke(SKY, (0, (3, 1, 1, 1, 1, 1)), "X"),
)

SETTINGS: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],  # the first one comes with matplotlib
    "font.size": 7.0,
    "axes.labelsize": 7.5,
    "axes.titlesize": 7.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.edgecolor": INK,
    "axes.labelcolor": BLACK,
    "xtick.color": INK,
    "ytick.color": INK,
    "text.color": BLACK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.handlelength": 2.2,
    "lines.linewidth": 1.1,
    "lines.markersize": 3.0,
    "hatch.linewidth": 0.4,
    "text.parse_math": False,  # a layer may be called $x$
    "svg.fonttype": "none",  # text stays text: it can be searched, edited and set in another font
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.hashsalt": "lhexplore",  # the same picture is the same file
    "savefig.dpi": 300,
}


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's defaults and these settings, whatever is set outside, until the block ends.

    Raises:
        UnsupportedError: matplotlib is not installed.
    """
    try:
        from matplotlib import style
    except ImportError as error:
        raise UnsupportedError(
            "Figures for papers are drawn by matplotlib, which is not installed: pip install 'lhexplore[plots]'."
        ) from error
    with style.context(["default", SETTINGS]), warnings.catch_warnings():
        # A name in a script that the font lacks is boxes in a bitmap, but text all the same in .svg.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


@contextmanager
def canvas(width: Width, height: float | None, *, ratio: float = 0.68) -> "Iterator[Figure]":
    """An empty figure of the asked size, drawn in this style; ``ratio`` is height by width up to a column's width.

    Raises:
        SettingError: a size that makes no sense.
        UnsupportedError: matplotlib is not installed.
    """
    wide = inches(width)
    tall = ratio * min(wide, 1.4 * WIDTHS["column"]) if height is None else _inches("height", height)
    with styled():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        figure = Figure(figsize=(wide, tall), layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def inches(width: Width) -> float:
    """Tell the width in inches."""
    if isinstance(width, str):
        if width not in WIDTHS:
            raise SettingError(f"width must be 'column', 'page' or a number of inches; got {width!r}.")
        return WIDTHS[width]
    return _inches("width", width)


def _inches(name: str, value: object) -> float:
    if not is_number(value) or not RANGE[0] <= value <= RANGE[1]:  # type: ignore[operator]
        raise SettingError(f"{name} must be between {RANGE[0]:g} and {RANGE[1]:g} inches; got {value!r}.")
    return float(value)  # type: ignore[arg-type]


def one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse a setting that is none of the known ones."""
    if value not in known:
        raise SettingError(f"{name} must be one of {', '.join(map(repr, known))}; got {value!r}.")


def diverging() -> "Colormap":
    """Blue below, light grey at, vermillion above zero."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("lhexplore", [BLUE, "#f2f2f2", VERMILLION])


def legend(axes: "Axes", *over: "Axes", most: int = 3) -> None:
    """Name the curves above the frame, and those over it, where they hide nothing: in rows of as many as fit."""
    figure = axes.get_figure(root=True)
    handles = [handle for each in (axes, *over) for handle in each.get_legend_handles_labels()[0]]
    assert figure is not None  # noqa: S101  its canvas made the frame
    room = figure.get_figwidth() * figure.dpi / _beside(figure) - MARGIN * figure.dpi
    for columns in range(min(most, len(handles)), 0, -1):
        drawn = axes.legend(
            handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, ncols=columns,
            columnspacing=1.2, handletextpad=0.5,
        )  # fmt: skip
        if drawn.get_window_extent().width <= room:
            return


def _beside(figure: "Figure") -> int:
    """How many frames stand in the figure; one over another is no more."""
    return len({each.get_subplotspec() for each in figure.axes})


def say(axes: "Axes", words: str) -> None:
    """Write what is missing into an empty frame."""
    from textwrap import fill

    axes.set(xticks=[], yticks=[], xlim=(0, 1), ylim=(0, 1))
    axes.spines[:].set_visible(False)
    axes.text(0.5, 0.5, fill(words, 42), ha="center", va="center", color=INK)

"""A figure in two halves: how it is drawn, which many have in common, and what is put into it by name.

Bokeh needs some 50 ms to make a figure. Where one is on screen already, or a page holds one drawn alike, what is put
into it is enough.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from bokeh.models import ColumnDataSource, FixedTicker
from bokeh.models.annotations import ColorBar
from bokeh.models.axes import Axis
from bokeh.plotting import figure

from .escape import plain

Settings = Mapping[str, Mapping[str, Any]]  # properties by the name of their model
DATA = "data"  # the property that holds the columns of a source: those that are not named stay
Sources = dict[str, ColumnDataSource]


@dataclass(frozen=True, slots=True, eq=False)
class Drawing:
    """A figure that is made when it is asked for.

    ``make`` draws it, with nothing in it; ``settings`` are its ranges, ticks and columns. ``make`` is called with
    nothing that cannot be compared, so that drawings of equal ``key`` differ in their settings alone.
    """

    make: "partial[figure]"
    settings: Settings

    @property
    def key(self) -> Hashable:
        """Equal for figures that are drawn alike."""
        return self.make.func, self.make.args, tuple(sorted(self.make.keywords.items()))

    def drawn(self) -> figure:
        """Make the figure, with everything in it."""
        made = self.make()
        put(made, self.settings)
        return made


def put(root: figure, settings: Settings) -> None:
    """Give named parts of a figure these properties."""
    for model in _parts(root):
        for name, value in settings.get(model.name or "", {}).items():
            setattr(model, name, {**model.data, **value} if name == DATA else value)


def _parts(root: figure) -> Iterator[Any]:
    """What settings are about; walking over all there is would take as long as making it."""
    yield from (root.x_range, root.y_range)
    for axis in root.axis:
        yield from (axis, axis.ticker)
    for each in (*root.center, *root.right):
        yield each
        if isinstance(each, ColorBar):
            yield from (each.ticker, each.color_mapper)
    yield from {
        each.data_source.id: each.data_source for each in root.renderers if hasattr(each, "data_source")
    }.values()


def range_settings(name: str, start: float, end: float) -> dict[str, Any]:
    """From where to where an axis reaches, also after a reset."""
    return {name: {"start": start, "end": end, "reset_start": start, "reset_end": end}}


def reach(prefix: str, x: tuple[float, float], y: tuple[float, float]) -> dict[str, Any]:
    """Both ranges of a :func:`~lhexplore.explorer.base_figure.blank_figure`."""
    return {**range_settings(f"{prefix}x-range", *x), **range_settings(f"{prefix}y-range", *y)}


def name_axis(axis: Axis, name: str) -> None:
    """Make it an axis whose ticks will be set."""
    axis.name = name
    axis.ticker = FixedTicker(name=f"{name}-ticks", ticks=[], minor_ticks=[])


def axis_settings(name: str, label: str, ticks: Mapping[float, str], minor: Iterable[float] = ()) -> dict[str, Any]:
    """Labelled ticks at exactly these positions."""
    return {
        name: {"axis_label": label, "major_label_overrides": {at: plain(text) for at, text in ticks.items()}},
        f"{name}-ticks": {"ticks": list(ticks), "minor_ticks": list(minor)},
    }


def source_of(name: str, *columns: str, tags: Iterable[str] = ()) -> ColumnDataSource:
    """Make a source whose columns will be set."""
    return ColumnDataSource({column: [] for column in columns}, name=name, tags=list(tags))

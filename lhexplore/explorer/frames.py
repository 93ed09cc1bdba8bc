"""A figure in time: what changes from snapshot to snapshot travels once, as one block of bytes.

The browser then shows any snapshot without asking anybody (``frames.js`` reads what ``pack_frames`` writes).
"""

import gzip
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from bokeh.model import Model
from bokeh.models import ColorMapper, ColumnDataSource, FixedTicker, LayoutDOM, Range1d
from bokeh.models.annotations import ColorBar, Title
from bokeh.models.axes import Axis
from jaxtyping import Float32
from numpy import ndarray

from ..errors import SettingError
from .columns import put_columns
from .drawing import DATA, Drawing, Settings

SCRIPT = Path(__file__).with_name("frames.js")  # applies a frame in the browser
LEVEL = 5  # of compression: higher ones take twice as long for a few per cent
ALIGN = 8  # bytes; typed arrays in the browser must start on a multiple of their item size


Shape = Literal[
    "box",
    "shade",
    "halo",
    "line",
    "dash",
    "dots",
    "dashdot",
    "longdash",
    "whisker",
    "circle",
    "ring",
    "square",
    "open square",
    "diamond",
    "open diamond",
    "triangle",
    "open triangle",
    "cross",
    "point",
    "hatch",
]


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a legend: its words, and what stands beside them, as pairs of a shape and the role of a colour."""

    words: str
    marks: tuple[tuple[Shape, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class Plot:
    """A Bokeh figure, and the columns of its sources for every snapshot.

    ``frames["source__column"]`` has one row per snapshot; the source is found in ``root`` by its name. ``words`` are
    columns of text, named and as long as those of numbers beside them. Sources in ``lagged`` show the row of the
    snapshot before. ``titles`` are short texts for the model called ``title``, and ``more_titles`` those of further
    ones, where several figures are one; ``sentences`` say in words what the figure shows, for those who cannot see it.
    The ``legend`` is written beside the figure: inside, Bokeh would measure and paint it again for every frame.
    A :class:`~lhexplore.explorer.drawing.Drawing` becomes ``root`` only when that is asked for.
    """

    picture: LayoutDOM | Drawing
    frames: Mapping[str, Float32[ndarray, "n _"]]
    titles: tuple[str, ...]
    sentences: tuple[str, ...]
    lagged: tuple[str, ...] = ()
    title: str = "frame-title"
    legend: tuple[Key, ...] = ()
    words: Mapping[str, Sequence[Sequence[str]]] = field(default_factory=dict)
    more_titles: Mapping[str, Sequence[str]] = field(default_factory=dict)
    sources: tuple[str, ...] = field(init=False)
    _made: list[LayoutDOM] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        lengths = {key: rows.shape[0] for key, rows in self.frames.items()}
        lengths |= {key: len(texts) for key, texts in (*self.words.items(), *self.more_titles.items())}
        wrong = {key: length for key, length in lengths.items() if length != len(self.titles)}
        if wrong or len(self.titles) != len(self.sentences):
            raise SettingError(
                f"A plot needs one row, title and sentence per snapshot: got {len(self.titles)} titles, "
                f"{len(self.sentences)} sentences and these rows {wrong}."
            )
        object.__setattr__(self, "sources", tuple(dict.fromkeys(key.split("__")[0] for key in self.frames)))

    @property
    def root(self) -> LayoutDOM:
        """The figure, always the same one."""
        if not self._made:
            self._made.append(self.picture.drawn() if isinstance(self.picture, Drawing) else self.picture)
        return self._made[0]

    @property
    def count(self) -> int:
        """How many snapshots there are."""
        return len(self.titles)

    @property
    def all_titles(self) -> dict[str, Sequence[str]]:
        """The texts of every title, by the name of its model."""
        return {self.title: self.titles, **self.more_titles}

    @property
    def structure(self) -> tuple[str, ...]:
        """Equal for figures made of the same parts: only then can ``refresh`` carry one over to the other."""
        return tuple(sorted(f"{type(model).__name__}:{model.name or ''}" for model in self.root.references()))


def pack_frames(*plots: Plot) -> tuple[bytes, dict[str, Any]]:
    """The same as :func:`join_frames`, compressed: most columns repeat from one snapshot to the next."""
    block, spec = join_frames(*plots)
    return gzip.compress(block, LEVEL, mtime=0), spec


def join_frames(*plots: Plot) -> tuple[bytes, dict[str, Any]]:
    """Join the frames of figures that stand on one page into one block, with its table of contents.

    Returns:
        The bytes, and a JSON-able mapping: ``count`` snapshots; ``columns`` with source, column, dtype, offset in the
        block, length of a row, and lag (how many snapshots behind); ``words`` with source, column and texts per
        snapshot; ``titles`` with the model's name and its texts; ``legend`` with words and marks.
    """
    columns: list[list[str | int]] = []
    words = [(key, rows) for plot in plots for key, rows in plot.words.items()]
    parts: list[bytes] = []
    offset = 0
    for plot in plots:
        for key, rows in plot.frames.items():
            source, column = key.split("__")
            block = np.ascontiguousarray(rows, dtype="<f4")
            gap = -offset % ALIGN
            parts += [b"\0" * gap, block.tobytes()]
            offset += gap
            columns.append([source, column, "float32", offset, block.shape[1], int(source in plot.lagged)])
            offset += block.nbytes
    return b"".join(parts), {
        "count": max((plot.count for plot in plots), default=0),
        "columns": columns,
        "words": [[*key.split("__"), [list(row) for row in rows]] for key, rows in words],
        "titles": [[name, list(texts)] for plot in plots for name, texts in plot.all_titles.items()],
        "legend": [[key.words, [list(mark) for mark in key.marks]] for plot in plots for key in plot.legend],
    }


def show_frame(plot: Plot, frame: int) -> None:
    """Put one snapshot into the figure from Python: what the browser does with packed frames."""
    for source in plot.sources:
        model = _named(plot.root, source, ColumnDataSource)
        row = frame - (source in plot.lagged)
        data: dict[str, Any] = dict(model.data)
        for key, rows in plot.frames.items():
            owner, column = key.split("__")
            if owner == source:
                known = 0 <= row < plot.count
                data[column] = rows[row] if known else np.full(rows.shape[1], np.nan, dtype=np.float32)
        for key, texts in plot.words.items():
            owner, column = key.split("__")
            if owner == source:
                data[column] = list(texts[row]) if 0 <= row < plot.count else [""] * len(texts[0])
        model.data = data
    for name, texts in plot.all_titles.items():
        title = plot.root.select_one({"name": name})
        if isinstance(title, Title):
            title.text = texts[frame] if 0 <= frame < plot.count else ""


def refresh(live: Model, fresh: Plot) -> None:
    """Carry axes, ticks, colours and fixed columns of a newly made plot over to the one that is on screen.

    Both must come from the same function with the same kind and scale. What already agrees is left alone, so only
    real changes travel to the browser. Frame columns are not touched: they are shipped apart.
    """
    named: dict[str, Any] = {model.name: model for model in live.references() if model.name is not None}
    if isinstance(fresh.picture, Drawing):
        _refresh_settings(named, fresh.picture.settings)
        return
    for model in fresh.root.references():
        if model.name not in named or not isinstance(model, tuple(_CARRIED)):
            continue
        target = named[model.name]
        if isinstance(model, ColumnDataSource):
            _refresh_columns(target, model, fresh)
            continue
        changes = {
            name: getattr(model, name)
            for kind, names in _CARRIED.items()
            if isinstance(model, kind)
            for name in names
            if getattr(model, name) != getattr(target, name)
        }
        target.update(**changes)


def _refresh_settings(named: Mapping[str, Any], settings: Settings) -> None:
    for name in settings.keys() & named.keys():
        model, values = named[name], settings[name]
        if DATA in values:
            put_columns(model, values[DATA])
        model.update(**{key: value for key, value in values.items() if key != DATA and getattr(model, key) != value})


_CARRIED: Mapping[type[Model], Sequence[str]] = {
    Range1d: ("start", "end", "reset_start", "reset_end"),
    FixedTicker: ("ticks", "minor_ticks"),
    Axis: ("axis_label", "major_label_overrides"),
    ColorBar: ("major_label_overrides",),
    ColorMapper: ("low", "high", "palette"),
    ColumnDataSource: (),
}


def _refresh_columns(target: Any, model: ColumnDataSource, fresh: Plot) -> None:
    keys = (key.split("__") for key in (*fresh.frames, *fresh.words))
    shipped = {column for source, column in keys if source == model.name}
    fixed: dict[str, Any] = {str(name): column for name, column in model.data.items() if name not in shipped}
    put_columns(target, fixed)


def _named(root: Model, name: str, kind: type[ColumnDataSource]) -> ColumnDataSource:
    model = root.select_one({"name": name})
    if not isinstance(model, kind):
        raise SettingError(f"The figure has no source called {name!r}.")
    return model

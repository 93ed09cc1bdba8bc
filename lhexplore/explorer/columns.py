"""Columns of a figure that is on screen: of long ones only the values travel that differ."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from numpy import ndarray

MANY = 200  # values from which a column is long
SHARE = 3  # of its values, one in so many may differ; else the whole column travels


def put_columns(source: ColumnDataSource, columns: Mapping[str, Sequence[Any] | ndarray]) -> None:
    """Give a source these columns; what already agrees is left alone, and the source's other columns stay."""
    have: dict[str, Any] = dict(source.data)
    patches: dict[str, list[tuple[int | slice, Any]]] = {}
    for name, column in columns.items():
        old, count = have.get(name, ()), len(column)
        if len(old) != count or isinstance(old, ndarray) != isinstance(column, ndarray):
            source.data = {**have, **columns}
            return
        if differ := _differing(old, column):
            some = count >= MANY and len(differ) <= count / SHARE
            patches[name] = [(i, column[i]) for i in differ] if some else [(slice(0, count), column)]
    if not patches:
        return
    if len(next(iter(columns.values()))) >= MANY:
        source.patch(patches)
    else:
        source.data = {**have, **columns}


def _differing(old: Sequence[Any] | ndarray, new: Sequence[Any] | ndarray) -> list[int]:
    return [i for i, (a, b) in enumerate(zip(_plain(old), _plain(new), strict=True)) if not _alike(a, b)]


def _alike(a: Any, b: Any) -> bool:
    """Whether two values are the same; not-a-number is. A value may be a whole line."""
    if isinstance(a, ndarray) or isinstance(b, ndarray):
        return np.array_equal(a, b, equal_nan=True)
    return bool(a == b or (a != a and b != b))


def _plain(column: Sequence[Any] | ndarray) -> Sequence[Any]:
    plain: Sequence[Any] = column.tolist() if isinstance(column, ndarray) else column
    return plain

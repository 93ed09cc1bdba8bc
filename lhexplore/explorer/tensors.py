"""Cuts a flat vector into the tensors of a layer, and each tensor into a picture of at most 100 × 100 dots."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, prod
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .escape import plain

MOST = 100  # dots along either side
Shapes = Sequence[tuple[str, tuple[int, ...]]]


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """One tensor as a picture: a table of dots (rows downwards, NaN between filters), or a row of stems."""

    words: str  # what it is, and what of it is shown
    dots: Float[ndarray, "rows columns"]
    stems: bool
    axes: tuple[str, str]  # what runs along the bottom and upwards
    square: bool = False  # whether a dot is a square


def upright(vector: Float[ndarray, " n"]) -> Float[ndarray, " n"]:
    """Give a vector the sign with which its largest component is positive."""
    return vector * (-1.0 if vector[np.abs(vector).argmax()] < 0 else 1.0)


def tensor_names(shapes: Shapes) -> list[str]:
    """Call tensors by their own names, ``weight``, where that tells them apart, else by their full names."""
    own = [name.rsplit(".", 1)[-1] for name, _ in shapes]
    return [
        plain(each if own.count(each) == 1 else name, longest=32) for each, (name, _) in zip(own, shapes, strict=True)
    ]


def tiles(vector: Float[ndarray, " n"], shapes: Shapes) -> list[Tile]:
    """Cut a vector in the order of a layer's parameters; each tensor becomes one picture."""
    sizes = [prod(shape) for _, shape in shapes]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    rows = zip(tensor_names(shapes), shapes, parts, strict=True)
    return [_tile(name, part.reshape(shape)) for name, (_, shape), part in rows]


def _tile(name: str, tensor: Float[ndarray, "..."]) -> Tile:
    shape = " × ".join(map(str, tensor.shape)) or "1"
    start = f"{name} ({shape})"
    if tensor.ndim < 2:
        stems, step = _thinned(tensor.reshape(1, -1), (1, MOST))
        said = f", each stem the largest of {step[1]} neighbours" if step[1] > 1 else ""
        return Tile(start + said, stems, True, ("component", ""))
    if tensor.ndim == 2:
        dots, (down, across) = _thinned(tensor, (MOST, MOST))
        said = f", each dot the largest of {down} × {across} neighbours" if max(down, across) > 1 else ""
        return _lying(Tile(start + said, dots, False, ("input", "output")))
    filters = tensor.reshape(*tensor.shape[:3], -1) if tensor.ndim > 3 else tensor[:, :, None, :]
    return _filters(start, filters)


def _filters(start: str, filters: Float[ndarray, "out in h w"]) -> Tile:
    """Filters side by side, a gap between them; where they are too many, the channels with the largest components."""
    out, into, high, wide = filters.shape
    kept = [
        np.sort(np.argsort(-(filters**2).sum(axis=others), kind="stable")[: max(1, (MOST + 1) // (side + 1))])
        for others, side in (((1, 2, 3), high), ((0, 2, 3), wide))
    ]
    chosen = filters[np.ix_(kept[0], kept[1])][:, :, :MOST, :MOST]
    rows, columns = len(kept[0]), len(kept[1])
    high, wide = chosen.shape[2:]
    gaps = np.full((rows, high + 1, columns, wide + 1), np.nan)
    gaps[:, :high, :, :wide] = chosen.transpose(0, 2, 1, 3)
    dots = gaps.reshape(rows * (high + 1), columns * (wide + 1))[:-1, :-1]
    left = [f"{n} of {of} {what}" for n, of, what in ((rows, out, "outputs"), (columns, into, "inputs")) if n < of]
    said = f", the largest {' and '.join(left)}" if left else ""
    words = f"{start}{said}, a tile per filter"
    if len(dots) > dots.shape[1]:  # tiles change places; each keeps what is up and what is left
        dots = gaps.transpose(2, 1, 0, 3).reshape(columns * (high + 1), rows * (wide + 1))[:-1, :-1]
        return Tile(words, dots, False, ("output channel", "input channel"), square=True)
    return Tile(words, dots, False, ("input channel", "output channel"), square=True)


def _lying(tile: Tile) -> Tile:
    """Turn a picture that stands upright: there is more room across."""
    high, wide = tile.dots.shape
    return tile if high <= wide else replace(tile, dots=tile.dots.T, axes=tile.axes[::-1])


def _thinned(table: Float[ndarray, "r c"], most: tuple[int, int]) -> tuple[Float[ndarray, "p q"], Any]:
    """Of every block of neighbours the component that is largest in size, with its sign; and how large blocks are."""
    steps = [ceil(size / limit) for size, limit in zip(table.shape, most, strict=True)]
    padding = [(0, -size % step) for size, step in zip(table.shape, steps, strict=True)]
    blocks = np.pad(table, padding)  # zeros never win against a component
    rows, columns = (size // step for size, step in zip(blocks.shape, steps, strict=True))
    blocks = blocks.reshape(rows, steps[0], columns, steps[1]).transpose(0, 2, 1, 3).reshape(rows, columns, -1)
    largest = np.abs(blocks).argmax(axis=-1)
    return np.take_along_axis(blocks, largest[..., None], axis=-1)[..., 0], tuple(steps)

"""In which order the rows of a map stand."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np
from jaxtyping import Float
from numpy import ndarray

ORDERS: Mapping[str, str] = MappingProxyType(
    {
        "network": "as in the network",
        "now": "by value now",
        "largest": "by largest value over training",
        "change": "by change over training",
        "name": "by name",
    }
)
OF_VALUES = ("now", "largest", "change")
_SAID = {
    "now": "The rows are sorted by their values at {place}, largest first.",
    "largest": "The rows are sorted by their largest values over training, largest first.",
    "change": "The rows are sorted by how far the last value lies from the first, farthest first.",
    "name": "The rows are sorted by name.",
}


def order_sentence(by: str, place: str) -> str:
    """Say in which order the rows stand, and of which snapshot; nothing for that of the network."""
    return _SAID.get(by, "").format(place=place)


def order_rows(
    values: Float[ndarray, "layers snapshots"], names: Sequence[str], by: str, snapshot: int
) -> tuple[int, ...]:
    """The rows from top to bottom: largest values first, unknown ones last, equal ones as they stood.

    ``by`` is one of ``ORDERS``. A change is how far the last known value lies from the first, whatever its sign.
    """
    rows = range(len(names))
    if by == "network":
        return tuple(rows)
    if by == "name":
        return tuple(sorted(rows, key=lambda i: _natural(names[i])))
    keys = [_key(row, by, snapshot) for row in values]
    return tuple(sorted(rows, key=lambda i: (bool(np.isnan(keys[i])), -keys[i])))


def _key(row: Float[ndarray, " snapshots"], by: str, snapshot: int) -> float:
    known = row[~np.isnan(row)]
    if by == "now" or not known.size:
        return float(row[snapshot]) if row.size else float("nan")
    with np.errstate(invalid="ignore"):  # infinite ones have no difference
        return float(known.max() if by == "largest" else abs(known[-1] - known[0]))


def _natural(name: str) -> list[tuple[bool, int, str]]:
    """Numbers in names count as numbers: layer 2 stands before layer 10."""
    parts: list[str] = []
    for sign in name:
        if parts and parts[-1].isdecimal() == sign.isdecimal():
            parts[-1] += sign
        else:
            parts.append(sign)
    return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part.casefold()) for part in parts]

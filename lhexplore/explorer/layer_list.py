"""The list of layers: what there is, how large, and how each stands at the snapshot on show."""

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import traitlets as t
from jaxtyping import Float
from numpy import ndarray

from .framed import Framed, script
from .state import Entry

UNKNOWN = 255  # index of a mark that is not known
NOTHING: Mapping[tuple[int, int], str] = MappingProxyType({})


class LayerList(Framed):
    """A list box driven by mouse or arrow keys; names are shown as text, whatever they contain.

    ``shares``, ``numbers`` and ``marks`` hold one row per entry and one column per snapshot, as bytes, so that
    moving ``frame`` in the browser is enough to bring all rows up to date.
    """

    _esm = script("layer_list.js")
    rows = t.Unicode("[]", help="JSON text: name, size, kind, usable and reason of every entry.").tag(sync=True)
    legend = t.Unicode("[]", help="JSON text: symbol, word and kind of every mark.").tag(sync=True)
    quantity = t.Unicode("", help="What the bars show, in words.").tag(sync=True)
    count = t.Int(0, help="How many snapshots there are.").tag(sync=True)
    shares = t.Bytes(b"", help="Length of the bars, 0 to 1, float32; NaN: not known.").tag(sync=True)
    numbers = t.Bytes(b"", help="The metric itself, float32; NaN: not known.").tag(sync=True)
    marks = t.Bytes(b"", help="Index into the legend, uint8; 255: not known.").tag(sync=True)
    previews = t.Unicode("{}", help="JSON text: frame -> row -> what is known before the spectrum.").tag(sync=True)
    selected = t.Int(0, help="Which entry is chosen.").tag(sync=True)

    def describe(self, entries: Sequence[Entry]) -> None:
        """Say which entries there are."""
        keys = ("name", "size", "kind", "usable", "reason")
        self.rows = json.dumps([{key: getattr(entry, key) for key in keys} for entry in entries])

    def show(
        self,
        values: Float[ndarray, "e s"],
        marks: Sequence[Sequence[Any]],
        *,
        quantity: str,
        log: bool,
        previews: Mapping[tuple[int, int], str] = NOTHING,
    ) -> None:
        """Show a metric as bars, and per cell a mark (with symbol, word and kind) or None.

        ``previews`` say in words, by row and column, what is known where the metric is not.
        """
        early: dict[int, dict[int, str]] = {}
        for (row, column), text in previews.items():
            early.setdefault(column, {})[row] = text
        legend: dict[tuple[str, str, str], int] = {}
        table = [[UNKNOWN if m is None else legend.setdefault(tuple(m), len(legend)) for m in row] for row in marks]
        with self.hold_sync():
            self.count = values.shape[1]
            self.quantity = quantity
            self.legend = json.dumps(list(legend))
            self.shares = bar_shares(values, log=log).astype("<f4").tobytes()
            self.numbers = values.astype("<f4").tobytes()
            self.marks = np.array(table, dtype=np.uint8).tobytes()
            self.previews = json.dumps(early, ensure_ascii=False)


def bar_shares(values: Float[ndarray, "e s"], *, log: bool) -> Float[ndarray, "e s"]:
    """Lengths between 0 and 1 on one scale for all layers and snapshots; NaN stays NaN.

    Magnitudes count: a strongly negative value is as long as a strongly positive one. On the log scale the smallest
    known magnitude still shows a stub.
    """
    size = np.where(np.isfinite(values), np.abs(values), np.nan)
    known = size[np.isfinite(size) & (size > 0)]
    if not known.size:
        return np.where(np.isnan(size), np.nan, 0.0)
    high = float(known.max())
    if not log:
        return np.asarray(size / high)
    low = max(float(known.min()), high * 1e-6)  # more than six decades would leave no room for the rest
    if low == high:
        return np.where(np.isnan(size), np.nan, np.where(size > 0, 1.0, 0.0))
    with np.errstate(divide="ignore"):
        share = np.log(np.maximum(size, low) / low) / np.log(high / low)
    return np.where(size == 0, 0.0, 0.06 + 0.94 * share)

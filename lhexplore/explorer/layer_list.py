"""The tree of layers: what there is, how large, and how each stands at the snapshot on show."""

import json
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import traitlets as t
from jaxtyping import Float
from numpy import ndarray

from .framed import Framed, script
from .layer_tree import layer_tree
from .overlays import MOST_LAYERS
from .state import Entry

UNKNOWN = 255  # index of a mark that is not known
NOTHING: Mapping[tuple[int, int], str] = MappingProxyType({})


class LayerList(Framed):
    """A tree driven by mouse or keys; names are shown as text, whatever they contain.

    ``shares``, ``numbers`` and ``marks`` hold one row per entry and one column per snapshot, as bytes, so that
    moving ``frame`` in the browser is enough to bring all rows up to date. ``on_only`` gets the indices of the
    entries of which nothing else is to be shown, or None for all there are.
    """

    _esm = script("layer_rows.js", "layer_branches.js", "layer_keys.js", "layer_list.js")
    rows = t.Unicode("[]", help="JSON text: name, size, kind, usable, reason and whole of every entry.").tag(sync=True)
    tree = t.Unicode("[]", help="JSON text: label, index of the entry and what is below, of every node.").tag(sync=True)
    hidden = t.Int(0, help="How many layers there are beside these.").tag(sync=True)
    legend = t.Unicode("[]", help="JSON text: symbol, word and kind of every mark.").tag(sync=True)
    quantity = t.Unicode("", help="What the bars show, in words.").tag(sync=True)
    count = t.Int(0, help="How many snapshots there are.").tag(sync=True)
    shares = t.Bytes(b"", help="Length of the bars, 0 to 1, float32; NaN: not known.").tag(sync=True)
    numbers = t.Bytes(b"", help="The metric itself, float32; NaN: not known.").tag(sync=True)
    marks = t.Bytes(b"", help="Index into the legend, uint8; 255: not known.").tag(sync=True)
    previews = t.Unicode("{}", help="JSON text: frame -> row -> what is known before the spectrum.").tag(sync=True)
    selected = t.Int(0, help="Which entry is chosen.").tag(sync=True)
    over = t.List(t.Int(), help="Which entries lie over it.").tag(sync=True)
    most = t.Int(MOST_LAYERS, help="How many may.").tag(sync=True)

    def __init__(self, *, on_only: Callable[[Sequence[int] | None], None] | None = None, **traits: Any) -> None:
        self._on_only = on_only
        super().__init__(**traits)
        self.on_msg(self._heard)

    def describe(self, entries: Sequence[Entry], *, hidden: int = 0) -> None:
        """Say which entries there are, and how many layers are not among them."""
        keys = ("name", "size", "kind", "usable", "reason")
        tree = layer_tree([None if entry.key is None else entry.name for entry in entries])
        with self.hold_sync():
            self.rows = json.dumps([{key: getattr(x, key) for key in keys} | {"whole": x.key is None} for x in entries])
            self.tree = json.dumps([node.json() for node in tree])
            self.hidden = hidden

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

    def _heard(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("kind") != "only" or self._on_only is None:
            return
        rows, count = content.get("rows"), len(json.loads(self.rows))
        if rows is None:
            self._on_only(None)
        elif isinstance(rows, list) and rows and all(isinstance(i, int) and 0 <= i < count for i in rows):
            self._on_only(rows)


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
